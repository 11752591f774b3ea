"""The interval task: the time between two spikes, with learned, fixed and no delays.

    two channels, one spike each -> linear layer, with delays -> LIF -> dense -> read-out

The class with the highest mean read-out wins.
Axes: T ticks, B batch, K classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drivers.intervals import INTERVALS, STARTS, enumerate_intervals
from neuro.base.bounds import Count, Positive
from neuro.base.units import Seconds, Ticks
from neuro.neurons import LI, LIF
from neuro.nn import DelayedLinear, Spiking, Stack
from neuro.training.shuffle import shuffle_batches
from tasks.images.classification.classifier import Answers, make_classifier
from tasks.runs.configuration import TrainingConfig, make_plan, require_sound
from tasks.runs.names import SUMMARIES
from tasks.runs.task import Pair, Split


@dataclass(frozen=True, kw_only=True)
class IntervalConfig(TrainingConfig):
    """One experiment on intervals between two spikes."""

    delays: Literal["learned", "fixed", "none"] = "learned"
    """Delays of the first synapses: learned, drawn and constant, or none."""
    most: Count = 20
    """Longest delay [ticks]."""
    hidden: Count = 16
    """Hidden neurons."""
    dt: Positive = 1e-3
    """Length of a tick [s]."""
    tau: Positive = 2e-3
    """Time constant of the hidden membranes [s]."""
    tau_out: Positive = 0.02
    """Time constant of the read-out [s]."""
    batch: Count = 32
    epochs: Count = 80
    lr: Positive = 5e-3

    @property
    def ticks(self) -> int:
        """Length of a run: the last spike, delayed, and a few ticks for its effect."""
        return STARTS + INTERVALS[-1] + self.most + 10


def learned() -> IntervalConfig:
    """Learned delays, in 800 steps."""
    return IntervalConfig()


def fixed() -> IntervalConfig:
    """Random delays that stay as they are."""
    return replace(learned(), delays="fixed")


def none() -> IntervalConfig:
    """No delays."""
    return replace(learned(), delays="none")


def tiny() -> IntervalConfig:
    """A short training, for a look at the task."""
    return replace(learned(), epochs=4)


def count_steps(config: IntervalConfig) -> int:
    """Return the batches of an epoch."""
    return len(enumerate_intervals("train").labels) // config.batch


def build(config: IntervalConfig) -> nn.Module:
    """Return a new network. Input T B 2, output T B 10."""
    require_sound(config)
    dt = Seconds(config.dt)
    first: nn.Linear | DelayedLinear = nn.Linear(2, config.hidden)
    if config.delays != "none":
        soft = config.epochs * count_steps(config) // 2
        first = DelayedLinear(
            2,
            config.hidden,
            Ticks(config.most),
            soft_steps=soft if config.delays == "learned" else 0,
            kind="synaptic",
        )
        first.late.requires_grad_(config.delays == "learned")
    nn.init.uniform_(first.weight, 0.3, 1.0)
    nn.init.zeros_(first.get_parameter("bias"))
    return Stack(
        first=first,
        hidden=Spiking(LIF(tau=config.tau, reset="hard"), dt),
        second=nn.Linear(config.hidden, len(INTERVALS), bias=False),
        readout=Spiking(LI(tau=config.tau_out, gain=30.0), dt),
    )


def batches(config: IntervalConfig, split: Split, epoch: int) -> Iterator[Pair]:
    """Yield (spikes T B 2, labels B); the epoch seeds the order in training."""
    part = enumerate_intervals(split)
    count = len(part.labels)
    rng = np.random.default_rng([config.seed_of_data, epoch])
    order = (
        shuffle_batches(count, config.batch, rng) if split == "train" else [np.arange(count)]
    )
    for indices in order:
        times = torch.from_numpy(part.times[indices])
        spikes = F.one_hot(times, config.ticks).permute(2, 0, 1).float()
        yield spikes, torch.from_numpy(part.labels[indices])


def make_dummy_batch(config: IntervalConfig) -> Pair:
    """Return a training batch without spikes."""
    labels = torch.zeros(config.batch, dtype=torch.int64)
    return torch.zeros(config.ticks, config.batch, 2), labels


def scores(y: Tensor) -> Tensor:
    """Return the mean of the read-out over the ticks."""
    return y.mean(0)


def loss(_: IntervalConfig, y: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of the scores."""
    return F.cross_entropy(scores(y), labels)


def list_controls(config: IntervalConfig) -> dict[str, dict[str, str]]:
    """Return the twins of learned delays."""
    if config.delays != "learned":
        return {}
    return {"random delays": {"delays": "fixed"}, "no delays": {"delays": "none"}}


def explain_unpriced(config: IntervalConfig) -> str:
    """Explain why no energy is estimated; "" if it is."""
    if config.delays == "none":
        return ""
    return (
        "no energy is estimated, because how a chip stores synapses with delays of their own "
        "is not known here; intervals:none has no delays"
    )


_CLASSIFIER = make_classifier(
    summary=SUMMARIES["intervals"],
    about="Two channels spike once each, and the network names the interval between both "
    "spikes. Its hidden neurons forget within a few ticks, so they need delays that let the "
    "two spikes of one interval arrive together.",
    configs={"tiny": tiny, "learned": learned, "fixed": fixed, "none": none},
    build=build,
    plan=make_plan,
    steps=count_steps,
    batches=batches,
    dummy_batch=make_dummy_batch,
    loss=loss,
    answers=Answers(classes=[f"{n} ticks" for n in INTERVALS], scores=scores),
    controls=list_controls,
    seed_changes="the initial weights and delays; order follows from epoch and seed_of_data",
)
TASK = replace(
    _CLASSIFIER, deployment=replace(_CLASSIFIER.deployment, unpriced=explain_unpriced)
)
