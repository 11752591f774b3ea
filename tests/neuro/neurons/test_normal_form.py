"""Every model against the normal form, written here once more in plain numpy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from neuro.base.units import Seconds
from neuro.neurons import ALIF, IF, LI, LIF, Coefficients, Neuron, run_population

DT = Seconds(1.0)
HALF, QUARTER = 1 / math.log(2), 1 / math.log(4)

# Every product and sum stays exact in float32 over the ticks of these tests.
DYADIC: list[Neuron] = [
    LIF(tau=HALF),
    LIF(tau=HALF, reset="hard", threshold=0.75),
    LIF(tau=HALF, tau_syn=QUARTER),
    LIF(tau=HALF, tau_syn=HALF, reset="hard"),
    LIF(tau=np.array([HALF, math.inf, QUARTER]), threshold=np.array([0.5, 1.0, 2.0])),
    IF(threshold=0.5),
    ALIF(),
    ALIF(leak=0.25, threshold=0.75, reset="soft"),
    ALIF(leak=0.5, beta=0.5, rho=0.5),
    ALIF(leak=np.array([0.5, 1.0, 0.25]), beta=0.25, rho=0.75, reset="soft"),
    LIF(tau=HALF, refractory=2.0),
    LIF(tau=HALF, tau_syn=QUARTER, reset="hard", refractory=1.0),
    ALIF(leak=0.5, beta=0.25, rho=0.5, refractory=3.0),
    LI(tau=HALF),
    LI(tau=math.inf),
    LI(tau=HALF, gain=0.25),
]
ANY: list[Neuron] = [
    LIF(tau=3.3, threshold=0.7),
    LIF(tau=7.1, tau_syn=2.3, reset="hard"),
    ALIF(leak=0.29, threshold=0.37, beta=0.11, rho=0.87),
    ALIF(leak=0.33, threshold=0.37, beta=0.11, rho=0.87, reset="soft"),
    LIF(tau=7.1, tau_syn=2.3, refractory=2.0),
    ALIF(leak=0.33, threshold=0.37, beta=0.11, rho=0.87, reset="soft", refractory=1.0),
    LI(tau=4.7),
    LI(tau=4.7, gain=0.13),
]


def name(neuron: Neuron) -> str:
    return type(neuron).__name__


def normal_form(k: Coefficients, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what is emitted at every tick, and the last membrane."""
    i = v = a = wait = np.zeros(x.shape[1:], x.dtype)
    decay, gain, decay_syn, threshold, beta, decay_adapt = (
        c.astype(x.dtype)
        for c in (k.decay, k.gain, k.decay_syn, k.threshold, k.beta, k.decay_adapt)
    )
    out = []
    for x_t in x:
        i = decay_syn * i + x_t
        v = np.where(wait == 0, decay * v + gain * i, v)
        if not k.fires:
            out.append(v)
            continue
        a = decay_adapt * a
        s = ((wait == 0) & (v >= threshold + a)).astype(x.dtype)
        v = np.where(s == 1, 0, v) if k.hard else v - (threshold + a) * s
        a = a + beta * s
        wait = np.where(s == 1, k.refractory, np.maximum(wait - 1, 0))
        out.append(s)
    return np.stack(out), v


@pytest.mark.parametrize("neuron", DYADIC, ids=name)
@settings(max_examples=15)
@given(seed=st.integers(0, 999))
def test_with_dyadic_numbers_a_float32_step_is_the_float64_normal_form(
    neuron: Neuron, seed: int
) -> None:
    x = np.random.default_rng(seed).integers(-8, 16, (6, 2, 3)) / 8
    wanted, v = normal_form(neuron.coefficients(DT), x)
    found, end = run_population(neuron, torch.tensor(x, dtype=torch.float32), DT)
    np.testing.assert_array_equal(found.double().numpy(), wanted)
    np.testing.assert_array_equal(end.v.double().numpy(), v)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("neuron", [*DYADIC, *ANY], ids=name)
@settings(max_examples=15)
@given(seed=st.integers(0, 999))
def test_in_one_precision_a_step_is_the_normal_form_for_any_numbers(
    neuron: Neuron, dtype: type, seed: int
) -> None:
    x = np.random.default_rng(seed).normal(0.3, 1, (30, 2, 3)).astype(dtype)
    wanted, v = normal_form(neuron.coefficients(DT), x)
    found, end = run_population(neuron, torch.from_numpy(x), DT)
    np.testing.assert_array_equal(found.numpy(), wanted)
    np.testing.assert_array_equal(end.v.numpy(), v)


@pytest.mark.parametrize("neuron", [*DYADIC, *ANY], ids=name)
@settings(max_examples=15)
@given(cut=st.integers(1, 19), seed=st.integers(0, 99))
def test_a_run_in_two_halves_equals_one_run(neuron: Neuron, cut: int, seed: int) -> None:
    x = torch.randn(20, 2, 3, generator=torch.Generator().manual_seed(seed))
    whole, end = run_population(neuron, x, DT)
    head, state = run_population(neuron, x[:cut], DT)
    tail, end2 = run_population(neuron, x[cut:], DT, state)
    assert torch.equal(torch.cat([head, tail]), whole)
    for a, b in zip(end, end2, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)
