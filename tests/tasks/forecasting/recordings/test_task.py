"""Predictors of seizures under the verbs, in made recordings of the true formats."""

import datetime
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import CommandLine
from eeg_files import write_detection, write_prediction
from torch import nn

from drivers.eeg.chb_mit import CHANNELS
from neuro.training import TrainError
from tasks.cli import main
from tasks.forecasting.network import GuidedForecaster, ask_teacher, build
from tasks.forecasting.patients import (
    iterate_batches,
    prepare_recordings,
    read_spectrograms,
)
from tasks.forecasting.recordings import ICTAL, RecordingConfig
from tasks.forecasting.teacher import make_teacher_training
from tasks.measures.earlier import train_alone
from tasks.runs.find import open_folder
from tasks.runs.trained_run import load_trained_model

ONSET, LENGTHS = 100, (10, 14, 12, 11)  # s, of a seizure in each file
SIZES = {"seconds": 12.0, "sph": 5.0, "sop": 48.0, "distance": 54.0, "patient": "chb03"}
SMALL = {"hidden": 8, "layers": 1, "teacher_hidden": 6, "batch": 4, "epochs": 6, "lr": 1e-2}
CHB = SIZES | SMALL | {"teacher_epochs": 4, "source": "chb_mit"}


def set_fields(fields: dict[str, object]) -> list[str]:
    return [word for item in fields.items() for word in ("--set", "{}={}".format(*item))]


def write_recordings(data: Path) -> None:
    """Write a patient by edfio: slow waves before each seizure, fast ones in it."""
    edfio = pytest.importorskip("edfio")
    folder, text, rng = data / "chb-mit" / "chb03", "", np.random.default_rng(0)
    folder.mkdir(parents=True)
    t = np.arange(200 * 256) / 256
    for k, length in enumerate(LENGTHS):
        x = rng.normal(0, 20, (19, len(t)))
        x += 60 * np.sin(2 * np.pi * 4 * t) * ((t >= ONSET - 53) & (t < ONSET - 5))
        x += 200 * np.sin(2 * np.pi * 20 * t) * ((t >= ONSET) & (t < ONSET + length))
        if k == 0:  # two windows more, in which a channel is constant
            x = np.pad(x, ((0, 0), (0, 16 * 256)))
            x[5, 192 * 256 :] = 7
        about = {"physical_dimension": "uV", "physical_range": (-400, 400)}
        signals = [
            edfio.EdfSignal(own, 256, label=label, **about)
            for own, label in zip(x, [*CHANNELS, "T8-P8"], strict=True)
        ]
        name = f"chb03_{k + 1:02}.edf"
        edfio.Edf(signals, starttime=datetime.time(10, 4 * k)).write(folder / name)
        text += (
            f"File Name: {name}\nFile Start Time: 10:{4 * k:02}:00\n"
            f"File End Time: 10:{4 * k + 3:02}:20\nNumber of Seizures in File: 1\n"
            f"Seizure Start Time: {ONSET} seconds\nSeizure End Time: {ONSET + length} sec\n\n"
        )
    (folder / "chb03-summary.txt").write_text(text)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_recordings(folder)
    sizes = {"rate": 256, "channels": 9}
    write_prediction(folder, hours=3, sequences=(6,), **sizes)  # type: ignore[arg-type]
    write_detection(folder, "Dog_2", [33, 31], **sizes)  # type: ignore[arg-type]
    return folder


@pytest.fixture(autouse=True)
def neuro_data(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURO_DATA", str(data))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "chb"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURO_DATA", str(data))
        main(["train", "forecasting:chb_mit", "--out", str(folder), *set_fields(CHB)])
    return folder


@pytest.mark.slow
def test_a_patient_of_chb_mit_goes_through_the_verbs(run: Path, cli: CommandLine) -> None:
    assert "8 test windows" in cli.run("eval", run)
    cli.run("report", run)
    found = json.loads((run / "eval.json").read_text())
    assert (found["n"], found["auc"]) == (8, 1.0)
    events = found["events"]
    assert events["events"] == 1  # the last 35 % of four seizures
    assert found["sensitivity"] == events["predicted"]
    assert found["false_alarms_per_hour"] == 3600 * events["false"] / (8 * 12)
    assert (found["patient"], found["unreadable"]) == ("chb03", 2)
    assert found["tables"][0]["rows"][0][:2] == [
        "seizures predicted",
        f"{events['predicted']} of 1",
    ]
    assert "false alarms per hour" in (run / "report.html").read_text()
    assert "a student without spikes has no Graph" in cli.refuse("verify", run)
    prepared = prepare_recordings(open_folder(run).config)  # the last file begins at 720 s
    assert prepared.list_ends("test").tolist() == [732, 744, 756, 780, 792, 804, 900, 912]


@pytest.mark.slow
def test_the_teacher_is_a_detector_that_the_student_does_not_change(run: Path) -> None:
    config = open_folder(run).config
    model = load_trained_model(open_folder(run))
    prepared = prepare_recordings(config)
    windows = prepared.windows
    later = read_spectrograms(prepared.patient, windows, np.arange(len(windows.label)))
    assert isinstance(model, GuidedForecaster)
    assert model.teacher is not None
    model.train()  # in which the teacher still answers as in evaluation
    with torch.no_grad():
        ictal, again = (ask_teacher(model.teacher, later).argmax(1).numpy() for _ in range(2))
    assert np.array_equal(ictal, again)
    assert (ictal == (windows.label == ICTAL)).mean() > 0.9


