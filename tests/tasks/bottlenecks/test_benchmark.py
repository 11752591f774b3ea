"""The bench of bottlenecks: what is compared with what, verdicts, tables, resumption."""

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from neuro.energy import find_chip
from tasks.bench.claim import FAILS, HOLDS
from tasks.bench.options import BenchOptions
from tasks.bottlenecks.bench import cells as cells_of, findings, parts as bench
from tasks.bottlenecks.bench.cells import (
    FULL,
    LEARNED,
    QUICK,
    NarrowCell,
    NarrowResult,
    NarrowScale,
    Results,
    find_place,
    list_controls,
    list_curve,
    list_learned,
    list_links,
    list_spikes,
    list_untrained,
    make_original,
)
from tasks.bottlenecks.config import BottleneckConfig, count_channels, find_side
from tasks.bottlenecks.task import count_bits
from tasks.cli.benches import show


def make_config(cell: NarrowCell, scale: NarrowScale) -> BottleneckConfig:
    return replace(make_original(cell.network, scale), narrow=cell.narrow)


def pretend(cell: NarrowCell, accuracy: float, scale: NarrowScale = FULL) -> NarrowResult:
    """Return figures of a network that was not trained; a tenth of its neurons spike."""
    config = make_config(cell, scale)
    bits, spiking = count_bits(config), cell.narrow.link == "spikes"
    return NarrowResult(
        accuracy=accuracy,
        original=0.96,
        n=1000,
        after=cell.narrow.after,
        widths=cell.narrow.widths,
        bits=bits,
        spikes=bits / 10 if spiking else None,
        aer_bits=float(bits) if spiking else None,
        seconds=1.0,
    )


class TestCells:
    def test_of_both_depths_let_the_same_values_cross(self) -> None:
        shallow, deep = (make_original(network, FULL) for network in cells_of.DEPTHS)
        places = (find_place(shallow), find_place(deep))
        assert places == (3, 6)
        sizes = [
            (count_channels(c, k), find_side(c, 28, k))
            for c, k in zip((shallow, deep), places, strict=True)
        ]
        assert sizes == [(16, 7), (16, 7)]

    def test_of_the_curve_are_trained_and_in_closed_form(self) -> None:
        own = [c for c in list_curve(FULL) if (c.network, c.seed) == ("deep", 2)]
        assert [c.narrow.widths[0] for c in own if c.epochs] == [8, 4, 2, 1]
        assert [c.narrow.widths[0] for c in own if not c.epochs] == [16, 8, 4, 2, 1]
        assert len(set(list_curve(FULL))) == 3 * 2 * 9

    def test_of_other_links_have_a_partner_of_as_many_bits(self) -> None:
        partners = [*list_curve(FULL), *list_links(FULL), *list_spikes(FULL)]
        for cell in [*list_links(FULL), *list_spikes(FULL)]:
            if cell.narrow.link == "4bit" or cell.narrow.penalty:
                continue
            bits = count_bits(make_config(cell, FULL))
            same = [
                c
                for c in partners
                if (c.network, c.seed, c.narrow.link) == (cell.network, cell.seed, "4bit")
                and c.epochs
                and count_bits(make_config(c, FULL)) == bits
            ]
            assert len(same) == 1

    def test_of_controls_train_as_long_as_learned_widths_with_no_more_bits(self) -> None:
        learned = {
            c: replace(pretend(c, 0.9), widths=(3, 5), bits=0)
            for c in list_learned(FULL, find_chip("loihi2"))
        }
        assert {len(c.narrow.after) for c in learned} == {2}
        assert all(c.narrow.gated and c.epochs == 1 for c in learned)
        controls = list(list_controls(FULL, learned))
        assert len(controls) == len(learned) * len(findings.CONTROLS)
        epochs = {"closed form": 0, "from scratch": 6}
        for cell in controls:
            assert cell.epochs == epochs.get(cell.name, 2)
            assert not cell.narrow.gated
            (origin,) = (c for c in learned if (c.network, c.seed) == (cell.network, cell.seed))
            most = replace(origin.narrow, widths=(3, 5), gated=False)
            config = make_original(cell.network, FULL)
            assert count_bits(make_config(cell, FULL)) <= count_bits(
                replace(config, narrow=most)
            )


