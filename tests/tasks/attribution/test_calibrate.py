"""Scores to shares: the factor that samples were drawn with, order kept."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tasks.attribution.metrics import divide_gains, fit_factor, make_shares


def test_factor_with_which_labels_were_drawn():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(3, 20_000))
    shares = make_shares(scores, 1.7)
    labels = (rng.random(20_000) > shares.cumsum(0)).sum(0)
    assert fit_factor(scores, labels) == pytest.approx(1.7, rel=0.05)
    assert fit_factor(1e-9 * scores, labels) == pytest.approx(1.7e9, rel=0.05)


def test_scores_that_know_nothing_or_the_wrong_have_equal_shares():
    labels = np.arange(300) % 3
    wrong = -np.eye(3)[:, labels]
    for scores in (np.zeros((3, 300)), wrong):
        shares = make_shares(scores, fit_factor(scores, labels))
        assert_allclose(shares, 1 / 3, atol=1e-3)


def test_shares_keep_the_order_and_add_up():
    scores = np.random.default_rng(0).normal(size=(4, 50))
    shares = make_shares(scores, 3.0)
    assert_allclose(shares.sum(0), 1)
    assert_array_equal(shares.argsort(0), scores.argsort(0))


def test_gains_are_what_is_above_zero():
    scores = np.array([[3.0, -1.0], [1.0, -2.0], [-2.0, 0.0]])
    assert_allclose(divide_gains(scores), [[0.75, 1 / 3], [0.25, 1 / 3], [0.0, 1 / 3]])


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        fit_factor(np.array([[np.nan], [0.0]]), np.array([0]))
