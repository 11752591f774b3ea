"""The backward pass of :mod:`neuro.neurons.fused_kernels`, as compiled loops.

Gradients equal those of the plain loop, up to rounding. Membranes are recomputed chunk by
chunk, which takes less time than writing and reading them.
Names: ``d_x`` is the derivative of the loss by x; u is a membrane before its reset.
Axes: as in the forward pass.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.neurons.fused_kernels import (
    DECAY,
    DECAY_ADAPT,
    DECAY_SYN,
    GAIN,
    THRESHOLD,
    FormArrays,
    PoolBlocks,
    StateArrays,
    choose_chunk_size,
    chunk_parameters,
    copy_values,
    decay_adaptation,
    integrate_input,
    raise_adaptation,
    write_spikes,
)
from neuro.ops.jit import inlined, kernel

ARCTAN, TRIANGLE, GIVEN = range(3)  # kinds of surrogate derivative


class ForwardArrays(NamedTuple):
    """Inputs of the forward pass. x: T B M, or one tick; before: the state at the start."""

    x: np.ndarray
    before: StateArrays
    blocks: PoolBlocks


class GradientArrays(NamedTuple):
    """Derivatives of the loss.

    out: by each spike or mean, T B P.
    surrogate, derivative: kind of the surrogate derivative; its values if the kind is GIVEN, T
        B M.
    x: by the input, T B M; must start at zero if one tick is repeated.
    state: by the state after the run; overwritten by the derivative by the state before it.
    sums: by decay, gain and threshold, 3 M in float64, or 3 0 if none of them is trained; the
        sum for the gain holds for neurons without a current.
    """

    out: np.ndarray
    surrogate: int
    derivative: np.ndarray
    x: np.ndarray
    state: StateArrays
    sums: np.ndarray


@kernel
def write_distances(run: ForwardArrays, form: FormArrays, out: np.ndarray) -> None:
    """Write each membrane's distance from its threshold, T B M."""
    ticks, samples, n = out.shape
    many = choose_chunk_size(ticks, run.blocks)
    for first in range(0, n, many):
        last = min(first + many, n)
        parameters = chunk_parameters(form, first, last - first)
        again = np.empty((ticks + count_thresholds(form, ticks), last - first), out.dtype)
        for b in range(samples):
            recompute_membranes(run, form, b, first, parameters, again)
            for t in range(ticks):
                thresholds = again[ticks + t if form.adapts else ticks]
                for j in range(first, last):
                    out[t, b, j] = again[t, j - first] - thresholds[j - first]


@inlined
def count_thresholds(form: FormArrays, ticks: int) -> int:
    """Return how many thresholds a neuron has in a run: one, or one per tick if it adapts."""
    return ticks if form.adapts else 1


@kernel
def recompute_membranes(
    run: ForwardArrays,
    form: FormArrays,
    sample: int,
    first: int,
    parameters: np.ndarray,
    again: np.ndarray,
) -> None:
    """Write a chunk's membranes before their reset (T K), followed by its thresholds.

    first: index of the chunk's first neuron.
    parameters: the chunk's parameters, 6 K.
    """
    x, b, size = run.x, sample, again.shape[1]
    last, ticks = first + size, again.shape[0] // 2 if form.adapts else again.shape[0] - 1
    cells = np.empty((4, size), again.dtype)
    v, i, a, s = cells[0], cells[1], cells[2], cells[3]
    copy_values(v, run.before.v[b, first:last])
    copy_values(i, run.before.i[b, first:last])
    copy_values(a, run.before.a[b, first:last])
    i = i if run.before.i.size else i[:0]
    copy_values(again[ticks], parameters[THRESHOLD])
    for t in range(ticks):
        u, thresholds = again[t], again[ticks + t if form.adapts else ticks]
        integrate_input(u, v, i, x[min(t, x.shape[0] - 1), b, first:last], parameters)
        if form.adapts:
            decay_adaptation(thresholds, a, parameters)
            write_spikes(s, u, thresholds)
            raise_adaptation(a, s, parameters)
        write_reset(v, u, thresholds, form.hard)