class TestFindings:
    def test_claims_of_the_paper_are_judged_by_pairs_of_one_seed(self) -> None:
        """A channel less costs 4 points of the shallow, 2 of the deep network."""
        cost = {"shallow": 0.04, "deep": 0.02}
        results: Results = {
            c: pretend(c, 0.96 - cost[c.network] * (16 - c.narrow.widths[0]) - 0.001 * c.seed)
            for c in list_curve(FULL)
        }
        rows = list(findings.judge_depths(results, FULL))
        falls, loses, at_one = rows[:3]
        assert (falls.conditions["pairs"], falls.conditions["verdict"]) == (6, HOLDS)
        assert falls.ours == pytest.approx(95.9 - 24)  # 8 channels less, the mean of both
        assert falls.theirs == pytest.approx(95.9 - 45)
        assert (loses.conditions["pairs"], loses.conditions["verdict"]) == (12, HOLDS)
        assert at_one.conditions["pairs"] == 3
        assert at_one.ours == pytest.approx(100 * (0.60 + 0.001) / 0.96)
        assert rows[3].ours == pytest.approx(95.9)  # the closed form of all channels
        assert [r.conditions["pairs"] for r in rows] == [6, 12, 3] * 2
        turned = {
            replace(c, network="deep" if c.network == "shallow" else "shallow"): r
            for c, r in results.items()
        }
        assert list(findings.judge_depths(turned, FULL))[1].conditions["verdict"] == FAILS

    def test_links_are_compared_at_equal_bits(self) -> None:
        right = {"4bit": 0.9, "8bit": 0.8, "float": 0.7, "spikes": 0.6}
        curve = [c for c in list_curve(FULL) if c.epochs and c.network == "shallow"]
        for cells in ([*curve, *list_links(FULL)], list_spikes(FULL)):
            results = {c: pretend(c, right[c.narrow.link]) for c in cells}
            for row in findings.judge_links(results, ("8bit", "float", "spikes")):
                assert row.subject == "4bit"
                assert row.ours == pytest.approx(90)
                assert row.theirs == pytest.approx(100 * right[row.peer])
                pairs = {"8bit": 9, "float": 3, "spikes": 9}  # of widths and seeds
                assert row.conditions["pairs"] == pairs[row.peer]

    def test_events_are_read_from_the_curve_of_values(self) -> None:
        """Accuracy rises by 10 points with each doubling of 784 bits."""
        level = {1: 0.5, 2: 0.6, 4: 0.7}
        results = {
            c: pretend(c, level.get(c.narrow.widths[0], 0.65)) for c in list_spikes(FULL)
        }
        results = {
            c: replace(r, aer_bits=784 * 2**0.5) if c.narrow.penalty else r
            for c, r in results.items()
        }
        rows = list(findings.compare_events(results))
        assert [r.subject for r in rows] == ["price 0.1", "price 0.5"]
        for row in rows:
            assert row.ours == pytest.approx(65)
            assert row.theirs == pytest.approx(55)

    def test_closed_forms_stand_beside_controls_of_no_more_bits(self) -> None:
        cells = list_untrained(FULL, find_chip("loihi2"))
        assert all(c.epochs == 0 for c in cells)
        right = {"closed form": 0.9, "random cuts": 0.7, "pruning": 0.5}
        results = {c: pretend(c, right[c.name.split(",")[0]]) for c in cells}
        most = {
            (c.network, c.seed, c.name[-3:]): r.bits
            for c, r in results.items()
            if c.name.startswith("closed form")
        }
        assert all(r.bits <= most[c.network, c.seed, c.name[-3:]] for c, r in results.items())
        rows = list(findings.judge_untrained(results, FULL))
        assert [(r.peer, r.conditions["pairs"]) for r in rows] == [
            ("random cuts", 18),
            ("pruning", 18),
        ]
        assert [r.theirs for r in rows] == pytest.approx([70, 50])

    def test_learned_widths_stand_beside_each_control(self) -> None:
        learned = {c: pretend(c, 0.9) for c in list_learned(FULL, find_chip("loihi2"))}
        worse = {name: 0.8 - 0.01 * k for k, name in enumerate(findings.CONTROLS)}
        controls = {c: pretend(c, worse[c.name]) for c in list_controls(FULL, learned)}
        rows = list(findings.judge_controls(learned | controls))
        assert [(r.subject, r.peer) for r in rows[:-1]] == [
            (LEARNED, name) for name in findings.CONTROLS
        ]
        assert [r.theirs for r in rows[:-1]] == pytest.approx(
            [100 * worse[name] for name in findings.CONTROLS]
        )
        assert {r.conditions["pairs"] for r in rows} == {6}


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> list[NarrowCell]:
    """Put trainings that take no time in the place of true ones; return what was trained."""
    found: list[NarrowCell] = []

    def measure(cell: NarrowCell, scale: NarrowScale, folder: Path) -> dict[str, Any]:  # noqa: ARG001
        found.append(cell)
        return asdict(pretend(cell, 0.9 - 0.01 * cell.seed, scale))

    monkeypatch.setattr(bench, "measure_cell", measure)
    monkeypatch.setattr(bench, "train_original", lambda *_: None)
    return found