@pytest.mark.parametrize("arm", ["none", "present", "future", "shuffled"])
def test_what_the_teacher_sees_beside_the_student(arm: str) -> None:
    config = replace(RecordingConfig(**CHB), arm=arm)  # type: ignore[arg-type]
    prepared = prepare_recordings(config)
    windows, rows = prepared.windows, prepared.parts["train"]
    every = read_spectrograms(prepared.patient, windows, np.arange(len(windows.label)))

    def find(x: torch.Tensor) -> np.ndarray:
        return (x[:, None] == every).all(2).int().argmax(1).numpy()

    batches = list(iterate_batches(config, "train", 1))
    assert [len(labels) for _, labels, _ in batches] == [4, 4, 4]
    own = np.concatenate([find(x[0]) for x, _, _ in batches])
    seen = np.concatenate([find(later) for _, _, later in batches])
    labels = np.concatenate([labels.numpy() for _, labels, _ in batches])
    assert np.array_equal(labels, windows.label[own])
    assert (set(own) <= set(rows), labels.sum()) == (True, 6)
    if arm in ("none", "present"):
        assert np.array_equal(seen, own)
        return
    same = windows.seizure[seen[labels == 1]] == windows.seizure[own[labels == 1]]
    assert (windows.label[seen] == ICTAL).sum() == 6
    assert same.all() == (arm == "future")
    x, labels, _ = next(iter(iterate_batches(config, "test", 0)))
    assert np.array_equal(find(x[0]), prepared.parts["test"][:4])


@pytest.mark.slow
def test_a_dog_of_kaggle_goes_through_the_verbs(tmp_path: Path, cli: CommandLine) -> None:
    out = tmp_path / "dog"
    sizes = {"sop": 300.0, "channels": 9, "teacher_epochs": 1, "epochs": 1, "batch": 10}
    cli.run("train", "forecasting:kaggle", "--out", out, *set_fields(SMALL | sizes))
    assert "30 test windows" in cli.run("eval", out)  # of 300 s and of 600 s
    cli.run("report", out)
    found = json.loads((out / "eval.json").read_text())
    assert (found["arm"], found["n"], found["events"]["events"]) == ("present", 30, 1)
    assert 0 < found["auc"] < 1  # noise


@pytest.mark.slow
def test_a_teacher_that_cannot_learn_is_refused() -> None:
    longer = RecordingConfig(source="kaggle", patient="Dog_1", channels=9, seconds=34.0)
    with pytest.raises(TrainError, match="no window lies in a seizure; set arm=none, or a sma"):
        make_teacher_training(longer, nn.Identity())
    config = replace(RecordingConfig(**CHB), lr=1e30)  # type: ignore[arg-type]
    with pytest.raises(TrainError, match="lower the learning rate"):
        train_alone(make_teacher_training(config, build(config).get_submodule("teacher")))


@pytest.mark.slow
def test_a_dry_run_of_the_published_sizes_needs_no_data(cli: CommandLine) -> None:
    each = (
        18_306 - 16 * (11 - 9) * 25 + 6_041_600 + 131_842
    )  # first kernel over 9 of 18 channels
    told = cli.run("train", "forecasting:chb_mit", "--dry-run")
    assert f"{2 * each:,} parameters" in told  # student and teacher


@pytest.mark.parametrize(
    ("config", "fields", "told"),
    [
        (
            "chb_mit",
            {"patient": "chb09"},
            "no patient chb09; expected chb01/chb01-summary.txt and",
        ),
        ("chb_mit", CHB | {"channels": 22}, "has 18 channels at 256 Hz; channels is 22"),
        ("chb_mit", CHB | {"tested": 5}, "4 usable seizures and 20 interictal windows"),
        (
            "chb_mit",
            CHB | {"sop": 96.0, "distance": 101.0, "gap": 0.0},
            "lacks 1 s of recording",
        ),
        ("kaggle", {"patient": "Dog_7"}, "no files of Dog_7; expected Dog_7/Dog_7_preictal"),
        ("kaggle", {"arm": "future"}, "whose prediction set has no seizure"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_anything_is_written(
    config: str, fields: dict[str, object], told: str, tmp_path: Path, cli: CommandLine
) -> None:
    words = set_fields({k: v for k, v in fields.items() if k != "source"})
    assert told in cli.refuse("train", f"forecasting:{config}", "--out", tmp_path / "a", *words)
    assert not (tmp_path / "a").exists()


def test_missing_data_sets_are_refused_by_name(
    tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seizure-detection").mkdir()
    for root, config, told in (
        ("", "chb_mit", "CHB-MIT must be in $NEURO_DATA/chb-mit/, and NEURO_DATA is not set"),
        (str(tmp_path), "chb_mit", f"NEURO_DATA {tmp_path} has no chb-mit/ or chbmit/; fetch"),
        ("", "kaggle", "must be in $NEURO_DATA/seizure-detection/, and NEURO_DATA is not set"),
        (str(tmp_path), "kaggle", "has no seizure-prediction/; fetch the competition's files"),
        (str(tmp_path / "no"), "kaggle", "is not a folder; create it with seizure-detection/"),
    ):
        monkeypatch.setenv("NEURO_DATA", root)
        said = cli.refuse("train", f"forecasting:{config}", "--out", tmp_path / "a")
        assert told in said
