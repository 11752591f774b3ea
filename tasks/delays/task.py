"""Classes in the times of spikes, with learned, fixed and no delays.

    spikes -> linear layer, with delays -> LIF -> dense -> read-out

The class with the highest mean read-out wins.
Axes: T ticks, B batch, C channels, K classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from neuro.base.bounds import Count, Positive
from neuro.base.units import Seconds, Ticks
from neuro.neurons import LI, LIF
from neuro.nn import Spiking, Stack
from tasks.delays.data import SOURCES, DataSizes, Name, read
from tasks.images.classification.classifier import Answers, make_classifier
from tasks.images.classification.data import iterate_indices, make_dummy_batch
from tasks.images.delayed import Delays, explain_unpriced, list_controls, make_linear
from tasks.images.yinyang import loss, scores
from tasks.runs.configuration import TrainingConfig, make_plan, require_sound
from tasks.runs.names import SUMMARIES
from tasks.runs.task import Pair, Split


@dataclass(frozen=True, kw_only=True)
class DelayConfig(TrainingConfig):
    """One experiment on delays."""

    data: Name = "intervals"
    """What the spikes mean, see :mod:`tasks.delays.data`."""
    delays: Delays = "learned"
    """Delays of the first synapses: learned, drawn and constant, or none."""
    kind: Literal["axonal", "synaptic"] = "synaptic"
    """One delay per channel, or per synapse."""
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
        return self.source.ticks + self.most + 10

    @property
    def source(self) -> DataSizes:
        """The sizes of the data."""
        return SOURCES[self.data]


def learned() -> DelayConfig:
    """Learned delays, in 800 steps."""
    return DelayConfig()


def fixed() -> DelayConfig:
    """Random delays that stay as they are."""
    return replace(learned(), delays="fixed")


def none() -> DelayConfig:
    """No delays."""
    return replace(learned(), delays="none")


def yinyang() -> DelayConfig:
    """Yin-Yang points in 800 steps."""
    return replace(learned(), data="yinyang", batch=50, epochs=8)


def digits() -> DelayConfig:
    """Digits in 840 steps, with a delay for each pixel."""
    return replace(learned(), data="digits", kind="axonal", hidden=64, batch=50, epochs=12)


def vowels() -> DelayConfig:
    """Speakers of Japanese vowels in 800 steps."""
    return replace(learned(), data="vowels", batch=27, epochs=100)


def tiny() -> DelayConfig:
    """A short training, for a look at the task."""
    return replace(learned(), epochs=4)


def count_steps(config: DelayConfig) -> int:
    """Return the batches of an epoch."""
    return config.source.samples // config.batch


def build(config: DelayConfig) -> nn.Module:
    """Return a new network. Input T B C, output T B K."""
    require_sound(config)
    dt, source = Seconds(config.dt), config.source
    first = make_linear(
        config.delays,
        (source.channels, config.hidden),
        Ticks(config.most),
        soft_steps=config.epochs * count_steps(config) // 2,
        kind=config.kind,
    )
    # Some spikes within tau make a neuron fire.
    unit = 2 / min(source.channels, 64)
    nn.init.uniform_(first.weight, 0.3 * unit, unit)
    nn.init.zeros_(first.get_parameter("bias"))
    return Stack(
        first=first,
        hidden=Spiking(LIF(tau=config.tau, reset="hard"), dt),
        second=nn.Linear(config.hidden, len(source.classes), bias=False),
        readout=Spiking(LI(tau=config.tau_out, gain=30.0), dt),
    )


def batches(config: DelayConfig, split: Split, epoch: int) -> Iterator[Pair]:
    """Yield (spikes T B C, labels B); the epoch seeds the order in training."""
    part = read(config.data, split, config.seed_of_data)
    for indices in iterate_indices(len(part.labels), config, split, epoch, 500):
        spikes = torch.from_numpy(part.spikes[:, indices]).float()
        rest = config.ticks - len(spikes)
        yield F.pad(spikes, (0, 0, 0, 0, 0, rest)), torch.from_numpy(part.labels[indices])


TASK = make_classifier(
    summary=SUMMARIES["delays"],
    about="The times of spikes tell a class: an interval, a part of the Yin-Yang sign, a digit "
    "or a speaker. The hidden neurons forget within a few ticks, so they need delays that let "
    "the spikes of one class arrive together.",
    configs={
        make.__name__: make for make in (tiny, learned, fixed, none, yinyang, digits, vowels)
    },
    build=build,
    plan=make_plan,
    steps=count_steps,
    batches=batches,
    dummy_batch=lambda config: make_dummy_batch(config, (config.source.channels,)),
    loss=loss,
    answers=lambda config: Answers(classes=config.source.classes, scores=scores),
    controls=list_controls,
    unpriced=explain_unpriced,
    seed_changes="the initial weights and delays; order follows from epoch and seed_of_data",
)
