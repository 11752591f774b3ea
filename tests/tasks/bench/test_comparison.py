"""A case becomes a row a pair: ratios, rates, targets, and reasons where there is no ratio."""

import json
from functools import partial
from pathlib import Path

import bench_subjects
import pytest

from tasks.bench.comparison import Case, Pair, measure_case
from tasks.bench.rows import Row, list_versions, write


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    case = Case(
        name="a case",
        subjects={
            "neuro exact": partial(bench_subjects.takes, 2.0, 100),
            "scatter-add": partial(bench_subjects.takes, 0.5, 100),
            "slow": partial(bench_subjects.takes, 9.0, 50),
            "slower": partial(bench_subjects.takes, 10.0, 70),
            "NEST precise": bench_subjects.lacks_a_package,
        },
        pairs=(
            Pair("neuro exact", ("slow",), 5),
            Pair("neuro exact", ("NEST precise", "slower", "slow"), 4),
            Pair("neuro exact", ("NEST precise",), 20),
            Pair("neuro exact", ("scatter-add",)),
        ),
        unit="s / simulated s",
        per=4.0,
        cell_seconds=20.0,
        conditions={"cells": 5},
    )
    return measure_case(case, 2)


@pytest.mark.slow
def test_a_ratio_is_their_time_over_ours_and_times_are_divided(rows: list[Row]) -> None:
    assert (rows[0].ours, rows[0].theirs, rows[0].ratio) == (0.5, 2.25, 4.5)
    assert rows[0].unit == "s / simulated s"
    assert rows[0].reached is False


def test_of_several_peers_the_fastest_that_ran_counts(rows: list[Row]) -> None:
    assert (rows[1].peer, rows[1].ratio, rows[1].reached) == ("slow", 4.5, True)


def test_a_peer_that_is_missing_leaves_the_row_without_a_ratio(rows: list[Row]) -> None:
    row = rows[2]
    assert (row.ours, row.theirs, row.ratio, row.reached) == (0.5, None, None, None)
    assert row.note == (
        "NEST precise: no_such_simulator is not installed; "
        "pip install -e '.[peers]' in a clone of neuro brings it"
    )
    assert row.conditions["theirs"] == {}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_share_of_the_bound_which_has_one_thread_is_told_of_one_thread(threads: int) -> None:
    case = Case(
        name="a case",
        subjects={
            "neuro exact": partial(bench_subjects.takes, 2.0, 100),
            "scatter-add": partial(bench_subjects.takes, 0.5, 100),
        },
        pairs=(Pair("neuro exact", ("scatter-add",)),),
        unit="s",
        per=1.0,
        threads=threads,
    )
    (row,) = measure_case(case, 1)
    assert row.conditions["synaptic_events_per_second"] > 0
    assert ("share_of_bound" in row.conditions) == (threads == 1)


def test_conditions_say_activity_threads_work_and_versions(rows: list[Row]) -> None:
    c = rows[0].conditions
    assert (c["cells"], c["threads"], c["target"]) == (5, 1, 5)
    assert c["time"] == "cpu, best of 2"
    assert (c["ours"]["spikes"], c["ours"]["rate"]) == (100, 5.0)
    assert (c["theirs"]["spikes"], c["theirs"]["rate"]) == (50, 2.5)
    assert c["activity"] == {"value": 5.0, "unit": "Hz"}
    assert c["ours"]["cpu"] == {"best": 0.5, "median": 0.5}
    assert c["theirs"]["wall"] == {"best": 4.5, "median": 4.5}
    # A spike of these subjects has ten synaptic events.
    assert c["synaptic_events_per_second"] == 500
    assert c["share_of_bound"] == 0.25
    assert set(c["versions"]) == {"python", "neuro", "numba"}
    assert "nest-simulator" in rows[2].conditions["versions"]
    assert "target" not in rows[3].conditions


def test_the_peer_that_needs_least_memory_need_not_be_the_fastest() -> None:
    case = Case(
        name="a case",
        subjects={
            "ours": partial(bench_subjects.needs, 2.0, 4_000_000),
            "fast": partial(bench_subjects.needs, 3.0, 9_000_000),
            "small": partial(bench_subjects.needs, 5.0, 2_000_000),
            "silent": partial(bench_subjects.needs, 9.0, None),
        },
        pairs=(
            Pair("ours", ("fast", "small", "silent"), 1),
            Pair("ours", ("fast", "small", "silent"), 1, by="memory"),
            Pair("ours", ("silent",), by="memory"),
        ),
        unit="ms",
        per=1e-3,
    )
    time, memory, unknown = measure_case(case, 1)
    assert (time.peer, time.unit, time.ratio) == ("fast", "ms", 1.5)
    assert (memory.case, memory.peer, memory.unit) == ("a case, peak memory", "small", "MB")
    assert (memory.ours, memory.theirs, memory.ratio, memory.reached) == (4, 2, 0.5, False)
    assert memory.conditions["ours"]["grown_bytes"] == 4_000_000
    assert (unknown.theirs, unknown.ratio) == (None, None)
    assert unknown.note == "silent: its peak memory needs the /proc of Linux"


def test_a_package_that_is_not_there_has_no_version() -> None:
    assert list_versions("no-such-simulator")["no-such-simulator"] == "missing"


def test_rows_are_a_list_in_json(rows: list[Row], tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    write(rows, path)
    read = json.loads(path.read_text(encoding="utf-8"))
    assert [row["ratio"] for row in read] == [4.5, 4.5, None, 0.25]
    keys = ["case", "subject", "peer", "unit", "ours", "theirs", "ratio", "note", "conditions"]
    assert list(read[0]) == keys
