"""Numbers of a Poisson source: their distribution; they depend on their place alone."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from neuro.ops.poisson import PoissonTables, Span, draw_spikes, find_tail, make_tables

WORD, GOLDEN = 2**64 - 1, 0x9E3779B97F4A7C15
MEANS = np.array([0.3, 1.6, 50.0, 1e-6, 0.0, 1000.0, 1.6, 4.5, 0.9, 2.2, 12.0])


def mix(x: int) -> int:
    x &= WORD
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & WORD
    x = (x ^ x >> 27) * 0x94D049BB133111EB & WORD
    return x ^ x >> 31


def find_number(seed: int, sample: int, tick: int, neuron: int, mean: float) -> int:
    """Return a number by the definition, in integers of Python."""
    key = mix(mix(seed + GOLDEN) + (sample + 1) * GOLDEN)
    key = mix(key + (tick + 1) * GOLDEN)
    step, first = mix(key + GOLDEN) | 1, neuron // 8 * 8
    cell = mix(key + first * step) >> 8 * (neuron - first) & 255
    bits = cell << 56 | mix(mix(key + 2 * GOLDEN) + neuron * step) >> 8
    k = 0
    while stats.poisson.sf(k, mean) * 2.0**64 > bits:
        k += 1
    return k


def draw(
    seed: int, span: Span, tables: PoissonTables | None = None, dtype: type = np.float64
) -> np.ndarray:
    """Return all numbers, T B N."""
    tables = tables or make_tables(MEANS)
    at, neuron, value = draw_spikes(tables, np.uint64(seed), span, np.zeros(0, dtype))
    assert value.all()
    assert value.dtype == dtype
    out = np.zeros((span.ticks, span.samples, tables.size))
    for s, t in np.ndindex(span.samples, span.ticks):
        here = slice(at[s, t], at[s, t + 1])
        assert (np.diff(neuron[here]) > 0).all()
        out[t, s, neuron[here]] = value[here]
    return out


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_each_number_is_the_one_of_the_definition(seed: int) -> None:
    span = Span(first_sample=3, samples=2, first_tick=2**33, ticks=3)
    found = draw(seed, span, dtype=np.float32)
    for t, s, n in np.ndindex(found.shape):
        assert found[t, s, n] == find_number(seed, 3 + s, 2**33 + t, n, MEANS[n])
    for few in (MEANS[1:3], MEANS[1:2].repeat(9)):
        one = draw(seed, span, make_tables(few))[0, 0]
        assert one.tolist() == [
            find_number(seed, 3, 2**33, n, mean) for n, mean in enumerate(few)
        ]


@pytest.mark.parametrize("mean", [1e-18, 1e-6, 0.3, 1.6, 50.0, 1000.0, 1e6])
def test_tails_are_exact_to_float64(mean: float) -> None:
    least, tail = find_tail(mean)
    with mpmath.workdps(40):
        m, last = mpmath.mpf(mean), least + tail.size
        p = mpmath.exp(last * mpmath.log(m) - m - mpmath.loggamma(last + 1))
        exact = mpmath.mpf(0)  # P(K > last), below 2^-90
        for k in range(last, least, -1):
            exact, p = exact + p, p * k / m
            assert abs(int(tail[k - 1 - least]) - exact * 2**64) <= 2 + 2e-13 * exact * 2**64
    assert least == 0 or 1 - exact - p < 2.0**-64


def test_a_source_of_rate_0_is_silent_and_a_chi_square_finds_nothing_in_the_others() -> None:
    found = draw(5, Span(0, 2, 0, 10_000)).reshape(-1, MEANS.size)
    assert not found[:, 4].any()
    for n in (0, 1, 2, 5, 6, 7, 10):
        ends = np.unique(stats.poisson.ppf(np.linspace(0, 1, 13)[1:-1], MEANS[n]))
        cells = np.bincount(np.searchsorted(ends, found[:, n]), minlength=ends.size + 1)
        share = np.diff([0, *stats.poisson.cdf(ends, MEANS[n]), 1])
        assert stats.chisquare(cells, share * len(found)).pvalue > 0.01


def test_neurons_ticks_samples_and_seeds_are_independent() -> None:
    many = make_tables(np.full(19, 1.6))
    one = draw(5, Span(0, 2, 0, 20_000), many)
    rows = [*one[:, 0].T, one[1:, 0, 3], one[2:, 0, 3], *one[:, 1, :9].T]
    rows += [*draw(6, Span(0, 1, 0, 20_000), many)[:, 0, :9].T]
    size = min(map(len, rows))
    apart = np.corrcoef([row[:size] for row in rows])[np.triu_indices(len(rows), 1)]
    assert np.abs(apart).max() < 4.5 / np.sqrt(size)


@given(st.integers(0, 5), st.integers(1, 5), st.integers(0, 9), st.integers(1, 9))
@settings(max_examples=20)
def test_any_part_of_a_span_is_drawn_alike(b: int, samples: int, t: int, ticks: int) -> None:
    whole = draw(11, Span(0, 10, 0, 18))
    part = draw(11, Span(b, samples, t, ticks))
    assert (part == whole[t : t + ticks, b : b + samples]).all()
