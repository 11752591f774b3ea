"""The spike function: a step in the forward pass, a surrogate derivative in the backward pass.

A surrogate is any function that maps distances from the threshold to derivatives.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neuro.base.arguments import make_type_error

Surrogate = Callable[[Tensor], Tensor]


def require_surrogate(what: str, surrogate: object) -> None:
    """Raise a TypeError unless a value is a function."""
    if not callable(surrogate):
        cure = "such as neuro.neurons.surrogate.triangle"
        raise make_type_error(what, "a function of v - threshold", surrogate, cure)


def triangle(x: Tensor) -> Tensor:
    """Return max(0, 1 - |x|) (Esser et al. 2016)."""
    return torch.relu(1 - x.abs())


def arctan(x: Tensor) -> Tensor:
    """Return 1 / (1 + (pi x)^2) (Fang et al. 2021)."""
    return 1 / (1 + (torch.pi * x) ** 2)


class _SpikeFunction(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, derivative: Surrogate) -> Tensor:  # noqa: ARG004
        return (x >= 0).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Surrogate], output: Tensor) -> None:  # noqa: ARG004
        x, ctx.derivative = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grad * ctx.derivative(x), None


def spike(x: Tensor, derivative: Surrogate = arctan) -> Tensor:
    """Return 1 where x >= 0 and 0 elsewhere; backward multiplies by ``derivative(x)``."""
    apply: Any = _SpikeFunction.apply  # torch annotates it in some versions only
    out: Tensor = apply(x, derivative)
    return out
