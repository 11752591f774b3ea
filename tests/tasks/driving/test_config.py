from dataclasses import replace

import pytest

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.window import ImageSize
from tasks.driving.config import Depth, Source
from tasks.driving.presets import (
    paper,
    small,
    small_ann,
    small_command,
    small_gate,
    small_multiply,
    small_reset,
    small_sweeps,
    use_nuscenes,
)
from tasks.driving.task import TASK


def test_sizes_are_those_of_the_reference() -> None:
    full, ours = paper(), small()
    assert full.depth.bins == 48
    assert full.grid.shape == (200, 200)
    assert full.feature_size == (28, 60)
    assert full.state_channels == 70
    assert full.epochs == 50
    assert ours.depth.bins == 16
    assert ours.grid.shape == (48, 48)
    assert ours.feature_size == (8, 20)
    assert Depth(first=2.0, last=3.0, step=0.1).bins == 10


def test_variants_differ_in_what_they_are_named_for_alone() -> None:
    assert small_ann().cells.kind == "relu"
    assert small_ann().encoder.ticks == 1
    same = replace(small_ann(), cells=small().cells, encoder=small().encoder)
    assert same == small()
    assert small_command().planner.navigation == paper().planner.navigation == "command"
    assert replace(small_command(), planner=small().planner) == small()
    assert (small_sweeps().source.sweeps, small_sweeps().encoder.ticks) == (1, 2)
    assert replace(small_sweeps(), source=small().source) == small()
    assert not small_reset().decoder.carries
    assert replace(small_reset(), decoder=small().decoder) == small()
    names = ("sees", "depth_loss", "phases", "road_cells")
    given = {name: getattr(small(), name) for name in names}
    for end in ("", "_reset", "_multiply", "_gate"):
        seeing, blind = TASK.configs[f"small{end}"](), TASK.configs[f"maps{end}"]()
        assert blind.sees == "maps"
        assert replace(blind, **given) == seeing
    for variant, fusion in ((small_multiply(), "multiply"), (small_gate(), "gate")):
        assert variant.prediction.fusion == fusion
        assert replace(variant, prediction=small().prediction) == small()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image": ImageSize(height=60, width=160, scale=1.0, crop=30)},
            "multiples of 16 pixels",
        ),
        (
            {"grid": GroundGrid(x=(0.0, 30.0), y=(0.0, 48.0), step=1.0)},
            "multiples of 4, the factor",
        ),
        ({"source": Source(data="nuscenes")}, "driven windows need the generated world"),
        (
            {"planner": replace(small().planner, learns_from="truth")},
            'displaced and driven windows .*; set learns_from="predicted"',
        ),
        (
            {"phases": (replace(small().phases[-1], frozen=("encoder", "prediction")),)},
            "displaced and driven windows cannot train them; freeze decoder, heads.parts.cent",
        ),
        ({"future": 4}, "no phase may predict more than future=4 frames"),
        ({"future": 8}, "phase planning needs futures=8, all future frames, got 6"),
        (
            {"phases": (replace(small().phases[0], past=4),)},
            "phase perception has past=4, a window has 3 frames",
        ),
        (
            {"prediction": replace(small().prediction, stride=5)},
            r"grid of \(48, 48\) cells must be whole multiples of prediction.stride=5",
        ),
        ({"sees": "maps", "depth_loss": False}, "true maps .* train only prediction"),
        ({"sees": "maps"}, "have no depth: set depth_loss=False"),
        (
            {"source": Source(sweeps=2)},
            "encoder.ticks must be 3, one for each of source.sweeps=2 and one .* got 2; change",
        ),
        (
            {"source": Source(sweeps=1), "sees": "maps"},
            r'true maps \(sees="maps"\) have no sweeps: set source.sweeps=0',
        ),
        ({"sees": "maps", "road_cells": 2}, "share one grid: set road_cells=1"),
        (
            {"encoder": replace(small().encoder, channels=(4, 8), stem=2)},
            "encoder.stem is 2; with 2 levels it must shrink an image by 8, and not 4",
        ),
        (
            {"encoder": replace(small().encoder, blocks=(1,))},
            r"encoder.blocks is \(1,\); it must have a number for each of 2 levels",
        ),
        (
            {"depth": Depth(first=2.0, last=34.0, step=7.0)},
            "depth.last is 34.0; it must be a whole number of bins of 7.0 m from 2.0 m",
        ),
        ({"depth": Depth(first=2.0, last=2.0, step=1.0)}, "depth.last is 2.0; it must be a"),
        (
            {"prediction": replace(small().prediction, kernel=4)},
            "prediction.kernel is 4; it must be odd",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(small(), **change)


def test_several_problems_are_told_together_and_causes_before_what_follows() -> None:
    phases = (replace(small().phases[0], lr=0.0),)
    what = (
        r"phases\[0\].lr is 0.0; it must be > 0.*\nbatch is 0; it must be >= 1. Use 1, for"
        r" example.\npast is 0; it must be >= 1. Use --set past=3, the default.$"
    )
    with pytest.raises(ValueError, match=what):
        replace(small(), future=4, past=0, batch=0, phases=phases)


def test_on_the_real_data_nothing_is_driven() -> None:
    real = use_nuscenes(small(), version="v1.0-mini", held=2)
    assert real.source == Source(data="nuscenes", version="v1.0-mini", held=2, readers=1)
    assert use_nuscenes(small_sweeps()).source.sweeps == 1
    assert small().last.driven > 0
    assert [p.driven for p in real.phases] == [0.0] * 4
    assert real.image.scale == 0.1  # 160 of 1600 pixels
    rest = replace(real, source=small().source, phases=small().phases)
    assert replace(rest, image=small().image) == small()
