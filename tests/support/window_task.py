"""A throw-away task like driving: windows of images, host features, two inputs and two outputs.

    images -> convolution (host) -> binary features -> "camera" -\\           /-> "steering"
                                               speed -> "speed" ---> hidden -<
                                                                              \\-> "brake"

Axes: T frames of a window, one a tick; B windows, F features.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.base.units import Seconds
from neuro.graph import Dense, Edge, Graph, Input
from neuro.io.run_folder import Run
from neuro.neurons import LI, LIF
from neuro.nn import Net
from neuro.training import Plan
from tasks.runs.task import (
    Deployment,
    Evaluation,
    Findings,
    Metric,
    Split,
    Stimulus,
    Table,
    Task,
    Training,
)

FEATURES, HIDDEN, SPEEDS, SIDE = 16, 20, 4, 8
ERROR = Metric(name="steering_error", better="lower", unit="°", format=".2f")
RIGHT = Metric(name="brake_accuracy", format=".1%")
Window = dict[str, dict[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes. frames: of a window."""

    frames: int = 5
    windows: int = 60
    batch: int = 20
    epochs: int = 2


def tiny() -> Config:
    """Sixty windows of five frames."""
    return Config()


def window(config: Config, split: Split) -> Window:
    """Return a split: a bright bar, whose place says where to steer; fast means brake."""
    rng = np.random.default_rng(("train", "val", "test").index(split))
    n, t = config.windows, config.frames
    place, speed = rng.integers(0, SIDE, n), rng.integers(0, SPEEDS, n)
    images = 0.1 * rng.random((n, t, 1, SIDE, SIDE))
    images[np.arange(n), ..., place] += 1
    return {
        "x": {"images": torch.from_numpy(images).float(), "speed": torch.from_numpy(speed)},
        "y": {
            "steering": torch.from_numpy(10.0 * (place - 3.5)).float(),
            "brake": torch.from_numpy((speed > 1).astype(np.int64)),
        },
    }


def batches(config: Config, split: Split, epoch: int) -> Iterator[Window]:
    """Yield windows by batch: {x: {images B T 1 H W, speed B}, y: {steering, brake: B}}."""
    whole, n = window(config, split), config.windows
    order = torch.arange(n)
    if split == "train":
        order = torch.from_numpy(np.random.default_rng(epoch).permutation(n))
    for some in order.split(config.batch):
        yield {k: {name: v[some] for name, v in part.items()} for k, part in whole.items()}


class Driver(nn.Module):
    """A convolution that a host computes, and the Net that a chip runs."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(1, 1, 3, stride=2, padding=1)

        def dense(a: int, b: int) -> Dense:
            return Dense(weight=(torch.randn(a, b) / b**0.5).numpy(), bias=None)

        nodes = {
            "camera": Input(shape=(FEATURES,)),
            "speed": Input(shape=(SPEEDS,)),
            "see": dense(HIDDEN, FEATURES),
            "feel": dense(HIDDEN, SPEEDS),
            "hidden": LIF(tau=0.003, threshold=0.4),
            "to_steering": dense(1, HIDDEN),
            "to_brake": dense(2, HIDDEN),
            "steering": LI(tau=0.003),
            "brake": LI(tau=0.003),
        }
        ways = ("camera see hidden", "speed feel hidden")
        ways += ("hidden to_steering steering", "hidden to_brake brake")
        edges = [
            (a, b) for way in ways for a, b in zip(way.split(), way.split()[1:], strict=False)
        ]
        self.net = Net(
            Graph(nodes=nodes, edges=tuple(Edge(*e) for e in edges), dt=Seconds(1e-3))
        )

    def chip_inputs(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what the host sends: features T B F, speed T B S, both of zeros and ones."""
        images, speed = x["images"], x["speed"]
        soft = torch.sigmoid(8 * self.features(images.flatten(0, 1)) - 2)
        soft = soft.flatten(1).unflatten(0, images.shape[:2]).transpose(0, 1)
        hard = (soft > 0.5).float() + soft - soft.detach()  # a straight-through gradient
        return {
            "camera": hard if self.training else hard.round(),
            "speed": F.one_hot(speed, SPEEDS).float().expand(images.shape[1], -1, -1),
        }

    def forward(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return both outputs, T B 1 and T B 2."""
        activity, _ = self.net(self.chip_inputs(x))
        return {name: activity[name] for name in ("steering", "brake")}


def decode(_: Config, __: nn.Module, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the angle [°], and whether to brake."""
    return {
        "steering": 30 * outputs["steering"].mean(0)[:, 0],
        "brake": outputs["brake"].mean(0).argmax(1),
    }


def loss(config: Config, model: nn.Module, batch: Window, at: float) -> Tensor:
    """Return the squared error of the angle, and the cross-entropy of the brake."""
    del at
    outputs, y = model(batch["x"]), batch["y"]
    angle = decode(config, model, outputs)["steering"]
    return F.mse_loss(angle / 30, y["steering"] / 30) + F.cross_entropy(
        outputs["brake"].mean(0), y["brake"]
    )


def measure(
    config: Config,  # noqa: ARG001
    answers: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
) -> dict[str, float]:
    """Return the mean error of the angle [°], and the share of right brakings."""
    apart = (answers["steering"] - targets["steering"]).abs().double()
    right = (answers["brake"] == targets["brake"]).double()
    return {"steering_error": float(apart.mean()), "brake_accuracy": float(right.mean())}


@torch.no_grad()
def measured(config: Config, model: nn.Module, split: Split) -> dict[str, float]:
    """Return the metrics of a split."""
    (whole,) = [window(config, split)]
    return measure(config, decode(config, model, model(whole["x"])), whole["y"])


def evaluate(run: Run, model: nn.Module) -> Findings:
    """Return the metrics of the test split, and a table."""
    found = measured(run.config, model, "test")
    table = Table(
        title="By side", head=("side", "error"), rows=[["left", found["steering_error"]]]
    )
    return Findings(values=found, n=run.config.windows, tables=(table,))


@torch.no_grad()
def stimuli(config: Config, model: nn.Module, split: Split) -> Iterator[Stimulus]:
    """Yield what the host sends to the chip, and the targets."""
    for batch in batches(config, split, 0):
        yield Stimulus(model.chip_inputs(batch["x"]), batch["y"])  # type: ignore[operator]


TASK = Task(
    summary="steering and braking by windows of images",
    configs={"tiny": tiny},
    training=Training(
        build=lambda _: Driver(),
        plan=lambda config: Plan(epochs=config.epochs, lr=1e-2),
        steps=lambda config: config.windows // config.batch,
        batches=batches,
        batch_axis=0,
        loss=loss,
        validation=ERROR,
        validate=lambda config, model: measured(config, model, "val")["steering_error"],
    ),
    deployment=Deployment(
        part=lambda _, model: model.net,
        stimuli=stimuli,
        host=lambda config, _: {"features": config.frames * FEATURES * 9},
    ),
    evaluation=Evaluation(
        metrics=(ERROR, RIGHT), evaluate=evaluate, decode=decode, measure=measure
    ),
)
