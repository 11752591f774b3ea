"""A throw-away task: a continuing stream of symbols, whose state goes from batch to batch.

A text is cut into B lanes; each batch is the next T symbols of every lane, one a tick. The
network says at each tick which symbol comes next. Axes: T ticks, B lanes, K symbols.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.io.run_folder import Run
from neuro.neurons import LI, LIF
from neuro.nn import Spiking, Stack
from neuro.training import Plan
from tasks.runs.task import (
    Deployment,
    Evaluation,
    Findings,
    Metric,
    Pair,
    Split,
    Stimulus,
    Task,
    Training,
)

K = 3
BITS = Metric(name="bits_per_symbol", better="lower", unit="bits", format=".3f")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes. length: of the text. ticks: of a batch."""

    length: int = 600
    lanes: int = 6
    ticks: int = 10
    epochs: int = 3


def tiny() -> Config:
    """A text of 600 symbols."""
    return Config()


def symbols(config: Config, split: Split) -> Tensor:
    """Return a text, cut into lanes: T B; a symbol often follows from the two before it."""
    rng = np.random.default_rng(("train", "val", "test").index(split))
    text = [0, 1]
    for chance in rng.random(config.length - 2):
        text.append((text[-1] + text[-2] + 1) % K if chance < 0.9 else int(10 * chance) % K)
    return torch.tensor(text).reshape(config.lanes, -1).T


def batches(config: Config, split: Split, epoch: int) -> Iterator[Pair]:  # noqa: ARG001
    """Yield (symbols T B K as spikes, the next symbols T B), in the order of the text."""
    text = symbols(config, split)
    for k in range(0, len(text) - config.ticks, config.ticks):
        x, y = text[k : k + config.ticks], text[k + 1 : k + 1 + config.ticks]
        yield F.one_hot(x, K).float(), y


def build(_: Config) -> nn.Module:
    """Return a fresh network. Input T B K, output T B K."""
    return Stack(
        fc1=nn.Linear(K, 24, bias=False),
        hidden=Spiking(LIF(tau=0.004, threshold=0.3)),
        fc2=nn.Linear(24, K, bias=False),
        out=Spiking(LI(tau=0.002)),
    )


def cross_entropy(y: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy over ticks and lanes [nat]."""
    return F.cross_entropy(3 * y.flatten(0, 1), targets.flatten())


def loss(
    _: Config, model: nn.Module, batch: Pair, at: float, state: tuple | None
) -> tuple[Tensor, tuple]:
    """Return the loss, and the state of the network after the batch."""
    del at
    x, targets = batch
    y, state = model(x, state)
    return cross_entropy(y, targets), state


@torch.no_grad()
def bits(config: Config, model: nn.Module, split: Split) -> float:
    """Return bits per symbol of a split, one stream from its first symbol to its last."""
    state, found = None, []
    for x, targets in batches(config, split, 0):
        y, state = model(x, state)
        found.append(float(cross_entropy(y, targets)))
    return float(np.mean(found)) / math.log(2)


def evaluate(run: Run, model: nn.Module) -> Findings:
    """Return bits per symbol of the test text."""
    n = symbols(run.config, "test").numel()
    return Findings(values={"bits_per_symbol": bits(run.config, model, "test")}, n=n)


def stimuli(config: Config, model: nn.Module, split: Split) -> Iterator[Stimulus]:  # noqa: ARG001
    """Yield windows of the text from rest; what follows each symbol, B T."""
    for x, targets in batches(config, split, 0):
        yield Stimulus({"input": x}, targets.T)


def decode(config: Config, model: nn.Module, outputs: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG001
    """Return the logits of the next symbol, B T K."""
    return outputs["out"].transpose(0, 1)


def measure(config: Config, answers: Tensor, targets: Tensor) -> dict[str, float]:  # noqa: ARG001
    """Return bits per symbol."""
    return {"bits_per_symbol": float(cross_entropy(answers, targets)) / math.log(2)}


TASK = Task(
    summary="the next symbol of a stream",
    configs={"tiny": tiny},
    training=Training(
        build=build,
        plan=lambda config: Plan(epochs=config.epochs, lr=2e-2),
        steps=lambda config: (config.length // config.lanes - 1) // config.ticks,
        batches=batches,
        batch_axis=1,
        loss=loss,
        carry="epoch",
        validation=BITS,
        validate=lambda config, model: bits(config, model, "val"),
    ),
    deployment=Deployment(part=lambda _, model: model, stimuli=stimuli),
    evaluation=Evaluation(metrics=(BITS,), evaluate=evaluate, decode=decode, measure=measure),
)
