"""Populations, inputs and comparisons for the operators that run a population over time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuro.base.units import Seconds
from neuro.neurons import ALIF, LIF, Neuron
from neuro.neurons.fused import make_fused_form, run_fused

DT = Seconds(1e-3)
Outcome = tuple[list[Tensor], list[Tensor | None]]

MODELS: dict[str, Callable[..., Any]] = {
    "soft": lambda p, _, f: LIF(tau=0.005, threshold=p, surrogate=f),
    "current": lambda p, _, f: LIF(
        tau=0.005, threshold=p, tau_syn=0.003, reset="hard", surrogate=f
    ),
    "leak": lambda p, leak, f: ALIF(leak=leak, threshold=p, surrogate=f),
    "adaptive": lambda p, leak, f: ALIF(
        leak=leak, threshold=p, beta=0.3, rho=0.8, reset="soft", surrogate=f
    ),
}


def bell(x: Tensor) -> Tensor:
    """A derivative that no kernel knows."""
    return torch.exp(-x.abs())


class Case(NamedTuple):
    """each: a threshold and a leak a neuron (of images, a channel), not one for all."""

    shape: tuple[int, ...]
    each: bool
    dtype: torch.dtype
    surrogate: Callable[[Tensor], Tensor]
    channels_last: bool = False
    device: str = "cpu"


def drawn(seed: int, case: Case) -> list[Tensor]:
    """Return input, threshold, leak and two weightings of what comes out."""
    g = torch.Generator().manual_seed(seed)
    shape = case.shape
    one = (shape[2], *(1 for _ in shape[3:])) if case.each else ()
    threshold = torch.rand(one, generator=g) + 0.5
    leak = 0.8 * torch.rand(one, generator=g) + 0.1
    x, w = (torch.randn(shape, generator=g, dtype=case.dtype) for _ in range(2))
    u = torch.randn(shape[1:], generator=g, dtype=case.dtype)
    return [y.to(case.device) for y in (x, threshold, leak, w, u)]


def outcome(
    execute: Callable[..., Any], make: Callable[..., Any], seed: int, case: Case
) -> Outcome:
    """Return what comes out of a run and the gradients of input, parameters and cells."""
    x, threshold, leak, w, u = drawn(seed, case)
    if case.channels_last:
        x = x.flatten(0, 1).to(memory_format=torch.channels_last)
        x = x.unflatten(0, case.shape[:2])
    model = make(threshold.requires_grad_(), leak.requires_grad_(), case.surrogate)
    start = model.initial(x[0])
    start = type(start)(*(None if c is None else (0.3 + c).requires_grad_() for c in start))
    y, state = execute(model, x.requires_grad_(), DT, start)
    cells = [c for c in state if c is not None]
    loss = (y * w).sum() + sum((c * u).sum() for c in cells)
    wanted = [x, threshold, leak, *(c for c in start if c is not None)]
    return [y, *cells], list(torch.autograd.grad(loss, wanted, allow_unused=True))


def on_triton(neuron: Neuron, x: Tensor, dt: Seconds, state: Any) -> tuple[Tensor, Any]:
    """Run a population by the operator for GPUs, as ``step_population`` does."""
    from neuro.neurons.fused_triton import FusedOnGPU

    form = make_fused_form(neuron, x, dt)
    assert form is not None
    return run_fused(form, x, state, operator=FusedOnGPU)


def require_same(fast: Outcome, slow: Outcome, case: Case) -> None:
    """Compare outputs bit for bit, and gradients up to rounding, which grows in sums."""
    for a, b in zip(fast[0], slow[0], strict=True):
        assert torch.equal(a, b)
    for a, b in zip(fast[1], slow[1], strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            bound = 1e-12 if a.dtype == torch.float64 else 1e-5
            scale = (float(b.abs().max()) + 1.0) * float(case.shape[0] * case.shape[1]) ** 0.5
            torch.testing.assert_close(a, b, rtol=0, atol=bound * scale)
