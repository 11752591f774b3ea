"""Recordings in windows, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from drivers.series import EventTable
from tasks.forecasting.config import tiny
from tasks.forecasting.data import choose_later, prepare
from tasks.forecasting.seizures import (
    PreparedSeizures,
    prepare_recording,
    seizures_ann,
    tiny_seizures,
)
from tasks.runs.configuration import list_problems

SHORT = replace(seizures_ann(), points=40_000)


def prepare_short(**changes: object) -> PreparedSeizures:
    found = prepare(replace(SHORT, **changes))  # type: ignore[arg-type]
    assert isinstance(found, PreparedSeizures)
    return found


def test_windows_of_a_patient() -> None:
    found = prepare_short()
    assert list(found.windows) == ["train", "val", "test"]
    for split, part in found.windows.items():
        count = len(found.now[split])
        assert part.own.shape == (count, 8 * 13)
        assert part.later.shape == (count, 8, 13)
        assert 0.05 < part.labels.mean() < 0.4
        assert abs(part.own).max() <= 4
    last = found.windows["train"].own[:, -13:]
    np.testing.assert_allclose(last.mean(0), 0, atol=0.1)  # cut at 4 deviations
    first, second = found.now["train"].max(), found.now["val"].min()
    assert second - first > 300


def test_the_teacher_sees_the_middle_or_the_students_window() -> None:
    event, middle = (
        prepare_short().windows["val"],
        prepare_short(target="middle").windows["val"],
    )
    np.testing.assert_array_equal(middle.later[:, 0], event.later[:, 4])
    present = choose_later(replace(SHORT, arm="present"), event, 0)
    np.testing.assert_array_equal(present.later[:, 0], event.own[:, -13:])


def test_the_slow_variable_stands_in_the_place_of_the_features() -> None:
    found = prepare_short(channel="z").windows["train"]
    assert found.own.shape[1] == 8
    soon = found.labels == 1
    assert found.own[soon, -1].mean() < found.own[~soon, -1].mean() - 0.5  # z falls before
    assert prepare_short(channel="ac").windows["val"].own.shape[1] == 8 * 12


def test_only_the_first_share_of_the_training_part_has_labels() -> None:
    some, all_of = prepare_short(labelled=0.4), prepare_short()
    now, labels = some.now["train"], some.windows["train"].labels
    known = now + 300 <= 0.4 * 24_000
    assert (labels[~known] == -1).all()
    np.testing.assert_array_equal(labels[known], all_of.windows["train"].labels[known])
    assert 0 < known.sum() < len(known)
    assert len(some.detector["train"].own) == 9600 // 32 - 1
    np.testing.assert_array_equal(some.windows["val"].labels, all_of.windows["val"].labels)


def test_a_recording_without_a_usable_seizure_is_refused_by_split() -> None:
    x = np.random.default_rng(0).normal(size=40_000)
    early = EventTable(start=np.array([5000]), stop=np.array([5600]))
    with pytest.raises(ValueError, match="mine, val part: no seizure in") as error:
        prepare_recording(SHORT, x, early, "mine")
    assert "mine, test part" in str(error.value)
    assert "train part" not in str(error.value)
    assert "give more points" in str(error.value)
    with pytest.raises(ValueError, match="train part: no seizure"):
        prepare_short(labelled=0.02)


@pytest.mark.parametrize(
    ("bad", "match"), [(np.full(40_000, 2.0), "constant"), (np.nan, "sample 7 is nan")]
)
def test_constant_and_missing_samples_are_refused(bad: object, match: str) -> None:
    x = np.random.default_rng(0).normal(size=40_000)
    if isinstance(bad, np.ndarray):
        x = bad
    else:
        x[7] = np.nan
    none = EventTable(start=np.zeros(0, np.int64), stop=np.zeros(0, np.int64))
    with pytest.raises(ValueError, match=match):
        prepare_recording(SHORT, x, none, "mine")
    fine = np.random.default_rng(0).normal(size=40_000)
    with pytest.raises(ValueError, match="no slow variable; set channel"):
        prepare_recording(replace(SHORT, channel="z"), fine, none, "mine")


def test_what_does_not_fit_is_listed_with_cures() -> None:
    wrong = replace(tiny_seizures(), hop=400, sop=20, horizon=7, arm="population", surprise=1.0)
    told = list_problems(wrong)
    parts = (
        'surprise is 1.0; it must be 0 for arm "population"',
        "horizon is 7; it must be 5 for seizures",
        "Use --set arm=smoothing.",
        "no window in steps of 400 in it; give a smaller hop",
    )
    assert [part in problem for part, problem in zip(parts, told, strict=True)] == [True] * 4
    assert list_problems(replace(tiny(), source="epileptor")) == [
        "source is epileptor; it must be a series. Use neuro train forecasting:seizures."
    ]
