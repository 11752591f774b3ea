"""``neuro bench microcircuit``: its rows by hand, what it compares, what it draws."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from neuro.base.units import Seconds
from neuro.events import Exact, Grid, simulate
from neuro.graph import Graph
from neuro.spikes import Events, Times, to_times
from tasks.bench.comparison import Case, Pair
from tasks.bench.harness import Build, Measurement, RunTiming
from tasks.bench.options import BenchOptions
from tasks.bench.peers import microcircuit as bench, subjects_neuro
from tasks.bench.peers.cost import make_row
from tasks.bench.peers.microcircuit import (
    PARTS,
    SIZES,
    Size,
    build,
    describe_activity,
    draw_raster,
)
from tasks.bench.peers.networks import start
from tasks.bench.peers.potjans_diesmann import NEURONS
from tasks.bench.rows import Row

TIMES = {  # CPU and wall seconds of 2.5 simulated seconds
    "neuro grid, float32": (1.0, 1.25),
    "neuro grid, float64": (2.0, 2.25),
    "neuro exact": (10.0, 20.0),
    "NEST grid": (16.0, 17.0),
    "NEST precise": (75.0, 76.0),
    "Brian2 C++": (9.0, 9.5),
    "neuro grid, float32, 1 thread": (3.0, 3.5),
    "neuro exact, 1 thread": (15.0, 30.0),
}


def fake(
    subjects: Mapping[str, Build], repeats: int, threads: int = 1
) -> dict[str, Measurement]:
    """Return times by hand, and the limit's own; 500 million synaptic events."""
    del repeats
    found = {}
    for name, subject in subjects.items():
        timing = (
            subject(threads)()
            if name == "limit"
            else RunTiming(*TIMES[name], 400, 500_000_000 if name.startswith("neuro") else 0)
        )
        found[name] = Measurement(runs=(timing,), built=2.0, peak=7)
    return found


def rows_of(monkeypatch: pytest.MonkeyPatch, part: str) -> list[Row]:
    monkeypatch.setattr("tasks.bench.comparison.measure", fake)
    size = SIZES[part]._replace(seconds=2.5)
    return list(bench.time_size(size, BenchOptions()))


def shorten(rows: list[Row]) -> list[tuple[object, ...]]:
    return [
        (row.case, row.subject, row.peer, row.ours, row.ratio, row.conditions.get("target"))
        for row in rows
    ]


def test_a_tenth_stands_beside_every_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(monkeypatch, "tenth")
    grid, grid64, exact = "neuro grid, float32", "neuro grid, float64", "neuro exact"
    one = "microcircuit, 10 %"
    two, event = f"{one}, 2 threads", f"{one}, one synaptic event"
    assert shorten(rows) == [
        (one, grid, "NEST grid", 0.4, 16.0, 13.0),
        (one, grid64, "NEST grid", 0.8, 8.0, 13.0),
        (one, grid, "Brian2 C++", 0.4, 9.0, 10.0),
        (one, grid64, "Brian2 C++", 0.8, 4.5, 10.0),
        (one, exact, "NEST precise", 4.0, 7.5, 20.0),
        (two, grid, f"{grid}, 1 thread", 0.5, 2.8, 1.7),
        (two, grid, "NEST grid", 0.5, 13.6, None),
        (two, exact, f"{exact}, 1 thread", 8.0, 1.5, 1.7),
        (event, grid, "limit", 2.0, 1.5, 1),
        (event, grid64, "limit", 4.0, 0.75, 1),
        (event, exact, "limit", 20.0, 0.6, 1),
    ]
    assert [row.unit for row in rows] == ["s / simulated s"] * 8 + ["ns"] * 3
    assert {row.conditions["cells"] for row in rows[:8]} == {7717}
    assert [row.conditions["threads"] for row in rows[:8]] == [1] * 5 + [2] * 3
    assert rows[0].conditions["ours"]["rate"] == 400 / 2.5 / 7717


