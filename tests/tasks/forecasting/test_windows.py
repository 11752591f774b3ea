"""Windows: who sees what, and when."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tasks.forecasting.windows import align, align_student, find_range, require_series

sizes = st.tuples(
    st.integers(0, 50), st.integers(1, 9), st.integers(2, 9), st.integers(1, 30)
)  # start, lookback, horizon, windows


@given(sizes, st.data())
def test_the_teacher_sees_later_samples_and_has_the_same_target(
    drawn: tuple[int, int, int, int], data: st.DataObject
) -> None:
    start, lookback, horizon, count = drawn
    ahead = data.draw(st.integers(1, horizon - 1))
    stop = start + count + lookback + horizon - 1
    a = align(start, stop, lookback, horizon, ahead)
    assert a.student.shape == a.teacher.shape == (count, lookback)
    assert np.array_equal(a.target, a.student[:, -1] + horizon)
    assert np.array_equal(a.target, a.teacher[:, -1] + ahead)
    assert (a.teacher > a.student).all()
    assert (a.teacher < a.target[:, None]).all()
    assert (a.student[0, 0], a.target[-1]) == (start, stop - 1)  # to both edges, not beyond
    assert (np.diff(a.student, axis=1) == 1).all()


@given(sizes)
@settings(max_examples=20)
def test_nobody_looks_ahead_where_there_is_no_teacher(drawn: tuple[int, int, int, int]) -> None:
    start, lookback, horizon, count = drawn
    stop = start + count + lookback + horizon - 1
    alone, taught = (f(start, stop, lookback, horizon) for f in (align_student, align))
    assert np.array_equal(alone.teacher, alone.student)
    assert np.array_equal(alone.student, taught.student)
    assert np.array_equal(alone.target, taught.target)


@pytest.mark.parametrize("ahead", [0, 5, 6, -1])
def test_a_teacher_that_is_not_later_or_sees_the_target_is_refused(ahead: int) -> None:
    with pytest.raises(
        ValueError, match=rf"looks {ahead} ahead, the student 5: .* must be lat"
    ):
        align(0, 100, 8, 5, ahead)


def test_a_lookback_longer_than_its_split_is_refused() -> None:
    assert len(align(0, 13, 8, 5).target) == 1
    with pytest.raises(ValueError, match="horizon of 5 need 13 samples, and there are 12"):
        align(0, 12, 8, 5)


@given(st.integers(30, 5000), st.integers(0, 20))
def test_splits_are_apart_by_the_gap(points: int, gap: int) -> None:
    train, val, test = (find_range(points, split, gap) for split in ("train", "val", "test"))  # type: ignore[arg-type]
    assert train == (0, round(0.6 * points))
    assert val[0] - train[1] == gap
    assert test[0] - round(0.8 * points) == gap
    assert test[1] == max(points, test[0])


@pytest.mark.parametrize(
    ("series", "why"),
    [
        ([1.0, np.nan, 2.0, np.inf], "sample 1 is nan, and 2 of 4 are no finite numbers"),
        ([2.0, 2.0, 2.0], "the series is constant"),
        ([], "the series is constant"),
    ],
)
def test_a_series_without_numbers_or_without_change_is_refused(
    series: list[float], why: str
) -> None:
    with pytest.raises(ValueError, match=f"heart: {why}"):
        require_series(np.array(series), "heart")
