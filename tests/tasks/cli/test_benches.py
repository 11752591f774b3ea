"""The verb prints tables and writes files; mistakes suggest what was meant."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from tasks.bench.options import BenchOptions
from tasks.bench.plot import points, speed
from tasks.bench.rows import Row
from tasks.cli.benches import NAMES, find, iterate_tables, show, show_names, tabulate_results
from tasks.runs.names import UnknownName

PNG = b"\x89PNG"


def terminal() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=100), file


def row(case: str, peer: str, ratio: float | None, **conditions: object) -> Row:
    return Row(
        case=case,
        subject="neuro exact",
        peer=peer,
        unit="s",
        ours=0.5,
        theirs=None if ratio is None else 0.5 * ratio,
        ratio=ratio,
        note="" if ratio else f"{peer}: [lost]",
        conditions=conditions,
    )


def printed(rows: list[Row]) -> list[list[str]]:
    console, file = terminal()
    console.print(tabulate_results("part", rows))
    return [line.split() for line in file.getvalue().splitlines() if line.strip()]


def test_targets_are_marked_as_reached_missed_or_open() -> None:
    rows = [
        row("c", "fast", 21.0, target=20),
        row("c", "slow", 19.9, target=20),
        row("c", "gone", None, target=20),
        row("c", "free", 2.0),
    ]
    heading, columns, _, *lines = printed(rows)
    assert heading == ["c:", "neuro", "exact", "0.5", "s"]
    assert columns == ["beside", "theirs", "ratio", "target"]
    assert lines == [
        ["fast", "10.5", "21", ">=", "20", "✓"],
        ["slow", "9.95", "19.9", ">=", "20", "✗"],
        ["gone", ">=", "20", "?"],
        ["free", "1", "2"],
    ]


def test_rates_and_work_are_shown_where_they_are_known() -> None:
    conditions = {
        "ours": {"rate": 5.0},
        "theirs": {"rate": 6.0},
        "synaptic_events_per_second": 51e6,
        "share_of_bound": 0.074,
    }
    heading, columns, _, line = printed([row("c", "p", 3.0, **conditions)])
    assert " ".join(heading) == "c: neuro exact 0.5 s, 51 M events / s, 7.4 % of scatter-add"
    assert columns[-1] == "Hz"
    assert line == ["p", "1.5", "3", "5", "/", "6"]


def test_cases_of_one_row_share_a_table() -> None:
    assert len(list(iterate_tables("part", [row("a", "p", 1.0), row("b", "p", 2.0)]))) == 1
    assert len(list(iterate_tables("part", [row("a", "p", 1.0), row("a", "q", 2.0)]))) == 1
    three = [row("a", "p", 1.0), row("a", "q", 2.0), row("b", "p", 1.0)]
    assert len(list(iterate_tables("part", three))) == 2


@pytest.mark.slow
def test_a_part_is_measured_printed_written_and_drawn(tmp_path: Path) -> None:
    console, file = terminal()
    show(console, "engine", BenchOptions(tmp_path, repeats=1, parts=("large",), quick=True))
    text = file.getvalue()
    assert "delta, 1,000 cells, p = 0.1" in text
    assert "of 1 targets reached" in text
    (found,) = json.loads((tmp_path / "engine.json").read_text(encoding="utf-8"))
    assert (found["peer"], found["note"]) == ("scatter-add", "")
    assert 0 < found["ratio"] < 1.5
    assert found["conditions"]["share_of_bound"] == pytest.approx(found["ratio"], rel=0.02)
    assert (tmp_path / "engine.png").read_bytes().startswith(PNG)


def test_notes_are_printed_as_they_are_and_what_is_open_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row("c", "gone", None, target=2), row("c", "fast", 3.0, target=2)]
    benchmark = find("engine")
    monkeypatch.setitem(benchmark.parts, "cuba", lambda _: iter(rows))  # type: ignore[arg-type]
    monkeypatch.setattr("tasks.cli.benches.find", lambda _: benchmark)
    console, file = terminal()
    show(console, "engine", BenchOptions(tmp_path, parts=("cuba",)))
    assert "gone: [lost]" in file.getvalue()
    assert "1 of 2 targets reached, 1 not measured" in file.getvalue()


def test_the_line_of_a_simulator_has_its_rates_and_times(tmp_path: Path) -> None:
    about = {"ours": {"rate": 15.0}, "theirs": {"rate": 14.0}}
    rows = [
        row("delta, 15 Hz", "NEST precise", 4.0, **about),
        row("delta, 15 Hz", "gone", None, ours={"rate": 15.0}, theirs={}),
        row("CUBA", "NEST precise", 4.0, **about),
    ]
    ours = ("neuro exact", 15.0, 0.5)
    assert list(points(rows)) == [ours, ("NEST precise", 14.0, 2.0), ours]
    speed(rows, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


@pytest.mark.slow
def test_without_a_name_all_benchmarks_and_their_parts_are_listed() -> None:
    file = io.StringIO()
    show_names(Console(file=file, width=200))
    lines = [re.split("  +", line.strip()) for line in file.getvalue().rstrip().splitlines()]
    assert [(line[0], line[-1]) for line in lines[-len(NAMES) :]] == [
        (name, ", ".join(find(name).parts)) for name in NAMES
    ]


def test_parts_of_the_engine_are_these() -> None:
    parts = "cuba delta brette4 large silent classifier threads memory compile"
    assert list(find("engine").parts) == parts.split()


def test_mistakes_suggest_what_was_meant() -> None:
    with pytest.raises(UnknownName, match="no benchmark 'engin'; did you mean 'engine'"):
        find("engin")
    with pytest.raises(UnknownName, match="no part 'cubba'; did you mean 'cuba'"):
        find("engine").choose_parts(("cubba",))
    with pytest.raises(ValueError, match="--repeats must be >= 1, got 0; 3 is usual"):
        BenchOptions(repeats=0)
    with pytest.raises(ValueError, match="--workers must be >= 1, got 0"):
        BenchOptions(workers=0)


@pytest.mark.parametrize(
    ("name", "idle"),
    [
        ("engine", "--runs, --workers"),
        ("hybrids", "--repeats, --runs"),
        ("bottlenecks", "--repeats, --runs"),
        ("forecasting", "--repeats, --runs"),
        ("reasoning", "--repeats, --runs"),
        ("flow", "--repeats, --runs"),
        ("attribution", "--repeats, --runs"),
        ("driving", "--repeats"),
    ],
)
def test_a_flag_of_which_a_benchmark_takes_no_notice_is_told(name: str, idle: str) -> None:
    asked = BenchOptions(repeats=5, runs=(Path("runs/a"),), workers=2)
    assert find(name).list_unused(asked) == idle
    assert find(name).list_unused(BenchOptions()) == ""
    told = f"neuro bench {name} does not use {idle}; leave it out"
    with pytest.raises(ValueError, match=told):
        show(terminal()[0], name, asked)


@pytest.mark.slow
def test_searched_mappings_stand_beside_greedy_ones(tmp_path: Path) -> None:
    show(
        terminal()[0], "energy", BenchOptions(tmp_path, parts=("demo", "pilotnet"), quick=True)
    )
    found = json.loads((tmp_path / "energy.json").read_text(encoding="utf-8"))
    mapped = [r for r in found if r["subject"] == "searched mapping"]
    for chip in ("loihi1", "loihi2"):
        for goal, figure in (("energy", "chip tier"), ("time", "time")):
            case = f"mnist:tiny on {chip}, least {goal}: {figure}"
            (row,) = (r for r in mapped if r["case"] == case)
            assert row["ratio"] == pytest.approx(row["theirs"] / row["ours"])
            assert row["ratio"] > 2
            assert row["conditions"]["ours"]["cores"] > row["conditions"]["theirs"]["cores"]
    assert [r["ratio"] for r in found if r["peer"] == "measured"] == pytest.approx(
        [0.972, 1.058, 1.002, 0.988, 1.012, 0.999, 1.011], abs=1e-3
    )
    assert "neuro bench energy does not use --repeats" in refuse_repeats(tmp_path)


def refuse_repeats(folder: Path) -> str:
    with pytest.raises(ValueError, match="does not use") as error:
        show(terminal()[0], "energy", BenchOptions(folder, repeats=5, quick=True))
    return str(error.value)
