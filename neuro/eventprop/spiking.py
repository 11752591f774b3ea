"""Compiled loops of a layer: spikes in continuous time or mean membranes, and the adjoint.

With J the synaptic current in units of dV/dt (times ``push`` [1/s]):

    dV/dt = -leak V + J     dJ/dt = -fade J     J jumps by push * weight at each arrival
    a spike when V reaches the threshold; then V = 0

and backward in time, with p_V = dL/dV and p_J = dL/dJ (Wunderlich & Pehl 2021, Sci Rep
11:12829, in other units):

    -dp_V/dt = -leak p_V     -dp_J/dt = -fade p_J + p_V
    at an arrival: dL/dweight += push p_J,  dL/dtime = push weight (fade p_J - p_V)
    at a spike:    p_V = (p_V J - dL/dtime) / (J - leak threshold)

A read-out's membrane jumps by gain * weight at each arrival. Its value at the end of a tick is
therefore discontinuous in the time of a spike that moves across that end. Its mean over the
tick is continuous and has a derivative.

Axes: T ticks, B samples, E arrivals or spikes in the order of (sample, time), R sources, N
neurons. The weights ``rows`` have axes R N.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.ops.jit import kernel

MAX_NEWTON_STEPS = 100  # if V only touches the threshold, each step halves the error


class TimedSpikes(NamedTuple):
    """Arrivals at a layer, or its spikes.

    indptr: sample b has the entries ``indptr[b]:indptr[b + 1]``.
    time: [s].
    neuron: an arrival's source (its row of weights), or the neuron that spiked.
    value: value of the spike.
    """

    indptr: np.ndarray
    time: np.ndarray
    neuron: np.ndarray
    value: np.ndarray


class LIFParameters(NamedTuple):
    """The parameters of a spiking layer (LIF with a synaptic current).

    leak, fade: decay rates of V and of J [1/s].
    push: J for a synaptic current of 1 [1/s].
    threshold: threshold of each neuron (N).
    top: highest V that an initial J of 1 reaches from V = 0.
    """

    leak: float
    fade: float
    push: float
    threshold: np.ndarray
    top: float


class Adjoint(NamedTuple):
    """dL/dV and dL/dJ of each neuron, at the time ``since``."""

    v: np.ndarray
    j: np.ndarray
    since: np.ndarray


class SpikeBuffer(NamedTuple):
    """Arrays of fixed size for spikes; ``total[0]`` also counts spikes that did not fit."""

    time: np.ndarray
    neuron: np.ndarray
    total: np.ndarray


@kernel
def compute_lift(leak: float, fade: float, s: float) -> float:
    """Return V at ``s`` [s] after V = 0 and J = 1; exact for equal rates too."""
    gap = fade - leak
    if gap > 0:
        return -math.exp(-leak * s) * math.expm1(-gap * s) / gap
    if gap < 0:
        return math.exp(-fade * s) * math.expm1(gap * s) / gap
    return s * math.exp(-leak * s)


@kernel
def find_peak(leak: float, fade: float, v: float, j: float) -> float:
    """Return the time [s] until V stops rising; now V = v is below the threshold, J = j > 0."""
    if leak == 0:
        return math.inf
    gap = fade - leak
    if gap == 0:
        return 1 / leak - v / j
    if j + gap * v <= 0:
        return 0.0
    return (math.log1p(gap / leak) - math.log1p(gap * v / j)) / gap


@kernel
def advance(cell: LIFParameters, v: float, j: float, s: float) -> tuple[float, float]:
    """Return V and J after ``s`` [s] without arrivals or spikes."""
    later = v * math.exp(-cell.leak * s) + j * compute_lift(cell.leak, cell.fade, s)
    return later, j * math.exp(-cell.fade * s)


@kernel
def find_crossing(cell: LIFParameters, n: int, v: float, j: float, most: float) -> float:
    """Return the time [s] until V of neuron n reaches its threshold; -1 if not within ``most``.

    V rises up to its only peak and is concave there, V'' = -leak V' - fade J < 0. So Newton's
    method started at 0 approaches the first crossing from below.
    """
    threshold = cell.threshold[n]
    high = min(find_peak(cell.leak, cell.fade, v, j), most)
    if high <= 0 or advance(cell, v, j, high)[0] < threshold:
        return -1.0
    s = 0.0
    for _ in range(MAX_NEWTON_STEPS):
        now, current = advance(cell, v, j, s)
        slope = current - cell.leak * now
        if now >= threshold or slope <= 0:
            break
        step = (threshold - now) / slope
        if s + step == s:
            break
        s += step
    return min(s, high)


@kernel
def find_spikes(
    cell: LIFParameters, rows: np.ndarray, train: TimedSpikes, end: float, buffer: SpikeBuffer
) -> np.ndarray:
    """Write the spikes up to ``end`` to ``buffer``, sorted by time within each sample.

    Returns ``indptr`` of the spikes (B + 1). If its last entry exceeds the buffer's size, the
    buffer's contents are invalid: call again with a larger one.
    """
    samples, size = train.indptr.size - 1, cell.threshold.size
    indptr = np.zeros(samples + 1, np.int64)
    for b in range(samples):
        v, j, now = np.zeros(size), np.zeros(size), 0.0
        for e in range(train.indptr[b], train.indptr[b + 1]):
            if train.time[e] > now:
                advance_layer(cell, v, j, now, train.time[e], buffer)
                now = train.time[e]
            push, row = cell.push * train.value[e], train.neuron[e]
            for n in range(size):
                j[n] += push * rows[row, n]
        advance_layer(cell, v, j, now, end, buffer)
        first, last = indptr[b], buffer.total[0]
        indptr[b + 1] = last
        if last <= buffer.time.size:
            order = np.argsort(buffer.time[first:last], kind="mergesort")
            time, neuron = buffer.time[first:last][order], buffer.neuron[first:last][order]
            for k in range(last - first):
                buffer.time[first + k], buffer.neuron[first + k] = time[k], neuron[k]
    return indptr


@kernel
def advance_layer(
    cell: LIFParameters,
    v: np.ndarray,
    j: np.ndarray,
    start: float,
    stop: float,
    buffer: SpikeBuffer,
) -> None:
    """Advance a sample's neurons from ``start`` to ``stop``; nothing arrives in between.

    v, j: V and J of the sample's neurons, changed in place. Spikes are appended to ``buffer``.
    """
    span = stop - start
    keep, stay = math.exp(-cell.leak * span), math.exp(-cell.fade * span)
    add = compute_lift(cell.leak, cell.fade, span)
    for n in range(v.size):
        if j[n] <= 0 or max(v[n], 0.0) + j[n] * cell.top < cell.threshold[n]:
            v[n] = v[n] * keep + j[n] * add
            j[n] *= stay
            continue
        left = span
        s = find_crossing(cell, n, v[n], j[n], left)
        while s >= 0:
            left -= s
            v[n], j[n] = 0.0, j[n] * math.exp(-cell.fade * s)
            count = buffer.total[0]
            if count < buffer.time.size:
                buffer.time[count], buffer.neuron[count] = stop - left, n
            buffer.total[0] = count + 1
            s = find_crossing(cell, n, v[n], j[n], left)
        v[n], j[n] = advance(cell, v[n], j[n], left)


@kernel
def find_currents(
    cell: LIFParameters, rows: np.ndarray, train: TimedSpikes, spikes: TimedSpikes
) -> np.ndarray:
    """Return, for each spike of the layer, J of the neuron that fired."""
    out = np.empty(spikes.time.size)
    for b in range(train.indptr.size - 1):
        j, now, e = np.zeros(cell.threshold.size), 0.0, train.indptr[b]
        for k in range(spikes.indptr[b], spikes.indptr[b + 1]):
            while e < train.indptr[b + 1] and train.time[e] <= spikes.time[k]:
                stay = math.exp(-cell.fade * (train.time[e] - now))
                push = cell.push * train.value[e]
                for n in range(j.size):
                    j[n] = j[n] * stay + push * rows[train.neuron[e], n]
                now = train.time[e]
                e += 1
            out[k] = j[spikes.neuron[k]] * math.exp(-cell.fade * (spikes.time[k] - now))
    return out


@kernel
def propagate_back(
    cell: LIFParameters,
    rows: np.ndarray,
    train: TimedSpikes,
    spikes: TimedSpikes,
    by_spike: np.ndarray,
    least: float,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return dL/drows, dL/d(time of each arrival), and the number of raised slopes.

    train: the arrivals.
    spikes: spikes of the layer; their ``value`` is J at the spike.
    by_spike: dL/d(time of each spike).
    least: slopes J - leak threshold of V at a spike are raised to at least this value
        [threshold * (leak + fade)].
    """
    by_row, by_arrival = np.zeros_like(rows), np.empty(train.time.size)
    raised = 0
    for b in range(train.indptr.size - 1):
        if train.indptr[b] == train.indptr[b + 1]:
            continue
        k, clock = spikes.indptr[b + 1] - 1, train.time[train.indptr[b + 1] - 1]
        size = rows.shape[1]
        adjoint = Adjoint(np.zeros(size), np.zeros(size), np.full(size, clock))
        for e in range(train.indptr[b + 1] - 1, train.indptr[b] - 1, -1):
            while k >= spikes.indptr[b] and spikes.time[k] >= train.time[e]:
                n, j = spikes.neuron[k], spikes.value[k]
                rewind(cell, adjoint, n, spikes.time[k])
                threshold = cell.threshold[n]
                slope = j - cell.leak * threshold
                floor = least * (cell.leak + cell.fade) * threshold
                raised += slope < floor
                adjoint.v[n] = (adjoint.v[n] * j - by_spike[k]) / max(slope, floor)
                k -= 1
            rewind_all(cell, adjoint, clock, train.time[e])
            clock = train.time[e]
            push, row, by_time = cell.push * train.value[e], train.neuron[e], 0.0
            for n in range(size):
                by_row[row, n] += push * adjoint.j[n]
                by_time += rows[row, n] * (cell.fade * adjoint.j[n] - adjoint.v[n])
            by_arrival[e] = push * by_time
    return by_row, by_arrival, raised


