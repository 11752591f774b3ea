"""Parameters belong to the model: what they were made from may change afterwards."""

import math
import warnings
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from written_graphs import chain

from neuro.base.units import Seconds
from neuro.graph import Graph, Input
from neuro.neurons import ALIF, IF, LI, LIF, GatedLI
from neuro.nn.layers import Spiking

MODELS: dict[str, Any] = {
    "LIF.tau": lambda p: LIF(tau=p),
    "LIF.threshold": lambda p: LIF(tau=0.02, threshold=p),
    "LIF.tau_syn": lambda p: LIF(tau=0.02, tau_syn=p),
    "IF.threshold": lambda p: IF(threshold=p),
    "ALIF.leak": lambda p: ALIF(leak=p),
    "ALIF.threshold": lambda p: ALIF(threshold=p),
    "ALIF.beta": lambda p: ALIF(beta=p),
    "ALIF.rho": lambda p: ALIF(rho=p),
    "LI.tau": lambda p: LI(tau=p),
    "LI.gain": lambda p: LI(tau=0.02, gain=p),
    "GatedLI.floor": lambda p: GatedLI(floor=p),
}
SINGLE = ("ALIF.leak", "ALIF.threshold")


@pytest.fixture(autouse=True)
def types_are_checked_by_the_code_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


BOUNDS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # field: (what just passes, what just does not)
    "LIF.tau": ((1e-9, math.inf), (0.0, -1e-9, -math.inf)),
    "LIF.threshold": ((1e-9, 1e300), (0.0, -1e-9, math.inf)),
    "LIF.tau_syn": ((1e-9, 1e9), (0.0, -1e-9, math.inf)),
    "LIF.refractory": ((0.0, 1e9), (-1e-9, math.inf)),
    "IF.threshold": ((1e-9, 1e300), (0.0, -1e-9, math.inf)),
    "ALIF.leak": ((1e-9, 1.0), (0.0, -1e-9, 1.001, math.inf)),
    "ALIF.threshold": ((1e-9, 1e38), (0.0, -1e-9, 1e39, math.inf)),  # 1e39: beyond float32
    "ALIF.beta": ((0.0, 1e300), (-1e-9, math.inf)),
    "ALIF.rho": ((0.0, 1.0), (-1e-9, 1 + 1e-9, math.inf)),
    "ALIF.refractory": ((0.0, 1e9), (-1e-9, math.inf)),
    "LI.tau": ((1e-9, math.inf), (0.0, -1e-9, -math.inf)),
    "LI.gain": ((0.0, -1e300, 1e300), (math.inf, -math.inf)),
    "GatedLI.floor": ((0.0, 1 - 1e-9), (-1e-9, 1.0, math.inf)),
}


@pytest.mark.parametrize("field", BOUNDS)
def test_the_least_and_the_largest_value_pass_and_none_beyond(field: str) -> None:
    periods: dict[str, Any] = {
        "LIF.refractory": lambda p: LIF(tau=0.02, refractory=p),
        "ALIF.refractory": lambda p: ALIF(refractory=p),
    }
    make, (right, wrong) = {**MODELS, **periods}[field], BOUNDS[field]
    model, name = field.split(".")
    named = rf"^{'LIF' if model == 'IF' else model}\.{name} must be .*, got "
    for value in right:
        make(value)
    for value in (*wrong, math.nan):
        with pytest.raises(ValueError, match=named):
            make(value)
        if field not in periods:  # one of several
            with pytest.raises(ValueError, match=named):
                make(np.array([right[0], value]))


@pytest.mark.parametrize(
    "field", ["LIF.threshold", *[f for f in MODELS if f[0] in "AG"], "LI.gain"]
)
def test_a_trained_parameter_that_is_not_finite_is_refused(field: str) -> None:
    for bad in (math.nan, math.inf, -math.inf):
        given = torch.tensor([0.5, bad], dtype=torch.float64, requires_grad=True)
        with pytest.raises(ValueError, match=rf"^{field.replace('.', '[.]')} must be .*, got "):
            MODELS[field](given)


def test_of_several_values_the_wrong_one_is_told() -> None:
    with pytest.raises(ValueError, match=r"LIF\.tau must be > 0 s, got -1\.0; for no leak"):
        LIF(tau=np.array([[0.02, -1.0], [0.03, 0.04]]))


@pytest.mark.parametrize("field", MODELS)
@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
def test_a_change_in_place_reaches_no_model(field: str, make: Any) -> None:
    given = make([0.5, 0.25])
    found = getattr(MODELS[field](given), field.split(".")[1])
    given[:] = 0.125
    assert found.tolist() == [0.5, 0.25]
    assert found.dtype == (np.float32 if field in SINGLE else np.float64)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


