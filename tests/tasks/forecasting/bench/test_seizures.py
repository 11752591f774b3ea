"""Seizures in the bench: arms by patient, what a setting shows, resumption."""

import io
from dataclasses import asdict, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from neuro.nn.layers import Stack
from tasks.bench.options import BenchOptions
from tasks.forecasting.bench import seizures
from tasks.forecasting.bench.seizures import (
    DETECTOR,
    EVENT_ARMS,
    FULL_SEIZURES,
    ORACLE,
    QUICK_SEIZURES,
    SeizureScale,
    SeizureSetting,
    draw_areas,
    list_event_arms,
    make_event_rows,
    make_seizure_config,
    measure_seizures,
    tabulate_seizures,
    tell_setting,
    train_seizures,
)
from tasks.forecasting.bench.settings import GUIDED, LABELS
from tasks.forecasting.bench.train import SECONDS, Reached
from tasks.forecasting.seizures import SeizureConfig
from tasks.runs.configuration import list_problems

SETTING = SeizureSetting()


def make_reached(student: float = 0.9, gain: float = 0.01, patients: int = 8) -> Reached:
    found: Reached = {}
    for name in (DETECTOR, *EVENT_ARMS):
        mean = {GUIDED: student + gain, DETECTOR: 0.99, ORACLE: 0.97}.get(name, student)
        found[name] = {"auc": [mean - 0.002 * k for k in range(patients)], SECONDS: [2.0]}
        if name != DETECTOR:
            shares = {"sensitivity": 0.75, "warning": 0.25, "improvement": 0.5}
            for metric, value in {**shares, "false_alarms": 1.5}.items():
                found[name][metric] = [value] * patients
    return found


def test_every_training_is_sound_and_arms_of_a_patient_differ_in_the_arm_alone() -> None:
    for setting in FULL_SEIZURES.settings:
        plain = make_seizure_config(setting, FULL_SEIZURES, LABELS, 3)
        for arm in list_event_arms(setting):
            config = make_seizure_config(setting, FULL_SEIZURES, arm, 3)
            assert list_problems(config) == []
            changed = {k for k, v in asdict(config).items() if v != asdict(plain)[k]}
            assert changed <= {"arm", "temperature", "target", "channel"}
    assert len(FULL_SEIZURES.patients) == 20
    names = [setting.name for setting in FULL_SEIZURES.settings]
    assert names[1:] == [
        "seizures, DC-coupled, noise 0.1, 20% labelled",
        "seizures, baseline of 200 removed, noise 0.3",
        "seizures, DC-coupled, noise 0.1, spiking",
    ]


@pytest.mark.parametrize("cells", ["tanh", "lif"])
def test_all_arms_are_measured_by_patient(cells: str) -> None:
    setting = replace(SETTING, cells=cells)  # type: ignore[arg-type]
    scale = replace(QUICK_SEIZURES, epochs=1, networks=2, points=40_000)
    found = train_seizures(setting, scale)
    assert list(found) == [DETECTOR, *list_event_arms(setting)]
    patients = 2 if cells == "tanh" else 1
    for arm, own in found.items():
        names = {"auc", "sensitivity", "false_alarms", "warning", "improvement", SECONDS}
        assert set(own) == (names if arm != DETECTOR else {"auc", SECONDS})
        assert len(own["auc"]) == patients
        assert all(0 <= v <= 1 for v in own["auc"])


