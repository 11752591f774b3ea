"""Neurons and their parameters, as a new user may write them by mistake."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from written_slips import (
    DT,
    Slip,
    X,
    call,
    graph,
    require_told,
)

from neuro import (
    ALIF,
    IF,
    LI,
    LIF,
    Input,
    Spiking,
)
from neuro.neurons import LIFState, psc_gain, run_population
from neuro.units import Seconds

SLIPS: dict[str, Slip] = {
    "LIF()": Slip(call(LIF), TypeError, "LIF needs tau", "LIF(tau=...)"),
    "LIF(0.02)": Slip(call(LIF, 0.02), TypeError, "by name, got 0.02", "LIF(tau=...)"),
    "LIF(tau='20ms')": Slip(call(LIF, tau="20ms"), TypeError, "got '20ms'", "20 ms is 0.02"),
    "LIF(beta=.9)": Slip(
        call(LIF, beta=0.9),
        TypeError,
        "LIF has no parameter beta, got beta=0.9",
        "tau = -dt / math.log(beta) [s]",
    ),
    "LI(beta=.9)": Slip(
        call(LI, beta=0.9),
        TypeError,
        "beta=0.9",
        "tau = -dt / math.log(beta) [s]",
    ),
    "LIF(leak=.1)": Slip(
        call(LIF, leak=0.1),
        TypeError,
        "leak=0.1",
        "tau = -dt / math.log1p(-leak) [s]",
    ),
    "ALIF(tau=.02)": Slip(
        call(ALIF, tau=0.02), TypeError, "tau=0.02", "ALIF.with_tau(tau, dt)"
    ),
    "IF(v_threshold=1)": Slip(call(IF, v_threshold=1), TypeError, "v_threshold=1", "threshold"),
    "IF(2.0)": Slip(call(IF, 2.0), TypeError, "by name, got 2.0", "IF(threshold=...)"),
    "LIF(treshold=1)": Slip(
        call(LIF, tau=0.02, treshold=1),
        TypeError,
        "no parameter treshold",
        "did you mean threshold?",
    ),
    "LI(reset='hard')": Slip(
        call(LI, tau=0.02, reset="hard"),
        TypeError,
        "reset='hard'",
        "it has tau, gain",
    ),
    "LIF(reset='zero')": Slip(
        call(LIF, tau=0.02, reset="zero"),
        ValueError,
        "got 'zero'",
        "hard sets the membrane to 0",
    ),
    "LIF(threshold=True)": Slip(
        call(LIF, tau=0.02, threshold=True),
        TypeError,
        "LIF.threshold must be a number, got True",
        "give a float",
    ),
    "ALIF(refractory=True)": Slip(
        call(ALIF, refractory=True), TypeError, "got True", "a number"
    ),
    "LIF(threshold=mask)": Slip(
        call(LIF, tau=0.02, threshold=np.array([True, False])),
        TypeError,
        "LIF.threshold must be numbers, got a NumPy array of shape (2,), bool",
        "True and False are not",
    ),
    "LIF(threshold=complex)": Slip(
        call(LIF, tau=0.02, threshold=np.ones(2) * 1j),
        TypeError,
        "LIF.threshold must be real numbers, got a NumPy array of shape (2,), complex128",
        "array or tensor of floats",
    ),
    "LI(gain=None)": Slip(call(LI, tau=0.02, gain=None), TypeError, "LI.gain", "got None"),
    "LIF(tau=ragged)": Slip(call(LIF, tau=[[1], [1, 2]]), TypeError, "got a list", "array"),
    "LIF(surrogate='arctan')": Slip(
        call(LIF, tau=0.02, surrogate="arctan"),
        TypeError,
        "LIF.surrogate must be a function of v - threshold, got 'arctan'",
        "neuro.neurons.surrogate.triangle",
    ),
    "ALIF(surrogate=1)": Slip(call(ALIF, surrogate=1), TypeError, "ALIF.surrogate", "triangle"),
    "LIF(two periods)": Slip(
        call(LIF, tau=0.02, refractory=np.array([0.001, 0.002])),
        TypeError,
        "LIF.refractory must be one number, got a NumPy array of shape (2,)",
        "another population",
    ),
    "LIF(trained tau)": Slip(
        call(LIF, tau=torch.tensor(0.02, requires_grad=True)),
        ValueError,
        "LIF.tau passes no gradient",
        "tensor.detach()",
    ),
    "ALIF(tiny threshold)": Slip(
        call(ALIF, threshold=1e-50),
        ValueError,
        "ALIF.threshold must be > 0 and finite, got 0.0",
        "scale the weights",
    ),
    "psc_gain('20ms')": Slip(
        call(psc_gain, "20ms", 0.02, DT),
        TypeError,
        "psc_gain: tau_syn",
        "ms",
    ),
    "LI(gain='1')": Slip(
        call(LI, tau=0.02, gain="1"), TypeError, "a number, got '1'", "a float"
    ),
    "run_population(state of one sample)": Slip(
        call(run_population, LIF(tau=0.02), X, DT, LIFState(v=X[0, :1], i=None)),
        ValueError,
        "the state is of shape (1, 3), a tick of x of (2, 3)",
        "state=None",
    ),
    "ALIF.with_tau(0)": Slip(
        call(ALIF.with_tau, 0.0, DT),
        ValueError,
        "ALIF.with_tau: tau must be > 0 s and finite, got 0.0",
        "",
    ),
    "ALIF.with_tau('20ms')": Slip(
        call(ALIF.with_tau, "20ms", DT),
        TypeError,
        "ALIF.with_tau: tau must be a number of seconds, got '20ms'",
        "1 ms is 1e-3",
    ),
    "ALIF.with_tau(dt=-1)": Slip(
        call(ALIF.with_tau, 0.02, -1), ValueError, "dt must", "got -1"
    ),
    "ALIF(tau_adapt=.2)": Slip(
        call(ALIF, tau_adapt=0.2),
        TypeError,
        "ALIF has no parameter tau_adapt, got tau_adapt=0.2",
        "rho = math.exp(-dt / tau_adapt), or ALIF.with_tau(..., tau_adapt=...)",
    ),
    "ALIF.with_tau(beta)": Slip(
        call(ALIF.with_tau, 0.02, DT, beta=0.1),
        ValueError,
        "ALIF.with_tau: beta > 0 raises the threshold at a spike",
        "tau_adapt=0.2 [s]",
    ),
    "ALIF.with_tau(beta of some)": Slip(
        call(ALIF.with_tau, 0.02, DT, beta=np.array([0.0, 0.1])),
        ValueError,
        "beta > 0 raises the threshold at a spike",
        "tau_adapt=0.2 [s]",
    ),
    "ALIF.with_tau(rho)": Slip(
        call(ALIF.with_tau, 0.02, DT, rho=0.9),
        TypeError,
        "ALIF.with_tau computes rho from tau_adapt",
        "give tau_adapt [s]",
    ),
    "ALIF.with_tau(leak)": Slip(
        call(ALIF.with_tau, 0.02, DT, leak=0.9),
        TypeError,
        "computes leak from tau",
        "give tau [s]",
    ),
    "ALIF.with_tau(tau_adapt='200ms')": Slip(
        call(ALIF.with_tau, 0.02, DT, tau_adapt="200ms"),
        TypeError,
        "ALIF.with_tau: tau_adapt must be a number of seconds, got '200ms'",
        "1 ms is 1e-3",
    ),
    "ALIF.with_tau(bta)": Slip(
        call(ALIF.with_tau, 0.02, DT, bta=0.1), TypeError, "no parameter bta", "mean beta?"
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_told_with_what_was_given_and_the_cure(slip: str) -> None:
    require_told(SLIPS[slip])


def test_all_that_is_wrong_is_told_together() -> None:
    with pytest.raises(TypeError) as told:
        LIF(beta=0.9, v_th=1.0, refractory="2 ms")  # type: ignore[call-arg, arg-type]
    assert len(str(told.value).splitlines()) == 3
    with pytest.raises(TypeError) as told:
        graph(nodes={"input": Input, "fc": nn.Linear(3, 2)}, edges=(1,), dt="1 ms")
    assert len(str(told.value).splitlines()) == 5


def test_snntorchs_beta_is_the_tau_that_the_message_gives() -> None:
    tau = -DT / math.log(0.9)
    assert LIF(tau=tau).coefficients(DT).decay == pytest.approx(0.9, rel=1e-15)
    leak = -math.expm1(-DT / tau)
    assert leak == pytest.approx(0.1, rel=1e-13)
    assert -DT / math.log1p(-leak) == pytest.approx(tau, rel=1e-13)


def test_times_of_an_adapting_neuron_are_given_in_seconds() -> None:
    made = ALIF.with_tau(
        Seconds(0.02), DT, 0.7, tau_adapt=Seconds(0.2), beta=0.1, reset="soft", refractory=DT
    )
    assert made.leak == np.float32(-math.expm1(-1 / 20))
    assert made.rho == math.exp(-1 / 200)
    assert (made.beta, made.reset, made.refractory) == (0.1, "soft", 0.001)
    assert made.threshold == np.float32(0.7)
    half = ALIF.with_tau(Seconds(0.02), Seconds(DT / 2), tau_adapt=Seconds(0.2))
    assert half.rho**2 == pytest.approx(made.rho, rel=1e-15)
    assert Spiking(made).dt == DT
    own = graph(nodes={**graph().nodes, "out": made})  # of its own dt, it is taken
    assert own.nodes["out"] is made
