"""Means over seeds, and comparisons of two subjects on the same units.

Subjects are planners, or stacks of mixers. Axes: S seeds, U units (courses, scenes, trainings),
which are the same for all seeds and subjects.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Int64

RESAMPLES = 9999
EXACT = 16  # most seeds with all 2^n choices of signs; with more, choices are drawn
DRAWS = 100_000
LEVEL = 0.05  # below which a difference is shown


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What each seed reached; of these the mean and the standard deviation of a sample.

    sd: None with fewer than two seeds.
    """

    mean: float
    sd: float | None
    seeds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Paired:
    """A difference between two subjects, unit by unit, each the mean over its seeds.

    low, high: of Student's 95 % interval of the mean; None with fewer than two units. more,
    fewer: units in which the first has more, and fewer. p: of a sign test of these two numbers,
    exact and two-sided (for one seed and yes or no: McNemar's test).
    """

    difference: float
    low: float | None
    high: float | None
    more: int
    fewer: int
    p: float


@dataclass(frozen=True, kw_only=True)
class RateDifference:
    """Of two rates.

    low, high: 95 % of the rates of units drawn anew (percentile bootstrap), for the rate of few
    units is no mean; None with fewer than two units, or where some draw has no rate.
    """

    difference: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class PairedVerdict:
    """Of pairs by the sign-flip test.

    difference: mean of ours minus theirs. p: two-sided; None with one pair. test: its name.
    verdict: whether ours are "better" or "worse", where p is below 5 %; else "not shown".
    """

    difference: float
    p: float | None
    test: str
    pairs: int
    verdict: str


def summarise(
    values: Float64[np.ndarray, "S U"], per: Float64[np.ndarray, "S U"] | None = None
) -> Summary:
    """Return the summary of what seeds reached: means, or rates.

    per: what the values are counted in. A rate is the sum of values over the sum of these; NaN
    where that is zero.
    """
    seeds = values.mean(1) if per is None else _find_rate(values, per)
    return summarise_seeds(seeds.tolist())


def summarise_seeds(values: Iterable[float]) -> Summary:
    """Return the summary of a value by seed."""
    seeds = tuple(values)
    sd = float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None
    return Summary(mean=float(np.mean(seeds)), sd=sd, seeds=seeds)


def compare_paired(
    first: Float64[np.ndarray, "S U"], second: Float64[np.ndarray, "S2 U"]
) -> Paired:
    """Return how two subjects differ on the same units, each the mean over its seeds."""
    from scipy import stats  # late: it takes a second

    each = first.mean(0) - second.mean(0)
    each = np.where(np.abs(each) < 1e-12, 0.0, each)  # means of equal values, up to rounding
    more, fewer = int((each > 0).sum()), int((each < 0).sum())
    mean, number, low, high = float(each.mean()), len(each), None, None
    if number > 1:
        half = float(stats.t.ppf(0.975, number - 1) * each.std(ddof=1) / number**0.5)
        low, high = mean - half, mean + half
    return Paired(
        difference=mean,
        low=low,
        high=high,
        more=more,
        fewer=fewer,
        p=float(stats.binomtest(more, more + fewer).pvalue) if more + fewer else 1.0,
    )


def compare_rates(
    first: Float64[np.ndarray, "S U"],
    first_per: Float64[np.ndarray, "S U"],
    second: Float64[np.ndarray, "S2 U"],
    second_per: Float64[np.ndarray, "S2 U"],
) -> RateDifference:
    """Return how the rates of two subjects differ, means over their seeds.

    A rate is of all units together, so that units are drawn anew for both subjects at once.
    """

    def subtract(units: Int64[np.ndarray, "... U"]) -> Float64[np.ndarray, "..."]:
        rates = [
            _find_rate(values[:, units], per[:, units]).mean(0)
            for values, per in ((first, first_per), (second, second_per))
        ]
        return np.asarray(rates[0] - rates[1])

    number = first.shape[1]
    whole = float(subtract(np.arange(number)))
    drawn = subtract(np.random.default_rng(0).integers(0, number, (RESAMPLES, number)))
    if number < 2 or np.isnan(drawn).any():
        return RateDifference(difference=whole, low=None, high=None)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return RateDifference(difference=whole, low=float(low), high=float(high))


def _find_rate(
    values: Float64[np.ndarray, "*S U"], per: Float64[np.ndarray, "*S U"]
) -> Float64[np.ndarray, "*S"]:
    total = per.sum(-1)
    return np.where(total > 0, values.sum(-1) / np.where(total > 0, total, 1.0), np.nan)


def stack_seeds(
    values: Mapping[str, Sequence[Any]],
) -> dict[str, Float64[np.ndarray, "_ U"]]:
    """Return values by seed and unit, or by seed, as arrays; by subject."""
    return {k: np.array(v, np.float64).reshape(len(v), -1) for k, v in values.items()}


def compute_sign_flip_p(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the sign-flip test of paired differences.

    Exact for up to :data:`EXACT` pairs; of more, :data:`DRAWS` choices of signs are drawn and
    the observed one is counted among them (Phipson and Smyth 2010).
    scipy.stats.permutation_test compares sums up to a share of the observed sum alone: near 0
    it takes equal sums of decimal fractions, which are rounded apart, for different ones.

    >>> compute_sign_flip_p([1.0, 2.0, 3.0]), compute_sign_flip_p([1.0, -1.0])
    (0.25, 1.0)
    """
    d = np.asarray(differences, np.float64)
    n = len(d)
    if n <= EXACT:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        signs = np.random.default_rng(0).choice((-1.0, 1.0), (DRAWS, n))
        signs[0] = 1.0
    least = abs(d.sum()) - 1e-12 * np.abs(d).sum()  # sums in other orders are rounded apart
    return float((np.abs(signs @ d) >= least).mean())


def name_test(pairs: int) -> str:
    """Return the name of the test that :func:`compute_sign_flip_p` makes with so many pairs."""
    if pairs <= EXACT:
        return "exact sign-flip test, two-sided"
    return f"sign-flip test by {DRAWS:,} draws, two-sided"


def judge_pairs(
    ours: Sequence[float], theirs: Sequence[float], better: Literal["lower", "higher"]
) -> PairedVerdict:
    """Return how ours differ from theirs, pair by pair, and whether that is shown."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean = float(np.mean(differences))
    p = compute_sign_flip_p(differences) if len(differences) > 1 else None
    verdict = "better" if (mean > 0) == (better == "higher") else "worse"
    return PairedVerdict(
        difference=mean,
        p=p,
        test=name_test(len(differences)),
        pairs=len(differences),
        verdict=verdict if p is not None and p < LEVEL else "not shown",
    )