@kernel
def rewind(cell: LIFParameters, adjoint: Adjoint, n: int, then: float) -> None:
    """Integrate the adjoint of neuron n back to the time ``then``."""
    v, j, span = adjoint.v[n], adjoint.j[n], adjoint.since[n] - then
    adjoint.since[n] = then
    if v != 0.0 or j != 0.0:
        adjoint.j[n] = j * math.exp(-cell.fade * span) + v * compute_lift(
            cell.leak, cell.fade, span
        )
        adjoint.v[n] = v * math.exp(-cell.leak * span)


@kernel
def rewind_all(cell: LIFParameters, adjoint: Adjoint, clock: float, then: float) -> None:
    """Integrate the adjoint of all neurons back to the time ``then``.

    Most neurons are at the time ``clock``, so they share their factors.
    """
    span = clock - then
    keep, stay = math.exp(-cell.leak * span), math.exp(-cell.fade * span)
    add = compute_lift(cell.leak, cell.fade, span)
    for n in range(adjoint.v.size):
        if adjoint.since[n] != clock:
            rewind(cell, adjoint, n, then)
            continue
        adjoint.j[n] = adjoint.j[n] * stay + adjoint.v[n] * add
        adjoint.v[n] *= keep
        adjoint.since[n] = then


@kernel
def mean_response(leak: float, dt: float, s: float) -> float:
    """Return the mean over a tick of a jump by 1 that is ``s`` [s] before the tick's end."""
    if leak == 0:
        return s / dt
    return -math.expm1(-leak * s) / (leak * dt)


