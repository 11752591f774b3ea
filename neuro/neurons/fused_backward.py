"""The way back through :mod:`neuro.neurons.fused_kernels`, as compiled loops.

Gradients are those of the graph of the plain loop, up to rounding. Membranes are not kept: to
compute those of a chunk again takes less time than to write and read them.
Axes: as there.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.neurons.fused_kernels import (
    DECAY,
    FALL,
    GAIN,
    RHO,
    THETA,
    Blocks,
    Cells,
    Form,
    chunk_of,
    copy,
    fire,
    integrate,
    lower,
    parameters,
    rise,
)
from neuro.ops.jit import inlined, kernel

ARCTAN, TRIANGLE, GIVEN = range(3)  # derivatives of the spike


class Past(NamedTuple):
    """What the way back needs. x: input, T B M. before: the cells before the run."""

    x: np.ndarray
    before: Cells
    blocks: Blocks


class Back(NamedTuple):
    """What flows back. out: to each spike or mean, T B P. x: to the input, T B M; zeros where
    one tick stands for all.

    kind: of derivative; derivative: its values where it is GIVEN, T B M. cells: to the cells
    after the run, and at the end to those before it. sums: to decay, gain and threshold, 3 M in
    float64, or 3 0 where none learns; that of the gain holds for cells without a current.
    """

    out: np.ndarray
    kind: int
    derivative: np.ndarray
    x: np.ndarray
    cells: Cells
    sums: np.ndarray


@kernel
def distances(past: Past, form: Form, out: np.ndarray) -> None:
    """Write the distances of all membranes from their thresholds, T B M."""
    ticks, samples, n = out.shape
    many = chunk_of(ticks, past.blocks)
    for first in range(0, n, many):
        last = min(first + many, n)
        room = parameters(form, first, last - first)
        again = np.empty((ticks + bars_of(form, ticks), last - first), out.dtype)
        for b in range(samples):
            repeat(past, form, (b, first), room, again)
            for t in range(ticks):
                bar = again[ticks + t if form.adapts else ticks]
                for j in range(first, last):
                    out[t, b, j] = again[t, j - first] - bar[j - first]


@inlined
def bars_of(form: Form, ticks: int) -> int:
    """Return how many thresholds a neuron has in a run: one a tick, or one."""
    return ticks if form.adapts else 1


@kernel
def repeat(
    past: Past, form: Form, at: tuple[int, int], room: np.ndarray, again: np.ndarray
) -> None:
    """Write the membranes of a chunk before their reset, T K, and behind them its thresholds.

    at: its sample and first neuron. room: its parameters.
    """
    x, (b, first), size = past.x, at, again.shape[1]
    last, ticks = first + size, again.shape[0] // 2 if form.adapts else again.shape[0] - 1
    cells = np.empty((4, size), again.dtype)
    v, i, a, s = cells[0], cells[1], cells[2], cells[3]
    copy(v, past.before.v[b, first:last])
    copy(i, past.before.i[b, first:last])
    copy(a, past.before.a[b, first:last])
    i = i if past.before.i.size else i[:0]
    copy(again[ticks], room[THETA])
    for t in range(ticks):
        u, bar = again[t], again[ticks + t if form.adapts else ticks]
        integrate(u, v, i, x[min(t, x.shape[0] - 1), b, first:last], room)
        if form.adapts:
            lower(bar, a, room)
            fire(s, u, bar)
            rise(a, s, room)
        reset_from(v, u, bar, form.hard)


@inlined
def reset_from(v: np.ndarray, u: np.ndarray, bar: np.ndarray, hard: bool) -> None:
    """Write what a reset leaves of membranes u, as ``fire_and_reset`` does in place."""
    zero, one = v.dtype.type(0), v.dtype.type(1)
    if hard:
        for k in range(v.size):
            v[k] = u[k] * (one - (one if u[k] - bar[k] >= zero else zero))
    else:
        for k in range(v.size):
            v[k] = u[k] - bar[k] * (one if u[k] - bar[k] >= zero else zero)


@inlined
def through_spikes(
    own: np.ndarray, kind: int, given: np.ndarray, u: np.ndarray, bar: np.ndarray
) -> None:
    """Multiply what flows by derivatives of spikes; ``given`` holds them where it can."""
    zero, one = own.dtype.type(0), own.dtype.type(1)
    pi = own.dtype.type(math.pi)
    if kind == GIVEN:
        for k in range(own.size):
            own[k] *= given[k]
    elif kind == ARCTAN:
        for k in range(own.size):
            far = pi * (u[k] - bar[k])
            own[k] *= one / (one + far * far)
    else:
        for k in range(own.size):
            own[k] *= max(zero, one - abs(u[k] - bar[k]))


@inlined
def spread(own: np.ndarray, to_means: np.ndarray, blocks: Blocks) -> None:
    """Write what flows from the means of a row of blocks to its spikes."""
    down, across, width, channels = blocks
    area = own.dtype.type(down * across)
    row = width * channels
    for w in range(width):
        part = own[w * channels : (w + 1) * channels]
        given = to_means[w // across * channels : (w // across + 1) * channels]
        if given.size:
            for c in range(channels):
                part[c] = given[c] / area
        else:  # no whole block
            part[:] = 0
    for k in range(1, down):
        for j in range(row):
            own[k * row + j] = own[j]


@inlined
def to_membranes(
    to_u: np.ndarray,
    own: np.ndarray,
    to_v: np.ndarray,
    u: np.ndarray,
    bar: np.ndarray,
    hard: bool,
) -> None:
    """Write what flows to membranes before their reset. own: what the spikes hand back."""
    zero, one = own.dtype.type(0), own.dtype.type(1)
    if hard:
        for k in range(own.size):
            s = one if u[k] - bar[k] >= zero else zero
            to_u[k] = own[k] + to_v[k] * (one - s)
    else:
        for k in range(own.size):
            to_u[k] = own[k] + to_v[k]


@inlined
def to_thresholds(
    to_bar: np.ndarray, own: np.ndarray, to_v: np.ndarray, s: np.ndarray, hard: bool
) -> None:
    """Write what flows to thresholds: what goes to the membrane, reversed, and the reset."""
    if hard:
        for k in range(own.size):
            to_bar[k] = -own[k]
    else:
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


@inlined
def to_spikes(own: np.ndarray, back: Back, blocks: Blocks, at: tuple[int, int, int]) -> None:
    """Write what flows to the spikes of a chunk. at: tick, sample, first neuron."""
    t, b, first = at
    if not blocks.down:
        copy(own, back.out[t, b, first : first + own.size])
        return
    many = blocks.down * blocks.width * blocks.channels
    means = blocks.width // blocks.across * blocks.channels
    h = first // many
    if own.size == many:
        spread(own, back.out[t, b, h * means : (h + 1) * means], blocks)
    else:
        own[:] = 0


@kernel
def backward(past: Past, form: Form, samples: tuple[int, int], back: Back) -> None:
    """Go back through samples ``samples[0]`` to ``samples[1]``.

    The derivative of a spike is that of ``back``; the spikes of reset and adaptation have none.
    """
    ticks, n = back.out.shape[0], past.x.shape[2]
    many, each = chunk_of(ticks, past.blocks), past.x.shape[0] == ticks
    for first in range(0, n, many):
        last = min(first + many, n)
        size = last - first
        room = parameters(form, first, size)
        again = np.empty((ticks + bars_of(form, ticks), size), past.x.dtype)
        flow, scratch = np.empty((2, size), past.x.dtype), np.empty((3, size), past.x.dtype)
        own, s, part = scratch[0], scratch[1], scratch[2]
        for b in range(samples[0], samples[1]):
            repeat(past, form, (b, first), room, again)
            to_v, to_i = back.cells.v[b, first:last], back.cells.i[b, first:last]
            for t in range(ticks - 1, -1, -1):
                now, u = min(t, past.x.shape[0] - 1), again[t]
                bar = again[ticks + t if form.adapts else ticks]
                to_spikes(own, back, past.blocks, (t, b, first))
                given = back.derivative[t, b, first:last] if back.kind == GIVEN else u
                through_spikes(own, back.kind, given, u, bar)
                to_membranes(flow[0], own, to_v, u, bar, form.hard)
                if form.adapts or back.sums.size:
                    fire(s, u, bar)
                    to_thresholds(flow[1], own, to_v, s, form.hard)
                to_x = back.x[now, b, first:last]
                if each:
                    back_through_leak(flow, to_v, to_i, room, to_x)
                else:
                    back_through_leak(flow, to_v, to_i, room, part)
                    for k in range(size):
                        to_x[k] += part[k]
                if form.adapts:
                    back_through_adaptation(back.cells.a[b, first:last], flow, room)
                if back.sums.size:
                    if t == 0:
                        copy(own, past.before.v[b, first:last])
                    else:
                        bar = again[ticks + t - 1 if form.adapts else ticks]
                        reset_from(own, again[t - 1], bar, form.hard)
                    learn(flow, past.x[now, b, first:last], own, back.sums[:, first:last])
