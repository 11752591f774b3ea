from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lava_export import reference
from lava_export.checks import list_wide_integers, rasterize
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
        "e.g. with neuro.spikes.codes.rate, or make them whole numbers of a GradedInput "
        "(neuro import --set input=graded)",
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


LIF, CODER = {"kind": "lif"}, {"kind": "delta", "message_bits": 8}


@pytest.mark.parametrize(
    ("of", "field", "low", "high"),
    [
        ({}, "vth", 0, 131071),
        ({}, "beta", 0, 131071),
        ({}, "du", -1, 4095),
        ({}, "dv", 0, 4096),
        ({}, "da", 0, 4095),
        ({}, "bias_mant", -4096, 4095),
        ({}, "bias_exp", 0, 7),
        ({}, "reset_to", -8388607, 8388607),
        ({"hard": False}, "reset_by", 0, 8388607),
        ({}, "refractory", 0, 63),
        (LIF, "dv", 0, 4095),
        ({"kind": "li"}, "dv", 0, 4096),
        ({"kind": "ternary"}, "vth_low", -131071, 0),
        (CODER, "vth", 0, 8388607),
        (CODER, "bias_mant", -8388607, 8388607),
        (CODER, "bias_exp", 0, 0),
        (CODER, "spike_exp", 0, 7),
        (CODER, "state_exp", 0, 7),
    ],
)
def test_a_register_holds_its_least_and_largest_integer_and_no_more(
    of: dict[str, Any], field: str, low: int, high: int
) -> None:
    as_field = int if field in ("refractory", "spike_exp", "state_exp") else as_int32
    for value in (low, high):
        assert list_wide_integers(program(**of, **{field: as_field(value)})) == []
    for value in (low - 1, high + 1):
        if field == "refractory" and value < 0:
            continue  # refused before
        (problem,) = list_wide_integers(program(**of, **{field: as_field(value)}))
        assert f"n: {field} = {value}, allowed is {low}..{high}; " in problem


def test_the_weights_of_a_neuron_sum_to_less_than_24_bits() -> None:
    """516 weights of 254, times 2^7, then 511 of 2, times 1, for their exponent is negative."""

    def find_problems(last: int) -> list[str]:
        strong, weak = np.full((2, 516), 2), np.zeros((2, 516))
        strong[1], weak[1, :511], weak[1, 511] = 254, 2, last
        x = Population(name="x", kind="input", shape=(516,))
        n = Population(name="n", kind="lif", shape=(2,), lag=1)
        w = LoihiConnection(
            name="w",
            source="x",
            target="n",
            kind="dense",
            weight=as_int32(strong),
            weight_exp=7,
        )
        v = replace(w, name="v", weight=as_int32(weak), weight_exp=-1)
        return list_wide_integers(LoihiProgram(populations=(x, n), connections=(w, v)))

    assert find_problems(0) == []
    (problem,) = find_problems(-2)
    assert "n: its spikes can bring 16,777,216 weight units in a tick, allowed are" in problem


def test_program_ticks_and_stimulus_are_refused_together() -> None:
    with pytest.raises(ProgramError) as e:
        rasterize(program(weight=5), {}, 0)
    assert [line.split(":")[0] for line in str(e.value).splitlines()[1:]] == [
        "weights have 8 bits and a sign",
        "a run of 0 ticks; ask for one at least",
        "x",
    ]