def test_a_spiking_student_learns_as_its_arm_says(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def note(config: SeizureConfig, student: Stack, _: Stack) -> None:
        seen.append((config.arm, config.cells, config.seed_of_data))
        student.eval()

    monkeypatch.setattr(seizures, "train_student", note)
    monkeypatch.setattr(seizures, "train_teachers", lambda *_: None)
    train_seizures(replace(SETTING, cells="lif"), replace(QUICK_SEIZURES, spiking=2))
    assert seen == [(arm, "lif", patient) for arm in ("none", "future") for patient in (0, 1)]


def test_networks_of_a_patient_are_averaged() -> None:
    units = [(0, 5), (0, 7), (1, 5), (1, 7)]
    assert seizures._average([1.0, 2.0, 3.0, 6.0], units) == [2.0, 4.0]


def test_no_p_is_told_as_nothing() -> None:
    row = tell_setting(SETTING, make_reached(patients=12))  # 2 / 2^12
    assert "(standard error), p < 0.001: better" in row.note


@pytest.mark.parametrize(
    ("student", "gain", "told"),
    [
        (
            0.9,
            0.01,
            "future teacher +0.010 by 8 patients ± 0.000 (standard error), p 0.008: better",
        ),
        (0.9, -0.01, "-0.010 by 8 patients ± 0.000 (standard error), p 0.008: worse"),
        (0.9, 0.0, "+0.000 by 8 patients ± 0.000 (standard error), p 1.000: not shown"),
        (0.7, 0.02, "no claim of a student below 0.8"),
        (0.79, 0.05, "no claim of a student below 0.8"),
    ],
)
def test_a_sentence_claims_nothing_of_a_weak_student(
    student: float, gain: float, told: str
) -> None:
    row = tell_setting(SETTING, make_reached(student, gain))
    assert told in row.note
    assert ", on the slow variable 0.963;" in row.note
    assert row.note.endswith("; smoothing, no teacher +0.000; shuffled teacher +0.000") == (
        "by 8" in row.note
    )
    assert row.note.startswith("seizures, DC-coupled, noise 0.1: detector 0.983, student 0.")
    assert ("better" in row.note) == ("better" in told)


def test_rows_stand_beside_labels_alone_and_make_a_table_and_a_picture() -> None:
    rows = list(make_event_rows(SETTING, make_reached(), QUICK_SEIZURES))
    assert [row.subject for row in rows] == [DETECTOR, *EVENT_ARMS]
    (row,) = [row for row in rows if row.subject == GUIDED]
    assert (row.unit, row.peer) == ("AUC", LABELS)
    assert row.conditions["difference"] == pytest.approx(0.01)
    assert row.conditions["p"] == 2 / 2**8
    (table,) = tabulate_seizures(rows)
    console = Console(file=(file := io.StringIO()), width=200)
    console.print(table)
    lines = [" ".join(line.split()) for line in file.getvalue().splitlines()]
    cost = row.conditions["cost"]
    size = 104 * 32 + 32 * 32 + 32 * 2
    assert (cost["macs"], cost["parameters"]) == (size, size + 32 + 32 + 2)
    costs = " ".join(f"{cost[k]:,}" for k in ("parameters", "macs", "samples", "calls"))
    assert f"{GUIDED} 0.903 ± 0.005 +0.010 0.008 75% 1.50 25% 50% {costs}" in lines
    steps = cost["samples"] // (2 * 64)
    assert cost["calls"] == 2 * steps + 2 * steps + 2 * (749 // 64)
    assert "cost" not in rows[0].conditions
    figure = Figure()
    draw_areas(figure, rows)
    (ax,) = figure.axes
    assert [t.get_text() for t in ax.get_yticklabels()] == [DETECTOR, *EVENT_ARMS]
    assert plt.get_fignums() == []


def test_a_finished_setting_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[SeizureSetting] = []

    def pretend(setting: SeizureSetting, scale: SeizureScale) -> Reached:
        asked.append(setting)
        return make_reached(patients=len(scale.patients))

    monkeypatch.setattr(seizures, "train_seizures", pretend)
    options = BenchOptions(tmp_path, quick=True)
    rows = list(measure_seizures(options))
    assert len(rows) == 4 * (len(EVENT_ARMS) + 2)
    assert asked == list(QUICK_SEIZURES.settings)
    again = list(measure_seizures(options))
    assert len(asked) == 4
    assert [row.ours for row in again] == [row.ours for row in rows]
    assert np.isfinite([row.ours for row in rows]).all()
