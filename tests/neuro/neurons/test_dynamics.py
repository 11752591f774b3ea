"""The continuous normal form against the sampled one: the same flow, seen at every tick."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from neuro.base.units import Seconds
from neuro.neurons import ALIF, LI, LIF

DT = Seconds(1e-3)
TAUS = st.one_of(st.floats(1e-4, 10.0), st.just(math.inf))


@given(tau=TAUS, tau_syn=st.floats(1e-4, 10.0))
def test_a_lif_decays_in_a_tick_as_its_rates_say(tau: float, tau_syn: float) -> None:
    neuron = LIF(tau=tau, tau_syn=tau_syn, threshold=0.75, reset="hard", refractory=0.0013)
    flow = neuron.dynamics(DT)
    assert flow.rate == (0 if tau == math.inf else 1 / tau)
    assert flow.rate_syn == 1 / tau_syn
    assert np.exp(-flow.rate * DT) == pytest.approx(math.exp(-DT / tau), rel=1e-12)
    assert (flow.gain, flow.threshold, flow.beta) == (1, 0.75, 0)
    assert (flow.hard, flow.fires, flow.refractory) == (True, True, 0.0013)
    assert flow.rate_adapt == math.inf


def test_a_lif_without_current_has_no_rate_of_one() -> None:
    assert LIF(tau=0.02).dynamics(DT).rate_syn is None


@given(leak=st.floats(1e-3, 0.99), rho=st.floats(0.01, 0.999))
def test_an_alif_decays_in_a_tick_as_its_rates_say(leak: float, rho: float) -> None:
    neuron = ALIF(leak=leak, threshold=0.5, beta=0.25, rho=rho, reset="soft")
    flow, k = neuron.dynamics(DT), neuron.coefficients(DT)
    assert np.exp(-flow.rate * DT) == pytest.approx(k.decay, rel=1e-12)
    assert np.exp(-flow.rate_adapt * DT) == pytest.approx(rho, rel=1e-12)
    assert (flow.gain, flow.threshold, flow.beta) == (k.gain, 0.5, 0.25)
    assert (flow.hard, flow.fires, flow.rate_syn) == (False, True, None)


def test_an_adaptation_that_stays_or_goes_at_once_has_rate_zero_or_infinity() -> None:
    assert ALIF(rho=1.0).dynamics(DT).rate_adapt == 0
    assert ALIF(rho=0.0).dynamics(DT).rate_adapt == math.inf
    both = ALIF(rho=np.array([0.0, 1.0])).dynamics(DT).rate_adapt
    assert both.tolist() == [math.inf, 0]


def test_an_alif_that_forgets_at_once_has_no_continuous_form() -> None:
    with pytest.raises(ValueError, match=r"continuous time needs leak < 1, got 1\.0; use a"):
        ALIF(leak=np.array([0.5, 1.0])).dynamics(DT)


def test_a_leaky_integrator_never_fires() -> None:
    flow = LI(tau=np.array([0.02, math.inf]), gain=0.5).dynamics(DT)
    assert flow.rate.tolist() == [50, 0]
    assert (flow.gain, flow.threshold, flow.fires) == (0.5, math.inf, False)
