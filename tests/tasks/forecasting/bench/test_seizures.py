"""Seizures in the bench: arms by patient, and what a setting shows."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from tasks.bench.experiment import Reached, complete_run
from tasks.forecasting.alarms import compute_auc
from tasks.forecasting.bench.seizures import (
    EVENT_ARMS,
    ORACLE,
    judge_settings,
    make_seizure_experiment as make,
)
from tasks.forecasting.bench.series import GUIDED, SHUFFLED, SMOOTHED
from tasks.forecasting.bench.train import LABELS, TEACHER, count_cost, train_teacher
from tasks.forecasting.data import prepare
from tasks.forecasting.seizures import seizures, seizures_ann
from tasks.runs.configuration import list_problems

SETTING = "seizures, DC-coupled, noise 0.1"
FULL, QUICK = (make(quick) for quick in (False, True))


def test_arms_of_a_patient_are_sound_and_differ_in_the_arm_alone() -> None:
    names = list(dict.fromkeys(arm.partition(": ")[0] for arm in FULL.arms))
    removed = "seizures, baseline of 200 removed, noise 0.3"
    assert names == [SETTING, f"{SETTING}, 20% labelled", removed, f"{SETTING}, spiking"]
    for arm, config in (*FULL.arms.items(), *QUICK.arms.items()):
        own = FULL if config.points == 80_000 else QUICK
        assert list_problems(config) == []
        base = asdict(own.arms[f"{arm.partition(': ')[0]}: {LABELS}"])
        changed = {k for k, v in asdict(config).items() if v != base[k]}
        assert changed <= {"arm", "temperature", "target", "channel"}
    ann = replace(seizures_ann(), arm="none")
    assert [FULL.arms[f"{name}: {LABELS}"] for name in names] == [
        *(ann, replace(ann, labelled=0.2)),
        replace(ann, channel="ac", noise=0.3, baseline=200),
        replace(seizures(), arm="none"),
    ]
    assert FULL.arms[f"{SETTING}: {ORACLE}"] == replace(ann, channel="z")
    assert FULL.arms[f"{SETTING}: {GUIDED}"] == seizures_ann()
    assert len(FULL.arms) == 3 * len(EVENT_ARMS) + 2


def test_a_patient_has_two_networks_and_eight_patients_one_that_spikes() -> None:
    runs = {k: r for k, r in FULL.make_runs(Path("x")).items() if k[0].endswith(GUIDED)}
    dense = [run for (arm, _), run in runs.items() if arm == f"{SETTING}: {GUIDED}"]
    assert sorted((run.config.seed_of_data, run.seed) for run in dense) == [
        (patient, patient + more) for patient in range(100, 120) for more in (0, 1000)
    ]
    assert [seed for arm, seed in runs if "spiking" in arm] == [*range(100, 108)]
    quick = [(seed, "spiking" in arm) for arm, seed in QUICK.make_runs(Path("x"))]
    assert {*quick} == {(0, False), (0, True), (1, False)}


@pytest.mark.slow
def test_a_run_is_measured_by_events_and_its_detector_by_its_own_windows(
    tmp_path: Path,
) -> None:
    arm = f"{SETTING}: {LABELS}"
    small = {arm: replace(QUICK.arms[arm], epochs=1, teacher_epochs=1)}
    experiment = replace(QUICK, arms=small, beside={}, further={})
    (run,) = experiment.make_runs(tmp_path).values()
    complete_run(run, experiment)
    found, part = run.read("measures.json"), prepare(run.config).teaching["test"]
    assert [*found] == ["", TEACHER]
    scores = train_teacher(run.config, 0)(torch.from_numpy(part.own)[None])[0][-1]
    p = scores.double().softmax(1)[:, 1].numpy()
    assert found[TEACHER]["auc"] == compute_auc(p, part.labels)
    assert {"auc", "sensitivity", "false_alarms", "warning"} < {*run.read("eval.json")}
    cost = count_cost(seizures_ann(), {"updates": 1.0})
    assert cost["MACs"] == 104 * 32 + 32 * 32 + 32 * 2


def make_reached(student: float, gain: float, patients: int = 8) -> Reached:
    """Return made-up areas; the gain by the teacher varies by patient."""
    means = {arm: student for arm in EVENT_ARMS} | {ORACLE: 0.97, SMOOTHED: student + 0.02}
    detector = dict.fromkeys(range(patients), 0.99)
    reached: Reached = {f"A: {LABELS}, {TEACHER}": {"auc": detector}}
    for arm, mean in means.items():
        more = gain if arm == GUIDED else 0.0
        areas = {k: mean - 0.002 * k + more * (1 + k % 2) for k in range(patients)}
        reached[f"A: {arm}"] = {"auc": areas}
    return reached


@pytest.mark.parametrize(
    ("student", "gain", "patients", "text"),
    [
        (0.9, 0.01, 8, "+0.015 by 8 patients ± 0.002 (standard error), p 0.008: better"),
        (0.9, -0.01, 8, "-0.015 by 8 patients ± 0.002 (standard error), p 0.008: worse"),
        (0.9, 0.0, 8, "+0.000 by 8 patients ± 0.000 (standard error), p 1.000: not shown"),
        (0.9, 0.01, 12, "by 12 patients ± 0.002 (standard error), p < 0.001: better"),
        (0.8001, 0.01, 1, "+0.010 by 1 patients;"),
        (0.7999, 0.01, 1, "no claim of a student below 0.8"),
        (0.7, 0.02, 8, "no claim of a student below 0.8"),
    ],
)
def test_a_sentence_claims_nothing_of_a_weak_student(
    student: float, gain: float, patients: int, text: str
) -> None:
    (row,) = judge_settings(("A",), make_reached(student, gain, patients))
    assert text in row.note
    mean, oracle = (value - 0.001 * (patients - 1) for value in (student, 0.97))
    about = f"detector 0.990, student {mean:.3f}, on the slow variable {oracle:.3f}; "
    assert row.note.startswith(f"A: {about}")
    controls = "; smoothing, no teacher +0.020; shuffled teacher +0.000"
    assert row.note.endswith(controls) == ("by" in text)
    assert (row.case, row.subject, row.peer) == ("finding: A", GUIDED, LABELS)
    assert row.ours == pytest.approx(gain * (1 if patients == 1 else 1.5))


def test_spiking_students_have_no_controls() -> None:
    reached = make_reached(0.9, 0.01)
    for arm in (ORACLE, SMOOTHED, SHUFFLED):
        del reached[f"A: {arm}"]
    (row,) = judge_settings(("A",), reached)
    assert row.note.startswith("A: detector 0.990, student 0.893; future teacher +0.015 by 8")
    assert row.note.endswith("p 0.008: better")
