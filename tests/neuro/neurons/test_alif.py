import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from neuro.base.units import Seconds
from neuro.neurons import ALIF, ALIFState, run_population
from neuro.neurons.surrogate import triangle

DT = Seconds(1.0)
leaks = st.floats(0, 1, width=32, exclude_min=True)


def traces(neuron: ALIF, *x: float) -> list[tuple[float, float, float]]:
    """Return (spike, membrane, adaptation) after each tick."""
    found = []
    state = neuron.initial(torch.zeros(1, 1))
    for value in x:
        s, state = neuron.step(torch.tensor([[float(value)]]), state, DT)
        found.append((float(s), float(state.v), float(state.a)))
    return found


def test_the_membrane_covers_half_the_distance_to_its_input() -> None:
    found = traces(ALIF(leak=0.5, threshold=100.0), 8, 8, 0)
    assert [v for _, v, _ in found] == [4, 6, 3]


def test_a_leak_of_one_is_the_input_itself() -> None:
    found = traces(ALIF(leak=1.0, threshold=100.0), 8, -3, 0.5)
    assert [v for _, v, _ in found] == [8, -3, 0.5]


def test_hard_reset_clears_and_soft_reset_subtracts() -> None:
    assert traces(ALIF(reset="hard"), 2.0) == [(1, 0, 0)]
    assert traces(ALIF(reset="soft"), 2.0) == [(1, 0.5, 0)]


def test_a_spike_raises_the_threshold_which_then_decays() -> None:
    neuron = ALIF(leak=1.0, threshold=1.0, beta=1.0, rho=0.5)
    # effective threshold 1, 1.5, 1.25 and, after that spike, 1.625
    assert traces(neuron, 1, 1.25, 1.25, 1.5) == [
        (1, 0, 1),
        (0, 1.25, 0.5),
        (1, 0, 1.25),
        (0, 1.5, 0.625),
    ]


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_a_rise_that_is_gone_by_the_next_tick_is_none_on_a_clock(reset: str) -> None:
    x = torch.randn(30, 2, 3, generator=torch.Generator().manual_seed(0)) + 0.5
    adapts, plain = (ALIF(rho=0.0, beta=beta, reset=reset) for beta in (0.75, 0.0))  # type: ignore[arg-type]
    (s, state), (wanted, end) = (run_population(n, x, DT) for n in (adapts, plain))
    assert torch.equal(s, wanted)
    assert torch.equal(state.v, end.v)
    assert wanted.sum() > 20


def test_leak_and_threshold_receive_their_gradients() -> None:
    leak = torch.tensor(0.5, requires_grad=True)
    threshold = torch.tensor(0.5, requires_grad=True)
    neuron = ALIF(leak=leak, threshold=threshold, surrogate=triangle)
    out, _ = run_population(neuron, torch.full((1, 1, 1), 0.5), DT)
    out.sum().backward()
    # v = leak x = 1/4, so that the surrogate is 3/4; dv/dleak = x
    assert leak.grad is not None
    assert threshold.grad is not None
    assert leak.grad.item() == 0.375
    assert threshold.grad.item() == -0.75


@pytest.mark.parametrize(("reset", "through"), [("soft", 0.25), ("hard", 0.0)])
def test_no_gradient_passes_through_the_spikes_of_reset_and_adaptation(
    reset: str, through: float
) -> None:
    x = torch.tensor([[[1.5]], [[0.0]]], requires_grad=True)
    neuron = ALIF(beta=0.5, reset=reset, surrogate=triangle)  # type: ignore[arg-type]
    _, end = run_population(neuron, x, DT)
    (end.v + 0 * end.a).sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [through, 0.5]
    assert not end.a.requires_grad


@given(leak=arrays(np.float32, 20, elements=leaks))
def test_trainable_parameters_return_the_leak_bit_for_bit(leak: np.ndarray) -> None:
    threshold = leak + 1
    neuron = ALIF(leak=leak, threshold=threshold)
    back = neuron.bind(neuron.free())
    np.testing.assert_array_equal(np.asarray(back.leak), leak)
    np.testing.assert_array_equal(np.asarray(back.threshold), threshold)


def test_trained_values_reach_the_bound_model_with_their_gradient() -> None:
    neuron = ALIF(leak=0.25, beta=0.5, reset="soft")
    free = {name: p.requires_grad_() for name, p in neuron.free().items()}
    assert sorted(free) == ["logit_leak", "threshold"]
    bound = neuron.bind(free)
    assert (bound.beta, bound.reset) == (0.5, "soft")
    (gradient,) = torch.autograd.grad(torch.as_tensor(bound.leak), free["logit_leak"])
    assert gradient.item() == pytest.approx(0.25 * 0.75)


@given(v=st.floats(-0.4, 0.4), a=st.floats(0, 3), n=st.integers(1, 50), leak=leaks)
def test_silent_steps_are_powers_of_both_decays(
    v: float, a: float, n: int, leak: float
) -> None:
    neuron = ALIF(leak=leak, beta=0.5, rho=0.75)
    at = torch.tensor([[v]], dtype=torch.float64)
    state = ALIFState(v=at, a=torch.full_like(at, a))
    for _ in range(n):
        s, state = neuron.step(torch.zeros_like(at), state, DT)
        assert not s.any()
    assert float(state.v) == pytest.approx((1 - leak) ** n * v, rel=1e-9, abs=1e-12)
    assert float(state.a) == pytest.approx(0.75**n * a, rel=1e-9, abs=1e-12)


def test_a_refractory_period_holds_the_membrane_while_the_threshold_recovers() -> None:
    neuron = ALIF(leak=1.0, threshold=1.0, beta=1.0, rho=0.5, reset="hard", refractory=1.0)
    assert traces(neuron, 2, 9, 1.25) == [(1, 0, 1), (0, 0, 0.5), (1, 0, 1.25)]
    assert neuron.coefficients(DT).refractory == 1


@pytest.mark.parametrize(("wait", "n"), [(0, 3), (2, 5), (4, 2)])
def test_a_refractory_period_takes_powers_from_the_membrane_alone(wait: int, n: int) -> None:
    neuron = ALIF(leak=0.3, beta=0.5, rho=0.75, refractory=4.0)
    at = torch.tensor([[0.25]], dtype=torch.float64)
    state = ALIFState(v=at, a=at, wait=torch.full_like(at, wait))
    for _ in range(n):
        _, state = neuron.step(torch.zeros_like(at), state, DT)
    free = max(n - wait, 0)
    assert float(state.v) == pytest.approx((1 - float(neuron.leak)) ** free * 0.25, rel=1e-12)
    assert float(state.a) == pytest.approx(0.75**n * 0.25, rel=1e-12)


def test_a_time_constant_gives_its_leak() -> None:
    neuron = ALIF.with_tau(Seconds(1 / math.log(2)), Seconds(1.0), threshold=0.75)
    assert neuron.leak == pytest.approx(0.5, abs=1e-16)
    assert neuron.threshold == 0.75


def test_a_refractory_period_of_half_ticks_is_refused_by_its_name() -> None:
    neuron, x = ALIF(refractory=Seconds(2.5)), torch.ones(1, 1)
    with pytest.raises(ValueError, match=r"ALIF\.refractory: duration 2\.5 s is not a whole"):
        neuron.step(x, neuron.initial(x), Seconds(1.0))
