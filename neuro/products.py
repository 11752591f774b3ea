"""A linear layer on mostly silent input: only what is not zero is multiplied. On the CPU.

The sums are those of the dense product in another order. Every product with a zero is left
out, forward and in the gradient of the weights; so a weight that is not finite stays unseen
behind a silent input.
Axes: R rows (ticks times samples), J inputs, O outputs, E inputs that are not zero.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from neuro.compiled import kernel
from neuro.rows import WIDTH, Span, Train, add_rows, width_of
from neuro.shares import in_shares, readable

SILENT = 0.8  # the share of zeros from which on it is faster than a dense product
SMALL = 2**16  # inputs or outputs that are not worth looking at


def linear(
    x: Float[Tensor, "R J"], weight: Float[Tensor, "O J"], bias: Float[Tensor, " O"] | None
) -> Float[Tensor, "R O"]:
    """Return x weight^T + bias, skipping zeros of x where that is faster."""
    if not readable(x) or weight.dtype != x.dtype or _small(x, weight):
        return F.linear(x, weight, bias)
    x = x.contiguous()
    at = starts(x.detach().numpy())
    if at[-1] > (1 - SILENT) * x.numel():
        return F.linear(x, weight, bias)
    apply: Any = _Linear.apply  # torch annotates it in some versions only
    y: Tensor = apply(x, weight, at)
    return y if bias is None else y + bias


def _small(x: Tensor, weight: Tensor) -> bool:
    return min(x.numel(), len(x) * len(weight)) < SMALL


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, at: np.ndarray) -> Tensor:
        active = listed(x.numpy(), at)
        ctx.save_for_backward(weight, *(torch.from_numpy(column) for column in active))
        ctx.shape = x.shape
        rows = in_blocks(weight.contiguous().numpy(), width_of(len(weight)))
        out = np.zeros((len(x), rows.shape[0], rows.shape[2]), active.value.dtype)

        def add(low: int, high: int) -> None:
            add_rows(out, Span(low, high, 0), active, rows)

        in_shares(len(x), out.size, add)
        return torch.from_numpy(out.reshape(len(x), -1))

    @staticmethod
    def backward(ctx: Any, to_y: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        weight, *columns = ctx.saved_tensors
        active = Train(*(column.numpy() for column in columns))
        to_x = to_y @ weight if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return to_x, None, None
        flow = to_y.contiguous().numpy()
        out = np.zeros((ctx.shape[1], len(weight)), flow.dtype)
        add = partial(add_outer, active, flow, out)
        in_shares(len(weight), flow.size, add)
        return to_x, torch.from_numpy(out).t(), None


@kernel
def starts(x: np.ndarray) -> np.ndarray:
    """Return where each row begins among all that is not zero, and their number."""
    at = np.zeros(x.shape[0] + 1, np.int64)
    for r in range(x.shape[0]):
        row, number = x[r], 0
        for j in range(row.size):
            number += row[j] != 0
        at[r + 1] = at[r] + number
    return at


@kernel
def listed(x: np.ndarray, at: np.ndarray) -> Train:
    """Return what is not zero, as the spikes of one sample."""
    index, value = np.empty(at[-1], np.int32), np.empty(at[-1], x.dtype)
    for r in range(x.shape[0]):
        e = at[r]
        for j in range(x.shape[1]):
            if x[r, j] != 0:
                index[e], value[e] = j, x[r, j]
                e += 1
    return Train(at.reshape(1, -1), index, value)


@kernel
def in_blocks(weight: np.ndarray, width: int) -> np.ndarray:
    """Return weights (O J) as blocks of outputs, inputs, outputs of a block."""
    outputs, inputs = weight.shape
    out = np.empty((outputs // width, inputs, width), weight.dtype)
    for first in range(0, inputs, 16):  # tiles: each line of memory is read once
        for o in range(outputs):
            for j in range(first, min(first + 16, inputs)):
                out[o // width, j, o % width] = weight[o, j]
    return out


@kernel
def add_outer(active: Train, flow: np.ndarray, out: np.ndarray, low: int, high: int) -> None:
    """Add x^T flow (J O) for outputs ``low`` to ``high``."""
    at, index, value = active.at[0], active.neuron, active.value
    for first in range(low, high, WIDTH):
        last = min(first + WIDTH, high)
        for r in range(flow.shape[0]):
            given = flow[r, first:last]
            for e in range(at[r], at[r + 1]):
                sums, p = out[index[e], first:last], value[e]
                for n in range(last - first):
                    sums[n] += p * given[n]
