from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.window import ImageSize
from neuro.base.units import Ticks
from tasks.driving.config import Cells, Depth, EncoderConfig, Source
from tasks.driving.presets import (
    paper,
    tiny,
    tiny_ann,
    tiny_command,
    tiny_gate,
    tiny_multiply,
    tiny_reset,
    tiny_sweeps,
    use_nuscenes,
)
from tasks.driving.task import TASK


def test_sizes_are_those_of_the_reference() -> None:
    full, small = paper(), tiny()
    assert full.depth.bins == 48
    assert full.grid.shape == (200, 200)
    assert full.feature_size == (28, 60)
    assert full.state_channels == 70
    assert full.epochs == 50
    assert small.depth.bins == 16
    assert small.grid.shape == (48, 48)
    assert small.feature_size == (8, 20)
    assert Depth(first=2.0, last=3.0, step=0.1).bins == 10


def test_variants_differ_in_what_they_are_named_for_alone() -> None:
    assert tiny_ann().cells.kind == "relu"
    assert tiny_ann().encoder.ticks == 1
    same = replace(tiny_ann(), cells=tiny().cells, encoder=tiny().encoder)
    assert same == tiny()
    assert tiny_command().planner.navigation == paper().planner.navigation == "command"
    assert replace(tiny_command(), planner=tiny().planner) == tiny()
    assert (tiny_sweeps().source.sweeps, tiny_sweeps().encoder.ticks) == (1, 2)
    assert replace(tiny_sweeps(), source=tiny().source) == tiny()
    assert not tiny_reset().decoder.carries
    assert replace(tiny_reset(), decoder=tiny().decoder) == tiny()
    names = ("sees", "depth_loss", "phases", "road_cells")
    given = {name: getattr(tiny(), name) for name in names}
    for end in ("", "_reset", "_multiply", "_gate"):
        seeing, blind = TASK.configs[f"tiny{end}"](), TASK.configs[f"maps{end}"]()
        assert blind.sees == "maps"
        assert replace(blind, **given) == seeing
    for variant, fusion in ((tiny_multiply(), "multiply"), (tiny_gate(), "gate")):
        assert variant.prediction.fusion == fusion
        assert replace(variant, prediction=tiny().prediction) == tiny()


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
        (
            {"phases": (replace(tiny().phases[-1], displaced=1.5),)},
            r"phase planning: displaced must be in \[0, 1\], got 1.5",
        ),
        (
            {"phases": (replace(tiny().phases[-1], driven=-0.5),)},
            r"phase planning: driven must be in \[0, 1\], got -0.5",
        ),
        ({"source": Source(data="nuscenes")}, "driven windows need the generated world"),
        (
            {"planner": replace(tiny().planner, learns_from="truth")},
            'displaced and driven windows .*; set learns_from="predicted"',
        ),
        (
            {"phases": (replace(tiny().phases[-1], frozen=("encoder", "prediction")),)},
            "displaced and driven windows cannot train them; freeze decoder, heads.parts.cent",
        ),
        ({"future": 4}, "no phase may predict more than future=4 frames"),
        ({"future": 8}, "phase planning needs futures=8, all future frames, got 6"),
        (
            {"phases": (replace(tiny().phases[0], past=4),)},
            "phase perception has past=4, a window has 3 frames",
        ),
        (
            {"prediction": replace(tiny().prediction, stride=5)},
            r"grid of \(48, 48\) cells must be whole multiples of prediction.stride=5",
        ),
        ({"hardest": 0.0}, r"hardest must be in \(0, 1\], got 0.0"),
        ({"sees": "maps", "depth_loss": False}, "true maps .* train only prediction"),
        ({"sees": "maps", "phases": ()}, "have no depth: set depth_loss=False"),
        ({"batch": 0}, "batch must be >= 1, got 0"),
        (
            {"source": Source(sweeps=2)},
            "encoder.ticks must be 3, one for each of source.sweeps=2 and one .* got 2; change",
        ),
        (
            {"source": Source(sweeps=1), "sees": "maps", "phases": ()},
            r'true maps \(sees="maps"\) have no sweeps: set source.sweeps=0',
        ),
        ({"road_cells": 0}, "road_cells must be >= 1, got 0"),
        ({"sees": "maps", "road_cells": 2}, "share one grid: set road_cells=1"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(tiny(), **change)


def test_several_problems_are_told_together_and_causes_before_what_follows() -> None:
    what = r"(?s)past must be >= 1, got 0; usual: 3.*multiples of 16.*past=1, a window has 0"
    with pytest.raises(ValueError, match=what):
        replace(tiny(), image=ImageSize(height=8, width=160, scale=1.0, crop=0), past=0)


def list_numbers(config: Any, name: str = "") -> Iterator[tuple[Any, str, str]]:
    """Yield (part, field, path) of the numbers of a configuration and its parts."""
    for field in fields(config):
        value, path = getattr(config, field.name), f"{name}{field.name}"
        if is_dataclass(value):
            yield from list_numbers(value, f"{path}.")
        elif path == "phases":
            yield from list_numbers(value[0], "phases.")
        numbers = value if isinstance(value, tuple) else (value,)
        if any(type(n) in (int, float) for n in numbers):
            yield config, field.name, path


@pytest.mark.parametrize("path", [path for _, _, path in list_numbers(tiny())])
def test_no_number_may_be_minus_seven(path: str) -> None:
    """Of the grid, which also lies behind the car, no edge may precede the other one."""
    ((part, name),) = [(p, n) for p, n, at in list_numbers(tiny()) if at == path]
    bad = (-7,) if isinstance(getattr(part, name), tuple) else type(getattr(part, name))(-7)
    if path in ("grid.x", "grid.y"):
        bad = (-7.0, -8.0)
    first, *outer = path.split(".")

    def change() -> None:
        changed: Any = replace(part, **{name: bad})
        if first == "phases":
            changed = (changed, *tiny().phases[1:])
        replace(tiny(), **{first: changed if outer else bad})

    with pytest.raises(ValueError, match=rf"{name}|{first}"):
        change()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"planner": replace(tiny().planner, candidates=0)},
            "^planner.candidates must be >= 1, got 0; usual: 300 or 1800$",
        ),
        (
            {"depth": Depth(first=2.0, last=34.0, step=0.0)},
            "^depth.step must be > 0 and finite, got 0.0; usual: 1 or 2 m$",
        ),
        (
            {"depth": Depth(first=2.0, last=34.0, step=7.0)},
            "^depth from 2.0 to 34.0 m is no whole number of bins of 7.0 m; change depth.last",
        ),
        ({"phases": ()}, "^phases must have an item at least$"),
        (
            {"phases": (replace(tiny().phases[0], lr=0.0),)},
            r"^phases\[0\].lr must be > 0 and finite, got 0.0",
        ),
        (
            {"weights": replace(tiny().weights, vehicle=-1.0)},
            "^weights.vehicle must be > 0 and finite, got -1.0; 1 weighs it like the other",
        ),
        (
            {"prediction": replace(tiny().prediction, stride=0, kernel=4)},
            "(?s)^prediction.kernel must be odd and >= 1, got 4.*^prediction.stride must be >=",
        ),
    ],
)
def test_numbers_out_of_range_are_named_with_a_cure(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"(?m){message}"):
        replace(tiny(), **change)


