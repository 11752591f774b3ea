"""A chain of linear nodes as one convolution, if it is one.

Axes: C channels, H height, W width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neuro.graph.connections import AvgPool2d, Connection, Conv2d, Flatten, Slot


@dataclass(frozen=True, kw_only=True, eq=False)
class Kernel:
    """A strided convolution of padded images. weight: C_out C_in kH kW."""

    weight: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int]


def one_kernel(chain: Sequence[Connection | Slot], shape: tuple[int, ...]) -> Kernel | None:
    """Return the chain as one convolution of images (C, H, W), or None if it is not one."""
    whole: Kernel | None = None
    for node in chain:
        if isinstance(node, Flatten):
            continue
        if not (
            isinstance(node, Conv2d | AvgPool2d)
            or (isinstance(node, Slot) and len(node.shape) == 3)
        ):
            return None
        this = _kernel(node, shape[0] if whole is None else whole.weight.shape[0])
        if whole is not None and not _edges_agree(whole, this, shape[1:]):
            return None
        whole = this if whole is None else _after(whole, this)
    return whole


def _kernel(node: Conv2d | AvgPool2d | Slot, channels: int) -> Kernel:
    if isinstance(node, Conv2d):
        weight = torch.as_tensor(np.array(node.weight, np.float64))
        return Kernel(weight=weight, stride=node.stride, padding=node.padding)
    one = torch.eye(channels, dtype=torch.float64)
    if isinstance(node, Slot):
        weight = F.pad(one, (0, 0, node.first, node.shape[0] - node.first - channels))
        return Kernel(weight=weight[:, :, None, None], stride=(1, 1), padding=(0, 0))
    mean = torch.full(node.kernel, 1 / math.prod(node.kernel), dtype=torch.float64)
    return Kernel(weight=one[:, :, None, None] * mean, stride=node.stride, padding=(0, 0))


def _after(first: Kernel, second: Kernel) -> Kernel:
    """Return second(first(x)) as one kernel: size k1 + s1 (k2 - 1), stride s1 s2."""
    s, p = first.stride, first.padding
    return Kernel(
        weight=F.conv_transpose2d(second.weight, first.weight, stride=s),
        stride=(s[0] * second.stride[0], s[1] * second.stride[1]),
        padding=(p[0] + s[0] * second.padding[0], p[1] + s[1] * second.padding[1]),
    )


def _edges_agree(first: Kernel, second: Kernel, size: tuple[int, ...]) -> bool:
    """Say whether what ``second`` pads with zeros is zero in the combined kernel as well.

    The combined kernel sees, in the padding, windows of ``first`` beyond its output. They must
    lie outside the image: k1 <= s1 + p1 on the near side, no pixel left over on the far side.
    """
    for axis in (0, 1):
        n, k = size[axis], first.weight.shape[2 + axis]
        s, p = first.stride[axis], first.padding[axis]
        beyond = ((n + 2 * p - k) // s + 1) * s - p
        if second.padding[axis] and (k > s + p or beyond < n):
            return False
    return True
