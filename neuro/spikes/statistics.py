"""Statistics of spike trains: rates, irregularity, synchrony.

They describe recurrent networks: single spikes there are chaotic, so studies compare simulators
by statistics (van Albada et al. 2018; Gutzen et al. 2018). Each function takes the spikes of
one sample in ``(start, stop]`` [s].
Axes: N neurons, E spikes.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from neuro.base.units import Seconds
from neuro.spikes.trains import Times, require_train

EDGE = 1e-6  # share of a bin: the farthest that rounding moves a spike


class Statistics(NamedTuple):
    """Four statistics of a network.

    rate: mean rate of all neurons [1/s].
    cv: mean of :func:`cv_isi` over its neurons.
    correlation: result of :func:`mean_correlation`.
    fano: result of :func:`population_fano`.
    """

    rate: float
    cv: float
    correlation: float
    fano: float


def statistics(times: Times, start: Seconds, stop: Seconds) -> Statistics:
    """Return four statistics of a network; one that has too few spikes is NaN."""
    cv = cv_isi(times, start, stop)
    return Statistics(
        rate=float(rates(times, start, stop).mean()),
        cv=float(cv.mean()) if cv.size else float("nan"),
        correlation=mean_correlation(times, start, stop),
        fano=population_fano(times, start, stop),
    )


def rates(times: Times, start: Seconds, stop: Seconds) -> Float[np.ndarray, " N"]:
    """Return the rate of every neuron [1/s]."""
    _, neuron = _within(times, start, stop)
    return np.bincount(neuron, minlength=times.shape[2]) / (stop - start)


def cv_isi(times: Times, start: Seconds, stop: Seconds) -> Float[np.ndarray, " M"]:
    """Return the irregularity of the M neurons with at least 5 spikes.

    It is the coefficient of variation of a neuron's interspike intervals (standard deviation
    over mean): 0 for periodic firing, 1 for a Poisson process.
    """
    time, neuron = _within(times, start, stop)
    order = np.argsort(neuron, kind="stable")  # by neuron, then in order of time
    time, neuron = time[order], neuron[order]
    same = neuron[1:] == neuron[:-1]
    interval, owner = np.diff(time)[same], neuron[1:][same]
    number = np.bincount(owner, minlength=times.shape[2])
    enough = number >= 4
    number = np.maximum(number, 1)
    mean = np.bincount(owner, interval, minlength=times.shape[2]) / number
    # Deviations from the mean, not a difference of squares: regular firing has a CV near 0.
    square = np.bincount(owner, (interval - mean[owner]) ** 2, minlength=times.shape[2])
    return np.asarray((np.sqrt(square / number) / np.where(enough, mean, 1))[enough])


def mean_correlation(
    times: Times,
    start: Seconds,
    stop: Seconds,
    bin: Seconds = Seconds(2e-3),
) -> float:
    """Return the mean Pearson correlation of spike counts over all pairs of neurons.

    Spikes are counted in bins of ``bin`` [s]. A neuron whose count is the same in every bin has
    no correlation and is left out. Returns NaN if fewer than two neurons remain.
    """
    where, neuron, bins = _binned(times, start, stop, bin)
    cells, count = np.unique(neuron.astype(np.int64) * bins + where, return_counts=True)
    neuron, where = np.divmod(cells, bins)
    size = times.shape[2]
    mean = np.bincount(neuron, count, minlength=size) / bins
    variance = np.bincount(neuron, count**2, minlength=size) / bins - mean**2
    changes = variance > 1e-12
    n = int(changes.sum())
    if n < 2:
        return float("nan")
    # The variance of a sum of N standardised counts is N + N (N - 1) times their mean
    # correlation, so that no loop over pairs is needed.
    scale = np.where(changes, 1 / np.sqrt(np.where(changes, variance, 1)), 0)
    total = np.bincount(where, count * scale[neuron], minlength=bins)
    return float((total.var() - n) / (n * (n - 1)))


def population_fano(
    times: Times,
    start: Seconds,
    stop: Seconds,
    bin: Seconds = Seconds(1e-3),
) -> float:
    """Return the variance of the population's spike count per bin over its mean (bins in s).

    It is about 1 for independent Poisson neurons, about N for N neurons that fire together, and
    NaN without spikes.
    """
    where, _, bins = _binned(times, start, stop, bin)
    count = np.bincount(where, minlength=bins)
    return float(count.var() / count.mean()) if where.size else float("nan")


def _within(
    times: Times, start: Seconds, stop: Seconds
) -> tuple[Float[np.ndarray, " E"], Int[np.ndarray, " E"]]:
    """Return time and neuron of each spike in (start, stop], ordered by time."""
    require_train("times", times, Times)
    if times.shape[1] != 1:
        raise ValueError(
            f"statistics describe one sample, got {times.shape[1]}; "
            "pick one with neuro.spikes.of_sample"
        )
    if not 0 <= start < stop < np.inf:
        raise ValueError(
            f"an interval needs 0 <= start < stop < inf [s], got {start} and {stop}; "
            "skip the first 200 ms of a network"
        )
    inside = (times.time > start) & (times.time <= stop)
    return times.time[inside], times.neuron[inside]


def _binned(
    times: Times, start: Seconds, stop: Seconds, bin: Seconds
) -> tuple[Int[np.ndarray, " E"], Int[np.ndarray, " E"], int]:
    """Return the bin and the neuron of each spike, and the number of bins."""
    bins = round((stop - start) / bin) if bin > 0 else 0
    if bins < 2 or abs(bins * bin - (stop - start)) > 1e-6 * bin:
        raise ValueError(
            f"{stop - start:g} s must be two or more whole bins, got bins of {bin:g} s; "
            "choose a bin that divides the interval"
        )
    time, neuron = _within(times, start, stop)
    place = (time - start) / bin
    # A spike at the end of a tick lies on the edge of a bin; rounding could put it on either
    # side.
    edge = np.rint(place)
    place = np.where(np.abs(place - edge) < EDGE, edge, place)
    where = np.ceil(place).astype(np.int64) - 1
    return np.clip(where, 0, bins - 1), neuron, bins
