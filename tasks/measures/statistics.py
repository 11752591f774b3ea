"""Means over seeds, and comparisons of two subjects on the same units.

Subjects are, for example, planners or stacks of mixers. Axes: S seeds, U units (courses,
scenes, trainings); all seeds and subjects have the same units.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Int64

RESAMPLES = 9999
EXACT = 16  # most pairs for which all 2^n choices of signs are tried; above, choices are drawn
DRAWS = 100_000
LEVEL = 0.05  # significance level: a difference with a smaller p-value counts as shown


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The value of each seed, with mean and sample standard deviation.

    sd: None with fewer than two seeds.
    """

    mean: float
    sd: float | None
    seeds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Paired:
    """The paired difference of two subjects: mean over units of the difference of seed means.

    low, high: Student's 95 % interval of this mean; None with fewer than two units.
    more, fewer: number of units in which the first subject has the larger, the smaller value.
    p: of the exact two-sided sign test on more and fewer (for one seed and yes/no values:
    McNemar's test).
    """

    difference: float
    low: float | None
    high: float | None
    more: int
    fewer: int
    p: float


@dataclass(frozen=True, kw_only=True)
class RateDifference:
    """The difference between two rates.

    low, high: 95 % interval of the percentile bootstrap over units, since a rate is not a mean
    over units; None with fewer than two units, or if a resample has no rate.
    """

    difference: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class PairedVerdict:
    """The result of the sign-flip test on pairs.

    difference: mean of ours minus theirs. p: two-sided; None with one pair.
    test: name of the test. verdict: "better" or "worse" if p is below 5 %, else "not shown".
    """

    difference: float
    p: float | None
    test: str
    pairs: int
    verdict: str


def summarise(
    values: Float64[np.ndarray, "S U"], per: Float64[np.ndarray, "S U"] | None = None
) -> Summary:
    """Summarise the means of seeds over units, or their rates.

    per: denominators of the rates, such as distances. A rate is the sum of the values over the
    sum of the denominators; NaN if that is zero.
    """
    seeds = values.mean(1) if per is None else _find_rate(values, per)
    return summarise_seeds(seeds.tolist())


def summarise_seeds(values: Iterable[float]) -> Summary:
    """Summarise one value per seed."""
    seeds = tuple(values)
    sd = float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None
    return Summary(mean=float(np.mean(seeds)), sd=sd, seeds=seeds)


def compare_paired(
    first: Float64[np.ndarray, "S U"], second: Float64[np.ndarray, "S2 U"]
) -> Paired:
    """Compare two subjects on the same units, each by its means over seeds."""
    from scipy import stats  # imported late, because this takes a second

    each = first.mean(0) - second.mean(0)
    each = np.where(np.abs(each) < 1e-12, 0.0, each)  # equal means may differ by rounding
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
    """Compare the rates of two subjects, each the mean over its seeds.

    A rate is taken over all units, so the bootstrap draws the same units for both subjects.
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
    """Return the values of each subject as an array over seeds and units."""
    return {k: np.array(v, np.float64).reshape(len(v), -1) for k, v in values.items()}


def compute_sign_flip_p(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the sign-flip test of paired differences.

    The test is exact for up to :data:`EXACT` pairs. For more, :data:`DRAWS` choices of signs
    are drawn, and the observed one is counted among them (Phipson and Smyth 2010).
    scipy.stats.permutation_test is not used: its tolerance is a share of the observed sum, so
    near 0 it treats equal sums that differ by rounding as different.

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
    least = abs(d.sum()) - 1e-12 * np.abs(d).sum()  # the order of a sum changes its rounding
    return float((np.abs(signs @ d) >= least).mean())


def name_test(pairs: int) -> str:
    """Return the name of the test that :func:`compute_sign_flip_p` runs on ``pairs`` pairs."""
    if pairs <= EXACT:
        return "exact sign-flip test, two-sided"
    return f"sign-flip test by {DRAWS:,} draws, two-sided"


def judge_pairs(
    ours: Sequence[float], theirs: Sequence[float], better: Literal["lower", "higher"]
) -> PairedVerdict:
    """Test ours against theirs, pair by pair."""
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
