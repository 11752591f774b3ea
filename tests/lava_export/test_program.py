from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from changeable import list_changeable
from programs import program

import lava_export
from lava_export.program import LoihiProgram, Population, ProgramError, as_int32


def test_the_arrays_of_a_program_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        program()["out"].bias_mant[0] = 1


def test_lags_and_extra_steps_give_the_delay_in_ticks() -> None:
    p = program()
    assert [p.delay(c) for c in p.connections] == [0, 3]
    assert p.latency == 2
    assert [p[n].size for n in ("x", "conv/1", "out")] == [9, 8, 2]
    assert p.connections[0].out_shape == (2, 2, 2)


def test_all_that_does_not_fit_is_told_at_once() -> None:
    x, conv, out = program().populations
    one, two = program().connections
    with pytest.raises(ProgramError) as e:
        LoihiProgram(
            populations=(x, replace(conv, lag=0), replace(out, shape=(3,)), replace(x)),
            connections=(
                one,
                two,
                replace(two, target="ou"),
                replace(two, extra=-1, name="early"),
            ),
        )
    told = str(e.value).splitlines()
    assert told[1] == "x: the name is used twice"
    assert "connection conv: extra = 0 with lags 0 and 0 reaches into the future" not in told
    assert any(
        "connection fc: maps 8 to 2 neurons, but conv/1 has 8 and out has 3" in t for t in told
    )
    assert any("no population 'ou'; there are x, conv/1, out, x" in t for t in told)
    assert any("connection early: extra = -1" in t and "into the future" in t for t in told)


def test_a_spike_waits_no_negative_time_where_the_lags_hide_it() -> None:
    populations, (one, two) = program().populations, program().connections
    early = replace(one, extra=-1)  # a delay of 0: both ends keep time with each other
    kept = (populations[0], replace(populations[1], lag=0), populations[2])
    with pytest.raises(ProgramError, match="connection conv: extra = -1 with lags 0 and 0"):
        LoihiProgram(populations=kept, connections=(early, two))


def test_a_delay_below_0_is_refused_though_the_wait_is_not() -> None:
    (x, conv, out), (one, two) = program().populations, program().connections
    behind = replace(conv, lag=2)  # its delay: 0 + 1 + 0 - 2
    with pytest.raises(ProgramError, match="connection conv: extra = 0 with lags 0 and 2"):
        LoihiProgram(populations=(x, behind, out), connections=(one, two))
    assert LoihiProgram(populations=(x, behind, out), connections=(replace(one, extra=1), two))


def test_the_stock_neuron_takes_no_more_than_it_has() -> None:
    x, *_ = program().populations
    for change in ({"hard": False}, {"beta": as_int32(3)}, {"dv": as_int32([1, 2])}):
        lif = replace(Population(name="n", kind="lif", shape=(2,)), **change)
        with pytest.raises(ProgramError, match=r"n: a lif has hard reset.*kind alif"):
            LoihiProgram(populations=(x, lif), connections=())
    one = Population(name="t", kind="ternary", shape=(2,), vth_low=as_int32(-3))
    with pytest.raises(ProgramError, match=r"t: a ternary has hard.*split it into populations"):
        LoihiProgram(populations=(x, replace(one, dv=as_int32([1, 2]))), connections=())


def test_a_value_beyond_int32_stays_large_and_keeps_its_sign() -> None:
    assert as_int32([1e12, -1e12, 3.0]).tolist() == [2**30, -(2**30), 3]
    assert as_int32(2**40).tolist() == [2**30]


def changed(part: Any, change: dict[str, object]) -> Any:
    """Change it as a file could: past the type checks of the tests."""
    out = replace(part)
    for name, value in change.items():
        object.__setattr__(out, name, value)
    return out


