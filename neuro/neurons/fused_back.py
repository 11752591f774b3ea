"""The way back through :mod:`neuro.neurons.fused_kernels`, as compiled loops.

Gradients are those of the graph of the plain loop, up to rounding.
Axes: T ticks, B samples, M neurons, K neurons of a chunk.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.compiled import inlined, kernel
from neuro.neurons.fused_kernels import (
    CHUNK,
    DECAY,
    FALL,
    GAIN,
    RHO,
    THETA,
    Cells,
    Form,
    copy,
    fire,
    lower,
    parameters,
    reset,
    rise,
)

ARCTAN, TRIANGLE, GIVEN = range(3)  # derivatives of the spike


class Past(NamedTuple):
    """What the way back needs. x, kept: input and membranes before their reset, T B M.

    before: the cells before the run.
    """

    x: np.ndarray
    kept: np.ndarray
    before: Cells


class Back(NamedTuple):
    """What flows back. spikes: to each spike; x: to the input; T B M.

    kind: of derivative; derivative: its values where it is GIVEN, T B M. cells: to the cells
    after the run, and at the end to those before it. sums: to decay, gain and threshold, 3 M in
    float64, if it ``learns``; that of the gain holds for cells without a current.
    """

    spikes: np.ndarray
    kind: int
    derivative: np.ndarray
    x: np.ndarray
    cells: Cells
    sums: np.ndarray
    learns: bool


@kernel
def distances(past: Past, form: Form, out: np.ndarray) -> None:
    """Write the distances of all membranes from their thresholds, T B M."""
    ticks, samples, n = past.kept.shape
    bars = np.empty((ticks, CHUNK), out.dtype)
    for first in range(0, n, CHUNK):
        last = min(first + CHUNK, n)
        for b in range(samples):
            thresholds(past, form, b, first, bars[:, : last - first])
            for t in range(ticks):
                for j in range(first, last):
                    out[t, b, j] = past.kept[t, b, j] - bars[t, j - first]


@kernel
def thresholds(past: Past, form: Form, b: int, first: int, bars: np.ndarray) -> None:
    """Write the thresholds of a chunk of sample b, T K."""
    ticks, size = bars.shape
    room = parameters(form, first, size)
    a, s = np.empty(size, bars.dtype), np.empty(size, bars.dtype)
    copy(a, past.before.a[b, first : first + size])
    for t in range(ticks):
        if form.adapts:
            lower(bars[t], a, room)
            fire(s, past.kept[t, b, first : first + size], bars[t])
            rise(a, s, room)
        else:
            copy(bars[t], room[THETA])


@inlined
def write_slope(
    slope: np.ndarray, kind: int, given: np.ndarray, u: np.ndarray, bar: np.ndarray
) -> None:
    """Write the derivatives of the spikes of a chunk; ``given`` holds them where it can."""
    zero, one = slope.dtype.type(0), slope.dtype.type(1)
    pi = slope.dtype.type(math.pi)
    if kind == GIVEN:
        copy(slope, given)
    elif kind == ARCTAN:
        for k in range(slope.size):
            far = pi * (u[k] - bar[k])
            slope[k] = one / (one + far * far)
    else:
        for k in range(slope.size):
            slope[k] = max(zero, one - abs(u[k] - bar[k]))


@inlined
def back_through_reset(
    own: np.ndarray, s: np.ndarray, to_v: np.ndarray, out: np.ndarray, hard: bool
) -> None:
    """Write what flows to membranes and thresholds (2 K) before their reset.

    own: what the spikes hand back; it goes to the membrane, and reversed to the threshold.
    """
    one = own.dtype.type(1)
    to_u, to_bar = out[0], out[1]
    if hard:
        for k in range(own.size):
            to_u[k] = own[k] + to_v[k] * (one - s[k])
        for k in range(own.size):
            to_bar[k] = -own[k]
    else:
        for k in range(own.size):
            to_u[k] = own[k] + to_v[k]
        for k in range(own.size):
            to_bar[k] = -own[k] - to_v[k] * s[k]


@inlined
def back_through_leak(
    flow: np.ndarray, to_v: np.ndarray, to_i: np.ndarray, room: np.ndarray, out: np.ndarray
) -> None:
    """Write what flows to the input, and to membranes and currents a tick before."""
    decay, gain, fall, to_u = room[DECAY], room[GAIN], room[FALL], flow[0]
    for k in range(out.size):
        to_v[k] = decay[k] * to_u[k]
    if to_i.size:
        for k in range(out.size):
            out[k] = gain[k] * to_u[k] + to_i[k]
        for k in range(out.size):
            to_i[k] = fall[k] * out[k]
    else:
        for k in range(out.size):
            out[k] = gain[k] * to_u[k]


@inlined
def back_through_adaptation(to_a: np.ndarray, flow: np.ndarray, room: np.ndarray) -> None:
    """Turn what flows to adaptations into what flows to those a tick before."""
    rho, to_bar = room[RHO], flow[1]
    for k in range(to_a.size):
        to_a[k] = rho[k] * (to_bar[k] + to_a[k])


@inlined
def learn(flow: np.ndarray, x: np.ndarray, v: np.ndarray, sums: np.ndarray) -> None:
    """Add what flows to decay, gain and threshold (3 K)."""
    to_u, to_bar = flow[0], flow[1]
    to_decay, to_gain, to_theta = sums[0], sums[1], sums[2]
    for k in range(v.size):
        to_decay[k] += to_u[k] * v[k]
    for k in range(v.size):
        to_gain[k] += to_u[k] * x[k]
    for k in range(v.size):
        to_theta[k] += to_bar[k]


@kernel
def backward(past: Past, form: Form, samples: tuple[int, int], back: Back) -> None:
    """Go back through samples ``samples[0]`` to ``samples[1]``.

    The derivative of a spike is that of ``back``; the spikes of reset and adaptation have none.
    """
    ticks, _, n = past.x.shape
    for first in range(0, n, CHUNK):
        last = min(first + CHUNK, n)
        size = last - first
        room, bars = parameters(form, first, size), np.empty((ticks, size), past.x.dtype)
        flow, scratch = np.empty((2, size), past.x.dtype), np.empty((2, size), past.x.dtype)
        own, s = scratch[0], scratch[1]
        for b in range(samples[0], samples[1]):
            thresholds(past, form, b, first, bars)
            to_v, to_i = back.cells.v[b, first:last], back.cells.i[b, first:last]
            to_i = to_i if form.flows else to_i[:0]
            for t in range(ticks - 1, -1, -1):
                u, to_s = past.kept[t, b, first:last], back.spikes[t, b, first:last]
                given = back.derivative[t, b, first:last] if back.kind == GIVEN else u
                write_slope(own, back.kind, given, u, bars[t])
                for k in range(size):
                    own[k] *= to_s[k]
                fire(s, u, bars[t])
                back_through_reset(own, s, to_v, flow, form.hard)
                back_through_leak(flow, to_v, to_i, room, back.x[t, b, first:last])
                if form.adapts:
                    back_through_adaptation(back.cells.a[b, first:last], flow, room)
                if back.learns:
                    copy(
                        own,
                        past.before.v[b, first:last]
                        if t == 0
                        else past.kept[t - 1, b, first:last],
                    )
                    if t > 0:
                        fire(s, own, bars[t - 1])
                        reset(own, s, bars[t - 1], form.hard)
                    learn(flow, past.x[t, b, first:last], own, back.sums[:, first:last])
