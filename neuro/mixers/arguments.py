"""Checks of the shapes that mixer cores take, and the precision in which cores compute.

Compiled loops do not check bounds, so wrong shapes must be refused before them.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def require_heads(core: str, q: Tensor, k: Tensor, v: Tensor) -> tuple[int, ...]:
    """Return T, B, H, K and V of queries and keys (T B H K) and values (T B H V).

    Raises:
        ValueError: the shapes do not match, or an axis is empty.
    """
    for name, axes, x in (("k", "T B H K", k), ("v", "T B H V", v)):
        if x.dim() != 4 or 0 in x.shape:
            raise ValueError(
                f"{core}: {name} must have axes {axes} without an empty one, got shape "
                f"{tuple(x.shape)}"
            )
    shape, values = k.shape, v.shape[3]
    require_shape(core, "q", q, shape)
    require_shape(core, "v", v, (*shape[:3], values))
    return (*shape, values)


def require_shape(core: str, name: str, x: Tensor | None, *shapes: tuple[int, ...]) -> None:
    """Raise a ValueError unless a tensor has one of these shapes; None is allowed."""
    if x is not None and x.shape not in shapes:
        raise ValueError(
            f"{core}: {name} has shape {tuple(x.shape)}, the other arguments need "
            f"{' or '.join(map(str, dict.fromkeys(shapes)))}; all arguments share tokens, "
            "samples and heads, a state those of the previous run"
        )


def as_exact(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors with 16-bit ones converted to float32."""
    return tuple([x.float() if x.dtype in HALF else x for x in tensors])


def without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which products on x's device keep their factors' precision."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def clip_log_decay(g: Tensor) -> Tensor:
    """Raise values of g below the largest number whose exp is 0 to that number.

    This keeps sums small and finite. Raised values have no gradient, as exp(g) has none there.
    """
    least = torch.finfo(g.dtype)
    return g.clamp(min=math.log(least.smallest_normal) + math.log(least.eps) - 1)


def refuse_second_derivative() -> None:
    """Raise a RuntimeError in a backward pass that is recorded (create_graph=True)."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "compiled loops of sequence mixers have no second derivative; drop create_graph, "
            "or call the core's recurrence, such as neuro.mixers.gla.run_gla_recurrence"
        )
