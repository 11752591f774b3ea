import math

import pytest
import torch
from hypothesis import given, strategies as st

from neuro.base.units import Seconds
from neuro.neurons import IF, LIF, LIFState, run_population
from neuro.neurons.surrogate import triangle

DT = Seconds(1.0)
HALF = 1 / math.log(2)  # with dt = 1 s the decay is 1/2: exact in binary
QUARTER = 1 / math.log(4)


def spikes_of(neuron: LIF, *x: float) -> list[float]:
    out, _ = run_population(neuron, torch.tensor(x, dtype=torch.float32).view(-1, 1), DT)
    return out.flatten().tolist()


def membranes_of(neuron: LIF, *x: float) -> list[float]:
    """Return the membrane after the reset, tick by tick."""
    found = []
    state = neuron.initial(torch.zeros(1, 1))
    for value in x:
        _, state = neuron.step(torch.tensor([[float(value)]]), state, DT)
        found.append(float(state.v))
    return found


def test_the_membrane_halves_every_tick_without_input() -> None:
    assert membranes_of(LIF(tau=HALF, threshold=100.0), 8, 0, 0, 0) == [8, 4, 2, 1]


def test_a_membrane_at_the_threshold_fires() -> None:
    assert spikes_of(LIF(tau=HALF, threshold=1.0), 1.0, 0.5, 0.5, 0.25) == [1, 0, 0, 0]
    assert spikes_of(LIF(tau=HALF, threshold=0.75), 0.5, 0.5) == [0, 1]


def test_soft_reset_subtracts_the_threshold_once_and_keeps_the_rest() -> None:
    assert membranes_of(LIF(tau=HALF, threshold=1.0), 2.75, 0.0) == [1.75, 0.875]


def test_hard_reset_clears_the_membrane() -> None:
    assert membranes_of(LIF(tau=HALF, threshold=1.0, reset="hard"), 2.75, 0.5) == [0, 0.5]


def test_a_synaptic_current_keeps_a_quarter_of_itself_a_tick() -> None:
    neuron = LIF(tau=HALF, tau_syn=QUARTER, threshold=100.0)
    # i = 1, 1/4, 1/16; v = i + v / 2
    assert membranes_of(neuron, 1, 0, 0) == [1, 0.75, 0.4375]


def test_without_time_constant_there_is_no_current() -> None:
    x = torch.zeros(2, 3)
    assert LIF(tau=HALF).initial(x).i is None
    assert LIF(tau=HALF, tau_syn=QUARTER).initial(x).i is not None


def test_integrate_and_fire_counts_its_input_in_thresholds() -> None:
    assert spikes_of(IF(threshold=1.0), *[0.375] * 8) == [0, 0, 1, 0, 0, 1, 0, 1]
    assert membranes_of(IF(threshold=10.0), 1, 0, 2) == [1, 1, 3]
    assert IF().tau == math.inf


def test_one_parameter_a_channel_broadcasts() -> None:
    neuron = LIF(tau=HALF, threshold=torch.tensor([[1.0], [4.0]]))
    s, _ = run_population(neuron, torch.full((1, 1, 2, 3), 2.0), DT)
    assert s[0, 0].tolist() == [[1, 1, 1], [0, 0, 0]]


def test_the_gradient_of_a_spike_is_the_surrogate_of_the_distance() -> None:
    x = torch.tensor([[[0.75]]], requires_grad=True)
    out, _ = run_population(LIF(tau=HALF, surrogate=triangle), x, DT)
    out.sum().backward()
    assert x.grad is not None
    assert x.grad.item() == 0.75


@pytest.mark.parametrize(("reset", "through"), [("soft", 0.5), ("hard", 0.0)])
def test_no_gradient_passes_through_the_spike_of_the_reset(reset: str, through: float) -> None:
    """v[1] sees x[0] through the decay alone: a factor 1/2, or 0 after a hard reset."""
    x = torch.tensor([[[1.5]], [[0.0]]], requires_grad=True)
    neuron = LIF(tau=HALF, threshold=1.0, reset=reset, surrogate=triangle)  # type: ignore[arg-type]
    _, end = run_population(neuron, x, DT)
    end.v.sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [through, 1.0]


def silent(neuron: LIF, v: float, i: float, ticks: int, wait: int = 0) -> tuple[float, float]:
    """Return (v, i) after ticks without input or spike; v is held for ``wait`` of them.

    With a current, v gains i c (a^n - c^n) / (a - c) in n ticks.
    """
    a, n = math.exp(-DT / float(neuron.tau)), max(ticks - wait, 0)
    if neuron.tau_syn is None:
        return a**n * v, 0.0
    c = math.exp(-DT / float(neuron.tau_syn))
    i *= c ** (ticks - n)
    gained = n * c**n if a == c else c * (a**n - c**n) / (a - c)
    return a**n * v + gained * i, c**n * i


