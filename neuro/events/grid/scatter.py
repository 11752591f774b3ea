"""Chooses the kernels that add spikes to a buffer, and binds them to a connection's weights."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from neuro.events.grid import kernels
from neuro.events.grid.kernels import (
    Buffer,
    RowSpan,
    SlidingWindow,
    SynapseArrays,
    Train,
    WeightArrays,
    copy_aligned,
)
from neuro.graph import (
    AvgPool2d,
    Concat,
    Connection,
    Conv2d,
    Dense,
    Graph,
    Node,
    Reshaping,
    Slot,
    Sparse,
)
from neuro.graph.sparse import reaches_all, write_out_synapses
from neuro.ops.gather_rows import choose_width
from neuro.ops.jit import view_fields_read_only

Scatter = Callable[[Buffer, RowSpan, Train], tuple[int, int]]


def is_listed(node: Node) -> bool:
    """Say whether a connection runs as listed synapses because it has no kernel."""
    own = Dense | Conv2d | AvgPool2d | Reshaping | Concat
    return isinstance(node, Connection) and not isinstance(node, own)


def choose_scatters(graph: Graph, name: str, dtype: np.dtype) -> Mapping[int, Scatter]:
    """Return a connection's kernels by the delay of its synapses [ticks].

    Each kernel adds spikes to a buffer and returns the synaptic events (non-zero, all).
    """
    node, inputs, shape = graph.nodes[name], graph.input_shape(name), graph.shapes[name]
    if isinstance(node, Dense):
        return {0: _bind(kernels.scatter_dense, _in_blocks(round_weights(node.weight, dtype)))}
    if isinstance(node, Connection) and is_listed(node) and not isinstance(node, Sparse):
        node = write_out_synapses(node, inputs)
    if isinstance(node, Sparse):
        if node.indices.size == 0:
            return {}  # there is only a bias
        synapses = _by_delay(node, round_weights(node.weight, dtype)).items()
        scatter = kernels.scatter_rows if reaches_all(node) else kernels.scatter_sparse
        return {delay: _bind(scatter, own) for delay, own in synapses}
    if isinstance(node, Conv2d):
        by_input = round_weights(node.by_input(), dtype)  # C_in, outputs per group, kH, kW
        rows = copy_aligned(by_input.transpose(0, 2, 3, 1))
        weights = WeightArrays(rows, np.count_nonzero(by_input, axis=1))
        pairs = (inputs, shape, node.window, node.stride, node.padding)
        windows = _windows(*pairs, dilation=node.dilation)
        return {0: _bind(kernels.scatter_conv, weights, windows)}
    if isinstance(node, AvgPool2d):
        windows = _windows(inputs, shape, node.kernel, node.stride, (0, 0))
        return {0: _bind(kernels.pool, windows)}
    return {0: make_uncounted_scatter}


def add_spikes(buffer: Buffer, span: RowSpan, train: Train) -> tuple[int, int]:
    """Add the spikes of source neuron n to target neuron n; each is one synaptic event."""
    return kernels.add(buffer, span, train, 0)


def make_uncounted_scatter(
    buffer: Buffer, span: RowSpan, train: Train, first: int = 0
) -> tuple[int, int]:
    """Add each value of neuron n to neuron n + ``first`` without counting synaptic events."""
    kernels.add(buffer, span, train, first)
    return 0, 0


def make_slot_scatter(slot: Slot) -> Scatter:
    """Return the kernel that adds spikes at their offset in a Concat."""
    return lambda buffer, span, train: make_uncounted_scatter(buffer, span, train, slot.offset)


def _bind(scatter: Callable[..., tuple[int, int]], arrays: Any, *windows: Any) -> Scatter:
    """Return a kernel bound to its weights, as read-only views, and to its windows."""
    own = (view_fields_read_only(arrays), *windows)
    return lambda buffer, span, train: scatter(buffer, span, train, *own)


def _in_blocks(weight: np.ndarray) -> WeightArrays:
    """Return a Dense's weights (out, in) in blocks of targets."""
    targets, sources = weight.shape
    rows = weight.reshape(-1, choose_width(targets), sources).swapaxes(1, 2)
    nonzero = np.count_nonzero(weight, axis=0)
    return WeightArrays(
        copy_aligned(rows), nonzero if np.any(nonzero < targets) else nonzero[:0]
    )


def round_weights(weight: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return weights in their own precision, or in the run's if that is lower."""
    return weight if weight.dtype.itemsize <= dtype.itemsize else weight.astype(dtype)


def _by_delay(node: Sparse, weight: np.ndarray) -> dict[int, SynapseArrays]:
    """Return the synapses by delay."""
    if node.delay is None:
        return {0: SynapseArrays(node.indptr[:-1], node.indptr[1:], node.indices, weight)}
    delay, ends = node.delay.astype(np.int32), np.arange(node.input_length + 1)
    by_delay = {}
    for late in np.unique(delay).tolist():
        here = np.flatnonzero(delay == late)
        indptr = np.searchsorted(node.source[here], ends)
        by_delay[late] = SynapseArrays(
            indptr[:-1], indptr[1:], node.indices[here], weight[here]
        )
    return by_delay


def _windows(*pairs: tuple[int, ...], dilation: tuple[int, int] = (1, 1)) -> SlidingWindow:
    """Return the (H, W) of image, output, window, stride and padding, with the taps."""
    image, size, kernel, stride, padding = ((int(p[-2]), int(p[-1])) for p in pairs)
    high, wide = (np.arange(k) // d for k, d in zip(kernel, dilation, strict=True))
    high[np.arange(kernel[0]) % dilation[0] > 0] = -1
    wide[np.arange(kernel[1]) % dilation[1] > 0] = -1
    return SlidingWindow(image, size, kernel, stride, padding, (high, wide))
