"""The part of the bench in which students go on learning: series, arms, resumption."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks.bench.options import BenchOptions
from tasks.forecasting.bench import online, parts
from tasks.forecasting.bench.online import (
    LATE,
    LEARNERS,
    SETTINGS,
    STOPPED,
    OnlineSetting,
    make_passing_series,
)
from tasks.forecasting.bench.settings import GUIDED, LABELS, QUICK
from tasks.forecasting.bench.train import UPDATES
from tasks.forecasting.data import make_series


def test_the_series_is_that_of_training_until_it_changes() -> None:
    plain = make_series("lorenz", 3, 400)
    still, moved = (
        make_passing_series(OnlineSetting(changes=c), 3, 400) for c in (False, True)
    )
    assert np.array_equal(still, plain)
    assert len(moved) == 400
    assert np.array_equal(moved[:360], plain[:360])
    # Behind the change, two samples are as far apart in time as three were before.
    assert np.allclose(moved[359:][::2][:10], plain[359:][::3][:10], atol=1e-3)
    assert abs(moved[361:] - plain[361:]).max() > 1
    with pytest.raises(ValueError, match="mackey_glass does not change"):
        make_passing_series(OnlineSetting(source="mackey_glass", changes=True), 3, 400)


def test_all_arms_begin_alike_and_finished_settings_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SETTINGS[1:2]
    monkeypatch.setattr(online, "SETTINGS", settings)
    monkeypatch.setattr(parts, "QUICK", replace(QUICK, epochs=1))
    options = BenchOptions(tmp_path, quick=True)
    assert online.count_missing(tmp_path, parts.QUICK) == 1
    rows = list(parts.measure_online(options))
    assert online.count_missing(tmp_path, parts.QUICK) == 0
    arms = [row for row in rows if "reached" in row.conditions]
    assert [row.subject for row in arms] == list(LEARNERS)
    reached = {row.subject: row.conditions["reached"] for row in arms}
    assert reached[STOPPED][UPDATES]["mean"] == 0
    assert reached[LABELS][UPDATES]["mean"] == reached[GUIDED][UPDATES]["mean"] > 0.8
    assert reached[LABELS]["mse"]["seeds"] != reached[STOPPED]["mse"]["seeds"]
    assert LATE in reached[GUIDED]
    notes = [row.note for row in rows if row.note]
    assert len(notes) == 5
    assert notes[0].startswith("online: lorenz, L 8, H 5, changes: labels alone, beside no lea")
    assert "learns at " in notes[3]
    monkeypatch.setattr(online, "train_online", None)  # the second time, nothing is trained
    again = list(parts.measure_online(options))
    assert [row.ours for row in again] == [row.ours for row in rows]
    tables = list(parts.tabulate("online", rows))
    assert len(tables) == 1
    assert tables[0].row_count == len(LEARNERS)