def test_all_that_is_wrong_with_a_part_is_told() -> None:
    with pytest.raises(ValueError, match=r"(?s)height must be >= 1, got 0;.*scale.*crop must"):
        ImageSize(height=0, width=160, scale=0.0, crop=-1)
    with pytest.raises(ValueError, match=r"(?s)Source.train.*Source.held must be >= 1, got 0"):
        Source(train=-1, held=0)
    with pytest.raises(ValueError, match=r"(?s)PlannerConfig.start.*PlannerConfig.braking"):
        replace(tiny().planner, start=0.0, braking=-1.0)


def test_an_encoder_makes_features_of_an_eighth() -> None:
    fields = {"ticks": Ticks(2), "expansion": 1, "far": 4, "aspp": 4}
    fields |= {"dilations": (2,), "dropout": 0.0}
    with pytest.raises(ValueError, match="2 levels shrink an image by 4"):
        EncoderConfig(channels=(4, 8), stem=2, blocks=(1, 1), **fields)
    with pytest.raises(ValueError, match=r"for each of 2 levels, got \(1, 0\)"):
        EncoderConfig(channels=(4, 8), stem=4, blocks=(1, 0), **fields)


def test_neurons_need_a_decay_and_a_threshold() -> None:
    with pytest.raises(ValueError, match=r"Cells.decay must be in \(0, 1\), got 1.0"):
        Cells(decay=1.0)
    with pytest.raises(ValueError, match=r"Cells.threshold must be > 0, got 0.0"):
        Cells(threshold=0.0)


def test_on_the_real_data_nothing_is_driven() -> None:
    real = use_nuscenes(tiny(), version="v1.0-mini", held=2)
    assert real.source == Source(data="nuscenes", version="v1.0-mini", held=2, readers=1)
    assert use_nuscenes(tiny_sweeps()).source.sweeps == 1
    with pytest.raises(ValueError, match=r"Source.sweeps must be >= 0, got -1; 0 repeats"):
        Source(sweeps=-1)
    assert tiny().last.driven > 0
    assert [p.driven for p in real.phases] == [0.0] * 4
    assert real.image.scale == 0.1  # 160 of 1600 pixels
    rest = replace(real, source=tiny().source, phases=tiny().phases)
    assert replace(rest, image=tiny().image) == tiny()
