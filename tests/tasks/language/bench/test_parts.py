"""The bench: rows, tables, the picture, and what is said before."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from tasks.bench.options import BenchOptions
from tasks.cli.benches import show
from tasks.language.bench import parts, train
from tasks.language.bench.cells import FULL, QUICK, VARIANTS, HybridCell
from tasks.language.bench.parts import announce, choose_scale, draw, make_rows, tabulate
from tasks.language.bench.train import SECONDS, Found

SCALE = replace(QUICK, seeds=(0, 1))


def make_found(figure: str, low: float, high: float) -> Found:
    """Return values of two seeds around a line from low (pure) to high (softmax)."""
    stacks = [("softmax", SCALE.layers), *((v, n) for n in SCALE.softmax for v in VARIANTS)]
    return {
        (v, n): {
            figure: [low + (high - low) * n / SCALE.layers + d for d in (-0.01, 0.01)],
            SECONDS: [2.0, 4.0],
        }
        for v, n in stacks
    }


def test_a_row_is_a_stack_beside_softmax_alone() -> None:
    rows = list(make_rows(make_found("MQAR", 0.2, 1.0), SCALE, "MQAR"))
    assert len(rows) == 1 + 3 * 6
    (row,) = [r for r in rows if r.subject == "GLA 3:1"]
    assert (row.case, row.peer, row.unit) == ("MQAR", "softmax", "% right")
    assert [row.ours, row.theirs] == pytest.approx([40, 100])
    assert row.ratio == pytest.approx(0.4)
    about = row.conditions
    assert (about["mixer"], about["ratio"], about["better"]) == ("GLA", "3:1", "higher")
    assert about["ours"]["sd"] == pytest.approx(2**0.5)
    assert about["ours"]["seeds"] == pytest.approx([39, 41])
    assert (about["chance"], about["cpu_seconds"]) == (100 / 4, 3.0)


def test_of_bits_fewer_are_better() -> None:
    rows = list(make_rows(make_found("text", 4.0, 2.0), SCALE, "text"))
    (row,) = [r for r in rows if r.subject == "HGRN pure"]
    assert (row.ours, row.theirs, row.ratio) == (4.0, 2.0, 0.5)
    assert (row.unit, row.conditions["better"], row.conditions["chance"]) == (
        "bits per byte",
        "lower",
        None,
    )


def test_a_table_has_a_line_a_mixer_and_a_column_a_ratio() -> None:
    console = Console(file=(file := io.StringIO()), width=100)
    rows = list(make_rows(make_found("MQAR", 0.2, 1.0), SCALE, "MQAR"))
    for table in tabulate("recall", rows):
        console.print(table)
    title, head, _, *lines = [
        line.split() for line in file.getvalue().splitlines() if line.strip()
    ]
    assert " ".join(title) == "MQAR [% right], linear : softmax layers"
    assert head == ["mixer", "softmax", "pure", "3:1", "1:1"]
    assert lines[0] == ["softmax", "100.0", "±", "1.4"]
    assert lines[3] == ["GLA", "20.0", "±", "1.4", "40.0", "±", "1.4", "60.0", "±", "1.4"]
    assert " ".join(lines[-1]) == ("mean ± deviation, seeds: 2, higher is better, a guess: 25")


def test_the_picture_has_a_panel_a_task_and_no_findings(tmp_path: Path) -> None:
    rows = list(make_rows(make_found("MQAR", 0.2, 1.0), SCALE, "MQAR"))
    rows += make_rows(make_found("text", 4.0, 2.0), SCALE, "text")
    draw([*rows, replace(rows[0], case="finding: x", conditions={})], tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_shows_means_and_every_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr("tasks.language.bench.parts.save_png", lambda f, _: drawn.append(f))
    rows = list(make_rows(make_found("MQAR", 0.2, 1.0), SCALE, "MQAR"))
    draw(rows, Path("none"))
    (panel,) = drawn[0].axes
    assert panel.get_ylim() == (-3, 103)
    assert [t.get_text() for t in panel.get_xticklabels()] == ["pure", "3:1", "1:1", "softmax"]
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in panel.lines]
    (gla,) = (line for line in panel.lines if line.get_label() == "GLA")
    assert list(gla.get_ydata()) == pytest.approx([20, 40, 60])
    for place, mean in zip(gla.get_xdata(), [20, 40, 60], strict=True):
        assert ([place, place], pytest.approx([mean - 1, mean + 1])) in lines
    assert ([3, 3], pytest.approx([99, 101])) in lines


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> list[HybridCell]:
    """Put trainings that take no time in the place of true ones; return what was trained."""
    found: list[HybridCell] = []

    def pretend(cell: HybridCell, scale: object) -> dict[str, float]:  # noqa: ARG001
        found.append(cell)
        value = 0.1 * cell.softmax + 0.01 * cell.seed
        return {cell.task: 0.3 + value, SECONDS: 1.0}

    monkeypatch.setattr(train, "train_cell", pretend)
    monkeypatch.setattr(parts, "estimate_seconds", lambda cells, _: 60.0 * len(cells))
    return found


def test_the_bench_says_how_long_it_takes_prints_findings_and_writes_all(
    tmp_path: Path, pretended: list[HybridCell]
) -> None:
    console = Console(file=(file := io.StringIO()), width=200)
    show(console, "hybrids", BenchOptions(tmp_path, quick=True))
    text = file.getvalue()
    told = (
        "57 of recall and 19 of text trainings are to be made, about 76 CPU minutes, 76 minutes"
    )
    assert text.startswith(told)
    assert "recall rises from pure to 3:1: 3:1 40.00, pure 30.00 points" in text
    assert "6 pairs: holds" in text
    assert "language modelling is flat" in text
    assert len(pretended) == 76
    rows = json.loads((tmp_path / "hybrids.json").read_text(encoding="utf-8"))
    assert sum("mixer" in row["conditions"] for row in rows) == 4 * 19
    assert (tmp_path / "hybrids.png").exists()
    asked = BenchOptions(tmp_path, parts=("text",), quick=True, workers=4)
    assert announce(asked).startswith("0 of text trainings are to be made, about 0 CPU minutes")


def test_workers_share_the_time_and_the_full_size_is_the_default(
    tmp_path: Path, pretended: list[HybridCell]
) -> None:
    assert (choose_scale(BenchOptions()), choose_scale(BenchOptions(quick=True))) == (
        FULL,
        QUICK,
    )
    told = announce(BenchOptions(tmp_path, parts=("recall",), workers=3))
    assert told.startswith(
        "225 of recall trainings are to be made, about 225 CPU minutes, 75 minu"
    )
    assert pretended == []