@inlined
def write_reset(v: np.ndarray, u: np.ndarray, thresholds: np.ndarray, hard: bool) -> None:
    """Write the membranes u after their reset, as ``fire_and_reset`` does in place."""
    zero, one = v.dtype.type(0), v.dtype.type(1)
    if hard:
        for k in range(v.size):
            v[k] = u[k] * (one - (one if u[k] - thresholds[k] >= zero else zero))
    else:
        for k in range(v.size):
            v[k] = u[k] - thresholds[k] * (one if u[k] - thresholds[k] >= zero else zero)


@inlined
def apply_surrogate(
    d_s: np.ndarray, surrogate: int, values: np.ndarray, u: np.ndarray, thresholds: np.ndarray
) -> None:
    """Multiply d_s by the surrogate derivatives; for GIVEN they are in ``values``."""
    zero, one = d_s.dtype.type(0), d_s.dtype.type(1)
    pi = d_s.dtype.type(math.pi)
    if surrogate == GIVEN:
        for k in range(d_s.size):
            d_s[k] *= values[k]
    elif surrogate == ARCTAN:
        for k in range(d_s.size):
            far = pi * (u[k] - thresholds[k])
            d_s[k] *= one / (one + far * far)
    else:
        for k in range(d_s.size):
            d_s[k] *= max(zero, one - abs(u[k] - thresholds[k]))


