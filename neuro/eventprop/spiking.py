"""Compiled loops of a spiking layer: its spikes in continuous time, and its adjoint.

With J the synaptic current times what it pushes V:

    dV/dt = -leak V + J     dJ/dt = -fade J     J jumps by push * weight at each arrival
    a spike when V reaches the threshold; then V = 0

and backward in time, with p_V = dL/dV and p_J = dL/dJ (Wunderlich & Pehl 2021, Sci Rep
11:12829, in other units):

    -dp_V/dt = -leak p_V     -dp_J/dt = -fade p_J + p_V
    at an arrival: dL/dweight += push p_J,  dL/dtime = push weight (fade p_J - p_V)
    at a spike:    p_V = (p_V J - dL/dtime) / (J - leak threshold)

Axes: E arrivals or spikes in the order of (sample, time), R sources, N neurons.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.ops.jit import kernel

NEWTON = 100  # steps at most: at a grazing root each only halves the way


class Train(NamedTuple):
    """Arrivals or spikes; those of sample b are ``at[b]:at[b + 1]``. neuron: of the source."""

    at: np.ndarray
    time: np.ndarray
    neuron: np.ndarray
    value: np.ndarray


class Cell(NamedTuple):
    """A spiking layer: rates and push [1/s], threshold of each neuron.

    top: the highest V that a current of 1 reaches from rest.
    """

    leak: float
    fade: float
    push: float
    threshold: np.ndarray
    top: float


class Adjoint(NamedTuple):
    """dL/dV and dL/dJ of each neuron at the time ``since``."""

    v: np.ndarray
    j: np.ndarray
    since: np.ndarray


class Room(NamedTuple):
    """Where spikes are written as long as there is room; ``many[0]`` counts the rest too."""

    time: np.ndarray
    neuron: np.ndarray
    many: np.ndarray


@kernel
def lift(leak: float, fade: float, s: float) -> float:
    """Return what a current of 1 has added to V after ``s``; exact for equal rates too."""
    gap = fade - leak
    if gap > 0:
        return -math.exp(-leak * s) * math.expm1(-gap * s) / gap
    if gap < 0:
        return math.exp(-fade * s) * math.expm1(gap * s) / gap
    return s * math.exp(-leak * s)


@kernel
def peak(leak: float, fade: float, v: float, j: float) -> float:
    """Return when V, coming from v below the threshold with a current j > 0, stops rising."""
    if leak == 0:
        return math.inf
    gap = fade - leak
    if gap == 0:
        return 1 / leak - v / j
    if j + gap * v <= 0:
        return 0.0
    return (math.log1p(gap / leak) - math.log1p(gap * v / j)) / gap


@kernel
def moved(cell: Cell, v: float, j: float, s: float) -> tuple[float, float]:
    """Return V and J after ``s`` without arrival or spike."""
    later = v * math.exp(-cell.leak * s) + j * lift(cell.leak, cell.fade, s)
    return later, j * math.exp(-cell.fade * s)


@kernel
def crossing(cell: Cell, n: int, v: float, j: float, most: float) -> float:
    """Return when V of neuron n first reaches its threshold within ``most``; -1: it does not.

    Up to its one peak V rises and is concave, V'' = -leak V' - fade J < 0: Newton's steps from
    0 never pass the root.
    """
    threshold = cell.threshold[n]
    high = min(peak(cell.leak, cell.fade, v, j), most)
    if high <= 0 or moved(cell, v, j, high)[0] < threshold:
        return -1.0
    s = 0.0
    for _ in range(NEWTON):
        now, current = moved(cell, v, j, s)
        slope = current - cell.leak * now
        if now >= threshold or slope <= 0:
            break
        step = (threshold - now) / slope
        if s + step == s:
            break
        s += step
    return min(s, high)


@kernel
def fire(cell: Cell, rows: np.ndarray, train: Train, end: float, room: Room) -> np.ndarray:
    """Write the spikes until ``end``, sorted in each sample; return where each sample starts.

    Where the last of these exceeds the room, the room was too small and holds nothing of use.
    """
    samples, size = train.at.size - 1, cell.threshold.size
    at = np.zeros(samples + 1, np.int64)
    for b in range(samples):
        v, j, now = np.zeros(size), np.zeros(size), 0.0
        for e in range(train.at[b], train.at[b + 1]):
            if train.time[e] > now:
                glide(cell, v, j, now, train.time[e], room)
                now = train.time[e]
            push, row = cell.push * train.value[e], train.neuron[e]
            for n in range(size):
                j[n] += push * rows[row, n]
        glide(cell, v, j, now, end, room)
        first, last = at[b], room.many[0]
        at[b + 1] = last
        if last <= room.time.size:
            order = np.argsort(room.time[first:last], kind="mergesort")
            room.time[first:last] = room.time[first:last][order]
            room.neuron[first:last] = room.neuron[first:last][order]
    return at


@kernel
def glide(
    cell: Cell, v: np.ndarray, j: np.ndarray, start: float, stop: float, room: Room
) -> None:
    """Move all neurons of a sample from ``start`` to ``stop``, without arrival between."""
    span = stop - start
    keep, stay = math.exp(-cell.leak * span), math.exp(-cell.fade * span)
    add = lift(cell.leak, cell.fade, span)
    for n in range(v.size):
        if j[n] <= 0 or max(v[n], 0.0) + j[n] * cell.top < cell.threshold[n]:
            v[n] = v[n] * keep + j[n] * add
            j[n] *= stay
            continue
        left = span
        s = crossing(cell, n, v[n], j[n], left)
        while s >= 0:
            left -= s
            v[n], j[n] = 0.0, j[n] * math.exp(-cell.fade * s)
            count = room.many[0]
            if count < room.time.size:
                room.time[count], room.neuron[count] = stop - left, n
            room.many[0] = count + 1
            s = crossing(cell, n, v[n], j[n], left)
        v[n], j[n] = moved(cell, v[n], j[n], left)


@kernel
def currents(cell: Cell, rows: np.ndarray, train: Train, spikes: Train) -> np.ndarray:
    """Return J of each neuron that spikes, at its spike."""
    out = np.empty(spikes.time.size)
    for b in range(train.at.size - 1):
        j, now, e = np.zeros(cell.threshold.size), 0.0, train.at[b]
        for k in range(spikes.at[b], spikes.at[b + 1]):
            while e < train.at[b + 1] and train.time[e] <= spikes.time[k]:
                stay = math.exp(-cell.fade * (train.time[e] - now))
                push = cell.push * train.value[e]
                for n in range(j.size):
                    j[n] = j[n] * stay + push * rows[train.neuron[e], n]
                now = train.time[e]
                e += 1
            out[k] = j[spikes.neuron[k]] * math.exp(-cell.fade * (spikes.time[k] - now))
    return out


@kernel
def back(
    cell: Cell,
    rows: np.ndarray,
    train: Train,
    spikes: Train,
    by_spike: np.ndarray,
    least: float,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return dL/drows, dL/d(time of each arrival), and how many slopes were raised.

    spikes: the layer's own, ``value`` their J. by_spike: dL/d(time of each). least: the
    smallest slope J - leak threshold of V at a spike [threshold * (leak + fade)].
    """
    by_row, by_arrival = np.zeros_like(rows), np.empty(train.time.size)
    raised = 0
    for b in range(train.at.size - 1):
        if train.at[b] == train.at[b + 1]:
            continue
        k, clock = spikes.at[b + 1] - 1, train.time[train.at[b + 1] - 1]
        size = rows.shape[1]
        adjoint = Adjoint(np.zeros(size), np.zeros(size), np.full(size, clock))
        for e in range(train.at[b + 1] - 1, train.at[b] - 1, -1):
            while k >= spikes.at[b] and spikes.time[k] >= train.time[e]:
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
def rewind(cell: Cell, adjoint: Adjoint, n: int, then: float) -> None:
    """Carry the adjoint of neuron n back to time ``then``."""
    v, j, span = adjoint.v[n], adjoint.j[n], adjoint.since[n] - then
    adjoint.since[n] = then
    if v != 0.0 or j != 0.0:
        adjoint.j[n] = j * math.exp(-cell.fade * span) + v * lift(cell.leak, cell.fade, span)
        adjoint.v[n] = v * math.exp(-cell.leak * span)


@kernel
def rewind_all(cell: Cell, adjoint: Adjoint, clock: float, then: float) -> None:
    """Carry the adjoint of all neurons back to ``then``: of most from ``clock``, alike."""
    span = clock - then
    keep, stay = math.exp(-cell.leak * span), math.exp(-cell.fade * span)
    add = lift(cell.leak, cell.fade, span)
    for n in range(adjoint.v.size):
        if adjoint.since[n] != clock:
            rewind(cell, adjoint, n, then)
            continue
        adjoint.j[n] = adjoint.j[n] * stay + adjoint.v[n] * add
        adjoint.v[n] *= keep
        adjoint.since[n] = then
