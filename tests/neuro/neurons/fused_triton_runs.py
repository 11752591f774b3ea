"""The operator in Triton is the loop; run by ``test_fused_triton`` in processes of its own.

On a GPU where torch finds one, else on the CPU in Triton's interpreter ($TRITON_INTERPRET=1).
"""

from typing import Any

import pytest
import torch
from fused_cases import DT, MODELS, Case, bell, on_triton, outcome, require_same
from hypothesis import given, settings, strategies as st

from neuro.neurons import ALIF, LIF, run_population
from neuro.neurons.fused import step_population
from neuro.neurons.surrogate import arctan, triangle

# Triton's own, before 3.7.
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SHAPES = {"cells": (5, 3, 211), "images": (4, 2, 3, 4, 6), "one": (1, 1, 1), "row": (3, 2, 128)}


@pytest.mark.sample(surrogate=bell)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("surrogate", [arctan, triangle, bell])
@settings(max_examples=3)
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from(sorted(SHAPES)),
    each=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_operator_and_loop_agree(
    model: str, surrogate: Any, seed: int, shape: str, each: bool, dtype: torch.dtype
) -> None:
    last = shape == "images" and seed % 2 == 0
    case = Case(SHAPES[shape], each, dtype, surrogate, last, DEVICE)
    fast, slow = (
        outcome(execute, MODELS[model], seed, case) for execute in (on_triton, step_population)
    )
    require_same(fast, slow, case)


def test_runs_that_follow_each_other_hand_gradients_back_through_the_state() -> None:
    model = ALIF(beta=0.2)
    grads = []
    for execute in (on_triton, step_population):
        g = torch.Generator().manual_seed(3)
        x = torch.randn(6, 2, 5, dtype=torch.float64, generator=g).to(DEVICE).requires_grad_()
        y, state = execute(model, x[:3], DT, model.initial(x[0]))
        z, _ = execute(model, x[3:], DT, state)
        grads.append(torch.autograd.grad((y**2).sum() + (3 * z).sum(), x)[0])
    torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=1e-13)


def test_an_adaptation_that_decays_without_a_rise_still_lifts_the_threshold() -> None:
    model = ALIF(beta=0.0, rho=0.5, leak=1.0, threshold=1.0)
    x = torch.full((3, 1, 1), 1.5, device=DEVICE)
    state = model.initial(x[0])._replace(a=torch.full((1, 1), 2.0, device=DEVICE))
    y, after = on_triton(model, x, DT, state)
    assert y.flatten().tolist() == [0.0, 1.0, 1.0]  # against 2, 1.5 and 1.25
    assert after.a.item() == 0.25


def test_inputs_that_repeat_without_memory_and_no_gradient_are_run() -> None:
    x = torch.rand(1, 2, 5, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    model = LIF(tau=0.01)
    y, _ = on_triton(model, x.expand(4, 2, 5), DT, model.initial(x[0]))
    want, _ = step_population(model, x.expand(4, 2, 5), DT, model.initial(x[0]))
    assert torch.equal(y, want)
    assert int(y.sum()) > 0


def test_sums_over_neurons_are_the_same_each_time() -> None:
    case = Case((6, 5, 300), False, torch.float32, arctan, device=DEVICE)
    once, again = (outcome(on_triton, MODELS["leak"], 7, case)[1] for _ in range(2))
    for a, b in zip(once, again, strict=True):
        assert a is not None
        assert torch.equal(a, b)


@pytest.mark.skipif(DEVICE == "cpu", reason="no GPU here")
def test_on_a_gpu_a_population_runs_in_triton() -> None:
    y, _ = run_population(
        LIF(tau=0.01), torch.rand(3, 2, 4, device="cuda", requires_grad=True), DT
    )
    assert type(y.grad_fn.next_functions[0][0]).__name__ == "FusedOnGPUBackward"
