"""Compiled loops that move spikes: over connections, into and out of dense buffers.

Each function also runs as plain Python (``.py_func``), which is how it is tested. No fastmath:
a fused or reordered sum would not be torch's.

A buffer has axes S L P C: samples, ticks of the stretch being run, places, and the channels of
a place, which are always hit together (all neurons of a Dense stand at one place, the channels
of a Conv2d at each of its pixels, else each neuron by itself). Neuron n = c P + p.
"""

from typing import NamedTuple

import numpy as np

from neuro.compiled import bare, inlined, kernel

__all__ = ["bare", "inlined", "kernel"]


class Train(NamedTuple):
    """Spikes by (sample, tick, neuron); row r of sample s is ``at[s, r]:at[s, r + 1]``."""

    at: np.ndarray
    neuron: np.ndarray
    value: np.ndarray


class Span(NamedTuple):
    """Rows ``start`` to ``stop`` of a buffer; row r hears row ``r + shift`` of a train."""

    start: int
    stop: int
    shift: int


class Buffer(NamedTuple):
    """What a node gets or puts out. values: S L P C, valid where ``hit`` (S L P).

    rest: what any other place holds, P C or 1 C (the same at every place).
    """

    values: np.ndarray
    hit: np.ndarray
    rest: np.ndarray


class Weights(NamedTuple):
    """Weights, the targets of one source side by side, and how many of those are not zero.

    rows: Dense (in, out); Conv2d (C_in, kH, kW, C_out). nonzero: without the last axis.
    """

    rows: np.ndarray
    nonzero: np.ndarray


class Synapses(NamedTuple):
    """Those of source j are ``start[j]:stop[j]`` of target and weight."""

    start: np.ndarray
    stop: np.ndarray
    target: np.ndarray
    weight: np.ndarray


class Windows(NamedTuple):
    """How a kernel slides over a plane: (H, W) of input, output, kernel, stride, padding."""

    given: tuple[int, int]
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@inlined
def touch(buffer: Buffer, s: int, t: int, place: int) -> None:
    """Make a place valid: until its first hit it is at rest."""
    if not buffer.hit[s, t, place]:
        buffer.hit[s, t, place] = True
        row = min(place, buffer.rest.shape[0] - 1)
        for c in range(buffer.rest.shape[1]):
            buffer.values[s, t, place, c] = buffer.rest[row, c]


@kernel
def add(buffer: Buffer, span: Span, train: Train) -> tuple[int, int]:
    """Add each spike to the neuron of the same index; return as :func:`dense`."""
    places, served = buffer.hit.shape[2], 0
    for s in range(buffer.hit.shape[0]):
        for t in range(span.start, span.stop):
            row = t + span.shift
            for e in range(train.at[s, row], train.at[s, row + 1]):
                c, place = divmod(train.neuron[e], places)
                touch(buffer, s, t, place)
                buffer.values[s, t, place, c] += train.value[e]
                served += 1
    return served, served


@kernel
def dense(buffer: Buffer, span: Span, train: Train, weights: Weights) -> tuple[int, int]:
    """Add a row of weights for each spike; return the synaptic events (non-zero, all).

    Four rows in one pass: what is added to then stays longer in registers.
    """
    rows, neuron, value, values = weights.rows, train.neuron, train.value, buffer.values
    targets = rows.shape[1]
    served, served_all = 0, 0
    for s in range(buffer.hit.shape[0]):
        for t in range(span.start, span.stop):
            e, stop = train.at[s, t + span.shift], train.at[s, t + span.shift + 1]
            if e == stop:
                continue
            touch(buffer, s, t, 0)
            served_all += targets * (stop - e)
            for k in range(e, stop):
                served += weights.nonzero[neuron[k]]
            while e + 4 <= stop:
                a, b, c, d = neuron[e], neuron[e + 1], neuron[e + 2], neuron[e + 3]
                p, q, r, u = value[e], value[e + 1], value[e + 2], value[e + 3]
                for n in range(targets):
                    one, two = p * rows[a, n] + q * rows[b, n], r * rows[c, n] + u * rows[d, n]
                    values[s, t, 0, n] += one + two
                e += 4
            while e < stop:
                a, p = neuron[e], value[e]
                for n in range(targets):
                    values[s, t, 0, n] += p * rows[a, n]
                e += 1
    return served, served_all


@kernel
def sparse(buffer: Buffer, span: Span, train: Train, synapses: Synapses) -> tuple[int, int]:
    """Add the synapses of each spike to single neurons, or to the only place; as ``dense``."""
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