def test_all_run_the_same_network_with_a_tick_more_on_the_grid_and_at_ticks_of_nest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subjects_neuro, "run_clock", lambda *used: partial(tuple, used))
    size = Size("", 0.001, delay=Seconds(7e-4), seconds=0.3)
    subjects = bench.list_subjects(size, 2)
    ours = {name: subjects[name](2)() for name in TIMES if name.startswith("neuro")}
    assert {name: clock for name, (_, clock) in ours.items()} == {
        "neuro grid, float32": Grid(dtype=np.float32, threads=2),
        "neuro grid, float32, 1 thread": Grid(dtype=np.float32),
        "neuro grid, float64": Grid(threads=2),
        "neuro exact": Exact(threads=2),
        "neuro exact, 1 thread": Exact(),
    }
    makes = {name: make for name, (make, _) in ours.items()}
    makes |= {name: subjects[name].args[0] for name in TIMES if name not in ours}
    for name, make in makes.items():
        problem, late = make(), int("grid" in name)
        assert {e.delay for e in problem.graph.out_of("L4E")} == {7 + late}
        assert problem.duration == 0.3
    precise = {n: subjects[n].keywords.get("precise") for n in ("NEST grid", "NEST precise")}
    assert precise == {"NEST grid": False, "NEST precise": True}


def test_a_synaptic_event_is_that_of_the_first_run_on_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    speeds = iter([1e9, 2e9, 5e8])

    def measured(case: Case, _: int) -> list[Row]:
        return [
            make_row(case.name, (p.ours, p.theirs[0]), "s", (1.0, 2.0), **about)
            for about in [{"synaptic_events_per_second": next(speeds)}]
            for p in case.pairs
        ]

    monkeypatch.setattr(bench, "measure_case", measured)
    exact, grid = (
        Pair("neuro exact", ("NEST precise",)),
        Pair("neuro grid, float32", ("limit",)),
    )
    size = Size("1 %", 0.01, ((2, (exact,)), (1, (grid,)), (1, (grid,))))
    rows = list(bench.time_size(size, BenchOptions()))
    assert [(row.case, row.subject, row.ours) for row in rows[3:]] == [
        ("microcircuit, 1 %, one synaptic event", "neuro grid, float32", 0.5)
    ]


def test_full_scale_stands_beside_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    grid, one = "neuro grid, float32", "microcircuit, full scale"
    two, event = f"{one}, 2 threads", f"{one}, one synaptic event"
    assert shorten(rows_of(monkeypatch, "full")) == [
        (one, grid, "limit", 0.4, 12.5, 1.0),
        (one, "neuro exact", grid, 4.0, 0.1, None),
        (two, grid, "limit", 0.5, 6.0, 1.0),
        (two, grid, f"{grid}, 1 thread", 0.5, 2.8, 1.7),
        (event, grid, "limit", 2.0, 2.5, 1),
        (event, "neuro exact", "limit", 20.0, None, None),
    ]


def test_building_stands_beside_ten_and_twelve_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    timing = RunTiming(9.0, 3.0, 600, 50, 500)
    monkeypatch.setattr(
        bench, "measure", lambda s, _: {k: Measurement(runs=(timing,)) for k in s}
    )
    rows = list(bench.measure_building(BenchOptions()))
    assert [(row.case, row.ours, row.theirs) for row in rows[3:6]] == [
        ("microcircuit, 35 %, memory at rest", 12.0, 10.0),
        ("microcircuit, 35 %, peak memory while it is built", 10.0, 12.0),
        ("microcircuit, 35 %, building", 3.0, 42.0),
    ]
    assert [row.reached for row in rows] == [False, True, True] * 3
    none = {k: Measurement(problem="killed") for k in ("tenth", "third", "full")}
    monkeypatch.setattr(bench, "measure", lambda *_: none)
    rows = list(bench.measure_building(BenchOptions(quick=True)))
    assert {(row.ours, row.reached, row.note) for row in rows} == {(None, None, "killed")}


def test_a_network_is_built_with_ten_bytes_a_synapse() -> None:
    timing = build(0.003, 1)()
    assert timing.counted == 10 * timing.events == 8_966_460
    assert timing.grown is None or timing.grown > timing.counted


def spikes_at(*pairs: tuple[float, int], size: int) -> Times:
    time, neuron = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs], np.int32)
    none = np.zeros(len(pairs), np.int32)
    return Times(none, time, neuron, np.ones(len(pairs)), (20_000, 1, size))


def test_activity_is_that_after_the_onset() -> None:
    regular = [(0.5 + 0.25 * k, 0) for k in range(1, 7)]
    times = {name: spikes_at((0.3, 1), *regular, size=k + 2) for k, name in enumerate(NEURONS)}
    found = describe_activity(times, Seconds(2.0))
    assert list(found) == list(NEURONS)
    for k, name in enumerate(NEURONS):
        assert found[name]["rate"] == pytest.approx(6 / 1.5 / (k + 2), rel=1e-12)
        assert found[name]["cv"] == pytest.approx(0, abs=1e-12)
        assert set(found[name]) == {"rate", "cv"}  # one neuron fires: no correlation


