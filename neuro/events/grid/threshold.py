"""The neurons of a place that fire: they are flagged, then listed, then sorted.

Axes: P places, C channels as in :mod:`neuro.events.grid.kernels`.
"""

from typing import NamedTuple

import numpy as np

from neuro.events.grid.kernels import bare, inlined, kernel


class FireFlags(NamedTuple):
    """The channels of a place that are at or above threshold, and memory to list them.

    flag: one byte per channel, padded with zeros to a multiple of 8. words: the same memory as
    unsigned integers of 8 flags. nonzero: indices of non-zero words (one spare entry). starts:
    the start of each channel in a counting sort (one spare entry).
    """

    flag: np.ndarray
    words: np.ndarray
    nonzero: np.ndarray
    starts: np.ndarray


@kernel
def make_flags(channels: int) -> FireFlags:
    """Return cleared flags for the channels of a place."""
    flag = np.zeros((channels + 7) // 8 * 8, np.uint8)
    words = flag.view(np.uint64)
    nonzero, starts = np.empty(words.size + 1, np.int64), np.empty(channels + 1, np.int64)
    return FireFlags(flag, words, nonzero, starts)


@inlined
def append_flagged(neuron: np.ndarray, fired: int, flags: FireFlags) -> int:
    """Append the flagged channels to ``neuron``, of length ``fired``; return the new length.

    Every channel of a non-zero word is written, and the length grows by its flag: a branch
    would be mispredicted.
    """
    flag, words, nonzero = flags.flag, flags.words, flags.nonzero
    n = 0
    for word in range(words.size):
        nonzero[n] = word
        n += words[word] != 0
    for k in range(n):
        for c in range(8 * nonzero[k], 8 * nonzero[k] + 8):
            neuron[fired] = c
            fired += flag[c]
    return fired


@bare
def sort_by_channel(
    neuron: np.ndarray, first: int, stop: int, places: int, starts: np.ndarray
) -> None:
    """Sort ``neuron[first:stop]``, listed by (place, channel), by index: counting sort.

    The ``stop - first`` entries behind them hold a copy.
    """
    starts[:] = 0
    for e in range(first, stop):
        neuron[stop + e - first] = neuron[e]
        starts[neuron[e] // places + 1] += 1
    for c in range(1, starts.size):
        starts[c] += starts[c - 1]
    for e in range(stop, 2 * stop - first):
        c = neuron[e] // places
        neuron[first + starts[c]] = neuron[e]
        starts[c] += 1
