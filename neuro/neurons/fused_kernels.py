"""The normal form of a population over time, forward and backward, as compiled loops.

Some neurons at a time run through all ticks, so that their state and parameters stay in the
cache. Nothing is contracted or reordered: spikes and states are those of the plain loop, bit
for bit. The innermost loops are short, because compilers give up on loops over many arrays.
Axes: T ticks, B samples, M neurons, K neurons of a chunk.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.compiled import inlined, kernel

CHUNK = 1024
ARCTAN, TRIANGLE, GIVEN = range(3)  # derivatives of the spike


class Cells(NamedTuple):
    """Membrane, current and adaptation, or what flows back to them; B M each."""

    v: np.ndarray
    i: np.ndarray
    a: np.ndarray


class Form(NamedTuple):
    """Parameters as of :class:`neuro.neurons.base.Coefficients`; (M), or (1) for all.

    flows: there are currents. adapts: some threshold rises.
    """

    decay: np.ndarray
    gain: np.ndarray
    decay_syn: np.ndarray
    threshold: np.ndarray
    beta: np.ndarray
    decay_adapt: np.ndarray
    hard: bool
    flows: bool
    adapts: bool


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
    after the run, and at the end to those before it. decay, gain, threshold: to the parameters,
    M, in float64, if it ``learns``; that of the gain holds for cells without a current.
    """

    spikes: np.ndarray
    kind: int
    derivative: np.ndarray
    x: np.ndarray
    cells: Cells
    decay: np.ndarray
    gain: np.ndarray
    threshold: np.ndarray
    learns: bool


@inlined
def spread(part: np.ndarray, values: np.ndarray, first: int) -> None:
    """Write the values of a chunk that begins at ``first``, or the one value of all."""
    for k in range(part.size):
        part[k] = values[0] if values.size == 1 else values[first + k]


@inlined
def copy(out: np.ndarray, values: np.ndarray) -> None:
    """Write ``values`` to ``out``: a loop, since assigning slices costs more than copying."""
    for k in range(out.size):
        out[k] = values[k]


@inlined
def fire(out: np.ndarray, u: np.ndarray, bar: np.ndarray) -> None:
    """Write 1 where a membrane has reached its threshold, else 0."""
    zero, one = out.dtype.type(0), out.dtype.type(1)
    for k in range(out.size):
        out[k] = one if u[k] - bar[k] >= zero else zero


@inlined
def reset(v: np.ndarray, s: np.ndarray, bar: np.ndarray, hard: bool) -> None:
    """Reset the membranes that have fired."""
    one = v.dtype.type(1)
    if hard:
        for k in range(v.size):
            v[k] *= one - s[k]
    else:
        for k in range(v.size):
            v[k] -= bar[k] * s[k]


@kernel
def forward(
    x: np.ndarray,
    cells: Cells,
    form: Form,
    samples: tuple[int, int],
    spikes: np.ndarray,
    kept: np.ndarray,
) -> None:
    """Run samples ``samples[0]`` to ``samples[1]``; ``cells`` move on.

    spikes: T B M. kept: room for the membranes before their reset, T B M; empty: none is kept.
    """
    ticks, _, n = x.shape
    room = np.empty((7, CHUNK), x.dtype)
    for first in range(0, n, CHUNK):
        last = min(first + CHUNK, n)
        size = last - first
        decay, gain, fall = room[0, :size], room[1, :size], room[2, :size]
        theta, beta, rho, bar = room[3, :size], room[4, :size], room[5, :size], room[6, :size]
        spread(decay, form.decay, first)
        spread(gain, form.gain, first)
        spread(fall, form.decay_syn, first)
        spread(theta, form.threshold, first)
        spread(beta, form.beta, first)
        spread(rho, form.decay_adapt, first)
        copy(bar, theta)
        for b in range(samples[0], samples[1]):
            v, i, a = cells.v[b, first:last], cells.i[b, first:last], cells.a[b, first:last]
            for t in range(ticks):
                given, out = x[t, b, first:last], spikes[t, b, first:last]
                if form.flows:
                    for k in range(size):
                        i[k] = fall[k] * i[k] + given[k]
                    given = i
                for k in range(size):
                    v[k] = decay[k] * v[k] + gain[k] * given[k]
                if kept.size:
                    copy(kept[t, b, first:last], v)
                if form.adapts:
                    for k in range(size):
                        a[k] *= rho[k]
                    for k in range(size):
                        bar[k] = theta[k] + a[k]
                fire(out, v, bar)
                reset(v, out, bar, form.hard)
                if form.adapts:
                    for k in range(size):
                        a[k] += beta[k] * out[k]


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
    room = np.empty((4, size), bars.dtype)
    theta, beta, rho, a = room[0], room[1], room[2], room[3]
    spread(theta, form.threshold, first)
    spread(beta, form.beta, first)
    spread(rho, form.decay_adapt, first)
    copy(a, past.before.a[b, first : first + size])
    s = np.empty(size, bars.dtype)
    for t in range(ticks):
        bar = bars[t]
        if not form.adapts:
            copy(bar, theta)
            continue
        for k in range(size):
            a[k] *= rho[k]
        for k in range(size):
            bar[k] = theta[k] + a[k]
        fire(s, past.kept[t, b, first : first + size], bar)
        for k in range(size):
            a[k] += beta[k] * s[k]


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


