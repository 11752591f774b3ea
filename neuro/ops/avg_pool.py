"""Average pooling over disjoint windows of channels-last images, on a CPU.

Axes: R images, H height, W width, C channels.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.ops.jit import kernel
from neuro.ops.threads import can_read


def apply_avg_pool(x: Float[Tensor, "R C H W"], pool: nn.AvgPool2d) -> Float[Tensor, "R C _ _"]:
    """Return ``pool(x)``; compiled where the windows are disjoint and the layout allows it."""
    size = find_blocks(pool)
    fits = size is not None and min(x.shape[2:]) >= max(size)
    if not (fits and can_read(x) and x.is_contiguous(memory_format=torch.channels_last)):
        return pool(x)
    apply: Any = _Average.apply  # torch annotates it in some versions only
    y: Tensor = apply(x, size)
    return y


def find_blocks(pool: nn.AvgPool2d) -> tuple[int, int] | None:
    """Return (height, width) of a pool's windows; None if they overlap or are padded."""
    size = _pair(pool.kernel_size)
    plain = size == _pair(pool.stride) and _pair(pool.padding) == (0, 0) and not pool.ceil_mode
    return size if plain and pool.divisor_override is None else None


class _Average(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: tuple[int, int]) -> Tensor:
        ctx.size, ctx.shape = size, x.shape
        images = x.permute(0, 2, 3, 1).numpy()
        rows, height, width, channels = images.shape
        shape = (rows, height // size[0], width // size[1], channels)
        out = np.empty(shape, images.dtype)
        write_means(images, size, out)
        return torch.from_numpy(out).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, to_y: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():  # a gradient of these gradients may follow
            x = to_y.new_zeros(ctx.shape, requires_grad=True)
            y = F.avg_pool2d(x, ctx.size)
            return torch.autograd.grad(y, x, to_y, create_graph=True)[0], None
        to_mean = to_y.permute(0, 2, 3, 1).contiguous().numpy()
        rows, channels, height, width = ctx.shape
        out = np.empty((rows, height, width, channels), to_mean.dtype)
        write_gradients(to_mean, ctx.size, out)
        return torch.from_numpy(out).permute(0, 3, 1, 2), None


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


@kernel
def write_means(x: np.ndarray, size: tuple[int, int], out: np.ndarray) -> None:
    """Write the mean of each window of x (R H W C) to ``out`` (R H/size W/size C).

    Values are added in torch's order: the result equals torch's bit for bit.
    """
    area = x.dtype.type(size[0] * size[1])
    for r in range(out.shape[0]):
        for h in range(out.shape[1]):
            for w in range(out.shape[2]):
                sums = out[r, h, w]
                for c in range(sums.size):
                    sums[c] = 0
                for i in range(h * size[0], (h + 1) * size[0]):
                    for j in range(w * size[1], (w + 1) * size[1]):
                        values = x[r, i, j]
                        for c in range(sums.size):
                            sums[c] += values[c]
                for c in range(sums.size):
                    sums[c] /= area


@kernel
def write_gradients(to_mean: np.ndarray, size: tuple[int, int], out: np.ndarray) -> None:
    """Write dL/dx (R H W C) to ``out``, given dL/dmean: the backward pass."""
    area = to_mean.dtype.type(size[0] * size[1])
    inside = (to_mean.shape[1] * size[0], to_mean.shape[2] * size[1])
    for r in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                values = out[r, i, j]
                if i < inside[0] and j < inside[1]:
                    means = to_mean[r, i // size[0], j // size[1]]
                    for c in range(values.size):
                        values[c] = means[c] / area
                else:
                    for c in range(values.size):
                        values[c] = 0