@inlined
def reached(place: int, kernel: int, stride: int, size: int) -> tuple[int, int]:
    """Return the first and the last window that holds a place of the padded axis."""
    return max(0, -((kernel - 1 - place) // stride)), min(size - 1, place // stride)


@kernel
def conv(
    buffer: Buffer, span: Span, train: Train, weights: Weights, windows: Windows
) -> tuple[int, int]:
    """Add the kernel of each spike, all channels of a place at a time; return as ``dense``."""
    (high, wide), (height, width) = windows.given, windows.size
    (step_y, step_x), (pad_y, pad_x) = windows.stride, windows.padding
    rows, values = weights.rows, buffer.values
    _, tall, broad, channels = rows.shape
    served, served_all = 0, 0
    for s in range(buffer.hit.shape[0]):
        for t in range(span.start, span.stop):
            for e in range(train.at[s, t + span.shift], train.at[s, t + span.shift + 1]):
                value = train.value[e]
                channel, place = divmod(train.neuron[e], high * wide)
                y, x = place // wide + pad_y, place % wide + pad_x
                top, bottom = reached(y, tall, step_y, height)
                left, right = reached(x, broad, step_x, width)
                for row in range(top, bottom + 1):
                    for column in range(left, right + 1):
                        ky, kx = y - row * step_y, x - column * step_x
                        target = row * width + column
                        touch(buffer, s, t, target)
                        for c in range(channels):
                            values[s, t, target, c] += value * rows[channel, ky, kx, c]
                        served += weights.nonzero[channel, ky, kx]
                        served_all += channels
    return served, served_all


@kernel
def pool(buffer: Buffer, span: Span, train: Train, windows: Windows) -> tuple[int, int]:
    """Add each spike to the windows that hold it; return as :func:`dense`.

    The sums are not yet divided by the area: torch divides once, after the sum.
    """
    served = 0
    (high, wide), (rows, columns) = windows.given, windows.size
    (step_y, step_x), (tall, broad) = windows.stride, windows.kernel
    for s in range(buffer.hit.shape[0]):
        for t in range(span.start, span.stop):
            for e in range(train.at[s, t + span.shift], train.at[s, t + span.shift + 1]):
                channel, place = divmod(train.neuron[e], high * wide)
                top, bottom = reached(place // wide, tall, step_y, rows)
                left, right = reached(place % wide, broad, step_x, columns)
                for row in range(top, bottom + 1):
                    for column in range(left, right + 1):
                        target = (channel * rows + row) * columns + column
                        touch(buffer, s, t, target)
                        buffer.values[s, t, target, 0] += train.value[e]
                        served += 1
    return served, served


@kernel
def divide(buffer: Buffer, start: int, stop: int, area: int) -> None:
    """Divide what is valid in rows ``start`` to ``stop`` by ``area``."""
    for s in range(buffer.hit.shape[0]):
        for t in range(start, stop):
            for place in np.flatnonzero(buffer.hit[s, t]):
                for c in range(buffer.values.shape[3]):
                    buffer.values[s, t, place, c] /= buffer.values.dtype.type(area)


@kernel
def pour(source: Buffer, target: Buffer, start: int, stop: int) -> None:
    """Add what ``source`` holds beyond its rest to the same neurons of ``target``."""
    places, channels = source.hit.shape[2], source.values.shape[3]
    others = target.hit.shape[2]
    for s in range(source.hit.shape[0]):
        for t in range(start, stop):
            for place in np.flatnonzero(source.hit[s, t]):
                given = source.values[s, t, place]
                rest = source.rest[min(place, source.rest.shape[0] - 1)]
                if places == others:
                    touch(target, s, t, place)
                    out = target.values[s, t, place]
                    for c in range(channels):
                        out[c] += given[c] - rest[c]
                    continue
                for c in range(channels):
                    channel, other = divmod(c * places + place, others)
                    touch(target, s, t, other)
                    target.values[s, t, other, channel] += given[c] - rest[c]


@kernel
def collect(buffer: Buffer, start: int, stop: int) -> Train:
    """Return what is not zero in rows ``start`` to ``stop``, as spikes."""
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
                    given = values[s, t, place, c] if hit[s, t, place] else rest[row, c]
                    if given != 0:
                        neuron[e], value[e] = c * places + place, given
                        e += 1
            at[s, t - start + 1] = e
    return Train(at, neuron[:e].copy(), value[:e].copy())
