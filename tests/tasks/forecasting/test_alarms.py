"""Alarms and their score, by hand."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tasks.forecasting.alarms import (
    Warnings,
    choose_threshold,
    compute_auc,
    list_predictable,
    raise_alarms,
    score_alarms,
)

ABOUT = Warnings(sph=1.0, sop=3.0, every=1.0)
NOW = np.arange(20.0)


def as_floats(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


@pytest.mark.parametrize(
    ("scores", "labels", "auc"),
    [
        ((1, 2, 3, 4), (0, 0, 1, 1), 1.0),
        ((4, 3, 2, 1), (0, 0, 1, 1), 0.0),
        ((1, 3, 2, 4), (0, 0, 1, 1), 0.75),
        ((1, 1, 1), (0, 1, 1), 0.5),
        ((1, 2, 2, 3), (0, 0, 1, 1), 0.875),
    ],
)
def test_auc_by_hand(scores: tuple[int, ...], labels: tuple[int, ...], auc: float) -> None:
    assert compute_auc(as_floats(*scores), np.array(labels, np.int64)) == auc


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=2, max_size=20))
def test_auc_counts_pairs(pairs: list[tuple[int, int]]) -> None:
    yes, no = ([s for s, label in pairs if label == k] for k in (1, 0))
    scores, labels = (np.array(v) for v in zip(*pairs, strict=True))
    if not yes or not no:
        with pytest.raises(ValueError, match="give windows of both"):
            compute_auc(scores.astype(np.float64), labels)
        return
    won = sum((a > b) + (a == b) / 2 for a in yes for b in no)
    assert compute_auc(scores.astype(np.float64), labels) == pytest.approx(
        won / len(yes) / len(no)
    )


def test_alarms_wait_for_the_refractory_period() -> None:
    scores = as_floats(0, 1, 1, 1, 1, 0, 0.5, 1)
    assert raise_alarms(NOW[:8], scores, 1.0, 3.0).tolist() == [1, 4, 7]
    assert raise_alarms(NOW[:8], scores, 0.5, 4.0).tolist() == [1, 6]
    assert raise_alarms(NOW[:8], scores, 2.0, 3.0).tolist() == []


def test_a_score_by_hand() -> None:
    """Alarms at 2, 10 and 15: periods 3-6, 11-14, 16-19; events at 3, 6, 13.5 and 21."""
    onsets = as_floats(3, 6, 13.5, 21, 40)
    found = score_alarms(as_floats(2, 10, 15), NOW, onsets, ABOUT)
    assert (found.alarms, found.false, found.events, found.predicted) == (3, 1, 4, 2)
    assert found.sensitivity == 0.5
    assert found.false_rate == 1 / 20
    chance = 9 / 20  # answers 2-4, 10-12, 15-17
    assert found.warning == found.chance == chance
    assert found.improvement == pytest.approx(0.5 - chance)
    tail = 6 * chance**2 * (1 - chance) ** 2 + 4 * chance**3 * (1 - chance) + chance**4
    assert found.p == pytest.approx(tail)


@given(st.lists(st.integers(-3, 25), max_size=6), st.integers(1, 8))
def test_warning_is_the_share_of_answers_in_the_time_of_an_alarm(
    alarms: list[int], sop: int
) -> None:
    about = Warnings(sph=1.0, sop=float(sop), every=1.0)
    found = score_alarms(as_floats(*alarms), NOW, as_floats(3), about)
    warned = [any(0 <= t - alarm < sop for alarm in alarms) for t in NOW.tolist()]
    assert found.warning == found.chance == sum(warned) / 20


def test_without_alarms_nothing_is_predicted() -> None:
    found = score_alarms(as_floats(), NOW, as_floats(3), ABOUT)
    assert (found.sensitivity, found.false_rate, found.warning, found.chance) == (0, 0, 0, 0)
    assert found.p == 1.0


def test_events_that_no_answer_reaches_do_not_count() -> None:
    now = as_floats(0, 1, 10)
    onsets = as_floats(0.5, 1, 4.9, 5, 11, 13.9, 14)
    assert list_predictable(now, onsets, ABOUT).tolist() == [1, 4.9, 11, 13.9]
    with pytest.raises(ValueError, match="none of 1 events begins"):
        score_alarms(as_floats(), now, as_floats(7), ABOUT)


def test_a_random_predictor_is_as_good_as_chance() -> None:
    """Answers that know nothing: few alarms at random times, so that few of them hit."""
    rng = np.random.default_rng(0)
    now, about = np.arange(60_000.0), Warnings(sph=1.0, sop=3.0, every=1.0)
    onsets = np.arange(500.0, 60_000, 120)
    alarms = raise_alarms(now, rng.random(len(now)), 1 - 0.03, about.sop)
    found = score_alarms(alarms, now, onsets, about)
    assert found.chance == pytest.approx(0.08, abs=0.01)
    assert found.improvement == pytest.approx(0, abs=0.03)


def test_the_threshold_is_the_largest_of_the_best() -> None:
    onsets, scores = as_floats(8.5), np.zeros(20)
    scores[[2, 6, 7, 15]] = 0.3, 0.6, 0.9, 0.2
    assert choose_threshold(NOW, scores, onsets, ABOUT) == 0.9
    scores[12] = 0.95  # a false alarm comes first
    assert choose_threshold(NOW, scores, onsets, ABOUT) == 0.9
    many = np.linspace(0, 1, 1000)
    late = choose_threshold(np.arange(1000.0), many, as_floats(1000.0), ABOUT)
    assert late == pytest.approx(many[998], abs=1.1 / 199)
