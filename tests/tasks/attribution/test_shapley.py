"""Shapley values: their four axioms, the mean over orders as an oracle, the linear score."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tasks.attribution.metrics import measure_lds
from tasks.attribution.retrain import (
    compute_drops,
    compute_shapley,
    drop_one,
    list_subsets,
)

CORPORA, SEEDS = st.integers(1, 4), st.integers(0, 2**20)


def draw_values(corpora, seed, *further):
    return np.random.default_rng(seed).normal(size=(2**corpora, *further))


def average_over_orders(values):
    """Shapley's definition: what a corpus adds on average when corpora come one by one."""
    corpora = int(np.log2(len(values)))
    added = []
    for order in permutations(range(corpora)):
        own, held = np.zeros((corpora, *values.shape[1:])), 0
        for k in order:
            own[k] = values[held + 2**k] - values[held]
            held += 2**k
        added.append(own)
    return np.mean(added, 0)


def test_subsets_in_order():
    assert_array_equal(
        list_subsets(2), [[False, False], [True, False], [False, True], [True, True]]
    )
    assert_array_equal(list_subsets(4) @ [1, 2, 4, 8], range(16))
    assert drop_one(3) == [6, 5, 3]
    assert not any(list_subsets(3)[s, k] for k, s in enumerate(drop_one(3)))


def test_two_corpora_by_hand():
    # Alone 1 and 3, together 10: each gets its own, and half of the 6 that remain.
    assert_allclose(compute_shapley(np.array([0.0, 1.0, 3.0, 10.0])), [4.0, 6.0])
    assert_allclose(compute_drops(np.array([0.0, 1.0, 3.0, 10.0])), [7.0, 9.0])


@given(CORPORA, SEEDS)
def test_mean_over_orders(corpora, seed):
    values = draw_values(corpora, seed, 3)
    assert_allclose(compute_shapley(values), average_over_orders(values), atol=1e-12)


@given(CORPORA, SEEDS)
def test_efficiency(corpora, seed):
    values = draw_values(corpora, seed, 2)
    assert_allclose(compute_shapley(values).sum(0), values[-1] - values[0], atol=1e-12)


@given(CORPORA, SEEDS)
def test_null_player(corpora, seed):
    values = draw_values(corpora, seed)
    held = list_subsets(corpora)
    without = held[:, 1:] @ 2 ** np.arange(1, corpora)
    assert compute_shapley(values[without])[0] == pytest.approx(0.0, abs=1e-12)


@given(st.integers(2, 5), SEEDS)
def test_symmetry(corpora, seed):
    by_size = np.random.default_rng(seed).normal(size=corpora + 1)
    values = by_size[list_subsets(corpora).sum(1)]
    assert_allclose(np.ptp(compute_shapley(values)), 0.0, atol=1e-12)


@given(CORPORA, SEEDS)
def test_linearity(corpora, seed):
    a, b = draw_values(corpora, seed, 2), draw_values(corpora, seed + 1, 2)
    together = compute_shapley(2 * a - 3 * b)
    assert_allclose(together, 2 * compute_shapley(a) - 3 * compute_shapley(b), atol=1e-12)


@given(CORPORA, SEEDS)
def test_an_additive_game_has_its_terms(corpora, seed):
    terms = np.random.default_rng(seed).normal(size=(corpora, 4))
    values = list_subsets(corpora) @ terms + 7.0
    assert_allclose(compute_shapley(values), terms, atol=1e-12)
    assert_allclose(compute_drops(values), terms, atol=1e-12)
    assert_allclose(measure_lds(terms, values), 1.0)
    assert_allclose(measure_lds(-terms, values), -1.0)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_score_is_the_rank_correlation_over_subsets(scale):
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    scores, values = scale * rng.normal(size=(3, 4)), draw_values(3, 1, 4)
    for n, own in enumerate(measure_lds(scores, values)):
        predicted = [sum(scores[k, n] for k in range(3) if held[k]) for held in list_subsets(3)]
        assert own == pytest.approx(spearmanr(predicted, values[:, n]).statistic)


def test_a_constant_score_predicts_nothing():
    assert_array_equal(measure_lds(np.zeros((3, 2)), draw_values(3, 0, 2)), 0.0)


@pytest.mark.parametrize("number", [0, 1, 3, 6])
def test_other_numbers_of_values_are_refused(number):
    with pytest.raises(ValueError, match="not those of all subsets"):
        compute_shapley(np.zeros(number))


def test_scores_of_other_corpora_are_refused():
    with pytest.raises(ValueError, match="give 8 values a document"):
        measure_lds(np.zeros((3, 2)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="not finite, and have no order"):
        measure_lds(np.full((2, 2), np.inf), np.zeros((4, 2)))


def test_no_corpus_is_refused():
    with pytest.raises(ValueError, match="at least one corpus"):
        list_subsets(0)