@kernel
def find_tick(time: float, dt: float, ticks: int) -> int:
    """Return the tick k from 0 to ticks - 1 with k dt < time <= (k + 1) dt."""
    return min(max(math.ceil(time / dt) - 1, 0), ticks - 1)


@kernel
def mean_membranes(
    leak: float, rows: np.ndarray, train: TimedSpikes, ticks: int, dt: float
) -> np.ndarray:
    """Return the mean membrane of each tick, axes T B N. rows: weights times gain."""
    samples, size = train.indptr.size - 1, rows.shape[1]
    out = np.zeros((ticks, samples, size))
    left = np.zeros((ticks, samples, size))  # the effect of a tick's arrivals at the tick's end
    for b in range(samples):
        for e in range(train.indptr[b], train.indptr[b + 1]):
            k = find_tick(train.time[e], dt, ticks)
            s = (k + 1) * dt - train.time[e]
            share = train.value[e] * mean_response(leak, dt, s)
            rest = train.value[e] * math.exp(-leak * s)
            for n in range(size):
                out[k, b, n] += share * rows[train.neuron[e], n]
                left[k, b, n] += rest * rows[train.neuron[e], n]
    keep, whole = math.exp(-leak * dt), mean_response(leak, dt, dt)
    for k in range(1, ticks):
        for b in range(samples):
            for n in range(size):
                out[k, b, n] += whole * left[k - 1, b, n]
                left[k, b, n] += keep * left[k - 1, b, n]
    return out


@kernel
def propagate_means_back(
    leak: float, rows: np.ndarray, train: TimedSpikes, by_mean: np.ndarray, dt: float
) -> tuple:
    """Return dL/drows and dL/d(time of each arrival), given dL/d(mean of each tick)."""
    ticks, samples, size = by_mean.shape
    after = np.zeros((ticks, samples, size))  # dL/dv at the end of each tick
    keep, whole = math.exp(-leak * dt), mean_response(leak, dt, dt)
    for k in range(ticks - 2, -1, -1):
        for b in range(samples):
            for n in range(size):
                after[k, b, n] = keep * after[k + 1, b, n] + whole * by_mean[k + 1, b, n]
    by_row, by_arrival = np.zeros_like(rows), np.empty(train.time.size)
    for b in range(samples):
        for e in range(train.indptr[b], train.indptr[b + 1]):
            k = find_tick(train.time[e], dt, ticks)
            s = (k + 1) * dt - train.time[e]
            stay, share = math.exp(-leak * s), mean_response(leak, dt, s)
            row, by_time = train.neuron[e], 0.0
            for n in range(size):
                p = stay * after[k, b, n] + share * by_mean[k, b, n]
                by_row[row, n] += train.value[e] * p
                by_time += rows[row, n] * (leak * p - by_mean[k, b, n] / dt)
            by_arrival[e] = train.value[e] * by_time
    return by_row, by_arrival
