"""A throw-away task: the next values of a series, whose error is the better the lower.

Axes: T past values, one a tick, B windows, H values ahead.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from neuro.io.run_folder import Run
from neuro.io.store import write_bytes
from neuro.neurons import LI, LIF
from neuro.nn import Spiking, Stack
from neuro.training import Plan
from tasks.report import html
from tasks.runs.task import (
    Deployment,
    Evaluation,
    Findings,
    Html,
    Metric,
    Pair,
    Picture,
    Split,
    Stimulus,
    Task,
    Training,
)

LEVELS, AHEAD = 12, 2
RMSE = Metric(name="rmse", better="lower", unit="kW")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes. past: values of a window."""

    past: int = 8
    windows: int = 60
    batch: int = 20
    epochs: int = 3


def tiny() -> Config:
    """Sixty windows of eight values."""
    return Config()


def batches(config: Config, split: Split, epoch: int) -> Iterator[Pair]:
    """Yield (values as spikes T B LEVELS, the next values B H)."""
    rng = np.random.default_rng([("train", "val", "test").index(split), 0])
    start = torch.from_numpy(rng.random(config.windows))
    if split == "train":
        start = start[torch.from_numpy(np.random.default_rng(epoch).permutation(len(start)))]
    time = torch.arange(config.past + AHEAD)[:, None]
    series = 0.5 + 0.45 * torch.sin(2 * torch.pi * (start + time / 9))
    level = (series * LEVELS).long()
    for some in torch.arange(config.windows).split(config.batch):
        x = F.one_hot(level[: config.past, some], LEVELS).float()
        yield x, series[config.past :, some].T.float()


def build(_: Config) -> nn.Module:
    """Return a fresh network. Input T B LEVELS, output T B H."""
    return Stack(
        fc1=nn.Linear(LEVELS, 24, bias=False),
        hidden=Spiking(LIF(tau=0.003, threshold=0.3)),
        fc2=nn.Linear(24, AHEAD, bias=False),
        forecast=Spiking(LI(tau=0.003)),
    )


def decode(config: Config, model: nn.Module, outputs: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG001
    """Return the forecast B H: the last membrane."""
    return outputs["forecast"][-1]


def loss(config: Config, model: nn.Module, batch: Pair, at: float) -> Tensor:  # noqa: ARG001
    """Return the mean squared error."""
    return F.mse_loss(model(batch[0])[0][-1], batch[1])


def measure(config: Config, answers: Tensor, targets: Tensor) -> dict[str, float]:  # noqa: ARG001
    """Return the root mean square of the error [kW]."""
    return {"rmse": float((answers - targets).double().square().mean().sqrt())}


@torch.no_grad()
def measured(config: Config, model: nn.Module, split: Split) -> dict[str, float]:
    """Return the error on a split."""
    found = [(model(x)[0][-1], y) for x, y in batches(config, split, 0)]
    answers, targets = (torch.cat(parts) for parts in zip(*found, strict=True))
    return measure(config, answers, targets)


def evaluate(run: Run, model: nn.Module) -> Findings:
    """Return the error on the test split, and a picture."""
    file = io.BytesIO()
    Image.new("L", (4, 4), 255).save(file, "PNG")
    write_bytes(run.folder / "forecast.png", file.getvalue())
    shown = Picture(file="forecast.png", title="Forecasts", caption="None is left out.")
    found = measured(run.config, model, "test")
    return Findings(values=found, n=run.config.windows, pictures=(shown,))


def stimuli(config: Config, model: nn.Module, split: Split) -> Iterator[Stimulus]:  # noqa: ARG001
    """Yield the past as spikes, and the values that follow."""
    for x, y in batches(config, split, 0):
        yield Stimulus({"input": x}, y)


def sections(run: Run, evaluation: Mapping[str, Any]) -> list[Html]:  # noqa: ARG001
    """Return a section that this task alone has."""
    told = f"An error of {RMSE.text(evaluation['rmse'])} at all horizons together."
    return [html.section("Skill of the forecast", html.paragraph(told))]


TASK = Task(
    summary="the next values of a series",
    configs={"tiny": tiny},
    training=Training(
        build=build,
        plan=lambda config: Plan(epochs=config.epochs, lr=1e-2),
        steps=lambda config: config.windows // config.batch,
        batches=batches,
        loss=loss,
        validation=RMSE,
        validate=lambda config, model: measured(config, model, "val")["rmse"],
    ),
    deployment=Deployment(part=lambda _, model: model, stimuli=stimuli),
    evaluation=Evaluation(
        metrics=(RMSE,),
        evaluate=evaluate,
        decode=decode,
        measure=measure,
        describe=lambda _, answers, targets: [
            f"{y[0]:.2f} → {z[0]:.2f}" for z, y in zip(answers, targets, strict=True)
        ],
        reading="Captions: true value → forecast, one step ahead.",
        sections=sections,
    ),
)
