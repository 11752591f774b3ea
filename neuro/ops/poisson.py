"""Poisson spike counts of a source: a pure function of (seed, sample, tick, neuron).

A neuron's count is drawn by inversion: it is the least k with P(K > k) <= u. Here u is 64
random bits, the SplitMix64 hash (Steele et al. 2014) of sample, tick and neuron. Eight neurons
share one word for the first 8 bits of their u; a table gives the count that these bits decide.
If they do not decide, a word of the neuron's own supplies the other 56 bits.

Axes: D distinct means, N neurons, S samples, T ticks, E spikes.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt64

from neuro.ops.jit import inlined, kernel

CELLS = 256  # values of the first 8 bits
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FULL = 2.0**64 - 2.0**11  # the largest float64 below 2^64
RARE = 2.0**-100  # counts whose probability relative to the mode is smaller are left out
MOST_MEAN = 1e6  # largest mean per tick; its table has 2.4e4 entries


class PoissonTables(NamedTuple):
    """The distributions of a source's neurons.

    tail: 2^64 P(K > k) of each distribution, from its least count on; the last entry is 0.
    shift: index of k = 0 in ``tail`` (D); it may lie before the distribution's first entry.
    guide: for each value of the first 8 bits the count, or -1 - (the least possible count).
    which: index of each neuron's distribution (N).
    size: N.
    spikes: expected number of neurons that fire per tick.
    """

    tail: UInt64[np.ndarray, " K"]
    shift: Int[np.ndarray, " D"]
    guide: Int[np.ndarray, "D 256"]
    which: Int[np.ndarray, " N"]
    size: int
    spikes: float


class Span(NamedTuple):
    """Samples and ticks to draw; ticks count from the start of the whole run."""

    first_sample: int
    samples: int
    first_tick: int
    ticks: int


def make_tables(mean: Float[np.ndarray, " N"]) -> PoissonTables:
    """Return the tables for neurons with these means per tick, each from 0 to MOST_MEAN."""
    means, which = np.unique(mean, return_inverse=True)
    pairs = [find_tail(one) for one in means.tolist()]
    starts = np.cumsum([0, *(tail.size for _, tail in pairs)])[:-1]
    return PoissonTables(
        tail=np.concatenate([tail for _, tail in pairs]),
        shift=starts - np.array([least for least, _ in pairs]),
        guide=np.stack([_make_guide(least, tail) for least, tail in pairs]),
        which=which.astype(np.int32),
        size=mean.size,
        spikes=float(-np.expm1(-mean).sum()),
    )


@kernel
def find_tail(mean: float) -> tuple[int, UInt64[np.ndarray, " K"]]:
    """Return the least count k of a Poisson distribution, and 2^64 P(K > k) from k on.

    Probabilities are products of ratios, starting at the mode: exp and log differ between
    machines in their last bit, and the spikes would differ too.
    """
    least = last = mode = int(mean)
    share = 1.0
    while least > 0 and share > RARE:
        share *= least / mean
        least -= 1
    share = 1.0
    while share > RARE:
        last += 1
        share *= mean / last
    shares = np.ones(last - least + 1)
    for k in range(mode, least, -1):
        shares[k - 1 - least] = shares[k - least] * (k / mean)
    for k in range(mode, last):
        shares[k + 1 - least] = shares[k - least] * (mean / (k + 1))
    above = 0.0
    for j in range(shares.size - 1, -1, -1):  # smallest first, so that rounding stays small
        above, shares[j] = above + shares[j], above
    tail = np.empty(shares.size, np.uint64)
    for j in range(shares.size):
        tail[j] = np.uint64(min(shares[j] / above * 2.0**64, FULL))
    return least, tail


@kernel
def _make_guide(least: int, tail: UInt64[np.ndarray, " K"]) -> Int[np.ndarray, " 256"]:
    """Return a row of ``PoissonTables.guide``."""
    guide = np.empty(CELLS, np.int32)
    for cell in range(CELLS):
        low = np.uint64(cell) << np.uint64(56)
        high = low | np.uint64(2**56 - 1)
        j = 0
        while high < tail[j]:
            j += 1
        guide[cell] = least + j if low >= tail[j] else -1 - (least + j)
    return guide


@inlined
def mix(x: np.uint64) -> np.uint64:
    """Return the finaliser of SplitMix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel
def draw_spikes(
    tables: PoissonTables, seed: np.uint64, span: Span, like: Float[np.ndarray, "..."]
) -> tuple[Int[np.ndarray, "S T+1"], Int[np.ndarray, " E"], Float[np.ndarray, " E"]]:
    """Return a source's spikes: index of each tick's first spike, neurons, and counts > 0.

    Spikes are sorted by sample, then tick, then neuron.
    like: an array with the dtype of the counts.
    """
    expected, size = tables.spikes * span.samples * span.ticks, tables.size
    room = int(expected + 6 * np.sqrt(expected)) + size
    at = np.empty((span.samples, span.ticks + 1), np.int64)
    neuron, value = np.empty(room, np.int32), np.empty(room, like.dtype)
    e = 0
    for s in range(span.samples):
        own = mix(mix(seed + GOLDEN) + np.uint64(span.first_sample + s + 1) * GOLDEN)
        for t in range(span.ticks):
            at[s, t] = e
            if e + size > neuron.size:
                more = neuron.size // 2 + size
                neuron = np.concatenate((neuron, np.empty(more, np.int32)))
                value = np.concatenate((value, np.empty(more, like.dtype)))
            key = mix(own + np.uint64(span.first_tick + t + 1) * GOLDEN)
            e = _draw_tick(tables, key, neuron, value, e)
        at[s, span.ticks] = e
    return at, neuron[:e], value[:e]


@kernel
def _draw_tick(
    tables: PoissonTables, key: np.uint64, neuron: np.ndarray, value: np.ndarray, e: int
) -> int:
    """Write the spikes of one tick from index e on; return the index after the last."""
    tail, shift, guide, which, size, _ = tables
    several = shift.size > 1
    step = mix(key + GOLDEN) | np.uint64(1)  # rows with other steps share no sequence
    own = mix(key + np.uint64(2) * GOLDEN)
    for first in range(0, size, 8):
        word = mix(key + np.uint64(first) * step)
        for n in range(first, min(first + 8, size)):
            d = which[n] if several else 0
            cell = word & np.uint64(CELLS - 1)
            word >>= np.uint64(8)
            k = guide[d, cell]
            if k < 0:
                rest = mix(own + np.uint64(n) * step) >> np.uint64(8)
                bits = cell << np.uint64(56) | rest
                j = shift[d] - 1 - k
                while bits < tail[j]:
                    j += 1
                k = j - shift[d]
            neuron[e] = n
            value[e] = k
            e += k > 0
    return e