@given(
    v=st.floats(-0.9, 0.9),
    i=st.floats(-0.5, 0.0),
    n=st.integers(1, 60),
    tau=st.sampled_from([0.5, HALF, 3.0, 50.0, math.inf]),
    tau_syn=st.sampled_from([None, 0.5, HALF, 20.0]),
)
def test_silent_steps_are_the_closed_form(
    v: float, i: float, n: int, tau: float, tau_syn: float | None
) -> None:
    neuron = LIF(tau=tau, tau_syn=tau_syn)
    at = torch.tensor([[v]], dtype=torch.float64)
    state = LIFState(v=at, i=None if tau_syn is None else torch.full_like(at, i))
    for _ in range(n):
        s, state = neuron.step(torch.zeros_like(at), state, DT)
        assert not s.any()
    wanted_v, wanted_i = silent(neuron, v, i, n)
    assert float(state.v) == pytest.approx(wanted_v, rel=1e-9, abs=1e-12)
    if state.i is not None:
        assert float(state.i) == pytest.approx(wanted_i, rel=1e-9, abs=1e-12)


class TestRefractoryPeriod:
    def test_a_spike_holds_the_membrane_for_that_many_ticks(self) -> None:
        hard = LIF(tau=HALF, reset="hard", refractory=2.0)
        assert spikes_of(hard, *[1.0] * 7) == [1, 0, 0, 1, 0, 0, 1]
        assert membranes_of(hard, 1.0, 0.5, 0.5, 0.5, 0.25) == [0, 0, 0, 0.5, 0.5]

    def test_after_a_soft_reset_it_is_held_where_it_is_and_may_fire_at_once_afterwards(
        self,
    ) -> None:
        soft = LIF(tau=math.inf, refractory=1.0)
        assert membranes_of(soft, 3.5, 9.0, 0.0, 0.0, 0.0) == [2.5, 2.5, 1.5, 1.5, 0.5]
        assert spikes_of(soft, 3.5, 9.0, 0.0, 0.0, 0.0) == [1, 0, 1, 0, 1]

    def test_the_current_goes_on_meanwhile(self) -> None:
        neuron = LIF(tau=HALF, tau_syn=HALF, reset="hard", refractory=1.0)
        # i = 4, 2, 1: the second tick is lost to v, the third fires again
        assert spikes_of(neuron, 4, 0, 0, 0) == [1, 0, 1, 0]

    def test_no_gradient_passes_where_the_membrane_is_held(self) -> None:
        x = torch.tensor([[[1.5]], [[0.5]], [[0.25]]], requires_grad=True)
        neuron = LIF(tau=HALF, refractory=1.0, surrogate=triangle)
        out, end = run_population(neuron, x, DT)
        out[1].sum().backward(retain_graph=True)
        assert x.grad is not None
        assert x.grad.flatten().tolist() == [0, 0, 0]
        end.v.sum().backward()
        assert x.grad.flatten().tolist() == [0.5, 0, 1]

    def test_without_one_no_state_is_kept_for_it(self) -> None:
        assert LIF(tau=HALF).initial(torch.zeros(1, 1)).wait is None

    def test_on_a_clock_it_is_whole_ticks(self) -> None:
        assert LIF(tau=HALF, refractory=3.0).coefficients(DT).refractory == 3
        with pytest.raises(ValueError, match=r"duration 2.5 s is not a whole number of steps"):
            LIF(tau=HALF, refractory=2.5).coefficients(DT)


@given(
    wait=st.integers(0, 5),
    n=st.integers(1, 12),
    i=st.floats(-0.5, 0.0),
    tau_syn=st.sampled_from([None, 0.5, HALF]),
)
def test_silent_steps_out_of_the_refractory_period_are_the_closed_form(
    wait: int, n: int, i: float, tau_syn: float | None
) -> None:
    neuron = LIF(tau=3.0, tau_syn=tau_syn, refractory=5.0)
    at = torch.tensor([[0.25]], dtype=torch.float64)
    current = None if tau_syn is None else torch.full_like(at, i)
    state = LIFState(v=at, i=current, wait=torch.full_like(at, wait))
    for _ in range(n):
        _, state = neuron.step(torch.zeros_like(at), state, DT)
    wanted_v, wanted_i = silent(neuron, 0.25, i, n, wait)
    assert float(state.v) == pytest.approx(wanted_v, rel=1e-9, abs=1e-12)
    if state.i is not None:
        assert float(state.i) == pytest.approx(wanted_i, rel=1e-9, abs=1e-12)


def test_free_parameters_there_are_none() -> None:
    neuron = LIF(tau=HALF)
    assert neuron.free() == {}
    assert neuron.bind({}) is neuron