@pytest.mark.parametrize(
    ("part", "change", "told"),
    [
        (0, {"kind": "relu"}, "x: no kind 'relu'; there are input, lif, alif, li, ternary"),
        (0, {"kind": "lif"}, "no population has kind input; a run needs one at least"),
        (0, {"lag": 1}, "x: an input with lag 1; inputs lead, their lag is 0"),
        (1, {"dv": as_int32([1, 2, 3])}, "conv/1: dv has shape (3,); give one number, or one"),
        (1, {"dv": as_int32(np.ones((2, 4)))}, "conv/1: dv has shape (2, 4); give one number"),
        (1, {"vth": np.array([0.5])}, "conv/1: vth is float64; make it with program.as_int32"),
        (1, {"kind": "li"}, "connection fc: conv/1 is a read-out and never fires; start from"),
        (1, {"kind": "input"}, "connection conv: conv/1 is an input and listens to nothing"),
    ],
)
def test_a_population_that_lava_cannot_run_is_refused(
    part: int, change: dict[str, object], told: str
) -> None:
    populations = list(program().populations)
    populations[part] = changed(populations[part], change)
    with pytest.raises(ProgramError) as e:
        LoihiProgram(populations=tuple(populations), connections=program().connections)
    assert told in str(e.value)


def listed(weight: list[int], *places: list[int]) -> dict[str, Any]:
    """Return what makes of fc a connection of listed synapses."""
    change = {"kind": "sparse", "weight": as_int32(weight), "sizes": (2, 8)}
    return change | ({"places": as_int32(places)} if places else {})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"kind": "full"},
            "connection fc: no kind 'full'; there are dense, conv, identity, sparse",
        ),
        (listed([2, 4]), "fc: places of shape (2, 0) are no target and source of each of 2"),
        (listed([2, 4], [0, 2], [7, 7]), "of each of 2 weights within sizes (2, 8)"),
        (listed([2, 4], [0, -1], [7, 7]), "of each of 2 weights within sizes (2, 8)"),
        (listed([2, 4, 6, 8], [0, 1, 0, 0], [7] * 4), "fc: 2 of its places are listed before"),
        (
            listed([2], [1], [6]) | {"sizes": (2, 7)},
            "maps 7 to 2 neurons, but conv/1 has 8 and out has 2",
        ),
        ({"kind": "conv"}, "connection fc: conv weights have 4 axes, these have shape (2, 8)"),
        ({"delays_in": as_int32(np.zeros(2))}, "fc: delays_in of shape (2,) must be a whole "),
        (
            {"delays_out": as_int32([0, -1])},
            "must be a whole number >= 0 for each of 2 neurons",
        ),
        ({"delays_out": np.zeros(2)}, "fc: delays_out of shape (2,) must be a whole number"),
        ({"weight": np.ones((2, 8))}, "connection fc: its weights are float64; make them with"),
    ],
)
def test_a_connection_that_lava_cannot_run_is_refused(
    change: dict[str, object], told: str
) -> None:
    one, two = program().connections
    with pytest.raises(ProgramError) as e:
        LoihiProgram(populations=program().populations, connections=(one, changed(two, change)))
    assert told in str(e.value)


def test_a_program_is_for_a_tick_at_least() -> None:
    with pytest.raises(ProgramError, match="ticks is 0; give one at least, or None"):
        replace(program(), ticks=0)


def test_a_program_that_falls_apart_is_refused() -> None:
    with pytest.raises(ProgramError) as e:
        LoihiProgram(populations=program().populations, connections=program().connections[:1])
    assert (
        "nothing connects these parts: out; conv/1, x; split it into one graph for each part"
    ) in str(e.value)


def test_a_program_is_told_in_a_line_and_not_in_arrays() -> None:
    told = "LoihiProgram(x input 9, conv/1 alif 8, out li 2; conv conv, fc dense)"
    assert repr(program()) == told
    assert repr(replace(program(), ticks=7)) == told[:-1] + ", ticks=7)"


def test_values_cannot_be_changed() -> None:
    assert list_changeable(lava_export, "lava_export.runner", "lava_export.processes") == []


@pytest.mark.parametrize(
    ("kind", "values"),
    [(Population, ("x", "input", (3,))), (LoihiProgram, (program().populations, ()))],
)
def test_values_are_given_by_name(kind: type, values: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match="positional argument"):
        kind(*values)
