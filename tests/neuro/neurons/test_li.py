import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from neuro.base.units import Seconds
from neuro.neurons import LI, LIState, psc_gain, run_population

DT = Seconds(1.0)
HALF = 1 / math.log(2)


def test_the_output_is_the_membrane_which_halves_every_tick() -> None:
    v, end = run_population(LI(tau=HALF), torch.tensor([8.0, 0.0, 2.0]).view(3, 1), DT)
    assert v.flatten().tolist() == [8, 4, 4]
    assert end.v.item() == 4


def test_without_leak_it_sums() -> None:
    v, _ = run_population(LI(tau=math.inf), torch.ones(5, 1), DT)
    assert v.flatten().tolist() == [1, 2, 3, 4, 5]


@given(v=st.floats(-9, 9), n=st.integers(1, 60), tau=st.sampled_from([0.5, 3.0, math.inf]))
def test_silent_steps_are_powers_of_the_decay(v: float, n: int, tau: float) -> None:
    neuron = LI(tau=tau)
    state = LIState(v=torch.tensor([[v]], dtype=torch.float64))
    for _ in range(n):
        _, state = neuron.step(torch.zeros(1, 1, dtype=torch.float64), state, DT)
    assert float(state.v) == pytest.approx(math.exp(-n / tau) * v, rel=1e-9, abs=1e-12)


def test_it_has_no_free_parameters_and_never_fires() -> None:
    neuron = LI(tau=HALF)
    assert neuron.free() == {}
    assert neuron.bind({}) is neuron
    assert not neuron.coefficients(DT).fires


def test_the_gain_scales_its_input() -> None:
    v, _ = run_population(LI(tau=HALF, gain=0.25), torch.tensor([8.0, 0.0, 2.0]).view(3, 1), DT)
    assert v.flatten().tolist() == [2, 1, 1]


@pytest.mark.parametrize("ratio", [0.25, 0.9999999, 1.0, 1.0000001, 4.0, 50.0])
def test_the_gain_of_a_physical_current_makes_its_charge_what_it_is(ratio: float) -> None:
    """A jump of 1 in I pushes tau dv/dt by exp(-t / tau_syn); v is known in closed form."""
    tau, dt, n = 20.0, 0.1, 400
    gain = psc_gain(Seconds(tau / ratio), Seconds(tau), Seconds(dt))
    x = torch.zeros(n, 1, dtype=torch.float64)
    x[0] = 1
    i, _ = run_population(LI(tau=tau / ratio, gain=gain), x, Seconds(dt))
    v, _ = run_population(LI(tau=tau), i, Seconds(dt))
    t = np.arange(1, n + 1) * dt  # a current acts on the grid in the tick of its arrival
    exact = np.exp(-t / tau) * -np.expm1(-t * (ratio - 1) / tau) / (ratio - 1 or np.nan)
    if ratio == 1:
        exact = t / tau * np.exp(-t / tau)
    np.testing.assert_allclose(v.flatten().numpy(), exact, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.inf, math.nan])
def test_a_physical_current_needs_finite_time_constants(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"psc_gain: tau must be > 0 s and finite"):
        psc_gain(Seconds(1.0), Seconds(wrong), DT)


def test_a_wrong_time_constant_is_named_with_its_cure() -> None:
    with pytest.raises(ValueError, match=r"LI\.tau must be > 0 s, got 0\.0; .*math\.inf"):
        LI(tau=0.0)
