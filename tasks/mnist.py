"""Handwritten digits through a small convolutional network of adaptive neurons.

    image -> rate code -> {conv - ALIF - average pool} x 2 -> dense -> leaky read-out

Bright pixels spike often. The class whose read-out is highest on average over the ticks wins.
Axes: T ticks, B batch, K classes.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from drivers import mnist
from drivers.mnist import Digits
from neuro.codes import rate
from neuro.layers import Spiking, Stack
from neuro.neurons import ALIF, LI
from neuro.train import Batch, Plan
from neuro.units import Seconds, Ticks
from tasks.task import Split, Task


@dataclass(frozen=True, kw_only=True)
class Config:
    """One experiment on digits.

    source: "embedded" digits; or "mnist", "fashion": the full set in $NEURO_DATA.
    ticks: length of a run. channels: of the two convolutions. beta: adaptation of the
    threshold [weight units]. shift: largest random shift in training [pixels]. held: images of
    the training part kept for model selection. train, test: at most so many images (0: all).
    """

    source: Literal["embedded", "mnist", "fashion"] = "embedded"
    ticks: int = 8
    channels: tuple[int, int] = (12, 24)
    beta: float = 0.0
    shift: int = 2
    held: int = 500
    train: int = 0
    test: int = 0
    batch: int = 50
    epochs: int = 12
    lr: float = 5e-3
    seed_of_data: int = 0


def demo() -> Config:
    """What neuro demo trains: 3,500 embedded digits, half a minute on a CPU."""
    return Config()


def tiny() -> Config:
    """The same, smaller: trains in seconds."""
    return replace(
        demo(), ticks=4, channels=(4, 8), train=300, held=100, test=100, batch=20, epochs=2
    )


def full() -> Config:
    """The demo's network on all of MNIST, which $NEURO_DATA must have."""
    return replace(demo(), source="mnist", held=5000, batch=100)


def fashion() -> Config:
    """The same on Fashion-MNIST, which $NEURO_DATA must have."""
    return replace(full(), source="fashion")


def build(config: Config) -> nn.Module:
    """Return a fresh network. Input T B 1 28 28, output T B 10."""
    first, second = config.channels
    beta = config.beta
    return Stack(
        conv1=_conv(1, first),
        alif1=Spiking(ALIF(threshold=0.5, beta=beta)),
        pool1=nn.AvgPool2d(2),
        conv2=_conv(first, second),
        alif2=Spiking(ALIF(threshold=0.5, beta=beta)),
        pool2=nn.AvgPool2d(2),
        flat=nn.Flatten(),
        fc=nn.Linear(second * 5 * 5, 10, bias=False),
        readout=Spiking(LI(tau=Seconds(0.02))),
    )


def _conv(given: int, made: int) -> nn.Conv2d:
    """Return a convolution without bias: silence in, silence out, and nothing to compute."""
    size = 5 if given == 1 else 3
    conv = nn.Conv2d(given, made, size, bias=False)
    nn.init.normal_(conv.weight, std=math.sqrt(4 / (given * size * size)))
    return conv


@functools.lru_cache(maxsize=4)
def _part(source: str, part: Literal["train", "test"]) -> Digits:
    if source == "embedded":
        return mnist.default(part, environ={})
    return mnist.official(part, "fashion" if source == "fashion" else "mnist")


def digits(config: Config, split: Split) -> Digits:
    """Return a split: "val" is held out of the training part; "test" is never trained on."""
    if split == "test":
        return _take(_part(config.source, "test"), slice(0, config.test or None))
    part = _part(config.source, "train")
    if len(part.labels) < config.held + config.batch:
        raise ValueError(
            f"{part.source}: too few for {config.held} held for model selection and one batch "
            f"of {config.batch}; use the whole data set, or mnist:tiny"
        )
    if split == "val":
        return _take(part, slice(len(part.labels) - config.held, None))
    return _take(part, slice(0, min(config.train or 10**9, len(part.labels) - config.held)))


def _take(d: Digits, which: slice) -> Digits:
    return replace(d, images=d.images[which], labels=d.labels[which])


def steps(config: Config) -> int:
    """Return the number of batches in an epoch of training; a last part batch is left out."""
    return len(digits(config, "train").labels) // config.batch


def batches(config: Config, split: Split, epoch: int) -> Iterator[Batch]:
    """Yield (spikes T B 1 28 28, labels B); training is shuffled and shifted by epoch."""
    d = digits(config, split)
    if split != "train":
        for i in range(0, len(d.labels), 100):
            yield _batch(d.images[i : i + 100], d.labels[i : i + 100], config)
        return
    rng = np.random.default_rng([config.seed_of_data, epoch])
    order = rng.permutation(len(d.labels))
    for step in range(steps(config)):
        some = order[step * config.batch : (step + 1) * config.batch]
        yield _batch(_shifted(d.images[some], config.shift, rng), d.labels[some], config)


def _batch(images: np.ndarray, labels: np.ndarray, config: Config) -> Batch:
    x = torch.from_numpy(images[:, None].astype(np.float32) / 255)
    return rate(x, Ticks(config.ticks)), torch.from_numpy(labels)


def _shifted(images: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return the images, each moved by up to ``most`` pixels either way."""
    padded = np.pad(images, ((0, 0), (most, most), (most, most)))
    height, width = images.shape[1:]
    return np.stack(
        [
            p[y : y + height, x : x + width]
            for p, (y, x) in zip(
                padded, rng.integers(0, 2 * most + 1, (len(images), 2)), strict=True
            )
        ]
    )


def scores(y: Float[Tensor, "T B K"]) -> Float[Tensor, "B K"]:
    """Return the mean of the read-out over the ticks."""
    return y.mean(0)


def loss(y: Float[Tensor, "T B K"], labels: Int64[Tensor, " B"]) -> Float[Tensor, ""]:
    """Return the cross-entropy of the scores."""
    return F.cross_entropy(scores(y), labels)


TASK = Task(
    summary="handwritten digits, rate code, two convolutions of ALIF neurons",
    configs={"tiny": tiny, "demo": demo, "full": full, "fashion": fashion},
    build=build,
    input_shape=lambda config: (1, 28, 28),  # noqa: ARG005
    plan=lambda config: Plan(epochs=config.epochs, lr=config.lr),
    steps=steps,
    batches=batches,
    loss=loss,
    scores=scores,
    classes=tuple("0123456789"),
)
