"""The bench: rows, tests of pairs, sentences, tables, the picture."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tasks.bench.options import BenchOptions
from tasks.cli.benches import show
from tasks.forecasting.bench import online, parts, seizures, train
from tasks.forecasting.bench.online import LEARNERS
from tasks.forecasting.bench.parts import (
    _list_percent,
    compare,
    count_cells,
    draw,
    make_rows,
    tabulate,
)
from tasks.forecasting.bench.seizures import DETECTOR, SeizureScale, SeizureSetting
from tasks.forecasting.bench.settings import (
    ARMS,
    AS_WIDE,
    GATED,
    GUIDED,
    LABELS,
    POPULATION,
    QUICK,
    SHUFFLED,
    SMOOTHED,
    TWIN,
    ForecastScale,
    ForecastSetting,
)
from tasks.forecasting.bench.train import OPERATIONS, SECONDS, TEACHER, UPDATES, Reached

SETTING = ForecastSetting(lookback=8, horizon=5, train=100)
MEANS = {GUIDED: 9.0, SMOOTHED: 8.0, SHUFFLED: 40.0}


def make_reached(seeds: int = 6) -> Reached:
    """Return errors around 10 for labels alone, and those of MEANS."""
    found: Reached = {}
    for name in (TEACHER, *ARMS, TWIN, *GATED):
        mean = MEANS.get(name, 10.0)
        values = [mean + 0.1 * seed for seed in range(seeds)]
        found[name] = {k: values for k in ("mse", "mse_argmax", "nll")} | {SECONDS: [3.0]}
        if name in GATED:
            found[name][UPDATES] = [0.25] * seeds
    found["ridge"] = {"mse": [20.0] * seeds}
    return found


@pytest.mark.parametrize(
    ("differences", "p", "verdict"),
    [
        ([-1.0] * 6, 2 / 64, "better"),
        ([1.0] * 6, 2 / 64, "worse"),
        ([-1.0] * 5, 2 / 32, "not shown"),  # too few pairs
        ([-1.0] * 5 + [1.0], 14 / 64, "not shown"),
        ([-1.0], None, "not shown"),
    ],
)
def test_a_difference_is_shown_by_an_exact_test_of_pairs(
    differences: list[float], p: float | None, verdict: str
) -> None:
    found = compare([10 + d for d in differences], [10.0] * len(differences))
    assert (found["p"], found["verdict"]) == (p, verdict)
    assert found["percent"] == pytest.approx(10 * sum(differences) / len(differences))
    assert found["pairs"] == len(differences)


def test_a_row_is_an_arm_beside_labels_alone() -> None:
    rows = list(make_rows(SETTING, make_reached(), QUICK))
    assert [row.subject for row in rows] == [TEACHER, *ARMS, TWIN, *GATED, "ridge"]
    (row,) = [r for r in rows if r.subject == GUIDED]
    assert (row.case, row.peer, row.unit) == (SETTING.name, LABELS, "bins²")
    assert (row.ours, row.theirs) == (pytest.approx(9.25), pytest.approx(10.25))
    assert row.ratio == pytest.approx(10.25 / 9.25)
    about = row.conditions
    assert about["compared"]["mse"]["p"] == 2 / 64
    assert about["compared"]["mse_argmax"]["percent"] == pytest.approx(-100 / 10.25)
    assert about["reached"]["nll"]["seeds"] == pytest.approx([9, 9.1, 9.2, 9.3, 9.4, 9.5])
    assert set(about["cost"]) == {"parameters", "macs", "samples", "calls"}
    assert about[SECONDS] == 3.0
    assert "cost" not in rows[0].conditions
    assert "cost" not in rows[-1].conditions


def test_settings_are_counted_in_sentences() -> None:
    found = {SETTING: make_reached(), replace(SETTING, horizon=6): make_reached()}
    found[SETTING][SMOOTHED] = found[SETTING][GUIDED] | {"mse": [9.5] * 6}
    notes = [row.note for row in count_cells("few", found)]
    assert notes == [
        "few: smoothing, no teacher, errs no more than Future-Guided Learning, expectation: "
        "in 1 of 2 settings",
        "few: smoothing, no teacher, errs no more than Future-Guided Learning, arg-max: in "
        "2 of 2 settings",
        *(
            f"few: {arm}, errs no more than Future-Guided Learning, {how}: in 0 of 2 settings"
            for arm in (AS_WIDE, POPULATION)
            for how in ("expectation", "arg-max")
        ),
        "few: a shuffled teacher errs more than three times as much: in 2 of 2 settings, by "
        "factors of 3.9 to 3.9",
    ]


def test_the_error_is_told_beside_the_share_of_updates() -> None:
    setting = replace(SETTING, train=0, gated=True)
    first, *others = count_cells("gated", {setting: make_reached()})
    assert first.note == (
        "mackey glass, L 8, H 5, gated: future teacher, above 0.01 nats: 25.0% of the windows "
        "teach, +11 % error beside all"
    )
    assert len(others) == 3


def test_a_table_has_a_line_an_arm_with_its_cost() -> None:
    console = Console(file=(file := io.StringIO()), width=200)
    rows = [*make_rows(SETTING, make_reached(), QUICK)]
    (table,) = tabulate("few", [*rows, *count_cells("few", {SETTING: make_reached()})])
    console.print(table)
    lines = [" ".join(line.split()) for line in file.getvalue().splitlines()]
    cost = rows[2].conditions["cost"]
    (line,) = [own for own in lines if own.startswith(f"{GUIDED} 9")]
    numbers = f"{cost['parameters']:,} {cost['macs']:,} {cost['samples']:,} {cost['calls']:,}"
    change = "9.25 ± 0.19 -10 % 0.031"
    assert line == f"{GUIDED} {change} {change} {numbers}"
    (own,) = [own for own in lines if own.startswith(f"{LABELS} 10")]
    assert own == f"{LABELS} 10.2 ± 0.19 10.2 ± 0.19 " + " ".join(
        f"{rows[1].conditions['cost'][k]:,}" for k in ("parameters", "macs", "samples", "calls")
    )
    rows[2].conditions["reached"][OPERATIONS] = {"mean": 1234.4}  # type: ignore[index]
    console = Console(file=(file := io.StringIO()), width=200)
    console.print(next(iter(tabulate("few", rows))))
    assert "1,234 additions" in file.getvalue()
    assert any("6 seeds" in own for own in lines)


def test_the_bench_says_what_it_trains_prints_and_writes_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretend(_: ForecastSetting, scale: ForecastScale) -> Reached:
        return make_reached(len(scale.seeds))

    def pretend_online(_: online.OnlineSetting, scale: ForecastScale) -> Reached:
        values = [10.0] * len(scale.seeds)
        return {arm: {"mse": values, "mse_argmax": values, UPDATES: values} for arm in LEARNERS}

    def pretend_events(_: SeizureSetting, scale: SeizureScale) -> Reached:
        return {
            arm: {"auc": [0.9] * len(scale.patients), SECONDS: [1.0]}
            for arm in (DETECTOR, LABELS, GUIDED)
        }

    monkeypatch.setattr(train, "train_setting", pretend)
    monkeypatch.setattr(online, "train_online", pretend_online)
    monkeypatch.setattr(seizures, "train_seizures", pretend_events)
    monkeypatch.setattr(parts, "measure_free_runs", lambda *_: [8.0, 12.0])
    console = Console(file=(file := io.StringIO()), width=200)
    show(console, "forecasting", BenchOptions(tmp_path, quick=True))
    text = " ".join(file.getvalue().split())
    told = "14 settings are to be trained, each with a teacher and up to 9 arms by 2 seeds"
    assert told in text
    assert "4 settings of seizures, by 2 patients" in text
    assert "future teacher +0.000 by 2 patients" in text
    assert "trainings too short to judge" in text
    assert "grid: a shuffled teacher errs more than three times as much: in 2 of 2" in text
    assert (tmp_path / "forecasting.png").read_bytes().startswith(b"\x89PNG")
    console = Console(file=(file := io.StringIO()), width=200)
    show(console, "forecasting", BenchOptions(tmp_path, quick=True, parts=("few",)))
    assert "0 settings are to be trained" in file.getvalue()


def test_the_picture_has_a_cell_an_arm_and_setting_and_gaps(tmp_path: Path) -> None:
    reached = make_reached()
    reached[GUIDED]["mse_argmax"] = [2 * v for v in reached[GUIDED]["mse"]]
    rows = list(make_rows(SETTING, reached, QUICK))
    for metric, mean in (("mse", 9.25), ("mse_argmax", 18.5)):
        table = _list_percent(rows, [SETTING.name], [GUIDED, "another arm"], metric)
        assert table[0, 0] == pytest.approx(100 * (mean / 10.25 - 1))
        assert np.isnan(table[0, 1])
    draw(rows, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_anchor_stands_beside_published_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "measure_free_runs", lambda _, n: [8.0, 12.0][:n])
    (row,) = parts.measure_anchor(BenchOptions(tmp_path, quick=True))
    assert (row.ours, row.theirs, row.unit) == (10.0, 14.79, "% sMAPE")
    assert "echo state network 10.0 ± 2.8 % over 2 offsets; published 14.79 % of" in row.note
    draw([row], tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
