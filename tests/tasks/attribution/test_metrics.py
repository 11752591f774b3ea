"""What answers are measured by, on values computed by hand and by other definitions."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from tasks.attribution.metrics import (
    correlate_ranks,
    measure_calibration,
    measure_detection,
    measure_divergence,
    measure_top1,
    measure_total_variation,
    trace_roc,
)

seeds = st.integers(0, 2**32 - 1)


def draw_shares(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    return rng.dirichlet(np.full(k, 0.5), n)


def test_distances_of_shares_are_those_computed_by_hand() -> None:
    p = np.array([[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]])
    q = np.array([[0.0, 1.0], [0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_allclose(measure_total_variation(p, q), [1.0, 0.0, 0.3])
    middle = np.array([0.35, 0.65])
    by_hand = (p[2] * np.log(p[2] / middle)).sum() / 2 + (
        q[2] * np.log(q[2] / middle)
    ).sum() / 2
    np.testing.assert_allclose(measure_divergence(p, q), [np.log(2), 0.0, by_hand], atol=1e-12)


@given(seed=seeds, k=st.integers(2, 6))
def test_distances_are_symmetric_and_bound_each_other(seed: int, k: int) -> None:
    """TV^2/2 <= JSD <= log(2) TV (Lin 1991; Pinsker on both halves)."""
    rng = np.random.default_rng(seed)
    p, q = draw_shares(rng, 5, k), draw_shares(rng, 5, k)
    tv, jsd = measure_total_variation(p, q), measure_divergence(p, q)
    np.testing.assert_allclose(tv, measure_total_variation(q, p))
    np.testing.assert_allclose(jsd, measure_divergence(q, p), atol=1e-12)
    assert (tv**2 / 2 <= jsd + 1e-9).all()
    assert (jsd <= np.log(2) * tv + 1e-9).all()
    np.testing.assert_allclose(measure_divergence(p, p), 0, atol=1e-12)


def test_equally_large_scores_share_a_hit() -> None:
    scores = np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    labels = np.array([0, 1, 2, 0])
    np.testing.assert_allclose(measure_top1(scores, labels), [1, 1 / 2, 1 / 3, 0])


@given(seed=seeds, k=st.integers(2, 7))
def test_ranks_correlate_as_in_scipy(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 4, (2, 6, k)).astype(np.float64)  # with ties
    found = correlate_ranks(a, b)
    for row, x, y in zip(found, a, b, strict=True):
        if len(set(x)) == 1 or len(set(y)) == 1:
            assert np.isnan(row)
        else:
            assert row == pytest.approx(stats.spearmanr(x, y).statistic)


def test_calibration_is_that_computed_by_hand() -> None:
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.45, 0.55], [0.5, 0.5]])
    labels = np.array([0, 1, 1, 0])
    # 2 bins: (0, 1/2] holds the last, half right by a tie; (1/2, 1] the others
    by_hand = (abs(0.5 - 0.5) + abs((1 - 0.9) + (0 - 0.8) + (1 - 0.55))) / 4
    assert measure_calibration(shares, labels, bins=2) == pytest.approx(by_hand)
    # 10 bins: (0.8, 0.9] the first, (0.7, 0.8] the second, (0.5, 0.6] the third
    assert measure_calibration(shares, labels, bins=10) == pytest.approx((0.1 + 0.8 + 0.45) / 4)


@given(seed=seeds, bins=st.integers(1, 20))
def test_more_bins_find_more_error_and_sure_right_answers_have_none(
    seed: int, bins: int
) -> None:
    """One bin has the gap of the means, which bounds the error of more bins from below."""
    rng = np.random.default_rng(seed)
    shares, labels = draw_shares(rng, 30, 3), rng.integers(0, 3, 30)
    whole = measure_calibration(shares, labels, bins=1)
    gap = abs(measure_top1(shares, labels).mean() - shares.max(1).mean())
    assert whole == pytest.approx(gap)
    assert gap - 1e-12 <= measure_calibration(shares, labels, bins) <= 1
    sure = np.eye(3)[labels]
    assert measure_calibration(sure, labels, bins) == 0


def test_detection_is_that_computed_by_hand() -> None:
    found = measure_detection(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.5, 4.0, 5.0]))
    # pairs won: 2.5 beats 2 of 4; 4 beats 3 and ties with one; 5 beats 4
    assert found.auroc == pytest.approx((2 + 3.5 + 4) / 12)
    # thresholds 5, 4, 3, 2.5: precision at each new recall, 1/1, 2/3 and 3/5
    assert found.aupr == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert found.fpr95 == pytest.approx(2 / 4)  # all three are found at 2.5: 3 and 4 are above
    assert (found.known, found.foreign) == (4, 3)


@settings(max_examples=15)
@given(seed=seeds)
def test_detection_counts_pairs_and_knows_no_scale(seed: int) -> None:
    rng = np.random.default_rng(seed)
    known, foreign = (rng.integers(0, 9, n).astype(np.float64) for n in (7, 5))
    found = measure_detection(known, foreign)
    won = (foreign[:, None] > known).mean() + (foreign[:, None] == known).mean() / 2
    assert found.auroc == pytest.approx(won)
    assert measure_detection(np.exp(known), np.exp(foreign)) == found
    assert measure_detection(-foreign, -known).auroc == pytest.approx(found.auroc)
    assert found.fpr95 == pytest.approx(
        min((known >= t).mean() for t in foreign if (foreign >= t).mean() >= 0.95)
    )
    fpr, tpr = trace_roc(known, foreign)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert ((fpr[1:] - fpr[:-1]) * (tpr[1:] + tpr[:-1])).sum() / 2 == pytest.approx(won)


def test_what_is_no_share_or_score_is_refused_with_the_cure() -> None:
    good = np.array([[0.5, 0.5]])
    with pytest.raises(ValueError, match=r"truth: .* sum furthest from 1 is 1\.1; divide"):
        measure_total_variation(good, np.array([[0.5, 0.6]]))
    with pytest.raises(ValueError, match=r"shares: .* the least is -0.5"):
        measure_divergence(np.array([[1.5, -0.5]]), good)
    with pytest.raises(ValueError, match="holds no share; give documents"):
        measure_calibration(np.empty((0, 2)), np.empty(0, np.int64))
    with pytest.raises(ValueError, match="1 of 3 scores are not finite, of 2 known"):
        measure_detection(np.array([0.0, np.nan]), np.array([1.0]))
    with pytest.raises(ValueError, match="takes finite scores of both"):
        measure_detection(np.array([0.0]), np.empty(0))
