"""In which precision sequence mixers compute, and the least decay that is not zero in it."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def as_exact(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors as they are, and those of 16 bits in float32."""
    return tuple([x.float() if x.dtype in HALF else x for x in tensors])


def without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which products of x's device keep the precision of their factors."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def clip_log_decay(g: Tensor) -> Tensor:
    """Return g, raised to where exp(g) is 0: so sums of it stay small, and -inf has a gradient.

    What is raised has no gradient, as exp(g) has none there.
    """
    least = torch.finfo(g.dtype)
    return g.clamp(min=math.log(least.smallest_normal) + math.log(least.eps) - 1)
