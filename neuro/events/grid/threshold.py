"""Which neurons are at their threshold or above: flagged, then listed, then in order.

Axes: P places, C channels as in :mod:`neuro.events.grid.kernels`.
"""

from typing import NamedTuple

import numpy as np

from neuro.events.grid.kernels import bare, inlined, kernel


class Over(NamedTuple):
    """Which neurons of a place are at their threshold or above.

    flag: one byte each, zeros up to a multiple of 8. words: the same memory, 8 at a time.
    some: room for the words that are not zero. free: for a number a channel, and one more.
    """

    flag: np.ndarray
    words: np.ndarray
    some: np.ndarray
    free: np.ndarray


@kernel
def flags(channels: int) -> Over:
    """Return flags for the channels of a place, none of them set."""
    flag = np.zeros((channels + 7) // 8 * 8, np.uint8)
    words = flag.view(np.uint64)
    some, free = np.empty(words.size + 1, np.int64), np.empty(channels + 1, np.int64)
    return Over(flag, words, some, free)


@inlined
def listed(neuron: np.ndarray, fired: int, over: Over) -> int:
    """Append the channels that are ``over`` to ``neuron``; return its new length.

    Each is written, and kept if it counts: no branch could be foreseen.
    """
    flag, words, some = over.flag, over.words, over.some
    n = 0
    for word in range(words.size):
        some[n] = word
        n += words[word] != 0
    for k in range(n):
        for c in range(8 * some[k], 8 * some[k] + 8):
            neuron[fired] = c
            fired += flag[c]
    return fired


@bare
def sort_by_channel(
    neuron: np.ndarray, first: int, stop: int, places: int, free: np.ndarray
) -> None:
    """Sort ``neuron[first:stop]``, which rise by (place, channel), in the room behind them."""
    free[:] = 0
    for e in range(first, stop):
        neuron[stop + e - first] = neuron[e]
        free[neuron[e] // places + 1] += 1
    for c in range(1, free.size):
        free[c] += free[c - 1]
    for e in range(stop, 2 * stop - first):
        c = neuron[e] // places
        neuron[first + free[c]] = neuron[e]
        free[c] += 1
