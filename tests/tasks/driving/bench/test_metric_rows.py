import numpy as np
import pytest

from tasks.bench.rows import find_ratio
from tasks.driving.bench.draw import TESTS, tabulate
from tasks.driving.bench.parts import ComparedMetric, make_rows

OURS, CV = "driving:small", "constant velocity"


def make_collisions() -> ComparedMetric:
    return ComparedMetric(
        name="collisions",
        values={OURS: np.array([[0.0, 0, 1, 0], [0, 0, 0, 0]]), CV: np.array([[1.0, 1, 1, 0]])},
        better="lower",
        of="course",
    )


def test_a_row_has_both_sides_their_seeds_and_a_paired_test() -> None:
    (row,) = make_rows("closed loop", make_collisions(), OURS, {"courses": [1, 2, 3, 4]})
    assert (row.case, row.subject, row.peer) == ("closed loop: collisions", OURS, CV)
    assert (row.unit, row.ours, row.theirs) == ("%", 12.5, 75.0)
    assert row.ratio == 6.0  # fewer are better
    assert row.conditions["ours"] == {"sd": pytest.approx(17.678, abs=1e-3), "seeds": [25, 0]}
    assert row.conditions["theirs"] == {"sd": None, "seeds": [75.0]}
    paired = row.conditions["paired"]
    assert paired["difference"] == -62.5
    assert (paired["better"], paired["worse"], paired["units"]) == (3, 0, 4)
    assert paired["p"] == 0.25
    assert row.conditions["courses"] == [1, 2, 3, 4]


def test_windows_of_a_scene_count_once_in_a_test_and_each_in_a_mean() -> None:
    figure = ComparedMetric(
        name="L2",
        values={OURS: np.array([[1.0, 3, 5]]), CV: np.array([[2.0, 3, 8]])},
        unit="m",
        better="lower",
        of="scene",
        groups=("a", "a", "b"),
    )
    (row,) = make_rows("open loop", figure, OURS, {})
    assert (row.ours, row.theirs) == (3, pytest.approx(13 / 3))
    assert row.conditions["paired"]["difference"] == pytest.approx((-0.5 - 3) / 2)
    assert row.conditions["paired"]["units"] == 2
    (table,) = tabulate("open", [row])
    assert [next(column.cells) for column in table.columns] == ["L2 [m]", "3", "4.33"]


def test_rates_differ_where_their_interval_is_on_one_side_of_zero() -> None:
    few, many = np.array([[0.0, 0, 1, 0]]), np.array([[2.0, 2, 3, 2]])
    peers = {OURS: few, CV: many, "stops": np.array([[0.0, 1, 0, 0]]), "none": few}
    driven = {k: np.full((1, 4), 0.0 if k == "none" else 0.5) for k in peers}
    figure = ComparedMetric(name="hits", values=peers, per=driven, unit="1/km", better="lower")
    rows = list(make_rows("closed loop", figure, OURS, {}))
    assert [row.ours for row in rows] == [0.5] * 3
    assert [row.theirs for row in rows] == [4.5, 0.5, None]
    assert rows[0].conditions["rates"] == {"difference": -4.0, "low": -4.0, "high": -4.0}
    assert rows[2].conditions["rates"] == {"difference": None, "low": None, "high": None}
    (table,) = tabulate("closed loop", rows)
    assert [next(column.cells) for column in table.columns[2:]] == ["4.5*", "0.5", "-"]
    assert table.caption == f"*: differs from {OURS} ({TESTS['rates']})"
    more = ComparedMetric(name="hits", values={OURS: many, CV: few}, per=driven, unit="1/km")
    (table,) = tabulate("closed loop", list(make_rows("closed loop", more, OURS, {})))
    assert next(table.columns[2].cells) == "0.5*"


def test_ratios_are_above_one_where_we_are_better_and_missing_at_zero() -> None:
    assert find_ratio(3.0, 2.0, "higher") == 1.5
    assert find_ratio(2.0, 3.0, "lower") == 1.5
    assert find_ratio(1.0, 0.0, "higher") is None
    assert find_ratio(0.0, 1.0, "lower") is None
    assert find_ratio(0.0, 1.0, "higher") == 0
    assert find_ratio(float("nan"), 1.0, "higher") is None
    assert find_ratio(1.0, float("nan"), "lower") is None


def test_what_cannot_be_counted_is_none_with_a_note() -> None:
    values = {OURS: np.array([[0.5]]), CV: np.array([[np.nan]])}
    (row,) = make_rows("maps", ComparedMetric(name="IoU", values=values), OURS, {})
    assert (row.ours, row.theirs, row.ratio) == (50, None, None)
    assert row.note == "IoU: nothing to count for constant velocity"
    assert row.conditions["theirs"] == {"sd": None, "seeds": [None]}


def test_a_table_has_a_line_a_figure_and_a_column_a_planner() -> None:
    sure = ComparedMetric(
        name="done", values={OURS: np.ones((2, 8)), CV: np.zeros((1, 8))}, of="course"
    )
    rows = [
        row
        for figure in (make_collisions(), sure)
        for row in make_rows("closed loop", figure, OURS, {})
    ]
    (table,) = tabulate("closed loop", rows)
    assert [column.header for column in table.columns] == ["figure", OURS, CV]
    cells = [list(column.cells) for column in table.columns]
    assert cells == [["collisions [%]", "done [%]"], ["12.5 ± 18", "100 ± 0"], ["75", "0*"]]
    assert table.caption == f"*: differs from {OURS} (paired sign test, p < 0.05)"
    assert list(tabulate("closed loop", [])) == []
