"""Evaluation of a forecaster: errors of three read-outs, baselines for comparison, a picture.

The first metric, which also selects the kept weights, is the squared error of the expectation:
the read-out that the published text describes. The published code reads the most probable bin.
Axes: T ticks, B samples, K bins.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64
from matplotlib.figure import Figure
from torch import Tensor, nn

from neuro.io.run_folder import Run
from neuro.plot import ACCENT, INK, LINE, MUTED, STYLE
from tasks.forecasting.alarms import compute_auc
from tasks.forecasting.baselines import list_baselines
from tasks.forecasting.config import ForecastConfig
from tasks.forecasting.data import batches, count_ticks, prepare
from tasks.forecasting.network import GuidedForecaster, ask_teacher
from tasks.forecasting.patients import report_patient
from tasks.forecasting.recordings import RecordingConfig
from tasks.forecasting.seizures import (
    EVENT_METRICS,
    SeizureConfig,
    prepare_patient,
    report_events,
)
from tasks.forecasting.windows import READINGS, read_bins
from tasks.report.figures import save_png
from tasks.runs.share import track_test
from tasks.runs.task import Findings, Metric, Picture, Split, Table

UNIT = "bins²"
MSE, ARGMAX, MEDIAN = (
    Metric(name=name, better="lower", unit=UNIT, meaning=meaning)
    for name, meaning in {
        "mse": "mean squared distance of the forecast's mean bin from the true one",
        "mse_argmax": "the same, of the most probable bin",
        "mse_median": "the same, of the median bin",
    }.items()
)
METRICS = (
    *(MSE, ARGMAX, MEDIAN),
    Metric(name="nll", better="lower", unit="nats", meaning="minus log p of the true bin"),
    *EVENT_METRICS,
    Metric(name="false_alarms_per_hour", better="lower", meaning="alarms without seizure"),
)
BASELINES = {  # words for the names of list_baselines
    "constant": "mean of the training windows",
    "persistence": "last value of the window (persistence)",
    "ridge": "linear function of the window (ridge regression)",
}
PICTURE = "forecasts.png"
SERIES = {  # source -> the series, with the time between samples
    "mackey_glass": "Mackey-Glass series with a delay of 17, one sample per unit of time",
    "lorenz": "x of the Lorenz system, 50 samples per unit of time",
}
PARTS = 10  # consecutive parts of the windows, whose means give a standard error
SHOWN = 300  # windows of the picture


def measure(
    config: ForecastConfig, scores: Float[Tensor, "B K"], labels: Int64[Tensor, " B"]
) -> dict[str, float]:
    """Return the metrics of scores: squared errors of three read-outs, and log-likelihood.

    For events, the area under the curve is added if both classes have windows; the squared
    error of the expectation is then the Brier score.
    """
    p = scores.double().softmax(1)
    errors = {
        reading: float((read_bins(p, reading) - labels).square().mean()) for reading in READINGS
    }
    found = {
        "mse": errors["expectation"],
        "mse_argmax": errors["argmax"],
        "mse_median": errors["median"],
        "nll": float(F.cross_entropy(scores.double(), labels)),
    }
    if isinstance(config, SeizureConfig | RecordingConfig) and 0 < int(labels.sum()) < len(
        labels
    ):
        found["auc"] = compute_auc(p[:, 1].numpy(), labels.numpy())
    return found


@torch.no_grad()
def score_split(
    config: ForecastConfig, model: nn.Module, split: Split
) -> tuple[Float[Tensor, "N K"], Int64[Tensor, " N"]]:
    """Return the scores of a model on a split, and the true bins."""
    device = next(model.parameters()).device
    found = [
        (model(x.to(device))[0][-1].cpu(), labels)
        for x, labels, _ in track_test(batches(config, split, 0), split)
    ]
    scores, labels = zip(*found, strict=True)
    return torch.cat(scores), torch.cat(labels)


@torch.no_grad()
def score_teacher(config: ForecastConfig, model: GuidedForecaster) -> Float[Tensor, "N K"]:
    """Return the scores of the teacher on the later windows of the test split."""
    teacher = model.teacher
    if teacher is None:
        raise ValueError(f'arm "{config.arm}" has no teacher; set arm=future')
    device = next(model.parameters()).device
    later = torch.from_numpy(prepare(config).windows["test"].later)
    return ask_teacher(teacher, later.to(device)).cpu()


def validate(config: ForecastConfig, model: nn.Module) -> float:
    """Return the squared error of the expectation on the validation split."""
    return measure(config, *score_split(config, model, "val"))["mse"]


def decode(_: ForecastConfig, __: nn.Module, outputs: Mapping[str, Tensor]) -> Tensor:
    """Return the scores of each sample, B K: the membranes at the last tick."""
    (y,) = outputs.values()
    return y[-1]


def describe(_: ForecastConfig, scores: Tensor, labels: Tensor) -> list[str]:
    """Return "true bin → expectation" for each sample."""
    answers = read_bins(scores.double().softmax(1))
    return [
        f"{true} → {answer:.1f}"
        for true, answer in zip(labels.tolist(), answers.tolist(), strict=True)
    ]


def evaluate(run: Run, model: nn.Module) -> Findings:
    """Return the metrics of the test split, with baselines and a picture."""
    config: ForecastConfig = run.config
    scores, labels = score_split(config, model, "test")
    values = measure(config, scores, labels)
    if isinstance(config, SeizureConfig | RecordingConfig):
        val, _ = score_split(config, model, "val")
        each: dict[Split, Float64[np.ndarray, " N"]] = {
            "val": val.double().softmax(1)[:, 1].numpy(),
            "test": scores.double().softmax(1)[:, 1].numpy(),
        }
        if isinstance(config, RecordingConfig):
            return report_patient(config, each, values)
        return report_events(config, prepare_patient(config), each, values, run.folder)
    answers, bins = read_bins(scores.double().softmax(1)).numpy(), prepare(config).bins
    draw_forecasts(answers[:SHOWN], labels.numpy()[:SHOWN], run.folder / PICTURE)
    shown = Picture(
        file=PICTURE,
        title="A series and its forecast",
        example=True,
        caption=f"{SERIES[config.source]}; {config.points:,} samples, the last fifth for the "
        f"test. From a window of {config.lookback} samples the network forecasts the one that "
        f"follows {config.horizon} samples after its last (the horizon). Shown: the first "
        f"{min(SHOWN, len(labels))} test windows. A bin is 1/{bins.count} of the range of the "
        f"training targets, {(bins.high - bins.low) / bins.count:.3g} units of the series; the "
        f"forecast is the mean bin by its probabilities. Squared errors are in {UNIT}.",
    )
    true = labels.numpy()
    mine = (answers - true) ** 2
    squares = {
        BASELINES[name]: (own - true) ** 2
        for name, own in list_baselines(prepare(config)).items()
    }
    return Findings(
        values=values,
        n=len(labels),
        counted="windows",
        notes={MSE.name: f"{config.bins} bins over the range of the training targets"},
        facts={"arm": config.arm, "ticks": count_ticks(config)},
        tables=list(_tabulate_teacher(config, model, values)),
        pictures=(shown,),
        beside={name: {MSE.name: float(own.mean())} for name, own in squares.items()},
        errors={
            name: {MSE.name: estimate_error(mine - own)}
            for name, own in squares.items()
            if len(own) >= PARTS
        },
    )


def estimate_error(series: Float64[np.ndarray, " N"]) -> float:
    """Return the standard error of the mean of neighbours that resemble each other.

    It is that of the means of ten consecutive parts (batch means; Law 1983, Operations Research
    31, 983). There are at least ten values.
    """
    parts = [part.mean() for part in np.array_split(series, PARTS)]
    return float(np.std(parts, ddof=1) / PARTS**0.5)


def _tabulate_teacher(
    config: ForecastConfig, model: nn.Module, values: Mapping[str, float]
) -> Iterator[Table]:
    """Yield a table of student and teacher, if there is a teacher."""
    if not isinstance(model, GuidedForecaster) or model.teacher is None:
        return
    labels = torch.from_numpy(prepare(config).windows["test"].labels)
    rows = {"student": values, "teacher": measure(config, score_teacher(config, model), labels)}
    yield Table(
        title="The teacher",
        head=("forecast", *(m.label for m in METRICS[:4])),
        rows=[(who, *(m.text(own[m.name]) for m in METRICS[:4])) for who, own in rows.items()],
        caption="The teacher sees later samples than any forecaster can.",
    )


@mpl.rc_context(STYLE)
def draw_forecasts(
    answers: Float64[np.ndarray, " N"], labels: Int64[np.ndarray, " N"], path: Path
) -> None:
    """Draw the true bins and the answers of windows, in the order of time."""
    figure = Figure((9.58, 3.0), layout="constrained")
    ax = figure.subplots()
    ax.plot(labels, color=MUTED, linewidth=2.5, label="true bin")
    ax.plot(answers, color=ACCENT, linewidth=1.2, label="forecast")
    ax.set(xlabel="window", ylabel="bin", xlim=(0, len(labels) - 1))
    ax.tick_params(colors=INK)
    ax.grid(axis="y", color=LINE, linewidth=0.5)
    figure.legend(loc="outside upper right", ncols=2)
    save_png(figure, path)
