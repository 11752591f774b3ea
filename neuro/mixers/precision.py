"""The precision in which sequence mixers compute, and its least non-zero decay."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def as_exact(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors, those of 16 bits in float32."""
    return tuple([x.float() if x.dtype in HALF else x for x in tensors])


def without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which products on x's device keep the precision of their factors."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def clip_log_decay(g: Tensor) -> Tensor:
    """Clamp g to the largest value with exp(g) = 0, which keeps sums small and finite.

    Clamped values have no gradient, just as exp(g) has none there.
    """
    least = torch.finfo(g.dtype)
    return g.clamp(min=math.log(least.smallest_normal) + math.log(least.eps) - 1)