@inlined
def spread_means(d_s: np.ndarray, d_means: np.ndarray, blocks: PoolBlocks) -> None:
    """Write the derivatives by a row of blocks' spikes, given those by the blocks' means."""
    rows, columns, width, channels = blocks
    area = d_s.dtype.type(rows * columns)
    row = width * channels
    for w in range(width):
        part = d_s[w * channels : (w + 1) * channels]
        own = d_means[w // columns * channels : (w // columns + 1) * channels]
        if own.size:
            for c in range(channels):
                part[c] = own[c] / area
        else:  # no block is complete
            part[:] = 0
    for k in range(1, rows):
        for j in range(row):
            d_s[k * row + j] = d_s[j]


@inlined
def write_membrane_gradients(
    d_u: np.ndarray,
    d_s: np.ndarray,
    d_v: np.ndarray,
    u: np.ndarray,
    thresholds: np.ndarray,
    hard: bool,
) -> None:
    """Write the derivatives by membranes before their reset; d_v holds those after it."""
    zero, one = d_s.dtype.type(0), d_s.dtype.type(1)
    if hard:
        for k in range(d_s.size):
            s = one if u[k] - thresholds[k] >= zero else zero
            d_u[k] = d_s[k] + d_v[k] * (one - s)
    else:
        for k in range(d_s.size):
            d_u[k] = d_s[k] + d_v[k]


@inlined
def write_threshold_gradients(
    d_threshold: np.ndarray, d_s: np.ndarray, d_v: np.ndarray, s: np.ndarray, hard: bool
) -> None:
    """Write the derivatives by thresholds, which act through spikes and a soft reset."""
    if hard:
        for k in range(d_s.size):
            d_threshold[k] = -d_s[k]
    else:
        for k in range(d_s.size):
            d_threshold[k] = -d_s[k] - d_v[k] * s[k]


@inlined
def back_through_leak(
    d_u: np.ndarray, d_v: np.ndarray, d_i: np.ndarray, parameters: np.ndarray, d_x: np.ndarray
) -> None:
    """Write the derivatives by the input, and by membranes and currents one tick earlier."""
    decay, gain, decay_syn = parameters[DECAY], parameters[GAIN], parameters[DECAY_SYN]
    for k in range(d_x.size):
        d_v[k] = decay[k] * d_u[k]
    if d_i.size:
        for k in range(d_x.size):
            d_x[k] = gain[k] * d_u[k] + d_i[k]
        for k in range(d_x.size):
            d_i[k] = decay_syn[k] * d_x[k]
    else:
        for k in range(d_x.size):
            d_x[k] = gain[k] * d_u[k]


@inlined
def back_through_adaptation(
    d_a: np.ndarray, d_threshold: np.ndarray, parameters: np.ndarray
) -> None:
    """Turn derivatives by adaptations into derivatives by those of the tick before."""
    decay_adapt = parameters[DECAY_ADAPT]
    for k in range(d_a.size):
        d_a[k] = decay_adapt[k] * (d_threshold[k] + d_a[k])


@inlined
def add_parameter_gradients(
    d_u: np.ndarray, d_threshold: np.ndarray, x: np.ndarray, v: np.ndarray, sums: np.ndarray
) -> None:
    """Add one tick's derivatives by decay, gain and threshold (3 K)."""
    by_decay, by_gain, by_threshold = sums[0], sums[1], sums[2]
    for k in range(v.size):
        by_decay[k] += d_u[k] * v[k]
    for k in range(v.size):
        by_gain[k] += d_u[k] * x[k]
    for k in range(v.size):
        by_threshold[k] += d_threshold[k]


@inlined
def write_spike_gradients(
    d_s: np.ndarray,
    gradients: GradientArrays,
    blocks: PoolBlocks,
    tick: int,
    sample: int,
    first: int,
) -> None:
    """Write the derivatives by the spikes of the chunk that starts at neuron ``first``."""
    if not blocks.rows:
        copy_values(d_s, gradients.out[tick, sample, first : first + d_s.size])
        return
    many = blocks.rows * blocks.width * blocks.channels
    means = blocks.width // blocks.columns * blocks.channels
    h = first // many
    if d_s.size == many:
        spread_means(d_s, gradients.out[tick, sample, h * means : (h + 1) * means], blocks)
    else:
        d_s[:] = 0


@kernel
def run_backward(
    run: ForwardArrays,
    form: FormArrays,
    first_sample: int,
    last_sample: int,
    gradients: GradientArrays,
) -> None:
    """Propagate gradients back through samples ``first_sample`` to ``last_sample``.

    Spikes have the surrogate as derivative; the spikes of reset and adaptation have none.
    """
    ticks, n = gradients.out.shape[0], run.x.shape[2]
    many, each = choose_chunk_size(ticks, run.blocks), run.x.shape[0] == ticks
    for first in range(0, n, many):
        last = min(first + many, n)
        size = last - first
        parameters = chunk_parameters(form, first, size)
        again = np.empty((ticks + count_thresholds(form, ticks), size), run.x.dtype)
        flow, scratch = np.empty((2, size), run.x.dtype), np.empty((3, size), run.x.dtype)
        d_u, d_threshold = flow[0], flow[1]
        own, s, part = scratch[0], scratch[1], scratch[2]
        for b in range(first_sample, last_sample):
            recompute_membranes(run, form, b, first, parameters, again)
            d_v, d_i = gradients.state.v[b, first:last], gradients.state.i[b, first:last]
            for t in range(ticks - 1, -1, -1):
                now, u = min(t, run.x.shape[0] - 1), again[t]
                thresholds = again[ticks + t if form.adapts else ticks]
                write_spike_gradients(own, gradients, run.blocks, t, b, first)
                known = (
                    gradients.derivative[t, b, first:last]
                    if gradients.surrogate == GIVEN
                    else u
                )
                apply_surrogate(own, gradients.surrogate, known, u, thresholds)
                write_membrane_gradients(d_u, own, d_v, u, thresholds, form.hard)
                if form.adapts or gradients.sums.size:
                    write_spikes(s, u, thresholds)
                    write_threshold_gradients(d_threshold, own, d_v, s, form.hard)
                d_x = gradients.x[now, b, first:last]
                if each:
                    back_through_leak(d_u, d_v, d_i, parameters, d_x)
                else:
                    back_through_leak(d_u, d_v, d_i, parameters, part)
                    for k in range(size):
                        d_x[k] += part[k]
                if form.adapts:
                    d_a = gradients.state.a[b, first:last]
                    back_through_adaptation(d_a, d_threshold, parameters)
                if gradients.sums.size:
                    if t == 0:
                        copy_values(own, run.before.v[b, first:last])
                    else:
                        before = again[ticks + t - 1 if form.adapts else ticks]
                        write_reset(own, again[t - 1], before, form.hard)
                    x, sums = run.x[now, b, first:last], gradients.sums[:, first:last]
                    add_parameter_gradients(d_u, d_threshold, x, own, sums)
