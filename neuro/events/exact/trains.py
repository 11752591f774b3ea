"""Spikes of one sample on their way between components, and counts that follow from them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from neuro.events.exact.papers import Sent
from neuro.events.exact.wiring import Arrivals, Labels, Wiring
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
