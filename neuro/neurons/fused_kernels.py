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
DECAY, GAIN, FALL, THETA, BETA, RHO = range(6)  # rows of the parameters of a chunk


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
def parameters(form: Form, first: int, size: int) -> np.ndarray:
    """Return the parameters of a chunk that begins at ``first``, 6 K."""
    room = np.empty((6, size), form.decay.dtype)
    for row, values in (
        (DECAY, form.decay),
        (GAIN, form.gain),
        (FALL, form.decay_syn),
        (THETA, form.threshold),
        (BETA, form.beta),
        (RHO, form.decay_adapt),
    ):
        for k in range(size):
            room[row, k] = values[0] if values.size == 1 else values[first + k]
    return room


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


@inlined
def integrate(
    v: np.ndarray, i: np.ndarray, x: np.ndarray, room: np.ndarray, flows: bool
) -> None:
    """Add a tick of input to membranes, through their currents where it ``flows``."""
    decay, gain, fall = room[DECAY], room[GAIN], room[FALL]
    if flows:
        for k in range(v.size):
            i[k] = fall[k] * i[k] + x[k]
        for k in range(v.size):
            v[k] = decay[k] * v[k] + gain[k] * i[k]
    else:
        for k in range(v.size):
            v[k] = decay[k] * v[k] + gain[k] * x[k]


@inlined
def lower(bar: np.ndarray, a: np.ndarray, room: np.ndarray) -> None:
    """Let the adaptation decay for a tick, and write the thresholds."""
    theta, rho = room[THETA], room[RHO]
    for k in range(bar.size):
        a[k] *= rho[k]
    for k in range(bar.size):
        bar[k] = theta[k] + a[k]


@inlined
def rise(a: np.ndarray, s: np.ndarray, room: np.ndarray) -> None:
    """Let the adaptation rise where a neuron has fired."""
    beta = room[BETA]
    for k in range(a.size):
        a[k] += beta[k] * s[k]


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
    for first in range(0, n, CHUNK):
        last = min(first + CHUNK, n)
        room, bar = parameters(form, first, last - first), np.empty(last - first, x.dtype)
        copy(bar, room[THETA])
        for b in range(samples[0], samples[1]):
            v, i, a = cells.v[b, first:last], cells.i[b, first:last], cells.a[b, first:last]
            for t in range(ticks):
                out = spikes[t, b, first:last]
                integrate(v, i, x[t, b, first:last], room, form.flows)
                if kept.size:
                    copy(kept[t, b, first:last], v)
                if form.adapts:
                    lower(bar, a, room)
                fire(out, v, bar)
                reset(v, out, bar, form.hard)
                if form.adapts:
                    rise(a, out, room)


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
