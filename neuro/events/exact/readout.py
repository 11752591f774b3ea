"""Leaky integrators that never fire, sampled at the ends of ticks."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from neuro.events.exact.delay_queue import Sent
from neuro.events.exact.synapse_table import Arrivals, Labels, Wiring
from neuro.ops.jit import kernel
from neuro.spikes import Times


class Train(NamedTuple):
    """Spikes of one node in one sample, in order of time [s]."""

    time: np.ndarray
    neuron: np.ndarray
    value: np.ndarray


def train_of(times: Times, b: int) -> Train:
    """Return the spikes of sample b."""
    lo, hi = np.searchsorted(times.sample, np.array([b, b + 1], times.sample.dtype))
    return Train(times.time[lo:hi], times.neuron[lo:hi], times.value[lo:hi])


def gather(
    rows: Mapping[str, int], names: tuple[str, ...], trains: Mapping[str, Train]
) -> Sent:
    """Return the spikes of some nodes as those of the rows of a wiring, in order of time."""
    if len(names) == 1:
        (name,) = names
        t = trains[name]
        source = t.neuron.astype(np.int64) + rows[name]
        return Sent(t.time, source, t.value.astype(np.float64))
    nothing = np.zeros(0)
    time = np.concatenate([nothing, *(trains[n].time for n in names)])
    source = np.concatenate([nothing, *(trains[n].neuron + rows[n] for n in names)])
    value = np.concatenate([nothing, *(trains[n].value for n in names)])
    order = np.argsort(time, kind="stable")
    return Sent(time[order], source[order].astype(np.int64), value[order])


def deliveries(wiring: Wiring, spikes: Sent, before: Arrivals, left: Arrivals) -> np.ndarray:
    """Return how often the synapses of each group were served in a run.

    spikes: all that was sent. before, left: what was under way when it began and ended.
    """
    groups = wiring.delay.size
    sources = np.bincount(spikes.source, minlength=wiring.groups.size - 1)
    times = np.repeat(sources, np.diff(wiring.groups))
    times += np.bincount(before.group, minlength=groups)
    times -= np.bincount(left.group, minlength=groups)
    return times


def by_name(labels: Labels, numbers: np.ndarray) -> dict[str, int]:
    """Return the sums of the numbers of groups, by the name of the groups."""
    return {name: int(numbers[labels.which == k].sum()) for k, name in enumerate(labels.names)}


def join_trains(trains: list[Train], shape: tuple[int, int, int]) -> Times:
    """Return the spikes of samples 0, 1, ... as one."""
    sample = np.repeat(np.arange(len(trains), dtype=np.int32), [t.time.size for t in trains])
    time, neuron, value = (np.concatenate(c) for c in zip(*trains, strict=True))
    return Times(sample, time, neuron.astype(np.int32), value, shape)


@kernel
def sample_values(
    state: np.ndarray,
    rate: np.ndarray,
    push: np.ndarray,
    wiring: Wiring,
    arrivals: Arrivals,
    grid: tuple[int, float],
) -> np.ndarray:
    """Return v at the ends of ``grid`` = (T, dt [s]) ticks (T N); ``state`` (N) moves."""
    ticks, dt = grid
    n, k = state.size, 0
    out = np.empty((ticks, n))
    alike = n > 0 and np.all(rate == rate[0])
    keep, gain = np.exp(-rate * dt), np.empty(n)
    for j in range(n):
        gain[j] = push[j] * (dt if rate[j] == 0.0 else -math.expm1(-rate[j] * dt) / rate[j])
    for tick in range(ticks):
        stop = (tick + 1.0) * dt
        for j in range(n):
            state[j] = keep[j] * state[j] + gain[j]
        while k < arrivals.time.size and arrivals.time[k] <= stop + 1e-9 * dt:
            g, h = arrivals.group[k], max(stop - arrivals.time[k], 0.0)
            shift = wiring.first[g] - wiring.bounds[g, 0]
            left = math.exp(-rate[0] * h)
            for s in range(wiring.bounds[g, 0], wiring.bounds[g, 1]):
                j = s + shift if wiring.first[g] >= 0 else wiring.target[s]
                if not alike:
                    left = math.exp(-rate[j] * h)
                state[j] += wiring.weight[s] * arrivals.value[k] * left
            k += 1
        out[tick] = state
    return out
