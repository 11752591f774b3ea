import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import CommandLine
from lightning_fabric import Fabric
from torch import nn

from drivers.yinyang import generate
from neuro.eventprop import LEAST, Tally, compute_module_outputs
from tasks.cli import main
from tasks.images.yinyang import batches, build, full, points, tiny
from tasks.measures.train import launch_fabric, train_run
from tasks.runs.find import make_run


def test_the_full_network_has_the_published_size() -> None:
    with torch.device("meta"):
        model = build(full())
    assert sum(p.numel() for p in model.parameters()) == 5 * 120 + 120 * 3


def test_larger_coordinates_spike_earlier_and_the_start_spike_is_first() -> None:
    config = full()
    x, labels = next(batches(config, "test", 0))
    known = generate("test")
    assert x.shape == (100, 500, 5)
    assert labels.tolist() == known.labels[:500].tolist()
    assert x.sum(0).unique().tolist() == [1.0]
    assert x[0, :, 4].all()
    tick = x.argmax(0).numpy()[:, :4]
    assert np.array_equal(tick, np.floor((1 - known.points[:500]) * 60))
    assert tick.max() < 60


def test_the_tiny_configuration_takes_a_part_of_each_split() -> None:
    sizes = {s: len(points(tiny(), s).labels) for s in ("train", "val", "test")}  # type: ignore[arg-type]
    assert sizes == {"train": 500, "val": 200, "test": 200}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "exact"
    main(["train", "yinyang:tiny", "--gradient", "eventprop", "--out", str(folder)])
    return folder


def test_the_bound_of_slopes_is_one_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def watched(module: nn.Module, x: torch.Tensor, tally: Tally, least: float) -> torch.Tensor:
        asked.append(least)
        return compute_module_outputs(module, x, tally, least)

    monkeypatch.setattr("tasks.measures.train.compute_module_outputs", watched)
    small = replace(tiny(), train=50, test=20, epochs=1, least_slope=0.25)
    run = replace(make_run("yinyang", tmp_path, gradient="eventprop"), config=small)
    train_run(run, launch_fabric(run, "cpu", 1))
    assert asked[0] == 0.25  # before anything is written
    assert asked[1] == 0.25  # the one batch
    assert set(asked[2:]) == {LEAST}  # validation has no gradient


@pytest.mark.slow
def test_eventprop_trains_the_task_and_says_how_many_spikes_grazed(run: Path) -> None:
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert history[-1]["train_loss"] < 0.6 * history[0]["train_loss"]
    spikes, raised = (sum(row[k] for row in history) for k in ("spikes", "raised"))
    assert spikes > 10_000
    assert 0 < raised < 0.05 * spikes
    assert all(row["spikes"] > 2_500 for row in history)  # counted by epoch
    assert json.loads((run / "config.json").read_text())["gradient"] == "eventprop"
    main(["report", str(run)])
    page = (run / "report.html").read_text()
    assert f"EventProp raised the slopes of {raised:,} of {spikes:,} spikes" in page


@pytest.mark.slow
def test_a_run_of_eventprop_is_measured_in_continuous_time(run: Path) -> None:
    main(["eval", str(run)])
    evaluation = json.loads((run / "eval.json").read_text())
    assert evaluation["gradient"] == "eventprop"
    assert evaluation["accuracy"] > 0.4
    main(["simulate", str(run), "--clock", "exact"])
    replayed = json.loads((run / "simulate.json").read_text())
    assert replayed["n"] == evaluation["n"] == 200
    # The engine's read-out is sampled at the ends of ticks, the trainer's is their mean.
    assert abs(replayed["exact"]["accuracy"] - evaluation["accuracy"]) <= 0.03


@pytest.mark.slow
def test_the_network_goes_on_to_the_chip(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main(["verify", str(run)])
    verify = json.loads((run / "verify.json").read_text())
    assert verify["torch_events"]["mismatches"] == 0
    assert verify["reference_lava"].get("mismatches", 0) == 0
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "no-such-python")  # once is enough
    main(["export", str(run)])
    assert json.loads((run / "export.json").read_text())["fits"]["loihi2"] == []


@pytest.mark.slow
def test_a_run_is_not_continued_with_another_gradient(run: Path, cli: CommandLine) -> None:
    text = cli.refuse("train", "yinyang:tiny", "--out", run)
    assert "gradient is 'eventprop' there and 'surrogate' here; choose another --out" in text


def test_a_network_without_exact_gradients_is_refused_before_anything_is_written(
    tmp_path: Path, cli: CommandLine
) -> None:
    out = tmp_path / "run"
    text = cli.refuse("train", "mnist", "--gradient", "eventprop", "--out", out)
    assert "alif1: ALIF has no adjoint here" in text
    assert "conv2: Conv2d has no adjoint here" in text
    assert not out.exists()


def test_eventprop_runs_in_one_process(
    tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fabric, "world_size", 2)
    argv = ["train", "yinyang", "--gradient", "eventprop", "--out", str(tmp_path / "run")]
    assert "runs in one process; leave --devices out" in cli.refuse(*argv)
