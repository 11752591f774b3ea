"""Statistics of spike trains: exact numbers on small trains, slow twins for the fast sums."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from neuro.base.units import Seconds
from neuro.spikes import Times, to_events, to_times
from neuro.spikes.statistics import cv_isi, mean_correlation, population_fano, rates, statistics


def train(*spikes: tuple[float, int], neurons: int = 3, samples: int = 1) -> Times:
    time, neuron = (np.array(column) for column in zip(*sorted(spikes), strict=True))
    none = np.zeros(len(time), np.int32)
    ones = np.ones(len(time))
    return Times(
        none, time.astype(float), neuron.astype(np.int32), ones, (1000, samples, neurons)
    )


def poisson(rate: float, neurons: int, seed: int, stop: float = 1.0) -> Times:
    rng = np.random.default_rng(seed)
    n = rng.poisson(rate * neurons * stop)
    time = np.sort(rng.uniform(0, stop, n))
    neuron = rng.integers(0, neurons, n).astype(np.int32)
    return Times(np.zeros(n, np.int32), time, neuron, np.ones(n), (1000, 1, neurons))


def test_a_rate_counts_the_spikes_after_start_up_to_stop() -> None:
    times = train((0.1, 0), (0.2, 0), (0.3, 0), (0.25, 2))
    np.testing.assert_array_equal(rates(times, 0.1, 0.3), [2 / 0.2, 0, 1 / 0.2])


def test_a_clock_has_cv_0_and_intervals_of_1_and_3_have_cv_one_half() -> None:
    clock = [(0.1 * k, 0) for k in range(1, 6)]
    uneven = [(t, 1) for t in (0.1, 0.2, 0.5, 0.6, 0.9)]
    few = [(t, 2) for t in (0.1, 0.2, 0.4, 0.9)]
    found = cv_isi(train(*clock, *uneven, *few), 0.0, 1.0)
    np.testing.assert_allclose(found, [0.0, 0.5], atol=1e-15)


def test_a_poisson_process_has_cv_1_fano_1_and_no_correlation() -> None:
    found = statistics(poisson(50.0, 200, seed=0, stop=20.0), 0.0, 20.0)
    assert found.rate == pytest.approx(50, rel=0.01)
    assert found.cv == pytest.approx(1, abs=0.02)
    assert found.fano == pytest.approx(1, abs=0.05)
    assert abs(found.correlation) < 1e-3


def test_n_neurons_that_fire_together_have_correlation_1_and_fano_n_times_the_empty_share() -> (
    None
):
    together = [(0.0015 + 0.004 * k, n) for k in range(250) for n in range(3)]
    times = train(*together)
    assert mean_correlation(times, 0.0, 1.0, 0.002) == pytest.approx(1, abs=1e-12)
    # A count of 3 in a quarter of the 1-ms bins: variance 9 / 4 * 3 / 4, mean 3 / 4.
    assert population_fano(times, 0.0, 1.0, 0.001) == pytest.approx(3 * 3 / 4, abs=1e-12)


@given(seed=st.integers(0, 1000), neurons=st.integers(2, 12), rate=st.floats(2.0, 80.0))
def test_the_correlation_is_the_mean_over_all_pairs(
    seed: int, neurons: int, rate: float
) -> None:
    times = poisson(rate, neurons, seed)
    edges = np.linspace(0, 1, 101)
    counts = np.array(
        [np.histogram(times.time[times.neuron == n], edges)[0] for n in range(neurons)]
    )
    counts = counts[counts.std(1) > 0]
    found = mean_correlation(times, 0.0, 1.0, 0.01)
    if len(counts) < 2:
        assert math.isnan(found)
        return
    pairs = np.corrcoef(counts)[np.triu_indices(len(counts), 1)]
    assert found == pytest.approx(pairs.mean(), abs=1e-10)


def test_silence_has_rate_0_and_no_other_number() -> None:
    silent = Times(*(np.zeros(0, np.int32), np.zeros(0)) * 2, (1000, 1, 3))
    found = statistics(silent, 0.0, 1.0)
    assert found.rate == 0
    assert all(math.isnan(x) for x in found[1:])


def test_several_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="one sample, got 2"):
        rates(train((0.1, 0), samples=2), 0.0, 1.0)


def test_a_stretch_that_is_empty_or_no_whole_number_of_bins_is_refused() -> None:
    times = train((0.1, 0))
    with pytest.raises(ValueError, match="0 <= start < stop"):
        rates(times, 0.5, 0.5)
    with pytest.raises(ValueError, match=r"1 s .* whole bins, got bins of 0\.3 s"):
        population_fano(times, 0.0, 1.0, 0.3)


@pytest.mark.parametrize(("start", "dt"), [(0.0, 1e-3), (0.2, 1e-3), (0.0, 1e-4), (0.02, 1e-4)])
def test_a_spike_at_the_end_of_a_tick_stays_in_the_bin_that_ends_there(
    start: float, dt: float
) -> None:
    """The bins of a raster are its ticks; 0.203 - 0.2 is a little more than 3 ms in float64."""
    raster = np.random.default_rng(0).random((1000, 1, 20)) < 0.02
    times = to_times(to_events(raster.astype(np.float32)), Seconds(dt))
    count = raster[round(start / dt) :, 0].sum(1)
    found = population_fano(times, Seconds(start), Seconds(1000 * dt), Seconds(dt))
    assert found == pytest.approx(count.var() / count.mean(), rel=1e-12)
