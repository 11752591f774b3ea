"""Tasks of other kinds than classification go through every verb as they are.

A stream whose state goes from batch to batch, windows with two named inputs and two outputs
behind a host, and a forecast whose error is the better the lower.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_verb import train_until

from neuro.io.store import load_tensors
from tasks.cli import main
from tasks.runs.find import load_task, open_folder
from tasks.runs.trained_run import open_trained_run

SUPPORT = Path(__file__).parents[2] / "support"
VERBS = ("eval", "simulate", "verify", "export", "energy", "report")
METRICS = {
    "stream": {"bits_per_symbol": "lower"},
    "window": {"steering_error": "lower", "brake_accuracy": "higher"},
    "forecast": {"rmse": "lower"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run of each kind, which every verb has been at.

    Of the two verbs that run Lava only ``verify`` does here.
    """
    folder = tmp_path_factory.mktemp("runs")
    for kind in METRICS:
        run = str(folder / kind)
        main(["train", str(SUPPORT / f"{kind}_task.py"), "--out", run])
        for verb in VERBS:
            with pytest.MonkeyPatch.context() as patch:
                if verb == "export":
                    patch.setenv("NEURO_LAVA_PYTHON", "no-such-python")
                main([verb, run])
    return folder


def read(runs: Path, kind: str, verb: str) -> Any:
    return json.loads((runs / kind / f"{verb}.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("kind", METRICS)
def test_training_lowers_the_loss(runs: Path, kind: str) -> None:
    rows = [json.loads(x) for x in (runs / kind / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


@pytest.mark.slow
def test_a_score_stands_by_its_own_name_and_value(runs: Path) -> None:
    rows = [
        json.loads(x) for x in (runs / "forecast" / "metrics.jsonl").read_text().splitlines()
    ]
    assert all(0 < row["val_rmse"] < 100 for row in rows)
    assert all(set(row) == {"epoch", "train_loss", "val_rmse"} for row in rows)
    best = load_tensors(runs / "forecast" / "best.safetensors", "weights")[1]
    assert best["score"] == min(row["val_rmse"] for row in rows)
    assert "minus" not in (runs / "forecast" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", METRICS)
def test_an_evaluation_holds_value_direction_and_unit_of_each_metric(
    runs: Path, kind: str
) -> None:
    found = read(runs, kind, "eval")
    assert {name: m["better"] for name, m in found["metrics"].items()} == METRICS[kind]
    assert all(isinstance(found[name], float) for name in METRICS[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", METRICS)
def test_executors_agree_and_are_measured_by_the_task(runs: Path, kind: str) -> None:
    found, replayed = read(runs, kind, "verify"), read(runs, kind, "simulate")
    assert found["torch_events"]["mismatches"] == 0
    assert found["reference_lava"].get("mismatches", 0) == 0
    assert set(found["metrics"]) == set(METRICS[kind])
    config = open_folder(runs / kind).config
    assert found["n"] == replayed["n"] == getattr(config, "windows", found["n"])  # 3 batches
    for name, by in found["metrics"].items():
        assert by["torch"] == pytest.approx(by["events"], rel=1e-9)
        assert by["events"] == pytest.approx(replayed[name], rel=1e-12)
        # Integers are read out in units of the float network.
        assert by["integers"] == pytest.approx(by["events"], rel=0.2)


@pytest.mark.slow
def test_the_executors_answer_what_the_trained_model_does(runs: Path) -> None:
    for kind in ("window", "forecast"):  # a stream's windows start from rest
        found, replayed = read(runs, kind, "eval"), read(runs, kind, "simulate")
        for name in METRICS[kind]:
            assert replayed[name] == pytest.approx(found[name], rel=1e-4)


@pytest.mark.slow
def test_values_are_not_answered_differently_but_lie_apart(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {
        "forecast": {"answers_apart"},
        "window": {"answers_apart", "answered_differently"},
    }
    for kind, names in expected.items():
        main(["simulate", str(runs / kind), "--clock", "exact"])
        told = capsys.readouterr().out
        way = read(runs, kind, "simulate")["exact_spread"]
        assert names == {"answers_apart", "answered_differently"} & way.keys()
        assert way["answers_apart"] > 0
        assert f"{way['answers_apart']:.2%}" in told
        assert ("answered differently" in told) == ("answered_differently" in names)


@pytest.mark.slow
def test_two_inputs_and_two_outputs_keep_their_names(runs: Path) -> None:
    network = open_trained_run(open_folder(runs / "window")).network
    graph = network.graph
    assert set(graph.inputs) == {"camera", "speed"}
    assert set(graph.outputs) == {"steering", "brake"}
    some = next(network.iterate_samples(most=7))
    assert some.n == 7
    assert {name: e.shape for name, e in some.inputs.items()} == {
        "camera": (5, 7, 16),
        "speed": (5, 7, 4),
    }
    assert {name: len(y) for name, y in some.targets.items()} == {"steering": 7, "brake": 7}
    assert read(runs, "window", "simulate")["input_shapes"] == {"camera": [16], "speed": [4]}


@pytest.mark.slow
def test_what_a_host_computes_before_the_chip_is_counted(runs: Path) -> None:
    assert read(runs, "window", "energy")["host"] == [{"node": "features", "macs": 5 * 16 * 9}]
    assert "host" not in read(runs, "forecast", "energy")


@pytest.mark.slow
@pytest.mark.parametrize("kind", METRICS)
def test_without_a_step_energies_are_told_for_an_inference_only(runs: Path, kind: str) -> None:
    assert "sequence" not in read(runs, kind, "energy")
    assert "Energy per inference of" not in (runs / kind / "report.html").read_text()


@pytest.mark.slow
def test_the_report_shows_tables_pictures_and_sections_of_the_task(runs: Path) -> None:
    window, forecast = ((runs / k / "report.html").read_text() for k in ("window", "forecast"))
    for part in ("By side", "steering error", "lower is better", "stimulus\ncamera"[:8]):
        assert part in window
    for part in ("Forecasts", "None is left out.", "Skill of the forecast", "one step ahead"):
        assert part in forecast
    for page in (window, forecast):
        assert "not measured yet" not in page
        assert "accuracy, torch" not in page.replace("brake accuracy", "")


def test_the_state_of_a_stream_goes_on_within_an_epoch_and_not_beyond() -> None:
    task = load_task(SUPPORT / "stream_task.py")
    config = task.configs["tiny"]()
    model = task.training.build(config)
    first, second = list(task.training.batches(config, "train", 0))[:2]
    with torch.no_grad():
        alone, state = task.training.loss(config, model, first, 0.0, None)
        carried, _ = task.training.loss(config, model, second, 0.0, state)
        rested, _ = task.training.loss(config, model, second, 0.0, None)
        both = tuple(torch.cat(parts) for parts in zip(first, second, strict=True))
        whole, _ = task.training.loss(config, model, both, 0.0, None)
    assert carried != rested
    assert float(whole) == pytest.approx(float(alone + carried) / 2, rel=1e-6)


@pytest.mark.slow
def test_a_killed_stream_goes_on_to_the_same_curve(tmp_path: Path, runs: Path) -> None:
    out = str(tmp_path / "killed")
    argv = ["train", str(SUPPORT / "stream_task.py"), "--out", out]
    train_until(2, argv)
    main(argv)
    after, before = (
        (folder / "metrics.jsonl").read_text() for folder in (Path(out), runs / "stream")
    )
    assert after == before
