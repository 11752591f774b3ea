"""The Yin-Yang data set in spike times, for surrogate and exact gradients.

    (x, y, 1 - x, 1 - y) -> one spike each, larger values earlier, and one at the start
    -> dense -> LIF with a synaptic current, hard reset -> dense -> integrating read-out

The class with the highest mean read-out over the ticks wins, so earlier hidden spikes count for
longer. The start spike replaces biases.
Axes: T ticks, B batch, K classes.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from drivers import yinyang
from drivers.yinyang import CLASSES, Points
from neuro.base.bounds import Count, Natural, NotNegative, Positive
from neuro.base.units import Seconds, Ticks
from neuro.eventprop import LEAST
from neuro.io.run_folder import Run
from neuro.neurons import LI, LIF
from neuro.nn.layers import Spiking, Stack
from neuro.spikes.codes import latency
from tasks.images.classification.classifier import Answers, make_classifier
from tasks.images.classification.data import iterate_indices, make_dummy_batch
from tasks.images.classification.examples import make_picture
from tasks.runs.configuration import TrainingConfig, make_plan
from tasks.runs.names import SUMMARIES
from tasks.runs.task import Pair, Picture, Split


@dataclass(frozen=True, kw_only=True)
class YinYangConfig(TrainingConfig):
    """One experiment on the Yin-Yang points."""

    ticks: Count = 100
    """Length of a run [ticks]."""
    dt: Positive = 5e-4
    """Length of a tick [s]."""
    coded: Count = 60
    """First ticks of a run, in which the coordinates spike."""
    hidden: Count = 120
    """Hidden neurons."""
    tau: Positive = 0.02
    """Time constant of the membrane [s]."""
    tau_syn: Positive = 0.005
    """Time constant of the synaptic current [s]."""
    train: Natural = 0
    """Largest number of training points; 0 takes all."""
    test: Natural = 0
    """Largest number of validation points and of test points; 0 takes all."""
    batch: Count = 100
    epochs: Count = 40
    lr: Positive = 3e-3
    least_slope: NotNegative = LEAST
    """Lower bound of slopes at spikes with --gradient eventprop; 0 sets no bound."""
    reset: Literal["soft", "hard"] = "hard"
    """What a spike does to its membrane: subtract the threshold, or set it to zero."""
    tau_out: Positive | None = None
    """Time constant of the read-out [s]; null has no leak."""


def full() -> YinYangConfig:
    """The published sizes: 5,000 points through 4(+1)-120-3 neurons."""
    return YinYangConfig()


def tiny() -> YinYangConfig:
    """A smaller network with ticks twice as long: trains in seconds."""
    return replace(
        full(), ticks=50, dt=1e-3, coded=30, hidden=30, train=500, test=200, batch=50, epochs=4
    )


def xylo() -> YinYangConfig:
    """A network that fits Xylo: leaks of 1/16 and 1/4 a tick, 1/32 of the read-out."""
    dt = 1e-3
    tau, tau_syn, tau_out = (-dt / math.log1p(-leak) for leak in (1 / 16, 1 / 4, 1 / 32))
    times = replace(full(), ticks=50, dt=dt, coded=30, tau=tau, tau_syn=tau_syn)
    return replace(times, tau_out=tau_out, reset="soft", epochs=10)


def build(config: YinYangConfig) -> nn.Module:
    """Return a new network. Input T B 5, output T B 3."""
    dt = Seconds(config.dt)
    # After an input spike V peaks at several times its weight, so few input spikes cause one.
    unit = 0.15 * config.dt / 5e-4
    first = nn.Linear(5, config.hidden, bias=False)
    nn.init.normal_(first.weight, mean=unit / 3, std=unit)
    second = nn.Linear(config.hidden, len(CLASSES), bias=False)
    nn.init.normal_(second.weight, std=1 / math.sqrt(config.hidden))
    tau_out = math.inf if config.tau_out is None else config.tau_out
    return Stack(
        fc1=first,
        hidden=Spiking(LIF(tau=config.tau, tau_syn=config.tau_syn, reset=config.reset), dt),
        fc2=second,
        readout=Spiking(LI(tau=tau_out, gain=5.0), dt),
    )


@functools.lru_cache(maxsize=6)
def _part(split: Split, seed: int) -> Points:
    return yinyang.generate(split, seed)


def points(config: YinYangConfig, split: Split) -> Points:
    """Return a split, cut to the size in the configuration."""
    part = _part(split, config.seed_of_data)
    most = {"train": config.train, "val": config.test, "test": config.test}[split] or None
    return replace(part, points=part.points[:most], labels=part.labels[:most])


def batches(config: YinYangConfig, split: Split, epoch: int) -> Iterator[Pair]:
    """Yield (spikes T B 5, labels B); the epoch seeds the order in training."""
    part = points(config, split)
    for indices in iterate_indices(len(part.labels), config, split, epoch, 500):
        start = torch.ones(len(indices), 1, dtype=torch.float64)
        x = torch.cat([torch.from_numpy(part.points[indices]), start], 1)
        rest = config.ticks - config.coded
        spikes = F.pad(latency(x, Ticks(config.coded)), (0, 0, 0, 0, 0, rest))
        yield spikes, torch.from_numpy(part.labels[indices])


def scores(y: Float[Tensor, "T B K"]) -> Float[Tensor, "B K"]:
    """Return the mean of the read-out over the ticks."""
    return y.mean(0)


def loss(
    _: object, y: Float[Tensor, "T B K"], labels: Int64[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the scores."""
    return F.cross_entropy(scores(y), labels)


def draw_points(run: Run, _: Tensor, answers: Tensor, titles: Sequence[str]) -> Picture:
    """Draw the first test points in the colours of their answers; wrong ones get a cross."""
    from matplotlib.figure import Figure

    x, y = points(run.config, "test").points[: len(answers), :2].T
    wrong = ["✗" in title for title in titles]
    figure = Figure((3.2, 3.2), layout="constrained")
    ax = figure.subplots()
    ax.scatter(x, y, s=12, c=answers.numpy(), cmap="tab10")
    ax.scatter(x[wrong], y[wrong], s=9, c="black", marker="x", linewidths=0.8)
    ax.set(aspect="equal", xlabel="x", ylabel="y")
    return make_picture(run, figure, "Points in the colours of their answers; × is wrong.")


TASK = make_classifier(
    summary=SUMMARIES["yinyang"],
    about="A point of the plane goes in as the times of a few spikes, and the part of the "
    "Yin-Yang sign that holds it comes out. The hidden layer consists of spiking neurons.",
    configs={"tiny": tiny, "full": full, "xylo": xylo},
    build=build,
    plan=make_plan,
    steps=lambda config: len(points(config, "train").labels) // config.batch,
    batches=batches,
    dummy_batch=lambda config: make_dummy_batch(config, (5,)),
    loss=loss,
    answers=Answers(classes=CLASSES, scores=scores),
    eventprop=lambda config: config.least_slope,
    draw=draw_points,
    seed_changes="the initial weights; points and order follow from the epoch and seed_of_data",
)
