"""Retraining: what each subset reads, and that the values are their models'."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from neuro.io.run_folder import RunError
from tasks.attribution.config import tiny
from tasks.attribution.documents import load
from tasks.attribution.model import compute_log_likelihood, make_lm
from tasks.attribution.retrain import (
    list_rates,
    list_subsets,
    require_affordable,
    retrain,
    retrain_with_checkpoints,
    select_documents,
)
from tasks.attribution.training import train_lm

SMALL = replace(
    tiny(),
    **{"stack": "softmax", "width": 8, "hidden": 8, "heads": 2, "vocabulary": 6, "tokens": 8},
    **{"protected": 2, "free": 1, "documents": 60, "held_out": 10, "lm_epochs": 2, "test": 6},
    batch=20,
)
ALL = np.array([True, True])


def test_a_subset_reads_its_corpora_and_the_free_ones():
    whole = load(SMALL, "lm_train")
    for held in list_subsets(2):
        own = select_documents(SMALL, held)
        assert set(own.labels.tolist()) == {2, *np.flatnonzero(held)}
        counts = np.bincount(own.labels, minlength=3)
        assert_array_equal(counts, np.bincount(whole.labels, minlength=3) * [*held, True])


def test_all_corpora_are_the_whole_training():
    own, plain = retrain(SMALL, ALL, 3), train_lm(SMALL, load(SMALL, "lm_train"), 3)
    test = load(SMALL, "test")
    assert_array_equal(compute_log_likelihood(own, test), compute_log_likelihood(plain, test))


def test_nothing_to_read_leaves_the_initial_weights():
    alone = replace(SMALL, free=0)
    lm, checkpoints = retrain_with_checkpoints(alone, ~ALL, 3)
    initial, test = make_lm(alone, 3), load(alone, "test")
    assert_array_equal(compute_log_likelihood(lm, test), compute_log_likelihood(initial, test))
    assert checkpoints == []


def test_checkpoints_end_with_the_model_and_change_nothing():
    lm, checkpoints = retrain_with_checkpoints(SMALL, ALL, 3)
    test = load(SMALL, "test")
    found = compute_log_likelihood(lm, test)
    assert_array_equal(found, compute_log_likelihood(checkpoints[-1].lm, test))
    assert_array_equal(found, compute_log_likelihood(retrain(SMALL, ALL, 3), test))
    assert (found != compute_log_likelihood(checkpoints[0].lm, test)).any()
    assert len(checkpoints) == SMALL.lm_epochs


def test_rates_are_those_of_the_training():
    rates = list_rates(SMALL, 60)
    steps = [list_rates(replace(SMALL, batch=60, lm_epochs=6), 60)[k] for k in range(6)]
    assert_allclose(rates, [np.mean(steps[:3]), np.mean(steps[3:])])
    assert rates[1] < rates[0] <= SMALL.lm_lr
    assert list_rates(SMALL, 0) == []


def test_more_subsets_than_the_budget_are_refused():
    dear = replace(SMALL, protected=6, budget=16)
    with pytest.raises(RunError, match=r"64 subsets.*protect 4 corpora, or set budget=64"):
        require_affordable(dear)


def test_a_subset_of_other_corpora_is_refused():
    with pytest.raises(ValueError, match="a subset of 3 corpora, and 2 are protected"):
        select_documents(SMALL, np.array([True, True, True]))