@kernel
def backward(past: Past, form: Form, samples: tuple[int, int], back: Back) -> None:
    """Go back through samples ``samples[0]`` to ``samples[1]``.

    The derivative of a spike is that of ``back``; the spikes of reset and adaptation have none.
    """
    ticks, _, n = past.x.shape
    zero, one = past.x.dtype.type(0), past.x.dtype.type(1)
    room, bars = np.empty((8, CHUNK), past.x.dtype), np.empty((ticks, CHUNK), past.x.dtype)
    for first in range(0, n, CHUNK):
        last = min(first + CHUNK, n)
        size = last - first
        decay, gain, fall, rho = room[0, :size], room[1, :size], room[2, :size], room[3, :size]
        own, s, to_u, to_bar = room[4, :size], room[5, :size], room[6, :size], room[7, :size]
        spread(decay, form.decay, first)
        spread(gain, form.gain, first)
        spread(fall, form.decay_syn, first)
        spread(rho, form.decay_adapt, first)
        to_decay, to_gain = back.decay[first:last], back.gain[first:last]
        to_theta = back.threshold[first:last]
        for b in range(samples[0], samples[1]):
            thresholds(past, form, b, first, bars[:, :size])
            to_v, to_i = back.cells.v[b, first:last], back.cells.i[b, first:last]
            to_a = back.cells.a[b, first:last]
            for t in range(ticks - 1, -1, -1):
                u, bar = past.kept[t, b, first:last], bars[t, :size]
                given = back.derivative[t, b, first:last] if back.kind == GIVEN else u
                write_slope(own, back.kind, given, u, bar)
                to_s, to_x = back.spikes[t, b, first:last], back.x[t, b, first:last]
                for k in range(size):
                    own[k] *= to_s[k]
                fire(s, u, bar)
                if form.hard:
                    for k in range(size):
                        to_u[k] = own[k] + to_v[k] * (one - s[k])
                    for k in range(size):
                        to_bar[k] = -own[k]
                else:
                    for k in range(size):
                        to_u[k] = own[k] + to_v[k]
                    for k in range(size):
                        to_bar[k] = -own[k] - to_v[k] * s[k]
                if form.adapts:
                    for k in range(size):
                        to_a[k] = rho[k] * (to_bar[k] + to_a[k])
                for k in range(size):
                    to_v[k] = decay[k] * to_u[k]
                for k in range(size):
                    to_x[k] = gain[k] * to_u[k] + to_i[k]
                if form.flows:
                    for k in range(size):
                        to_i[k] = fall[k] * to_x[k]
                elif t == ticks - 1:
                    for k in range(size):
                        to_i[k] = zero
                if not back.learns:
                    continue
                x = past.x[t, b, first:last]
                for k in range(size):
                    to_theta[k] += to_bar[k]
                for k in range(size):
                    to_gain[k] += to_u[k] * x[k]
                if t == 0:
                    copy(own, past.before.v[b, first:last])
                else:
                    copy(own, past.kept[t - 1, b, first:last])
                    fire(s, own, bars[t - 1, :size])
                    reset(own, s, bars[t - 1, :size], form.hard)
                for k in range(size):
                    to_decay[k] += to_u[k] * own[k]
