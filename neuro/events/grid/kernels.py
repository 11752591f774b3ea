"""Compiled loops that add spikes to dense buffers over connections, and read buffers.

Each function also runs as plain Python (``.py_func``), with which tests compare it. fastmath is
off: sums must be in torch's order and without fused multiply-adds.

A buffer has axes S L P C: samples, ticks of the current stretch, places, channels of a place. A
place is a group of neurons that input reaches together: all neurons of a Dense are channels of
one place, the channels of a Conv2d share a pixel, and in other layers each neuron is a place.
Neuron n = c P + p.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.ops.gather_rows import RowSpan, Train, add_rows
from neuro.ops.jit import bare, inlined, kernel

__all__ = ["RowSpan", "Train", "bare", "inlined", "kernel"]


class Buffer(NamedTuple):
    """The input or the output of a node.

    values: S L P C.
    hit: S L P, whether input reached the place in that tick; only there are ``values`` valid.
    rest: values of all places without input, P C, or 1 C if they are equal at every place.
    """

    values: np.ndarray
    hit: np.ndarray
    rest: np.ndarray


class WeightArrays(NamedTuple):
    """Weights in the order in which a spike reads them, and the number of non-zero weights.

    Dense: rows (blocks of targets, in, targets per block); nonzero (in), or empty if no weight
        is
    zero. Conv2d: rows (C_in, kH, kW, C_out); nonzero (C_in, kH, kW).
    """

    rows: np.ndarray
    nonzero: np.ndarray


class SynapseArrays(NamedTuple):
    """Synapses of a Sparse; source j has target and weight ``start[j]:stop[j]``."""

    start: np.ndarray
    stop: np.ndarray
    target: np.ndarray
    weight: np.ndarray


@inlined
def touch(buffer: Buffer, s: int, t: int, place: int) -> None:
    """Mark a place as hit; the first hit in a tick sets its values to rest."""
    if not buffer.hit[s, t, place]:
        buffer.hit[s, t, place] = True
        row = min(place, buffer.rest.shape[0] - 1)
        for c in range(buffer.rest.shape[1]):
            buffer.values[s, t, place, c] = buffer.rest[row, c]


@kernel
def add(buffer: Buffer, span: RowSpan, train: Train, first: int) -> tuple[int, int]:
    """Add each spike of neuron n to neuron n + ``first``; return the synaptic events."""
    places, served = buffer.hit.shape[2], 0
    for s in range(buffer.hit.shape[0]):
        for t in range(span.start, span.stop):
            row = t + span.shift
            for e in range(train.at[s, row], train.at[s, row + 1]):
                c, place = divmod(train.neuron[e] + first, places)
                touch(buffer, s, t, place)
                buffer.values[s, t, place, c] += train.value[e]
                served += 1
    return served, served


@kernel
def scatter_dense(
    buffer: Buffer, span: RowSpan, train: Train, weights: WeightArrays
) -> tuple[int, int]:
    """Add one row of weights per spike; return the synaptic events (non-zero, all)."""
    rows, at = weights.rows, train.at
    blocks, _, width = rows.shape
    samples, length, _ = buffer.hit.shape
    served, served_all = 0, 0
    for s in range(samples):
        for t in range(span.start, span.stop):
            start, stop = at[s, t + span.shift], at[s, t + span.shift + 1]
            if start < stop:
                touch(buffer, s, t, 0)
            served_all += blocks * width * (stop - start)
            if weights.nonzero.size == 0:
                served = served_all
                continue
            for e in range(start, stop):
                served += weights.nonzero[train.neuron[e]]
    add_rows(buffer.values.reshape(samples * length, blocks, width), span, train, rows)
    return served, served_all


@bare
def scatter_sparse(
    buffer: Buffer, span: RowSpan, train: Train, synapses: SynapseArrays
) -> tuple[int, int]:
    """Add the synapses of each spike; return the synaptic events (non-zero, all).

    Each target is a separate place, or a channel of the only place.
    """
    alone = buffer.values.shape[3] == 1
    served, served_all = 0, 0
    for s in range(buffer.hit.shape[0]):
        for t in range(span.start, span.stop):
            row = t + span.shift
            for e in range(train.at[s, row], train.at[s, row + 1]):
                source, value = train.neuron[e], train.value[e]
                start, stop = synapses.start[source], synapses.stop[source]
                served_all += stop - start
                if not alone:
                    touch(buffer, s, t, 0)
                for k in range(start, stop):
                    target, weight = synapses.target[k], synapses.weight[k]
                    served += weight != 0
                    if alone:
                        touch(buffer, s, t, target)
                        buffer.values[s, t, target, 0] += value * weight
                    else:
                        buffer.values[s, t, 0, target] += value * weight
    return served, served_all


@bare
def scatter_rows(
    buffer: Buffer, span: RowSpan, train: Train, synapses: SynapseArrays
) -> tuple[int, int]:
    """Do as :func:`scatter_sparse` for sources that reach all channels of the only place."""
    served, served_all = 0, 0
    for s in range(buffer.hit.shape[0]):
        for t in range(span.start, span.stop):
            row = t + span.shift
            for e in range(train.at[s, row], train.at[s, row + 1]):
                source, value = train.neuron[e], train.value[e]
                start, stop = synapses.start[source], synapses.stop[source]
                if start == stop:
                    continue
                touch(buffer, s, t, 0)
                weight, out = synapses.weight[start:stop], buffer.values[s, t, 0]
                served_all += weight.size
                for k in range(weight.size):
                    served += weight[k] != 0
                    out[k] += value * weight[k]
    return served, served_all


@kernel
def divide_sums(buffer: Buffer, start: int, stop: int, area: int) -> None:
    """Divide the valid values of the rows ``start`` to ``stop`` by ``area``."""
    for s in range(buffer.hit.shape[0]):
        for t in range(start, stop):
            for place in np.flatnonzero(buffer.hit[s, t]):
                for c in range(buffer.values.shape[3]):
                    buffer.values[s, t, place, c] /= buffer.values.dtype.type(area)


@kernel
def add_buffer(source: Buffer, target: Buffer, start: int, stop: int) -> None:
    """Add ``source`` - its rest to the same neurons of ``target``, in the given rows.

    The two layouts may differ.
    """
    places, channels = source.hit.shape[2], source.values.shape[3]
    others = target.hit.shape[2]
    for s in range(source.hit.shape[0]):
        for t in range(start, stop):
            for place in np.flatnonzero(source.hit[s, t]):
                own = source.values[s, t, place]
                rest = source.rest[min(place, source.rest.shape[0] - 1)]
                if places == others:
                    touch(target, s, t, int(place))
                    out = target.values[s, t, place]
                    for c in range(channels):
                        out[c] += own[c] - rest[c]
                    continue
                for c in range(channels):
                    channel, other = divmod(c * places + place, others)
                    touch(target, s, t, other)
                    target.values[s, t, other, channel] += own[c] - rest[c]


@kernel
def collect_spikes(buffer: Buffer, start: int, stop: int) -> Train:
    """Return the non-zero values in the rows ``start`` to ``stop``, as spikes."""
    values, hit, rest = buffer
    samples, _, places, channels = values.shape
    at = np.zeros((samples, stop - start + 1), np.int64)
    neuron = np.empty(samples * (stop - start) * places * channels, np.int32)
    value = np.empty(neuron.size, values.dtype)
    e = 0
    for s in range(samples):
        at[s, 0] = e
        for t in range(start, stop):
            for c in range(channels):
                for place in range(places):
                    row = min(place, rest.shape[0] - 1)
                    own = values[s, t, place, c] if hit[s, t, place] else rest[row, c]
                    if own != 0:
                        neuron[e], value[e] = c * places + place, own
                        e += 1
            at[s, t - start + 1] = e
    return Train(at, neuron[:e].copy(), value[:e].copy())


class SlidingWindow(NamedTuple):
    """The windows of a kernel on a plane: (H, W) of image, output, window, stride, padding.

    taps: for each axis, the kernel position at each place of a window; -1 where there is none.
    """

    image: tuple[int, int]
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    taps: tuple[np.ndarray, np.ndarray]


@inlined
def find_reached_windows(place: int, kernel: int, stride: int, size: int) -> tuple[int, int]:
    """Return the first and the last window that contain a place of the padded axis."""
    return max(0, -((kernel - 1 - place) // stride)), min(size - 1, place // stride)


@bare
def scatter_conv(
    buffer: Buffer, span: RowSpan, train: Train, weights: WeightArrays, windows: SlidingWindow
) -> tuple[int, int]:
    """Add the weights of each spike to its targets; return the synaptic events."""
    (high, wide), (height, width) = windows.image, windows.size
    (step_y, step_x), (pad_y, pad_x) = windows.stride, windows.padding
    rows, values = weights.rows, buffer.values
    (tall, broad), (taps_y, taps_x) = windows.kernel, windows.taps
    channels = rows.shape[3]
    share = rows.shape[0] * channels // values.shape[3]  # input channels per group
    served, served_all = 0, 0
    for s in range(buffer.hit.shape[0]):
        for t in range(span.start, span.stop):
            for e in range(train.at[s, t + span.shift], train.at[s, t + span.shift + 1]):
                value = train.value[e]
                channel, place = divmod(train.neuron[e], high * wide)
                first = channel // share * channels
                y, x = place // wide + pad_y, place % wide + pad_x
                top, bottom = find_reached_windows(y, tall, step_y, height)
                left, right = find_reached_windows(x, broad, step_x, width)
                for row in range(top, bottom + 1):
                    ky = taps_y[y - row * step_y]
                    if ky < 0:
                        continue
                    for column in range(left, right + 1):
                        kx = taps_x[x - column * step_x]
                        if kx < 0:
                            continue
                        target = row * width + column
                        touch(buffer, s, t, target)
                        out = values[s, t, target, first : first + channels]
                        for c in range(channels):
                            out[c] += value * rows[channel, ky, kx, c]
                        served += weights.nonzero[channel, ky, kx]
                        served_all += channels
    return served, served_all


@bare
def pool(
    buffer: Buffer, span: RowSpan, train: Train, windows: SlidingWindow
) -> tuple[int, int]:
    """Add each spike to the windows that contain it; return the synaptic events.

    A later step divides the sums by the window's area, as torch does.
    """
    served = 0
    (high, wide), (rows, columns) = windows.image, windows.size
    (step_y, step_x), (tall, broad) = windows.stride, windows.kernel
    for s in range(buffer.hit.shape[0]):
        for t in range(span.start, span.stop):
            for e in range(train.at[s, t + span.shift], train.at[s, t + span.shift + 1]):
                channel, place = divmod(train.neuron[e], high * wide)
                top, bottom = find_reached_windows(place // wide, tall, step_y, rows)
                left, right = find_reached_windows(place % wide, broad, step_x, columns)
                for row in range(top, bottom + 1):
                    for column in range(left, right + 1):
                        target = (channel * rows + row) * columns + column
                        touch(buffer, s, t, target)
                        buffer.values[s, t, target, 0] += train.value[e]
                        served += 1
    return served, served


LINE = 64  # bytes per cache line: a vector load from an aligned array touches only one


def make_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an aligned array without initial values."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    out: np.ndarray = np.ndarray(shape, dtype, raw, start)
    return out


def make_zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an aligned array of zeros."""
    out = make_empty(shape, dtype)
    out.fill(0)
    return out


def copy_aligned(values: np.ndarray) -> np.ndarray:
    """Return an aligned copy in C order."""
    out = make_empty(values.shape, values.dtype)
    out[:] = values
    return out
