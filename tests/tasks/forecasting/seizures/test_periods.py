"""Which windows belong together: laws for any seizures and sizes."""

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

from drivers.series import EventTable
from tasks.forecasting.seizures import PeriodSizes, align_periods, mark_ictal

SAMPLES = 3000
SIZES = st.builds(
    PeriodSizes,
    window=st.integers(8, 40),
    hop=st.integers(3, 40),
    lookback=st.integers(1, 6),
    sph=st.integers(0, 60),
    sop=st.integers(40, 200),
)


@st.composite
def tables(draw: st.DrawFn) -> EventTable:
    """Return seizures of at least 250 samples, longer than any period."""
    lengths = draw(st.lists(st.integers(250, 500), min_size=2, max_size=8))
    edges = np.cumsum(lengths)
    return EventTable(start=edges[:-1:2].copy(), stop=edges[1::2].copy())


@given(tables(), SIZES, st.integers(0, 500))
def test_rows_belong_together(seizures: EventTable, sizes: PeriodSizes, start: int) -> None:
    rows = align_periods(seizures, start, 2800, SAMPLES, sizes)
    starts, inside = sizes.list_starts(SAMPLES), seizures.mark(SAMPLES)
    assume(len(rows.now) > 0)
    own, later = starts[rows.student], starts[rows.period]
    middles = later + sizes.window // 2 - rows.now[:, None] - sizes.sph
    assert (np.diff(rows.student, axis=1) == 1).all()
    assert (own[:, -1] + sizes.window == rows.now).all()
    assert own.min() >= start
    assert later.max() + sizes.window <= 2800
    assert (middles >= 0).all()
    assert (middles < sizes.sop).all()
    assert middles.min() < sizes.hop  # no window is missing at either end
    assert middles.max() >= sizes.sop - sizes.hop
    assert (later > own[:, -1:]).all()  # always later than what the student sees
    for now, label in zip(rows.now.tolist(), rows.labels.tolist(), strict=True):
        assert not inside[now - sizes.window : now + sizes.sph].any()
        period = range(now + sizes.sph, now + sizes.sph + sizes.sop)
        assert label == any(onset in period for onset in seizures.start.tolist())


@given(tables(), SIZES)
def test_a_perfect_detector_answers_as_the_label(
    seizures: EventTable, sizes: PeriodSizes
) -> None:
    """But for onsets behind the middle of the last window, less than a hop from the end."""
    rows = align_periods(seizures, 0, SAMPLES, SAMPLES, sizes)
    ictal = mark_ictal(seizures, sizes.list_starts(SAMPLES), sizes.window, SAMPLES)
    told = ictal[rows.period].max(1)
    ends = rows.now + sizes.sph + sizes.sop
    late = (
        (seizures.start > (ends - sizes.hop)[:, None]) & (seizures.start < ends[:, None])
    ).any(1)
    assert (told <= rows.labels).all()
    assert (told == rows.labels)[~late].all()


@given(tables(), SIZES)
@settings(max_examples=20)
def test_no_row_of_a_split_reaches_into_another(
    seizures: EventTable, sizes: PeriodSizes
) -> None:
    """Between what two splits see, and what they are asked for, nothing is shared."""
    first = align_periods(seizures, 0, 1500, SAMPLES, sizes)
    second = align_periods(seizures, 1500 + sizes.gap, SAMPLES, SAMPLES, sizes)
    assume(len(first.now) > 0 and len(second.now) > 0)
    starts = sizes.list_starts(SAMPLES)
    reach = max(
        int(starts[first.period].max()) + sizes.window,
        int(first.now.max()) + sizes.sph + sizes.sop,
    )
    assert starts[second.student].min() >= reach + sizes.gap


def test_a_row_by_hand() -> None:
    sizes = PeriodSizes(window=8, hop=4, lookback=2, sph=3, sop=10)
    seizures = EventTable(start=np.array([30]), stop=np.array([45]))
    rows = align_periods(seizures, 0, 60, 60, sizes)
    assert rows.now[:3].tolist() == [12, 16, 20]  # windows 0-7 and 4-11 first
    assert rows.student[0].tolist() == [0, 1]
    assert rows.period[0].tolist() == [3, 4, 5]  # of samples 15-24: middles 16, 20, 24
    assert dict(zip(rows.now.tolist(), rows.labels.tolist(), strict=True)) == {
        12: 0,  # 15-24
        16: 0,  # 19-28
        20: 1,  # 23-32
        24: 1,  # 27-36; from 28 on the seizure is too near, or there
    }
    assert rows.keep_last(1).now.tolist() == [24]


def test_a_period_without_a_window_is_refused() -> None:
    sizes = PeriodSizes(window=64, hop=200, lookback=2, sph=50, sop=20)
    with pytest.raises(ValueError, match="no window in steps of 200 in it"):
        sizes.list_offsets()
