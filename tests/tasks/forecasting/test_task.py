"""The task under every verb, and what an evaluation says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import CommandLine

from neuro.io.run_folder import RunError
from tasks.cli import main
from tasks.forecasting.config import tiny, tiny_ann
from tasks.forecasting.data import prepare
from tasks.forecasting.evaluate import (
    METRICS,
    describe,
    estimate_error,
    measure,
    score_split,
    score_teacher,
)
from tasks.forecasting.network import build
from tasks.forecasting.task import TASK
from tasks.forecasting.windows import read_bins
from tasks.runs.find import open_folder
from tasks.runs.trained_run import load_trained_model

SMALL = ("points=600", "epochs=2", "batch=40", "teacher_epochs=2", "hidden=16", "compared=20")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "guided"
    settings = [word for setting in SMALL for word in ("--set", setting)]
    main(["train", "forecasting:tiny", "--out", str(folder), *settings])
    return folder


def read(folder: Path, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / f"{name}.json").read_text())
    return found


@pytest.mark.slow
def test_every_verb_takes_it(run: Path, cli: CommandLine) -> None:
    for verb in ("eval", "verify", "export", "energy", "simulate", "report"):
        cli.run(verb, run)
    verify = json.loads((run / "verify.json").read_text())
    assert verify["torch_events"]["mismatches"] == 0
    assert list(verify["torch_events"]["layers"]) == ["hidden_spiking", "readout"]
    assert set(verify["metrics"]) == {m.name for m in METRICS[:4]}
    assert verify["ticks"] == 8 + 2
    assert (verify["n"], read(run, "eval")["n"]) == (20, 95)
    page = (run / "report.html").read_text()
    assert "A series and its forecast" in page
    assert "worse than linear function of the window (ridge regression)" in page


def test_the_evaluation_has_the_teacher_and_the_baselines_beside_the_student(run: Path) -> None:
    main(["eval", str(run)])
    found = json.loads((run / "eval.json").read_text())
    (table,) = found["tables"]
    assert [row[0] for row in table["rows"]] == ["student", "teacher"]
    assert table["rows"][0][1] == METRICS[0].text(found["mse"])
    own = prepare(open_folder(run).config)
    mean, test = own.windows["train"].labels.mean(), own.windows["test"]
    last = (test.own[:, -1] * own.sd + own.mean - own.low) / (own.high - own.low) * 25 - 0.5
    constant, persistence, ridge = found["beside"].values()
    assert constant == {"mse": pytest.approx(np.mean((mean - test.labels) ** 2))}
    assert persistence == {"mse": pytest.approx(np.mean((last - test.labels) ** 2), rel=1e-4)}
    assert ridge["mse"] < persistence["mse"] < constant["mse"]
    assert {*found["errors"]} == {*found["beside"]}
    scores, labels = score_split(
        open_folder(run).config, load_trained_model(open_folder(run)), "test"
    )
    mine = (read_bins(scores.double().softmax(1)).numpy() - labels.numpy()) ** 2
    error = estimate_error(mine - (mean - labels.numpy()) ** 2)
    assert found["errors"]["mean of the training windows"]["mse"] == pytest.approx(error)
    assert [p["example"] for p in found["pictures"]] == [True]
    caption = found["pictures"][0]["caption"]
    assert caption.startswith("Mackey-Glass series with a delay of 17, one sample per unit of")
    assert (
        "From a window of 8 samples the network forecasts the one that follows 5 samples"
        in (caption)
    )
    width = (own.bins.high - own.bins.low) / 25
    assert f"1/25 of the range of the training targets, {width:.3g} units" in caption
    assert found["notes"] == {"mse": "25 bins over the range of the training targets"}
    assert (run / "forecasts.png").read_bytes().startswith(b"\x89PNG")


def test_the_teacher_lies_among_the_weights_as_plain_numbers(run: Path) -> None:
    """The released code pickles whole modules, which torch refuses to load by default."""
    model = load_trained_model(open_folder(run))
    config = open_folder(run).config
    fresh = build(config)
    assert not torch.equal(
        model.get_parameter("teacher.fc1.weight"), fresh.get_parameter("teacher.fc1.weight")
    )
    assert score_teacher(config, model).shape == (95, 25)  # type: ignore[arg-type]


def test_the_twin_without_spikes_stays_on_torch(tmp_path: Path, cli: CommandLine) -> None:
    words = [w for s in (*SMALL, "arm=smoothing") for w in ("--set", s)]
    cli.run("train", "forecasting:tiny_ann", "--out", tmp_path / "ann", *words)
    assert "bins²" in cli.run("eval", tmp_path / "ann")
    assert "a student without spikes has no Graph" in cli.refuse("verify", tmp_path / "ann")
    with pytest.raises(RunError, match="use a run of forecasting:tiny"):
        TASK.deployment.part(tiny_ann(), build(tiny_ann()))


def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, cli: CommandLine
) -> None:
    told = cli.refuse(
        *("train", "forecasting:tiny", "--out", tmp_path / "a"),
        *("--set", "teacher_horizon=5", "--set", "surprise=1", "--set", "arm=none"),
    )
    assert 'surprise is 1.0; it must be 0 for arm "none"' in told
    assert "teacher_horizon" not in told  # there is no teacher


def test_a_teacher_is_asked_for_where_there_is_none() -> None:
    config = replace(tiny_ann(), arm="none")
    with pytest.raises(ValueError, match='arm "none" has no teacher; set arm=future'):
        score_teacher(config, build(config))


def test_metrics_of_three_read_outs_by_hand() -> None:
    p = torch.tensor([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]).clamp(min=1e-30)
    found = measure(tiny(), p.log(), torch.tensor([2, 1]))
    assert found == {
        "mse": pytest.approx(0.5),  # 1 for 2, 1 for 1
        "mse_argmax": 2.0,  # 0 for 2
        "mse_median": 2.0,
        "nll": pytest.approx(np.log(2) / 2),
    }
    assert describe(tiny(), p.log(), torch.tensor([2, 1])) == ["2 → 1.0", "1 → 1.0"]


def test_an_error_of_a_series_is_that_of_the_means_of_ten_parts() -> None:
    alternating = np.tile([0.0, 1.0], 10)  # each part of two has the mean 1/2
    assert estimate_error(alternating) == 0.0
    steps = np.repeat([0.0, 2.0], 10)  # five means of 0, five of 2: sd sqrt(10 / 9)
    assert estimate_error(steps) == pytest.approx((10 / 9 / 10) ** 0.5)
