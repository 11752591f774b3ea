"""Batches: what enters the student, what enters the teacher, arm by arm."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from tasks.forecasting.config import ForecastConfig, tiny, tiny_ann
from tasks.forecasting.data import (
    batches,
    choose_later,
    count_channels,
    count_steps,
    encode_changes,
    make_dummy_batch,
    make_series,
    prepare,
    prepare_series,
)

RAMP = np.arange(100.0)


def test_the_teacher_of_the_future_never_sees_the_students_window() -> None:
    """In the released code for EEG both get the same batch."""
    p = prepare_series(RAMP, "ramp", 10, lookback=4, horizon=6)
    part = p.windows["train"]
    own, later = part.own * p.sd + p.mean, part.later * p.sd + p.mean
    assert own[0].round(3).tolist() == [0, 1, 2, 3]
    assert later[0].round(3).tolist() == [5, 6, 7, 8]  # the target is 9
    assert p.bins.encode(np.array([9.0])) == part.labels[0]


def test_arms_differ_in_what_the_teacher_sees_and_in_nothing_else() -> None:
    config = replace(tiny_ann(), points=400, batch=50)
    part = prepare(config).windows["train"]
    for arm in ("none", "future", "smoothing", "population", "oracle"):
        assert choose_later(replace(config, arm=arm), part, 3) is part  # type: ignore[arg-type]
    present = choose_later(replace(config, arm="present"), part, 3)
    assert np.array_equal(present.later, part.own)
    shuffled = choose_later(replace(config, arm="shuffled"), part, 3)
    assert not np.array_equal(shuffled.later, part.later)
    assert sorted(map(tuple, shuffled.later)) == sorted(map(tuple, part.later))
    for other in (present, shuffled):
        assert other.own is part.own
        assert other.labels is part.labels
    first = {
        arm: next(batches(replace(config, arm=arm), "train", 2))  # type: ignore[arg-type]
        for arm in ("none", "future", "present", "shuffled")
    }
    for x, labels, _ in first.values():
        assert torch.equal(x, first["none"][0])
        assert torch.equal(labels, first["none"][1])


def test_bins_and_scale_come_from_the_part_for_training() -> None:
    """Later values may be larger; they fall into the last bin."""
    p = prepare_series(RAMP, "ramp", 10, lookback=2, horizon=2)
    assert (p.low, p.high) == (0, 59)
    assert (p.bins.low, p.bins.high) == (3, 59)
    assert set(p.windows["test"].labels) == {9}
    assert abs(p.windows["train"].own.mean()) < 0.1


def test_few_windows_are_the_last_before_validation() -> None:
    whole, few = (
        prepare_series(RAMP, "ramp", 10, lookback=4, horizon=6, train=n) for n in (0, 7)
    )
    assert len(few.windows["train"].labels) == 7
    assert np.array_equal(few.windows["train"].own, whole.windows["train"].own[-7:])
    assert np.array_equal(few.windows["test"].own, whole.windows["test"].own)


@pytest.mark.parametrize(
    ("series", "lookback", "why"),
    [
        (np.ones(100), 4, "heart: the series is constant"),
        (np.where(RAMP == 70, np.nan, RAMP), 4, "heart: sample 70 is nan"),
        (np.maximum(RAMP, 60), 4, "heart, train part: the series is constant"),
        (RAMP, 16, "heart, val part of 100: a lookback of 16 and a horizon of 5 need 21"),
        (RAMP[:5], 4, "heart, train part of 5: a lookback of 4 and a horizon of 5 need 9"),
    ],
)
def test_a_series_that_cannot_be_forecast_is_refused(
    series: np.ndarray, lookback: int, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        prepare_series(series, "heart", 10, lookback=lookback, horizon=5)


def test_seeds_begin_the_series_elsewhere() -> None:
    for source in ("mackey_glass", "lorenz"):
        first, other = (make_series(source, seed, 50) for seed in (0, 1))  # type: ignore[arg-type]
        assert abs(first - other).min() > 0


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=12), st.floats(0.05, 0.5))
def test_the_events_add_up_to_the_signal_within_a_step(x: list[float], step: float) -> None:
    signal = torch.tensor(x)[:, None]
    spikes = encode_changes(signal, step, 6)
    assert spikes.shape == (len(x), 1, 12)
    assert set(spikes.unique().tolist()) <= {0, 1}
    weight = 2.0 ** torch.arange(6)
    counts = spikes @ torch.cat([weight, -weight])
    assert ((step * counts.cumsum(0) - signal).abs() < step * 1.001).all()


def test_a_count_that_has_no_place_is_refused() -> None:
    encode_changes(torch.tensor([[0.7]]), 0.1, 3)
    with pytest.raises(ValueError, match="changes by 8 steps at once, and 3 binary places end"):
        encode_changes(torch.tensor([[0.85]]), 0.1, 3)


def test_a_stimulus_is_a_tick_a_sample_and_some_without_input() -> None:
    config = replace(tiny(), points=400, batch=50)
    x, labels, later = next(batches(config, "train", 0))
    assert x.shape == (8 + 2, 50, count_channels(config))
    assert count_channels(config) == 14  # up to 100 steps of 1/50: seven places, two signs
    assert not x[8:].any()
    assert later.shape == (50, 8)
    assert labels.dtype == torch.int64
    for c in (config, tiny_ann()):
        real, dummy = next(batches(c, "train", 0)), make_dummy_batch(c)
        assert [(t.shape, t.dtype) for t in real] == [(t.shape, t.dtype) for t in dummy]


def test_a_split_is_read_once_and_in_order() -> None:
    config = replace(tiny_ann(), points=4000)
    parts = list(batches(config, "test", 0))
    known = prepare(config).windows["test"]
    assert [len(labels) for _, labels, _ in parts] == [500, 275]
    assert torch.equal(torch.cat([b[1] for b in parts]), torch.from_numpy(known.labels))


def test_a_batch_larger_than_the_data_is_refused() -> None:
    config = replace(tiny_ann(), points=400, batch=300)
    with pytest.raises(ValueError, match="batch is 300, and there are 228 windows to train on"):
        count_steps(config)


def test_a_teacher_sees_later_values_than_its_student() -> None:
    with pytest.raises(ValueError, match="teacher_horizon is 1; it must be < horizon, 1, so"):
        prepare(ForecastConfig(horizon=1))
    prepare(replace(tiny_ann(), arm="none", horizon=1, points=300))  # no teacher: it may be 1
