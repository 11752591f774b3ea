"""Gradients of gradients: those of the fused operator are those of the loop over ``step``."""

from typing import Any

import pytest
import torch
from fused_cases import DT, MODELS, Case, bell, drawn
from torch import Tensor

from neuro.base.units import Ticks
from neuro.neurons import FusedContext, run_population
from neuro.neurons.fused import step_population
from neuro.neurons.surrogate import arctan

POOLED = FusedContext(Ticks(0), (2, 2))


def curvature(run: Any, kind: str, case: Case, context: FusedContext) -> list[Tensor]:
    """Return gradients, and the gradients of their squared norm and of a weighted sum."""
    x, threshold, leak, w, u = (y.double() for y in drawn(3, case))
    if case.channels_last:
        x = x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, case.shape[:2])
    wanted = [x.requires_grad_(), threshold.requires_grad_(), leak.requires_grad_()]
    model = MODELS[kind](threshold, leak, case.surrogate)
    start = model.initial(x[0])
    start = type(start)(*(None if c is None else (0.3 + c).requires_grad_() for c in start))
    y, state = run(model, x, DT, start, context)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    loss = (y * weights).sum() + sum((c**2 * u).sum() for c in state if c is not None)
    wanted += [c for c in start if c is not None]
    first = torch.autograd.grad(loss, wanted, create_graph=True, allow_unused=True)
    norm = sum((g**2).sum() for g in first if g is not None) + (first[0] * w).sum()
    second = torch.autograd.grad(norm, wanted, allow_unused=True)
    return [torch.zeros(()) if g is None else g.detach() for g in (*first, *second)]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("surrogate", [arctan, bell])
@pytest.mark.parametrize("each", [False, True])
def test_gradients_of_gradients_are_those_of_the_plain_loop(
    kind: str, surrogate: Any, each: bool
) -> None:
    case = Case((6, 3, 5), each, torch.float64, surrogate)
    fast, slow = (curvature(run, kind, case, FusedContext()) for run in RUNS)
    assert sum(bool(g.any()) for g in fast) >= 6
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", MODELS)
def test_a_pool_behind_the_population_has_them_too(kind: str) -> None:
    case = Case((4, 2, 3, 4, 5), True, torch.float64, arctan, channels_last=True)
    fast, slow = (curvature(run, kind, case, POOLED) for run in RUNS)
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_one_tick_that_is_repeated_has_them_too() -> None:
    case = Case((1, 3, 5), False, torch.float64, arctan)
    fast, slow = (curvature(run, "leak", case, FusedContext(Ticks(7))) for run in RUNS)
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_a_state_that_comes_with_its_input_is_not_counted_twice() -> None:
    """The input is computed from the membrane: its gradient by both is that of the loop."""

    def found(run: Any) -> Tensor:
        model = MODELS["soft"](torch.tensor(0.7), torch.tensor(0.5), arctan)
        v = torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4).requires_grad_()
        y, _ = run(model, torch.stack([v * 2, v + 1]), DT, model.initial(v)._replace(v=v))
        (first,) = torch.autograd.grad(y.square().sum(), v, create_graph=True)
        return torch.autograd.grad(first.square().sum(), v)[0]

    fast, slow = map(found, RUNS)
    assert slow.any()
    torch.testing.assert_close(fast, slow)


RUNS = (run_population, step_population)
