"""Tables of events, and events found in a signal."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from drivers.series.events import EventTable, find_events


def make_table(*events: tuple[int, int]) -> EventTable:
    pairs = np.array(events, np.int64).reshape(-1, 2)
    return EventTable(start=pairs[:, 0], stop=pairs[:, 1])


def test_events_begin_above_one_value_and_end_below_another() -> None:
    x = np.array([0.0, 2, 0, 2, -2, 0, 3, 3])
    found = find_events(x, 1.0, -1.0)
    assert found.start.tolist() == [1, 6]
    assert found.stop.tolist() == [4, 8]  # the last goes on
    assert find_events(x[2:], 1.0, 0.5).start.tolist() == [1, 4]
    assert len(find_events(np.zeros(3), 1.0, -1.0).start) == 0
    with pytest.raises(ValueError, match="give end <= begin"):
        find_events(x, 0.0, 1.0)


@given(st.lists(st.integers(1, 5), max_size=8), st.integers(0, 30))
def test_samples_are_marked_as_the_table_says(lengths: list[int], samples: int) -> None:
    edges = np.cumsum([0, *lengths])
    table = make_table(*zip(edges[:-1:2].tolist(), edges[1::2].tolist(), strict=False))
    inside = [
        any(a <= t < b for a, b in zip(table.start, table.stop, strict=True))
        for t in range(samples)
    ]
    assert table.mark(samples).tolist() == inside


@pytest.mark.parametrize(
    ("events", "which"), [([(0, 3), (2, 5)], 1), ([(4, 4)], 0), ([(-1, 4)], 0)]
)
def test_empty_and_overlapping_events_are_refused(
    events: list[tuple[int, int]], which: int
) -> None:
    with pytest.raises(ValueError, match=f"event {which} of {len(events)}") as error:
        make_table(*events)
    assert "join those that overlap" in str(error.value)
