"""Compiled loops of EventProp for a read-out: its membrane, averaged over each tick.

    dv/dt = -leak v     v jumps by gain * weight at each arrival

The membrane at the end of a tick is discontinuous in the time of a spike that moves across
that end; its mean over the tick is continuous and has a derivative.
Axes: E arrivals in the order of (sample, time), R sources, N neurons, T ticks, B samples.
"""

import math

import numpy as np

from neuro.eventprop.spiking import TimedSpikes
from neuro.ops.jit import kernel


@kernel
def mean_response(leak: float, dt: float, s: float) -> float:
    """Return the mean over a tick of a jump by 1, ``s`` [s] before the end of the tick."""
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
    """Return the mean membrane of each tick, axes T B N. rows: weights times the gain."""
    samples, size = train.indptr.size - 1, rows.shape[1]
    out = np.zeros((ticks, samples, size))
    left = np.zeros((ticks, samples, size))  # the effect of a tick's arrivals at its end
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
    """Return dL/drows and dL/d(time of each arrival) from dL/d(mean of each tick)."""
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
