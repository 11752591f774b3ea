"""Compiled loops that move spikes: over connections, into and out of dense buffers.

Each function also runs as plain Python (``.py_func``), which is how it is tested. No fastmath:
a fused or reordered sum would not be torch's.

A buffer has axes L S N: ticks of the stretch being run, samples, neurons. ``hit`` says where a
buffer received anything; its last axis has one flag a group of neurons that are always hit
together (all of a Dense, the channels at one place of a Conv2d, else each neuron by itself).
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])


def kernel(function: Function) -> Function:
    """Compile at the first call, and keep the result on disk.

    Tests wrap every function in a check of its annotations, which no compiler could read:
    unwrapped here.
    """
    compiled: Any = njit(cache=True, nogil=True)(inspect.unwrap(function))
    out: Function = compiled
    return out


class Train(NamedTuple):
    """Spikes in the order (tick, sample, neuron); those of row r are ``at[r]:at[r + 1]``."""

    at: np.ndarray
    sample: np.ndarray
    neuron: np.ndarray
    value: np.ndarray


class Span(NamedTuple):
    """Rows ``start`` to ``stop`` of a buffer; row r hears row ``r + shift`` of a train."""

    start: int
    stop: int
    shift: int


class Weights(NamedTuple):
    """Weights, the targets of one source side by side, and how many of those are not zero.

    rows: Dense (in, out); Conv2d (C_in, kH, kW, C_out). nonzero: without the last axis.
    """

    rows: np.ndarray
    nonzero: np.ndarray


class Windows(NamedTuple):
    """How a kernel slides over a plane: (H, W) of input, output, kernel, stride, padding."""

    given: tuple[int, int]
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@kernel
def order(key: np.ndarray, keys: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what sorts ``key`` (0 to keys - 1) stably, and where each value then starts."""
    start = np.zeros(keys + 1, np.int64)
    for k in key:
        start[k + 1] += 1
    for k in range(keys):
        start[k + 1] += start[k]
    free = start.copy()
    sort = np.empty(key.size, np.int64)
    for e in range(key.size):
        sort[free[key[e]]] = e
        free[key[e]] += 1
    return sort, start


@kernel
def add(buffer: np.ndarray, hit: np.ndarray, span: Span, train: Train) -> tuple[int, int]:
    """Add each spike to the neuron of the same index; return as :func:`dense`."""
    served = 0
    for t in range(span.start, span.stop):
        for e in range(train.at[t + span.shift], train.at[t + span.shift + 1]):
            s, n = train.sample[e], train.neuron[e]
            buffer[t, s, n] += train.value[e]
            hit[t, s, n] = True
            served += 1
    return served, served


@kernel
def dense(
    buffer: np.ndarray, hit: np.ndarray, span: Span, train: Train, weights: Weights
) -> tuple[int, int]:
    """Add a row of weights for each spike; return the synaptic events (non-zero, all)."""
    targets = weights.rows.shape[1]
    served, served_all = 0, 0
    for t in range(span.start, span.stop):
        for e in range(train.at[t + span.shift], train.at[t + span.shift + 1]):
            s, source, value = train.sample[e], train.neuron[e], train.value[e]
            row, out = weights.rows[source], buffer[t, s]
            for n in range(targets):
                out[n] += value * row[n]
            hit[t, s, 0] = True
            served += weights.nonzero[source]
            served_all += targets
    return served, served_all


@kernel
def conv(
    buffer: np.ndarray,
    hit: np.ndarray,
    span: Span,
    train: Train,
    weights: Weights,
    windows: Windows,
) -> tuple[int, int]:
    """Add the kernel of each spike to a channels-last buffer; return as :func:`dense`."""
    (high, wide), (rows, columns) = windows.given, windows.size
    (step_y, step_x), (pad_y, pad_x) = windows.stride, windows.padding
    channels = weights.rows.shape[3]
    served, served_all = 0, 0
    for t in range(span.start, span.stop):
        for e in range(train.at[t + span.shift], train.at[t + span.shift + 1]):
            s, value = train.sample[e], train.value[e]
            channel, place = divmod(train.neuron[e], high * wide)
            y, x = divmod(place, wide)
            for ky in range(weights.rows.shape[1]):
                row, off = divmod(y + pad_y - ky, step_y)
                if off != 0 or row < 0 or row >= rows:
                    continue
                for kx in range(weights.rows.shape[2]):
                    column, off = divmod(x + pad_x - kx, step_x)
                    if off != 0 or column < 0 or column >= columns:
                        continue
                    target = row * columns + column
                    row_of = weights.rows[channel, ky, kx]
                    out = buffer[t, s, target]
                    for c in range(channels):
                        out[c] += value * row_of[c]
                    hit[t, s, target] = True
                    served += weights.nonzero[channel, ky, kx]
                    served_all += channels
    return served, served_all


@kernel
def pool(
    buffer: np.ndarray, hit: np.ndarray, span: Span, train: Train, windows: Windows
) -> tuple[int, int]:
    """Add each spike to the windows that hold it; return as :func:`dense`.

    The sums are not yet divided by the area: torch divides once, after the sum.
    """
    served = 0
    (high, wide), (rows, columns) = windows.given, windows.size
    (step_y, step_x), (tall, broad) = windows.stride, windows.kernel
    for t in range(span.start, span.stop):
        for e in range(train.at[t + span.shift], train.at[t + span.shift + 1]):
            s, value = train.sample[e], train.value[e]
            channel, place = divmod(train.neuron[e], high * wide)
            y, x = divmod(place, wide)
            for ky in range(tall):
                row, off = divmod(y - ky, step_y)
                if off != 0 or row < 0 or row >= rows:
                    continue
                for kx in range(broad):
                    column, off = divmod(x - kx, step_x)
                    if off != 0 or column < 0 or column >= columns:
                        continue
                    target = (channel * rows + row) * columns + column
                    buffer[t, s, target] += value
                    hit[t, s, target] = True
                    served += 1
    return served, served


@kernel
def collect(buffer: np.ndarray, start: int, stop: int) -> Train:
    """Return the entries of rows ``start`` to ``stop`` that are not zero, as spikes."""
    _, samples, neurons = buffer.shape
    at = np.zeros(stop - start + 1, np.int64)
    for t in range(start, stop):
        at[t - start + 1] = at[t - start] + np.count_nonzero(buffer[t] != 0)
    sample = np.empty(at[-1], np.int32)
    neuron = np.empty(at[-1], np.int32)
    value = np.empty(at[-1], buffer.dtype)
    e = 0
    for t in range(start, stop):
        for s in range(samples):
            for n in range(neurons):
                if buffer[t, s, n] != 0:
                    sample[e], neuron[e], value[e] = s, n, buffer[t, s, n]
                    e += 1
    return Train(at, sample, neuron, value)
