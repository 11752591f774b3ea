"""A linear layer on mostly silent input: only what is not zero is multiplied. On the CPU.

The sums are those of the dense product in another order. Every product with a zero is left
out, forward and in the gradient of the weights; so a weight that is not finite stays unseen
behind a silent input.
Axes: R rows (ticks times samples), J inputs, O outputs, E inputs that are not zero.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from neuro.compiled import kernel

SILENT = 0.8  # the share of zeros from which on it is faster than a dense product
WIDTH = 256  # outputs in a block: its weights stay in the cache
SMALL = 2**16  # inputs or outputs that are not worth looking at, or a second thread


class Active(NamedTuple):
    """What is not zero: of row r, ``at[r]:at[r + 1]`` of input and value."""

    at: np.ndarray
    input: np.ndarray
    value: np.ndarray


def linear(
    x: Float[Tensor, "R J"], weight: Float[Tensor, "O J"], bias: Float[Tensor, " O"] | None
) -> Float[Tensor, "R O"]:
    """Return x weight^T + bias, skipping zeros of x where that is faster."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return F.linear(x, weight, bias)
    if weight.dtype != x.dtype or min(x.numel(), len(x) * len(weight)) < SMALL:
        return F.linear(x, weight, bias)
    x = x.contiguous()
    at = starts(x.detach().numpy())
    if at[-1] > (1 - SILENT) * x.numel():
        return F.linear(x, weight, bias)
    apply: Any = _Linear.apply  # torch annotates it in some versions only
    y: Tensor = apply(x, weight, at)
    return y if bias is None else y + bias


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, at: np.ndarray) -> Tensor:
        active = listed(x.numpy(), at)
        ctx.save_for_backward(weight, *(torch.from_numpy(column) for column in active))
        ctx.shape = x.shape
        out = np.zeros((len(x), len(weight)), active.value.dtype)
        width = len(weight) if len(weight) % WIDTH else WIDTH
        rows = in_blocks(weight.contiguous().numpy(), width)
        _shared(len(x), lambda low, high: add_rows(active, rows, low, high, out))
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, to_y: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        weight, *columns = ctx.saved_tensors
        active = Active(*(column.numpy() for column in columns))
        to_x = to_y @ weight if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return to_x, None, None
        flow = to_y.contiguous().numpy()
        out = np.zeros((ctx.shape[1], len(weight)), flow.dtype)
        _shared(len(weight), lambda low, high: add_outer(active, flow, low, high, out))
        return to_x, torch.from_numpy(out).t(), None


def _shared(many: int, do: Callable[[int, int], None]) -> None:
    """Do it from 0 to ``many``, a part by each thread of torch."""
    edges = np.linspace(0, many, torch.get_num_threads() + 1).astype(int).tolist()
    if len(edges) == 2:
        return do(0, many)
    with ThreadPoolExecutor(len(edges) - 1) as pool:
        list(pool.map(lambda edge: do(*edge), pairwise(edges)))
    return None


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
def listed(x: np.ndarray, at: np.ndarray) -> Active:
    """Return what is not zero."""
    index, value = np.empty(at[-1], np.int32), np.empty(at[-1], x.dtype)
    for r in range(x.shape[0]):
        e = at[r]
        for j in range(x.shape[1]):
            if x[r, j] != 0:
                index[e], value[e] = j, x[r, j]
                e += 1
    return Active(at, index, value)


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
def add_rows(active: Active, rows: np.ndarray, low: int, high: int, out: np.ndarray) -> None:
    """Add the weights of what is not zero in rows ``low`` to ``high``, block by block."""
    at, index, value = active
    width = rows.shape[2]
    for own in range(rows.shape[0]):
        first = own * width
        for r in range(low, high):
            sums = out[r, first : first + width]
            e = at[r]
            while e + 4 <= at[r + 1]:
                a, b = rows[own, index[e]], rows[own, index[e + 1]]
                c, d = rows[own, index[e + 2]], rows[own, index[e + 3]]
                p, q, s, t = value[e], value[e + 1], value[e + 2], value[e + 3]
                for n in range(width):
                    sums[n] += (p * a[n] + q * b[n]) + (s * c[n] + t * d[n])
                e += 4
            while e < at[r + 1]:
                a, p = rows[own, index[e]], value[e]
                for n in range(width):
                    sums[n] += p * a[n]
                e += 1


@kernel
def add_outer(active: Active, flow: np.ndarray, low: int, high: int, out: np.ndarray) -> None:
    """Add x^T flow (J O) for outputs ``low`` to ``high``."""
    at, index, value = active
    for first in range(low, high, WIDTH):
        last = min(first + WIDTH, high)
        for r in range(flow.shape[0]):
            given = flow[r, first:last]
            for e in range(at[r], at[r + 1]):
                sums, p = out[index[e], first:last], value[e]
                for n in range(last - first):
                    sums[n] += p * given[n]
