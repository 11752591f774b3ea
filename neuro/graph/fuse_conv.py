"""A chain of linear nodes as one convolution, if it is one.

A sequence (C, L) is an image (C, 1, L) here.
Axes: C channels, H height, W width, L length.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from neuro.graph.connections import Connection, Flatten, Slot
from neuro.graph.convolutions import AvgPool2d, Conv1d, Conv2d, count_windows


def fuse_chain(chain: Sequence[Connection | Slot], shape: tuple[int, ...]) -> Conv2d | None:
    """Return the chain as one float64 convolution of images, None if it is none.

    Biases are left out. shape: of the input, (C, H, W) or (C, L).
    """
    whole: Conv2d | None = None
    for node in chain:
        if isinstance(node, Flatten):
            continue
        this = _as_convolution(node, shape[0] if whole is None else len(whole.weight))
        if this is None:
            return None
        if whole is not None and not _edges_agree(whole, this, as_image(shape)[1:]):
            return None
        whole = this if whole is None else _after(whole, this)
    only_pools = not any(isinstance(node, Conv1d | Conv2d) for node in chain)
    return whole.plain() if whole is not None and only_pools else whole


def as_image(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape (C, H, W) under which a convolution sees (C, H, W) or (C, L)."""
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


def _as_convolution(node: Connection | Slot, channels: int) -> Conv2d | None:
    """Return a node that takes so many channels as a convolution of images, if it is one."""
    if isinstance(node, Conv2d):
        return replace(node, weight=node.weight.astype(np.float64), bias=None)
    if isinstance(node, Conv1d):
        return Conv2d(
            weight=node.weight.astype(np.float64)[:, :, None],
            stride=(1, node.stride),
            padding=(0, node.padding),
            dilation=(1, node.dilation),
            groups=node.groups,
        )
    one = np.eye(channels)[:, :, None, None]
    if isinstance(node, Slot) and len(node.shape) > 1:
        behind = node.shape[0] - node.first - channels
        return Conv2d(weight=np.pad(one, ((node.first, behind), *[(0, 0)] * 3)))
    if isinstance(node, AvgPool2d):
        mean = np.full((channels, 1, *node.kernel), 1 / node.divisor)
        return Conv2d(weight=mean, stride=node.stride, groups=channels)
    return None


def _after(first: Conv2d, second: Conv2d) -> Conv2d:
    """Return second(first(x)) as one kernel: size k1 + s1 (k2 - 1), stride s1 s2.

    The groups of ``second`` are kept where ``first`` treats each channel by itself, as a pool.
    """
    s, p = first.stride, first.padding
    if len(first.weight) == first.groups == first.input_length:
        weight, groups = _after_each_channel(first, second), second.groups
    else:
        one, two = torch.tensor(first.plain().weight), torch.tensor(second.plain().weight)
        weight, groups = F.conv_transpose2d(two, one, stride=s).numpy(), 1
    return Conv2d(
        weight=weight,
        stride=(s[0] * second.stride[0], s[1] * second.stride[1]),
        padding=(p[0] + s[0] * second.padding[0], p[1] + s[1] * second.padding[1]),
        groups=groups,
    )


def _after_each_channel(first: Conv2d, second: Conv2d) -> np.ndarray:
    """Return the kernel of second(first(x)), in the groups of ``second``.

    ``first`` has one kernel a channel.
    """
    one, two = (replace(conv, groups=1).plain().weight for conv in (first, second))
    outputs, inputs = two.shape[:2]
    group = np.arange(outputs)[:, None] // (outputs // second.groups)
    channel = (group * inputs + np.arange(inputs)).ravel()
    kernels = F.conv_transpose2d(
        torch.tensor(two).flatten(0, 1)[None],
        torch.tensor(one[channel]),
        stride=first.stride,
        groups=len(channel),
    )
    out: np.ndarray = kernels[0].numpy()
    return out.reshape(outputs, inputs, *out.shape[1:])


def _edges_agree(first: Conv2d, second: Conv2d, size: tuple[int, ...]) -> bool:
    """Say whether what ``second`` pads with zeros is zero in the combined kernel as well.

    The combined kernel sees, in the padding, windows of ``first`` beyond its output. They must
    lie outside the image: on the far side the first of them starts at its end n or later. Then
    they do on the near side, too, where the last one ends at k1 - s1 - p1 <= 0: that on the far
    side starts at n + p1 + s1 - k1 at most.
    """
    for axis in (0, 1):
        n, s, p = size[axis], first.stride[axis], first.padding[axis]
        beyond = count_windows(n, first.window[axis], s, p) * s - p
        if second.padding[axis] and beyond < n:
            return False
    return True