def test_spikes_are_drawn_by_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = []
    monkeypatch.setattr(bench, "save_png", lambda figure, path: figures.append((figure, path)))
    monkeypatch.setattr(bench, "LINES", 30)  # of 66 neurons: every third
    spikes = (0.5, 0), (0.6, 3), (0.7, 4), (0.9, 3), (0.95, 0)
    times = {name: spikes_at(*spikes, size=5 + k) for k, name in enumerate(NEURONS)}
    draw_raster({**times, "L6I": spikes_at(size=10)}, tmp_path / "a.png")
    ((figure, path),) = figures
    assert path == tmp_path / "a.png"
    (ax,) = figure.axes
    # 5, 6, 7, ... neurons of which every third is shown: 2, 2, 3, 3, 3, 4, 4 and 4 lines.
    first = [0, 2, 4, 7, 10, 13, 17]
    for line, at in zip(ax.lines[:7], first, strict=True):
        np.testing.assert_allclose(line.get_xdata(), [600, 900])
        assert line.get_ydata().tolist() == [at + 1, at + 1]
    assert ax.lines[7].get_xdata().size == 0
    assert [t.get_text() for t in ax.get_yticklabels()] == list(NEURONS)
    assert ax.get_yticks().tolist() == [1, 3, 5.5, 8.5, 11.5, 15, 19, 23]
    assert ax.get_ylim() == (25, 0)
    assert "1 of 3 neurons" in ax.get_title("left")


def test_rates_stand_beside_published_ones_and_all_beside_nest_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise ImportError("NEST is not installed")

    monkeypatch.setattr(bench.nest, "run", gone)
    monkeypatch.setattr(bench, "ONSET", Seconds(0.02))
    options = BenchOptions(tmp_path, quick=True)
    size = Size("1 %", 0.1, seconds=5.0)
    found = {peer: [*bench.compare_activity(size, peer, options)] for peer in PEERS}
    for peer, rows in found.items():
        assert {row.peer for row in rows} == {peer}
        assert all(row.ours is not None for row in rows)
    rates = [row for row in found["NEST's example"] if row.unit == "Hz"]
    assert [row.theirs for row in rates] == [
        *(0.971, 2.868, 4.746, 5.396),
        *(8.142, 9.078, 0.991, 7.523),
    ]
    small = "microcircuit, 1 % / 50, too small to judge"
    assert [row.case for row in rates] == [f"{small}, {n}, rate" for n in NEURONS]
    assert {row.theirs for row in found["NEST's example"] if row.unit != "Hz"} <= {None}
    assert {(row.theirs, row.note) for row in found["NEST grid"]} == {
        (None, "NEST is not installed")
    }
    pictures = bench.draw(found["NEST's example"], tmp_path / "ratios.png")
    assert pictures == [tmp_path / "microcircuit-0.002.png"]
    assert pictures[0].read_bytes().startswith(b"\x89PNG")


PEERS = ("NEST's example", "NEST grid")


def test_statistics_of_nest_stand_beside_ours_with_the_number_of_equal_populations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(graph: Graph, inputs: dict[str, Events], **how: Any) -> SimpleNamespace:
        assert how["precise"] is False
        assert inputs["start"].shape[0] == 1100
        assert {e.delay for e in graph.out_of("L4E")} == {1}
        state = start(graph, how["membranes"], Grid())
        record, _ = simulate(graph, inputs, Grid(), state=state)
        spikes = {name: record.spikes[name] for name in NEURONS}
        last = spikes["L6I"]
        spikes["L6I"] = last._replace(neuron=last.neuron[::-1].copy())
        return SimpleNamespace(
            spikes=spikes, times={n: to_times(s, graph.dt) for n, s in spikes.items()}
        )

    monkeypatch.setattr(bench.nest, "run", run)
    monkeypatch.setattr(bench, "ONSET", Seconds(0.01))
    options = BenchOptions(tmp_path, quick=True)
    rows = list(bench.compare_activity(Size("1 %", 0.2, seconds=5.0), "NEST grid", options))
    assert {row.note for row in rows} == {"every spike is NEST's in 7 of 8 populations"}
    rates = [row for row in rows if row.unit == "Hz"]
    assert len(rates) == 8
    assert all(row.theirs == row.ours for row in rates)
    assert sum(row.ratio == 1 for row in rates) > 4
    assert {row.subject for row in rows} == {"neuro grid, float64"}


def test_parts_are_these() -> None:
    assert list(PARTS) == [
        *("tenth", "third", "full", "one_delay"),
        *("building", "activity", "rates"),
    ]
