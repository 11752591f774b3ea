import json
import re
from pathlib import Path
from typing import Any

import pytest
from ship_run import measure_first_batch, ship

from neuro.io.run_folder import RunError, begin_run
from neuro.training import get_best_weights_path
from neuro.training.checkpoint import get_weights, save_weights
from tasks.measures.energy import estimate_energy
from tasks.measures.train import evaluate_run
from tasks.report.report import write_report
from tasks.runs import shipped
from tasks.runs.find import make_run, open_folder
from tasks.runs.names import UnknownName
from tasks.runs.provenance import (
    describe_trained,
    digest_file,
    explain_unknown_curve,
    list_out_of_date,
)
from tasks.runs.results import KEY
from tasks.runs.shipped import SHIPPED, copy_shipped_run, list_shipped_runs
from tasks.runs.task import TaskRun
from tasks.runs.trained_run import build_fresh_model

RUNS = list_shipped_runs()
SLOW = ("driving",)  # generates a world first


def test_the_runs_are_small_and_say_how_they_were_trained() -> None:
    assert sum(run.size for run in RUNS) <= 15e6
    for run in RUNS:
        task = f"{run.header['task']}:{run.header['name']}"
        assert run.shipment["command"] == f"neuro train {task} --seed {run.header['seed']}"
        assert len(run.shipment["commit"]) == 40
        assert run.shipment["cpu_minutes"] > 0
        assert {path.name for path in run.folder.iterdir()} >= {"eval.json", "metrics.jsonl"}
        texts = [path.read_text() for path in run.folder.glob("*.json*")]
        assert not [text for text in texts if re.search(r"/(root|home|tmp|Users)/", text)]
        assert run.shipment["curve"] == digest_file(run.folder / "metrics.jsonl")


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_the_docs_tell_the_time_that_neuro_get_tells(run: shipped.ShippedRun) -> None:
    command = f"neuro train {run.header['task']}:{run.header['name']} "
    pages = (Path(__file__).parents[3] / "docs").glob("*.md")
    lines = [line for page in pages for line in page.read_text().splitlines()]
    told = [line for line in lines if command in line and "minute" in line]
    assert all(f" {run.shipment['cpu_minutes']:.3g} CPU minutes" in line for line in told)


@pytest.mark.slow
@pytest.mark.parametrize(
    "run",
    [
        pytest.param(run, id=run.name, marks=pytest.mark.nightly if run.name in SLOW else ())
        for run in RUNS
    ],
)
def test_the_weights_have_the_recorded_loss(run: shipped.ShippedRun) -> None:
    try:
        batch, loss = measure_first_batch(run.folder)
    except (OSError, ValueError) as error:
        pytest.skip(f"the test data are not here: {error}")
    if batch != run.shipment["batch"]:
        pytest.skip("the test data are other ones, as those of another Python's library")
    assert loss == pytest.approx(run.shipment["loss"], rel=1e-3)


def make_begun(folder: Path, seed: int) -> TaskRun:
    """Return a run with the random weights of its seed."""
    run = make_run("yinyang:tiny", folder, seed)
    about = {"epoch": 0, "score": 0.0, "run": begin_run(run)}
    weights = get_weights(build_fresh_model(run))
    save_weights(get_best_weights_path(run.folder), weights, about)
    return run


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with one run of random weights."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "store")
    monkeypatch.setattr("ship_run.FOLDER", tmp_path / "store")
    run = make_begun(tmp_path / "run", 3)
    row = {"epoch": 4, "train_loss": 0.5, "val_accuracy": 0.25}
    run.write_lines("metrics.jsonl", [row])
    (run.folder / "environment.json").write_text("{}")
    facts: dict[str, Any] = {"correct": 3, "classes": ["a", "b"], "confusion": [[1, 2], [3, 2]]}
    facts[KEY] = {**describe_trained(run.folder), "code": "old"}
    run.write("eval.json", {"accuracy": 0.375, "n": 8, "split": "test", **facts})
    ship(run.folder, "points", "0" * 39 + "1", 1.5, "points in two classes")
    return tmp_path


def test_a_copy_is_a_run_whose_curve_is_known(store: Path) -> None:
    out = store / "copy"
    run = copy_shipped_run("points", out)
    assert (run.name, run.header["seed"]) == ("points", 3)
    assert run.size == sum(file.stat().st_size for file in run.folder.iterdir())
    assert open_folder(out).seed == 3
    assert explain_unknown_curve(out) == ""
    page = write_report(open_folder(out)).read_text()
    assert "nothing says that the curve" not in page
    assert "another version of the code" not in page
    assert "at commit 000000000000. Results that neuro ships" in page
    with pytest.raises(RunError, match=r"copy exists; .*neuro get points --out FOLDER"):
        copy_shipped_run("points", out)
    (out / "metrics.jsonl").write_text(
        '{"epoch": 5, "train_loss": 0.5, "val_accuracy": 0.25}\n'
    )
    assert explain_unknown_curve(out) == (
        "nothing says that the curve is of this training: shipped.json is of another curve"
    )


def test_results_of_other_code_are_out_of_date_unless_they_are_shipped(store: Path) -> None:
    out = store / "copy"
    copy_shipped_run("points", out)
    now = {**describe_trained(out), "code": "other"}
    assert list_out_of_date(out, now) == {}
    weights = {**now, "weights": "other"}
    assert list_out_of_date(out, weights) == {"eval": "of earlier weights"}
    (out / "eval.json").write_text((out / "eval.json").read_text() + " ")
    assert list_out_of_date(out, now) == {"eval": "of another version of the code"}


@pytest.mark.nightly
@pytest.mark.slow
def test_the_digits_have_the_shipped_figures(tmp_path: Path) -> None:
    out = tmp_path / "digits"
    run = copy_shipped_run("digits", out)
    shipped_eval, shipped_energy = (
        json.loads((run.folder / f"{verb}.json").read_text()) for verb in ("eval", "energy")
    )
    accuracy = evaluate_run(open_folder(out))["accuracy"]
    assert accuracy == pytest.approx(shipped_eval["accuracy"], abs=0.003)
    energy = estimate_energy(open_folder(out))
    for chip in ("loihi1", "loihi2"):
        joules, expected = (own[chip]["chip"]["nominal"] for own in (energy, shipped_energy))
        assert joules == pytest.approx(expected, rel=0.02)


def test_an_unknown_name_is_refused_with_those_that_there_are(store: Path) -> None:
    with pytest.raises(UnknownName, match=r"no trained run 'point'.*points"):
        copy_shipped_run("point", store / "copy")


def test_what_is_recorded_is_of_the_weights(store: Path) -> None:
    about = json.loads((store / "store" / "points" / SHIPPED).read_text())
    batch, loss = measure_first_batch(store / "run")
    assert (about["batch"], about["loss"]) == (batch, loss)
    other = measure_first_batch(make_begun(store / "other", 4).folder)
    assert other[0] == batch
    assert other[1] != pytest.approx(loss, rel=1e-3)