@pytest.mark.parametrize("field", MODELS)
@pytest.mark.parametrize(
    "given",
    [
        *(0.5, np.float32(0.5), np.array(0.5), np.array([0.5]), np.full((1, 1, 1), 0.5)),
        *(torch.tensor(0.5), torch.tensor([0.5], dtype=torch.bfloat16)),
    ],
    ids=lambda p: f"{type(p).__name__} {tuple(np.shape(p))}",
)
def test_one_value_is_a_float_however_it_is_given(field: str, given: Any) -> None:
    found = getattr(MODELS[field](given), field.split(".")[1])
    assert (type(found), found) == (float, 0.5)


def test_whole_numbers_and_periods_are_floats_too() -> None:
    cells: Any = LIF(tau=np.array([1, 2]), threshold=2, refractory=0)  # type: ignore[arg-type]
    assert (cells.tau.dtype, cells.tau.tolist()) == (np.float64, [1, 2])
    assert (type(cells.threshold), type(cells.refractory)) == (float, float)


def test_a_trained_tensor_stays_for_its_gradient_and_is_frozen_as_numbers() -> None:
    floor = torch.tensor([0.1, 0.2], dtype=torch.float64, requires_grad=True)
    cells = Spiking(GatedLI(floor=floor))
    assert cells.bound().floor is floor  # type: ignore[attr-defined]
    frozen: Any = cells.frozen()
    assert frozen.floor.tolist() == [0.1, 0.2]  # not rounded to float32
    with torch.no_grad():
        floor += 0.5
    assert frozen.floor.tolist() == [0.1, 0.2]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            LIF(tau=20.0),
            r"LIF\.tau is 20 s, 20,000 ticks; times are in seconds, 20 ms is 0\.02",
        ),
        (LIF(tau=np.array([0.02, math.inf, 2.0])), r"LIF\.tau is 2 s, 2,000 ticks"),
        (LIF(tau=0.02, tau_syn=5.0), r"LIF\.tau_syn is 5 s, .* 5 ms is 0\.005"),
        (ALIF(refractory=Seconds(2.0)), r"ALIF\.refractory is 2 s"),
        (LI(tau=20.0), r"LI\.tau is 20 s"),
    ],
)
def test_a_time_that_may_be_in_milliseconds_is_warned_of(cells: Any, said: str) -> None:
    with pytest.warns(UserWarning, match=f"^{said}") as told:
        Spiking(cells)
    assert len(told) == 1
    message = str(told[0].message)
    with warnings.catch_warnings():
        exec(message.split("is correct: ")[1])
        Spiking(cells)


@pytest.mark.parametrize(
    ("cells", "dt"),
    [(LIF(tau=1.0), 1e-3), (LIF(tau=math.inf), 1e-3), (LIF(tau=20.0), 1.0), (LI(tau=5.0), 0.1)],
)
def test_long_times_of_few_ticks_and_no_leak_are_not(cells: Any, dt: float) -> None:
    Spiking(cells, Seconds(dt))


def test_a_graph_warns_too() -> None:
    with pytest.warns(UserWarning, match=r"^LIF\.tau is 20 s, 20,000 ticks"):
        chain(x=Input(shape=(2,)), cells=LIF(tau=20.0))


def test_a_time_constant_of_an_alif_is_looked_at_too() -> None:
    with pytest.warns(UserWarning, match=r"^ALIF\.with_tau: tau is 20 s"):
        ALIF.with_tau(Seconds(20.0), Seconds(1e-3))
    with pytest.warns(UserWarning, match=r"^ALIF\.with_tau: tau_adapt is 200 s"):
        ALIF.with_tau(Seconds(0.02), Seconds(1e-3), tau_adapt=Seconds(200.0))


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (
            lambda: Spiking(LIF(tau=0.02), Seconds(1)),
            r"a tick of dt = 1 s .* LIF\.tau = 0\.02 s",
        ),
        (lambda: network(LI(tau=0.02), 0.5), r"a tick of dt = 0\.5 s .* 0\.5 ms is 0\.0005; "),
        (lambda: Spiking(LIF(tau=0.02), Seconds(0.1)), r"a tick of dt = 0\.1 s"),
        (lambda: ALIF.with_tau(Seconds(0.02), Seconds(1)), "ALIF.with_tau: tau = 0.02 s"),
    ],
)
def test_a_tick_that_is_longer_than_all_memory_is_warned_of(write: Any, said: str) -> None:
    with pytest.warns(UserWarning, match=said) as told:
        write()
    assert len(told) == 1
    with warnings.catch_warnings():
        exec(str(told[0].message).split("is correct: ")[1])
        write()


def network(cells: Any, dt: float) -> Graph:
    return chain(x=Input(shape=(2,)), cells=cells, dt=dt)


@pytest.mark.parametrize(
    ("cells", "dt"),
    [
        (LIF(tau=0.02), 0.05),  # a coarse clock: frames of a camera
        (LIF(tau=0.5), 0.5),
        (LIF(tau=math.inf), 1.0),
        (ALIF(), 1.0),
        (LIF(tau=np.array([0.02, 2.0])), 1.0),
    ],
)
def test_ticks_that_leave_a_memory_or_have_none_to_leave_are_not(cells: Any, dt: float) -> None:
    network(cells, dt)
