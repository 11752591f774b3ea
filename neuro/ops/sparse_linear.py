"""A linear layer on mostly silent input: only what is not zero is multiplied. On the CPU.

The sums are those of the dense product in another order. Every product with a zero is left
out, forward and in the gradient of the weights; so a weight that is not finite stays unseen
behind a silent input.
Axes: R rows (ticks times samples), J inputs, O outputs, E inputs that are not zero.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.ops.gather_rows import WIDTH, Span, Train, add_rows, width_of
from neuro.ops.jit import kernel
from neuro.ops.nonzero import WIDE, busy, lowest
from neuro.ops.threads import in_shares, readable

SILENT = 0.8  # the share of zeros from which on it is faster than a dense product
ArrangeWeights = Callable[[Tensor], np.ndarray]
Module = TypeVar("Module", bound=nn.Module)
SMALL = 2**15  # inputs or outputs that are not worth looking at
FEW = 64  # outputs


def by_input(module: Module) -> Module:
    """Store the weights of each linear layer by input, as products that skip zeros read them.

    They are the same weights of the same shape, as images are the same channels last. Without
    it such a product makes a copy in that order. Layers of few outputs are left as they are:
    their copy is small, and dense products, which most of them use, are slower in that order.

    >>> from torch import nn
    >>> by_input(nn.Sequential(nn.Linear(3, 128)))[0].weight.stride()
    (1, 128)
    """
    for layer in module.modules():
        if type(layer) is nn.Linear and layer.out_features >= FEW:
            layer.weight.data = layer.weight.data.t().contiguous().t()
    return module


def arrange_weights(weight: Float[Tensor, "O J"]) -> np.ndarray:
    """Return weights as a product that skips zeros reads them: blocks, inputs, outputs."""
    if weight.t().is_contiguous():
        return weight.detach().t()[None].numpy()
    return in_blocks(weight.detach().contiguous().numpy(), width_of(len(weight)))


def linear(
    x: Float[Tensor, "R J"],
    weight: Float[Tensor, "O J"],
    bias: Float[Tensor, " O"] | None,
    arrange: ArrangeWeights = arrange_weights,
) -> Float[Tensor, "R O"]:
    """Return x weight^T + bias, skipping zeros of x where that is faster.

    arrange: :func:`arrange_weights`, or what remembers its results.
    """
    active = active_in(x, weight)
    if active is None:
        return F.linear(x, weight, bias)
    apply: Any = _Linear.apply  # torch annotates it in some versions only
    y: Tensor = apply(x, weight, active, arrange(weight))
    return y if bias is None else y + bias


def active_in(x: Float[Tensor, "R J"], weight: Float[Tensor, "O J"]) -> Train | None:
    """Return what is not zero, as the spikes of one sample; None: a dense product is faster."""
    small = min(x.numel(), len(x) * len(weight)) < SMALL
    if not readable(x) or weight.dtype != x.dtype or small:
        return None
    active = listed(x.detach().contiguous().numpy(), int((1 - SILENT) * x.numel()))
    return active if active.at.size else None


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, active: Train, rows: np.ndarray) -> Tensor:
        ctx.save_for_backward(weight, *(torch.from_numpy(column) for column in active))
        ctx.shape = x.shape
        out = np.zeros((len(x), rows.shape[0], rows.shape[2]), active.value.dtype)

        def add(low: int, high: int) -> None:
            add_rows(out, Span(low, high, 0), active, rows)

        in_shares(len(x), out.size, add)
        return torch.from_numpy(out.reshape(len(x), -1))

    @staticmethod
    def backward(ctx: Any, to_y: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        weight, *columns = ctx.saved_tensors
        active = Train(*(column.numpy() for column in columns))
        to_x = to_y @ weight if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return to_x, None, None, None
        flow = to_y.contiguous().numpy()
        out = np.zeros((ctx.shape[1], len(weight)), flow.dtype)
        add = partial(add_outer, active, flow, out)
        in_shares(len(weight), flow.size, add)
        return to_x, torch.from_numpy(out).t(), None, None


@kernel
def listed(x: np.ndarray, most: int) -> Train:
    """Return what is not zero, as the spikes of one sample; of more than ``most``, nothing."""
    at = np.zeros((1, x.shape[0] + 1), np.int64)
    index, e = np.empty(most + x.shape[1], np.int32), 0
    for r in range(x.shape[0]):
        row, whole = x[r], x.shape[1] - x.shape[1] % WIDE
        for first in range(0, whole, WIDE):
            bits = busy(row, first)  # type: ignore[call-arg, var-annotated]
            while bits:
                index[e] = first + lowest(bits)
                bits &= bits - np.uint64(1)
                e += 1
        for j in range(whole, row.size):  # no branch: to guess it wrong costs more
            index[e] = j
            e += row[j] != 0
        at[0, r + 1] = e
        if e > most:
            return Train(np.empty((1, 0), np.int64), index[:0], np.empty(0, x.dtype))
    value = np.empty(e, x.dtype)
    for r in range(x.shape[0]):
        for k in range(at[0, r], at[0, r + 1]):
            value[k] = x[r, index[k]]
    return Train(at, index[:e].copy(), value)


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
