"""Spikes in the form components take, and leaky integrators sampled at the ends of ticks.

Axes: T ticks, N neurons of an LI.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from neuro.events.exact.delay_queue import sort_arrivals
from neuro.events.exact.synapse_table import (
    GroupArrivals,
    NodeIndex,
    SourceSpikes,
    SynapseTable,
)
from neuro.ops.jit import kernel
from neuro.spikes import Times, of_sample

AT_END = 1e-9  # ticks: an arrival this soon after a tick's end belongs to it, due to rounding


class SpikeTrain(NamedTuple):
    """Spikes of one node in one sample, in order of time [ticks]."""

    time: np.ndarray
    neuron: np.ndarray
    value: np.ndarray


def select_sample(times: Times, b: int) -> SpikeTrain:
    """Return the spikes of sample b."""
    return SpikeTrain(*of_sample(times, b)[1:4])


def join_samples(trains: list[SpikeTrain], shape: tuple[int, int, int]) -> Times:
    """Join the spikes of samples 0, 1, ... to one train. shape: (T, B, N)."""
    sample = np.repeat(np.arange(len(trains), dtype=np.int32), [t.time.size for t in trains])
    time, neuron, value = (np.concatenate(c) for c in zip(*trains, strict=True))
    return Times(sample, time, neuron.astype(np.int32), value, shape)


def merge_trains(
    first_source: Mapping[str, int], names: tuple[str, ...], trains: Mapping[str, SpikeTrain]
) -> SourceSpikes:
    """Return the spikes of several nodes, numbered by a table's sources, in order of time.

    first_source: by node, the index of its first neuron among the sources.
    """
    if len(names) == 1:
        (name,) = names
        t = trains[name]
        source = t.neuron.astype(np.int64) + first_source[name]
        return SourceSpikes(t.time, source, t.value.astype(np.float64))
    nothing = np.zeros(0)
    time = np.concatenate([nothing, *(trains[n].time for n in names)])
    sources = (trains[n].neuron.astype(np.int64) + first_source[n] for n in names)
    source = np.concatenate([nothing, *sources])
    value = np.concatenate([nothing, *(trains[n].value for n in names)])
    order = np.argsort(time, kind="stable")
    return SourceSpikes(time[order], source[order].astype(np.int64), value[order])


def expand_arrivals(
    table: SynapseTable, spikes: SourceSpikes, pending: GroupArrivals
) -> GroupArrivals:
    """Return all arrivals of the spikes at groups, and the pending ones, in order of time."""
    first, last = table.group_indptr[spikes.source], table.group_indptr[spikes.source + 1]
    number = last - first
    which = np.repeat(np.arange(spikes.time.size), number)
    group = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
    group += first[which]
    time = spikes.time[which] + table.delay[group]
    columns = zip((time, group, spikes.value[which] * table.gain[group]), pending, strict=True)
    return sort_arrivals(GroupArrivals(*(np.concatenate(c) for c in columns)))


def count_deliveries(
    table: SynapseTable, spikes: SourceSpikes, before: GroupArrivals, after: GroupArrivals
) -> np.ndarray:
    """Return how many spikes reached each group in a run.

    spikes: all spikes of the run.
    before, after: pending arrivals at its start and end.
    """
    groups = table.delay.size
    per_source = np.bincount(spikes.source, minlength=table.group_indptr.size - 1)
    deliveries = np.repeat(per_source, np.diff(table.group_indptr))
    deliveries += np.bincount(before.group, minlength=groups)
    deliveries -= np.bincount(after.group, minlength=groups)
    return deliveries


def sum_by_node(nodes: NodeIndex, numbers: np.ndarray) -> dict[str, int]:
    """Return the sum of the rows' numbers for each node."""
    sums = np.bincount(nodes.place, numbers, len(nodes.names))  # exact below 2^53
    return {name: int(n) for name, n in zip(nodes.names, sums, strict=True)}


@kernel
def sample_values(
    state: np.ndarray,
    rate: np.ndarray,
    drive: np.ndarray,
    table: SynapseTable,
    arrivals: GroupArrivals,
    ticks: int,
) -> np.ndarray:
    """Return v of an LI at the ends of ``ticks`` ticks (T N).

    state: v at the start (N), changed in place to v at the end.
    rate [1/tick], drive [v per tick]: N.
    """
    n, k = state.size, 0
    out = np.empty((ticks, n))
    alike = n > 0 and np.all(rate == rate[0])
    keep, gain = np.exp(-rate), np.empty(n)
    for j in range(n):
        gain[j] = drive[j] * (1.0 if rate[j] == 0.0 else -math.expm1(-rate[j]) / rate[j])
    for tick in range(ticks):
        stop = tick + 1.0
        for j in range(n):
            state[j] = keep[j] * state[j] + gain[j]
        while k < arrivals.time.size and arrivals.time[k] <= stop + AT_END:
            g, h = arrivals.group[k], max(stop - arrivals.time[k], 0.0)
            shift = table.first_target[g] - table.synapse_indptr[g, 0]
            decay = math.exp(-rate[0] * h)
            for s in range(table.synapse_indptr[g, 0], table.synapse_indptr[g, 1]):
                j = s + shift if table.first_target[g] >= 0 else table.target[s]
                if not alike:
                    decay = math.exp(-rate[j] * h)
                state[j] += table.weight[s] * arrivals.value[k] * decay
            k += 1
        for j in range(n):
            out[tick, j] = state[j]
    return out
