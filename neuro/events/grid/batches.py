"""Conversion between Events and the spike trains of kernels (CSR rows by tick).

Axes: S samples, L ticks of a batch.
"""

from typing import NamedTuple

import numpy as np

from neuro.events.grid.kernels import Train, kernel
from neuro.spikes import Events


class SpikeBatch(NamedTuple):
    """All spikes of one source in ``ticks`` ticks from tick ``first``."""

    first: int
    ticks: int
    train: Train


@kernel
def find_row_starts(events: Events) -> tuple[np.ndarray, bool]:
    """Return the first event of each tick and sample (S L+1), and whether all are valid.

    Events are valid if they lie inside their shape, have finite non-zero values, and are sorted
    by (sample, tick, neuron) without duplicates.
    """
    sample, tick, neuron, value, (ticks, samples, size) = events
    at = np.empty((samples, ticks + 1), np.int64)
    starts = at.reshape(-1)
    last, row, valid = -1, 0, True
    for e in range(tick.size):
        if not (0 <= sample[e] < samples and 0 <= tick[e] < ticks and 0 <= neuron[e] < size):
            valid = False
            break
        here = np.int64(sample[e]) * (ticks + 1) + tick[e]
        key = here * size + neuron[e]
        valid = valid and key > last and np.isfinite(value[e]) and value[e] != 0
        last = key
        while row <= here:
            starts[row] = e
            row += 1
    starts[row:] = tick.size
    return at, valid


@kernel
def list_spikes(train: Train, first: int) -> tuple[np.ndarray, ...]:
    """Return sample, row, neuron and value of each spike of a train, from row ``first`` on."""
    samples, rows = train.at.shape[0], train.at.shape[1] - 1
    count = 0
    for s in range(samples):
        count += train.at[s, rows] - train.at[s, first]
    sample, row = np.empty(count, np.int32), np.empty(count, np.int32)
    neuron, value = np.empty(count, np.int32), np.empty(count, train.value.dtype)
    k = 0
    for s in range(samples):
        for t in range(first, rows):
            for e in range(train.at[s, t], train.at[s, t + 1]):
                sample[k], row[k], neuron[k], value[k] = s, t, train.neuron[e], train.value[e]
                k += 1
    return sample, row, neuron, value


@kernel
def counting_sort(key: np.ndarray, keys: int) -> np.ndarray:
    """Return the indices that sort ``key`` (0 to keys - 1) stably; takes linear time."""
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


def to_batch(events: Events, first: int, dtype: np.dtype) -> tuple[SpikeBatch, bool]:
    """Return events as a batch, and whether they are valid (see :func:`find_row_starts`).

    Tick 0 of the events becomes tick ``first``. Columns that have the right type are not
    copied.
    """
    at, valid = find_row_starts(events)
    neuron = np.ascontiguousarray(events.neuron, np.int32)
    value = np.ascontiguousarray(events.value, dtype)
    return SpikeBatch(first, events.shape[0], Train(at, neuron, value)), bool(valid)


def slice_samples(batch: SpikeBatch, start: int, stop: int) -> SpikeBatch:
    """Return the samples ``start`` to ``stop`` of a batch."""
    return batch._replace(train=batch.train._replace(at=batch.train.at[start:stop]))


def to_events(
    batches: list[SpikeBatch], first: int, shape: tuple[int, int, int], dtype: np.dtype
) -> Events:
    """Return the spikes of batches as Events; the tick ``first`` becomes tick 0."""
    parts = []
    for b in batches:
        if b.first + b.ticks > first:
            sample, row, neuron, value = list_spikes(b.train, max(0, first - b.first))
            row += np.int32(b.first - first)
            parts.append((sample, row, neuron, value))
    if len(parts) == 1:  # already in order
        return Events(*parts[0], shape)
    index = np.zeros(0, np.int32)
    parts.append((index, index, index, np.zeros(0, dtype)))
    sample, tick, neuron, value = (np.concatenate(c) for c in zip(*parts, strict=True))
    sort = counting_sort(sample, shape[1])
    return Events(sample[sort], tick[sort], neuron[sort], value[sort], shape)
