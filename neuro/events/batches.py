"""Events as the kernels read them, and the way back.

Axes: S samples, L ticks of a batch.
"""

from typing import NamedTuple

import numpy as np

from neuro.events.kernels import Train, kernel
from neuro.spikes import Events


class Batch(NamedTuple):
    """All spikes of one source in the ``ticks`` ticks from ``first`` on."""

    first: int
    ticks: int
    train: Train


@kernel
def tidy(events: Events) -> bool:
    """Say whether events are inside their shape, finite, not zero, and in rising order."""
    sample, tick, neuron, value, (ticks, samples, size) = events
    last = -1
    for e in range(tick.size):
        inside = 0 <= sample[e] < samples and 0 <= tick[e] < ticks and 0 <= neuron[e] < size
        key = (np.int64(sample[e]) * ticks + tick[e]) * size + neuron[e]
        if not inside or not np.isfinite(value[e]) or value[e] == 0 or key <= last:
            return False
        last = key
    return True


@kernel
def row_starts(sample: np.ndarray, tick: np.ndarray, samples: int, ticks: int) -> np.ndarray:
    """Return where each tick of each sample starts among sorted events (S L+1)."""
    at = np.zeros((samples, ticks + 1), np.int64)
    for e in range(tick.size):
        at[sample[e], tick[e] + 1] += 1
    total = 0
    for s in range(samples):
        for t in range(ticks + 1):
            total += at[s, t]
            at[s, t] = total
    return at


@kernel
def listed(train: Train, first: int) -> tuple[np.ndarray, ...]:
    """Return sample, row, neuron and value of the spikes of a train from row ``first`` on."""
    samples, rows = train.at.shape[0], train.at.shape[1] - 1
    room = 0
    for s in range(samples):
        room += train.at[s, rows] - train.at[s, first]
    sample, row = np.empty(room, np.int32), np.empty(room, np.int32)
    neuron, value = np.empty(room, np.int32), np.empty(room, train.value.dtype)
    k = 0
    for s in range(samples):
        for t in range(first, rows):
            for e in range(train.at[s, t], train.at[s, t + 1]):
                sample[k], row[k], neuron[k], value[k] = s, t, train.neuron[e], train.value[e]
                k += 1
    return sample, row, neuron, value


@kernel
def order(key: np.ndarray, keys: int) -> np.ndarray:
    """Return what sorts ``key`` (0 to keys - 1) stably."""
    free = np.zeros(keys + 1, np.int64)
    for k in key:
        free[k + 1] += 1
    for k in range(keys):
        free[k + 1] += free[k]
    sort = np.empty(key.size, np.int64)
    for e in range(key.size):
        sort[free[key[e]]] = e
        free[key[e]] += 1
    return sort


def to_batch(events: Events, first: int, dtype: np.dtype) -> Batch:
    """Return events, whose tick 0 becomes tick ``first``; they are not copied if they fit."""
    ticks, samples, _ = events.shape
    at = row_starts(events.sample, events.tick, samples, ticks)
    neuron = np.ascontiguousarray(events.neuron, np.int32)
    return Batch(first, ticks, Train(at, neuron, np.ascontiguousarray(events.value, dtype)))


def of_samples(batch: Batch, start: int, stop: int) -> Batch:
    """Return the samples ``start`` to ``stop`` of a batch."""
    return batch._replace(train=batch.train._replace(at=batch.train.at[start:stop]))


def to_events(
    batches: list[Batch], first: int, shape: tuple[int, int, int], dtype: np.dtype
) -> Events:
    """Return the spikes from tick ``first`` on, which becomes tick 0; the way back."""
    index = np.zeros(0, np.int32)
    parts = [(index, index, index, np.zeros(0, dtype))]
    for b in batches:
        if b.first + b.ticks > first:
            sample, row, neuron, value = listed(b.train, max(0, first - b.first))
            parts.append((sample, row + np.int32(b.first - first), neuron, value))
    if len(parts) == 2:  # in order already
        sample, tick, neuron, value = parts[1]
        return Events(sample, tick, neuron, value, shape)
    sample, tick, neuron, value = (np.concatenate(c) for c in zip(*parts, strict=True))
    sort = order(sample, shape[1])
    return Events(sample[sort], tick[sort], neuron[sort], value[sort], shape)