class TestBench:
    def test_prints_tables_and_findings_and_goes_on_where_it_was(
        self, tmp_path: Path, pretended: list[NarrowCell]
    ) -> None:
        console = Console(file=(file := io.StringIO()), width=200)
        show(console, "bottlenecks", BenchOptions(tmp_path, quick=True))
        text = file.getvalue()
        assert text.startswith("10 narrow networks are to be trained")
        assert "networks too small to judge" in text
        assert "accuracy falls from 2 channels to 1" in text
        assert f"{LEARNED} are right more often than pruning" in text
        rows = json.loads((tmp_path / "bottlenecks.json").read_text(encoding="utf-8"))
        networks = [row for row in rows if "widths" in row["conditions"]]
        assert {row["case"].split(":")[0] for row in networks} == set(bench.PARTS)
        assert {row["ours"] for row in networks} == {90.0}
        assert (tmp_path / "bottlenecks.png").read_bytes().startswith(b"\x89PNG")
        assert len(pretended) == len(set(pretended))
        trained = len(pretended)
        asked = BenchOptions(
            tmp_path, parts=("depth", "links", "spikes"), quick=True, workers=1
        )
        assert bench.announce(asked).startswith("0 narrow networks are to be trained")
        rerun = list(bench.measure_links(asked))
        assert len(pretended) == trained
        assert [row.ours for row in rerun if "widths" in row.conditions] == [90.0] * 3

    def test_full_size_is_the_default(self, tmp_path: Path) -> None:
        assert bench.choose_scale(BenchOptions(tmp_path)) == FULL
        assert bench.choose_scale(BenchOptions(tmp_path, quick=True)) == QUICK


def test_a_network_is_trained_from_its_original_and_leaves_only_its_figures(
    tmp_path: Path,
) -> None:
    cell = next(c for c in list_curve(QUICK) if c.epochs and c.network == "shallow")
    bench.train_original("shallow", 0, QUICK, tmp_path)
    (original,) = (tmp_path / bench.RUNS).iterdir()
    before = (original / "best.safetensors").read_bytes()
    result = bench.measure_cell(cell, QUICK, tmp_path)
    assert result["widths"] == cell.narrow.widths
    assert result["bits"] == 2 * 4 * 14 * 14  # channels, bits of a value, pixels
    assert result["n"] == 20
    assert 0 <= result["accuracy"] <= 1
    assert [p.name for p in tmp_path.iterdir()] == [bench.RUNS]
    bench.train_original("shallow", 0, QUICK, tmp_path)
    assert (original / "best.safetensors").read_bytes() == before
