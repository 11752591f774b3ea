"""Handwritten digits through convolutional networks of adaptive neurons.

    image -> code -> {conv - ALIF - pool} x 2 -> dense -> answer

See :mod:`tasks.images.classification.network`. Axes: T ticks, B batch, K classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Literal

import numpy as np

from drivers import augment, mnist
from neuro.base.bounds import Count, Natural, NotNegative
from neuro.nn.layers import Stack
from tasks.images.classification import data as image_data, network as image_net
from tasks.images.classification.classifier import Answers, make_classifier
from tasks.images.classification.data import (
    SEED_CHANGES,
    ImageConfig,
    Labelled,
    take_split,
)
from tasks.runs.configuration import make_plan
from tasks.runs.names import SUMMARIES
from tasks.runs.task import Pair, Split

IMAGE = (1, mnist.SIDE, mnist.SIDE)


@dataclass(frozen=True, kw_only=True)
class MnistConfig(ImageConfig):
    """One experiment on digits."""

    source: Literal["embedded", "mnist", "fashion"] = "embedded"
    """Embedded digits, or the full "mnist" or "fashion" set from $NEURO_DATA."""
    held: Count = 500
    shift: Natural = 2
    """Largest random shift in training [pixels]."""
    warp: NotNegative = 0.0
    """Strength of random affine maps that replace the shift; 1 as in Fang et al. 2021."""


def demo() -> MnistConfig:
    """The network of neuro demo: 3,500 embedded digits, half a minute on a CPU."""
    return MnistConfig(blocks=(12, 0, 24, 0), first=5, padded=False, norm=False)


def tiny() -> MnistConfig:
    """A smaller network: trains in seconds."""
    return replace(
        demo(),
        ticks=4,
        blocks=(4, 0, 8, 0),
        train=300,
        held=100,
        test=100,
        batch=20,
        epochs=2,
    )


def relu() -> MnistConfig:
    """The network of the demo as an ANN, for neuro convert."""
    return replace(demo(), ticks=1, code="direct", neuron="relu")


def counted() -> MnistConfig:
    """The same with counted ReLUs, which lose less by conversion."""
    return replace(relu(), neuron="counted")


def full() -> MnistConfig:
    """The network of the demo on all of MNIST, from $NEURO_DATA."""
    return replace(demo(), source="mnist", held=5000, batch=100)


def fashion() -> MnistConfig:
    """The same on Fashion-MNIST, from $NEURO_DATA."""
    return replace(full(), source="fashion")


def fast() -> MnistConfig:
    """A network for all of MNIST that two cores train in ten minutes."""
    return MnistConfig(
        source="mnist",
        ticks=4,
        blocks=(24, 0, 48, 0),
        first=5,
        padded=False,
        held=5000,
        compared=1000,
        warp=0.4,
        batch=100,
        epochs=9,
        lr=5e-3,
        warm=0.1,
    )


def fast_fixed() -> MnistConfig:
    """The same with fixed thresholds, to measure the effect of learning them."""
    return replace(fast(), threshold="fixed")


def fast_adaptive() -> MnistConfig:
    """The same with thresholds that also rise with every spike (Bellec et al. 2018)."""
    return replace(fast(), beta=0.1)


def paper() -> MnistConfig:
    """The network of Qiu et al. 2024 (arXiv 2406.03046) at full size, for a GPU."""
    return MnistConfig(
        source="mnist",
        code="direct",
        blocks=(128, 0, 128, 0),
        pool="max",
        hidden=(2048,),
        dropout=(0.5, 0.5),
        vote=10,
        held=5000,
        compared=100,
        warp=1.0,
        batch=16,
        epochs=64,
        lr=1e-3,
    )


def build(config: MnistConfig) -> Stack:
    """Return a new network. Input T B 1 28 28, output T B 10 (100 with 10 voters per class)."""
    return image_net.build(config, IMAGE, mnist.CLASSES)


@lru_cache(maxsize=4)
def read_digits(source: str, part: Literal["train", "test"]) -> Labelled:
    """Return a part of a source of :class:`MnistConfig`."""
    if source == "embedded":
        d = mnist.default(part, environ={})
    else:
        d = mnist.official(part, "fashion" if source == "fashion" else "mnist")
    return Labelled(images=d.images[:, None], labels=d.labels, source=d.source)


def digits(config: MnistConfig, split: Split) -> Labelled:
    """Return a split; "val" is the held-out end of the training part."""
    return take_split(partial(read_digits, config.source), config, split, "mnist:tiny")


def batches(config: MnistConfig, split: Split, epoch: int) -> Iterator[Pair]:
    """Yield (stimulus T B 1 28 28, labels B); the epoch seeds the augmentation in training."""

    def distort(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if config.warp:
            w = config.warp
            return augment.warped(images, rng, 30 * w, 0.15 * w, (1 - 0.15 * w, 1 + 0.11 * w))
        return augment.shifted(images, config.shift, rng)

    return image_data.batches(digits(config, split), config, distort, split, epoch)


TASK = make_classifier(
    summary=SUMMARIES["mnist"],
    about=lambda config: (
        "The image of a digit (in fashion: of a garment) goes in as "
        f"{'spikes' if config.code == 'rate' else 'grey values'}, and one of ten classes comes "
        f"out. {image_net.SAYS[config.neuron == 'alif']}"
    ),
    configs={
        make.__name__: make
        for make in (
            *(tiny, demo, relu, counted, full, fashion, fast, fast_fixed, fast_adaptive),
            paper,
        )
    },
    build=build,
    plan=make_plan,
    steps=lambda config: len(digits(config, "train").labels) // config.batch,
    batches=batches,
    dummy_batch=lambda config: image_data.make_dummy_batch(config, IMAGE),
    loss=image_net.loss,
    answers=Answers(classes=tuple("0123456789"), scores=image_net.scores),
    unit=image_data.find_unit,
    compared=lambda config: config.compared,
    seed_changes=SEED_CHANGES,
    controls=image_data.list_controls,
)
