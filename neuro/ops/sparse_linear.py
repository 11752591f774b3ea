"""A linear layer that skips zeros of its input: x weight^T + bias for sparse x. CPU only.

The sums are those of the dense product, added in another order. Both the forward pass and the
gradient of the weights skip products with a zero. So 0 times a weight that is not finite is 0
here, where a dense product gives NaN.
Axes: R rows (ticks times samples), J inputs, O outputs, E non-zero inputs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.ops.gather_rows import WIDTH, RowSpan, Train, add_rows, choose_width
from neuro.ops.jit import kernel
from neuro.ops.threads import can_read, run_in_shares

# Skipping zeros beats a dense product from this share of zeros on. With 19 % active inputs the
# gain is gone (RESULTS.md, Speed of training).
MIN_ZERO_SHARE = 0.8
ArrangeWeights = Callable[[Tensor], np.ndarray]
Module = TypeVar("Module", bound=nn.Module)
# With fewer inputs or outputs (R J or R O) the product is dense, without counting zeros.
MIN_VALUES = 2**15
TILE = 16  # inputs copied together: one cache line of float32, read once
FEW = 64  # below this number of outputs, store_by_input leaves the weights as they are
WORD = 64  # values compared together: each sets one bit of an unsigned integer


# Numba does not compile Python loops to these two, so they are written in LLVM's instructions.
@intrinsic
def find_nonzero(_: Any, values: Any, first: Any) -> Any:
    """Return an integer whose bit k is set if ``values[first + k]`` is not 0, for k < 64.

    values: a contiguous axis of floats, with at least 64 of them from ``first`` on. NaN is not
        0.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        kind = ir.VectorType(place.type.pointee, WORD)
        loaded = builder.load(builder.bitcast(place, kind.as_pointer()))
        loaded.align = values.dtype.bitwidth // 8
        differs = builder.fcmp_unordered("!=", loaded, ir.Constant(kind, [0.0] * WORD))
        return builder.bitcast(differs, ir.IntType(WORD))

    return types.uint64(values, first), generate


