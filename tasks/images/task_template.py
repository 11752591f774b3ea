"""The task that ``neuro new`` writes: a classifier of the embedded digits.

    neuro train my_task.py:tiny      then eval, simulate, export, verify, energy, report RUN

Change what you like. The file defines TASK; a run keeps a copy. Axes: T ticks, B samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from drivers import mnist
from neuro import ALIF, LI, Spiking, Stack, Ticks
from neuro.spikes.codes import rate
from neuro.training import Plan
from tasks.images.classification.classifier import Answers, make_classifier
from tasks.runs.task import Pair, Split


@dataclass(frozen=True, kw_only=True)
class Config:
    """What an experiment can vary."""

    ticks: int = 6
    batch: int = 50
    epochs: int = 8
    """Passes over the data."""
    lr: float = 5e-3
    train: int = 3500
    """Training digits; the last 500 of the 4,000 select the weights."""


def tiny() -> Config:
    """Few digits, for seconds on a CPU."""
    return Config(train=500, epochs=3)


def digits(config: Config, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return images N 28 28 and labels N; "test" is never trained on."""
    d = mnist.default("test" if split == "test" else "train", environ={})
    part = {"train": slice(config.train), "val": slice(3500, None), "test": slice(None)}[split]
    return d.images[part], d.labels[part]


def batches(config: Config, split: Split, _: int) -> Iterator[Pair]:
    """Yield (spikes T B 784, labels B); seed and epoch of a training say in which order."""
    images, labels = digits(config, split)
    order = torch.randperm(len(labels)) if split == "train" else torch.arange(len(labels))
    for i in range(0, len(labels), config.batch):
        some = order[i : i + config.batch].numpy()
        x = torch.from_numpy(images[some].reshape(len(some), -1) / 255)
        yield rate(x, Ticks(config.ticks)), torch.from_numpy(labels[some])


def build(_: Config) -> nn.Module:
    """Return a fresh network: dense - ALIF - dense - leaky read-out, T B 10."""
    return Stack(
        fc1=nn.Linear(784, 64, bias=False),
        hidden=Spiking(ALIF()),
        fc2=nn.Linear(64, 10, bias=False),
        out=Spiking(LI(tau=0.02)),
    )


TASK = make_classifier(  # for another kind, build a tasks.runs.task.Task from its three parts
    summary="digits through one hidden layer",
    configs={"tiny": tiny, "full": Config},  # neuro train FILE:NAME
    build=build,
    plan=lambda config: Plan(epochs=config.epochs, lr=config.lr),
    steps=lambda config: -(-config.train // config.batch),  # the last may be smaller
    batches=batches,
    loss=lambda _, y, labels: F.cross_entropy(y.mean(0), labels),
    answers=Answers(classes=tuple("0123456789"), scores=lambda y: y.mean(0)),
    seed_changes="the initial weights, and the order of the digits in training",
)
