from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lava_export import reference
from lava_export.checks import rasterize
from lava_export.program import (
    LoihiConnection,
    LoihiProgram,
    Population,
    ProgramError,
    as_int32,
)
from lava_export.run import run as run_lava
from neuro.spikes import Events, to_events


def program(
    weight: Any = 2, kind: Any = "alif", hard: bool = True, **neuron: Any
) -> LoihiProgram:
    return LoihiProgram(
        populations=(
            Population(name="x", kind="input", shape=(1, 3, 3)),
            Population(name="n", kind=kind, shape=(2,), lag=1, hard=hard, **neuron),
        ),
        connections=(
            LoihiConnection(
                name="w",
                source="x",
                target="n",
                kind="dense",
                weight=as_int32(np.full((2, 9), weight)),
            ),
        ),
    )


def silence(ticks: int = 2) -> dict[str, Events]:
    return {"x": to_events(np.zeros((ticks, 1, 9), bool))}


def test_a_stimulus_becomes_rasters_that_are_silent_after_its_end() -> None:
    raster = np.zeros((2, 3, 9), bool)
    raster[1, 2, 4] = True
    out = rasterize(program(), {"x": to_events(raster)}, 5)
    assert out["x"].shape == (5, 3, 9)
    assert np.argwhere(out["x"]).tolist() == [[1, 2, 4]]


def test_a_stimulus_that_does_not_fit_is_refused_with_every_reason() -> None:
    wrong = to_events(np.ones((2, 1, 8), np.float32))
    with pytest.raises(ProgramError) as e:
        rasterize(program(), {"x": wrong, "y": wrong}, 1)
    assert str(e.value).splitlines() == [
        "the run cannot start:",
        "y: not an Input; there are x",
        "x: events of 8 neurons for an Input of 9; flatten its shape in C order",
    ]
    graded = to_events(np.full((2, 1, 9), 0.5, np.float32))
    with pytest.raises(ProgramError) as e:
        rasterize(program(), {"x": graded}, 1)
    assert str(e.value).splitlines() == [
        "the run cannot start:",
        "x: events of 2 ticks for a run of 1; cut the train or ask for as many ticks",
        "x: 18 spikes are not 1 (first 0.5); Loihi takes binary spikes: encode the values, "
        "e.g. with neuro.codes.rate, or make them whole numbers of a GradedInput",
    ]


def test_a_run_has_a_tick_and_a_sample_at_least() -> None:
    with pytest.raises(ProgramError, match="x: 2 ticks and 0 samples; a run needs"):
        rasterize(program(), {"x": to_events(np.zeros((2, 0, 9), bool))}, 2)
    for ticks in (0, -2):
        with pytest.raises(ProgramError, match=f"a run of {ticks} ticks; ask for one at least"):
            rasterize(program(), silence(), ticks)


def test_a_program_runs_as_long_as_it_was_lowered_for_and_no_longer() -> None:
    some = replace(program(), ticks=3)
    assert rasterize(some, silence(), 3)["x"].shape == (3, 1, 9)
    with pytest.raises(ProgramError, match="a run of 4 ticks, and the program was lowered for"):
        rasterize(some, silence(), 4)


@pytest.mark.parametrize("run", [reference.run, run_lava])
def test_integers_that_lava_would_cut_off_do_not_run(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "/no/such/python")  # before any child starts
    with pytest.raises(ProgramError) as e:
        run(program(weight=256, hard=False, vth=as_int32(2**25)), silence(), 2)
    head, weights, threshold = str(e.value).splitlines()
    assert head == "the run cannot start:"
    assert weights.startswith("weights have 8 bits and a sign: w: 18 weights like 256")
    assert threshold.startswith("thresholds have 17 bits: n: vth = 33554432, allowed is")


def test_program_ticks_and_stimulus_are_refused_together() -> None:
    with pytest.raises(ProgramError) as e:
        rasterize(program(weight=5), {}, 0)
    assert [line.split(":")[0] for line in str(e.value).splitlines()[1:]] == [
        "weights have 8 bits and a sign",
        "a run of 0 ticks; ask for one at least",
        "x",
    ]