@intrinsic
def find_lowest_bit(_: Any, bits: Any) -> Any:
    """Return the position of the lowest set bit; ``bits`` must not be 0."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(bits), generate


def store_by_input(module: Module) -> Module:
    """Store the weights of each linear layer by input, the order in which sparse products read.

    Weights and shape stay the same; only strides change, as for channels-last images. Without
    this order, a product that skips zeros copies the weights. Layers with few outputs keep
    their
    order: their copy is small, and dense products, which most of them use, would be slower.

    >>> from torch import nn
    >>> store_by_input(nn.Sequential(nn.Linear(3, 128)))[0].weight.stride()
    (1, 128)
    """
    for layer in module.modules():
        if type(layer) is nn.Linear and layer.out_features >= FEW:
            layer.weight.data = layer.weight.data.t().contiguous().t()
    return module


def arrange_weights(weight: Float[Tensor, "O J"]) -> np.ndarray:
    """Return weights as a product that skips zeros reads them (blocks, inputs, outputs)."""
    if weight.t().is_contiguous():
        return weight.detach().t()[None].numpy()
    return arrange_in_blocks(weight.detach().contiguous().numpy(), choose_width(len(weight)))


def apply_linear(
    x: Float[Tensor, "R J"],
    weight: Float[Tensor, "O J"],
    bias: Float[Tensor, " O"] | None,
    arrange: ArrangeWeights = arrange_weights,
) -> Float[Tensor, "R O"]:
    """Return x weight^T + bias, skipping zeros of x where that is faster.

    arrange: :func:`arrange_weights`, or a cache of its results.
    """
    active = find_active(x, weight)
    if active is None:
        return F.linear(x, weight, bias)
    apply: Any = _Linear.apply  # torch annotates it in some versions only
    make_link: Any = _Link.apply
    trained = x.requires_grad and weight.requires_grad and torch.is_grad_enabled()
    y: Tensor = apply(x, weight, active, arrange(weight), make_link(x) if trained else None)
    return y if bias is None else y + bias


def find_active(x: Float[Tensor, "R J"], weight: Float[Tensor, "O J"]) -> Train | None:
    """Return the non-zero entries of x as the spikes of one sample with R rows.

    Returns None if a dense product is faster or compiled loops cannot read x.
    """
    small = min(x.numel(), len(x) * len(weight)) < MIN_VALUES
    if not can_read(x) or weight.dtype != x.dtype or small:
        return None
    most = int((1 - MIN_ZERO_SHARE) * x.numel())
    active = list_nonzero(x.detach().contiguous().numpy(), most)
    return active if active.at.size else None


class _Link(torch.autograd.Function):
    """x -> zeros of its shape without memory: it carries the gradient of a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        return x.new_zeros(()).expand(x.shape)

    @staticmethod
    def backward(ctx: Any, to_x: Tensor | None) -> Tensor | None:  # noqa: ARG004
        return to_x


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, active: Train, rows: np.ndarray, link: Any
    ) -> Tensor:
        ctx.save_for_backward(weight, link, *(torch.from_numpy(column) for column in active))
        ctx.shape = x.shape
        out = np.zeros((len(x), rows.shape[0], rows.shape[2]), active.value.dtype)

        def add(low: int, high: int) -> None:
            add_rows(out, RowSpan(low, high, 0), active, rows)

        run_in_shares(len(x), out.size, add)
        return torch.from_numpy(out.reshape(len(x), -1))

    @staticmethod
    def backward(ctx: Any, to_y: Tensor) -> tuple[Tensor | None, ...]:
        weight, link, *columns = ctx.saved_tensors
        active = Train(*(column.numpy() for column in columns))
        to_x = to_y @ weight if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return to_x, None, None, None, None
        if torch.is_grad_enabled():  # a gradient of these gradients may follow
            dense = np.zeros(tuple(ctx.shape), active.value.dtype)
            row = np.repeat(np.arange(len(dense)), np.diff(active.at[0]))
            dense[row, active.neuron] = active.value
            x = torch.from_numpy(dense)
            return to_x, to_y.t() @ (x if link is None else link + x), None, None, None
        flow = to_y.contiguous().numpy()
        out = np.zeros((ctx.shape[1], len(weight)), flow.dtype)
        run_in_shares(len(weight), flow.size, partial(add_outer, active, flow, out))
        return to_x, torch.from_numpy(out).t(), None, None, None


@kernel
def list_nonzero(x: np.ndarray, most: int) -> Train:
    """Return the non-zero entries of x (R J) as the spikes of one sample with R rows.

    ``at`` is empty if there are more than ``most`` entries.
    """
    at = np.zeros((1, x.shape[0] + 1), np.int64)
    index, e = np.empty(most + x.shape[1], np.int32), 0
    for r in range(x.shape[0]):
        row, whole = x[r], x.shape[1] - x.shape[1] % WORD
        for first in range(0, whole, WORD):
            bits = find_nonzero(row, first)  # type: ignore[call-arg, var-annotated]
            while bits:
                index[e] = first + find_lowest_bit(bits)
                bits &= bits - np.uint64(1)
                e += 1
        for j in range(whole, row.size):  # without a branch, which would be mispredicted
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
def arrange_in_blocks(weight: np.ndarray, width: int) -> np.ndarray:
    """Return weights (O J) rearranged as (blocks of outputs, inputs, outputs per block)."""
    outputs, inputs = weight.shape
    out = np.empty((outputs // width, inputs, width), weight.dtype)
    for first in range(0, inputs, TILE):
        for o in range(outputs):
            for j in range(first, min(first + TILE, inputs)):
                out[o // width, j, o % width] = weight[o, j]
    return out


@kernel
def add_outer(active: Train, to_y: np.ndarray, out: np.ndarray, low: int, high: int) -> None:
    """Add x^T to_y (J O) to ``out`` for the outputs ``low`` to ``high``: dL/dweight transposed.

    active: the non-zero entries of x.
    to_y: dL/dy (R O).
    """
    at, index, value = active.at[0], active.neuron, active.value
    for first in range(low, high, WIDTH):
        last = min(first + WIDTH, high)
        for r in range(to_y.shape[0]):
            flow = to_y[r, first:last]
            for e in range(at[r], at[r + 1]):
                sums, p = out[index[e], first:last], value[e]
                for n in range(last - first):
                    sums[n] += p * flow[n]
