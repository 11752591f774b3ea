"""CIFAR-10 through convolutional networks of adaptive neurons.

    image -> code -> {conv - batch norm - ALIF - pool} x n -> dense -> answer

See :mod:`tasks.images.classification.network`. Axes: T ticks, B batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Literal

import numpy as np

from drivers import augment, cifar
from neuro.base.bounds import Count, Natural
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

CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
IMAGE = (3, cifar.SIDE, cifar.SIDE)


@dataclass(frozen=True, kw_only=True)
class Cifar10Config(ImageConfig):
    """One experiment on colour images."""

    source: Literal["cifar10", "generated"] = "cifar10"
    """The "cifar10" set from $NEURO_DATA, or "generated" gratings."""
    held: Count = 5000
    shift: Natural = 4
    """Largest random shift in training [pixels]."""


def fast() -> Cifar10Config:
    """A network that two cores train in half an hour."""
    return Cifar10Config(
        ticks=4,
        blocks=(32, 0, 64, 0, 128, 0),
        compared=500,
        batch=100,
        epochs=6,
        lr=3e-3,
        warm=0.1,
    )


def tiny() -> Cifar10Config:
    """A smaller network on generated gratings: trains in seconds."""
    return replace(
        fast(),
        source="generated",
        ticks=2,
        blocks=(4, 0, 8, 0),
        train=200,
        held=100,
        test=100,
        compared=20,
        batch=20,
        epochs=2,
    )


def relu() -> Cifar10Config:
    """A small VGG as an ANN, for neuro convert: minutes on two cores."""
    return replace(fast(), ticks=1, code="direct", neuron="relu", compared=2000)


def counted() -> Cifar10Config:
    """The same with counted ReLUs, which lose less by conversion."""
    return replace(relu(), neuron="counted")


def residual() -> Cifar10Config:
    """A small residual network with counted ReLUs, for neuro convert."""
    return replace(counted(), blocks=(32, 32, 0, 64, 64, 0, 128, 128, 0), residual=True)


def paper() -> Cifar10Config:
    """The network of Qiu et al. 2024 (arXiv 2406.03046) at full size, for a GPU."""
    return replace(
        fast(),
        ticks=8,
        code="direct",
        blocks=(256, 256, 256, 0, 256, 256, 256, 0),
        pool="max",
        hidden=(2048,),
        dropout=(0.5,),
        vote=10,
        compared=20,
        batch=16,
        epochs=64,
        lr=1e-3,
        warm=0.0,
    )


def build(config: Cifar10Config) -> Stack:
    """Return a new network. Input T B 3 32 32, output T B 10 (100 with 10 voters per class)."""
    return image_net.build(config, IMAGE, len(CLASSES))


@lru_cache(maxsize=4)
def read_colours(source: str, part: Literal["train", "test"]) -> Labelled:
    """Return a part of a source of :class:`Cifar10Config`."""
    d = cifar.generated(part) if source == "generated" else cifar.official(part)
    # The original order is random, but copies may be sorted by class.
    order = np.random.default_rng(0).permutation(len(d.labels))
    return Labelled(images=d.images[order], labels=d.labels[order], source=d.source)


def images(config: Cifar10Config, split: Split) -> Labelled:
    """Return a split; "val" is the held-out end of the training part."""
    return take_split(partial(read_colours, config.source), config, split, "cifar10:tiny")


def batches(config: Cifar10Config, split: Split, epoch: int) -> Iterator[Pair]:
    """Yield (stimulus T B 3 32 32, labels B); the epoch seeds the augmentation in training."""

    def distort(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return augment.flipped(augment.shifted(pixels, config.shift, rng), rng)

    return image_data.batches(images(config, split), config, distort, split, epoch)


TASK = make_classifier(
    summary=SUMMARIES["cifar10"],
    about=lambda config: (
        f"A colour image goes in as {'spikes' if config.code == 'rate' else 'pixel values'}, "
        f"and one of ten kinds of object comes out. {image_net.SAYS[config.neuron == 'alif']}"
    ),
    configs={make.__name__: make for make in (tiny, fast, relu, counted, residual, paper)},
    build=build,
    plan=make_plan,
    steps=lambda config: len(images(config, "train").labels) // config.batch,
    batches=batches,
    dummy_batch=lambda config: image_data.make_dummy_batch(config, IMAGE),
    loss=image_net.loss,
    answers=Answers(classes=CLASSES, scores=image_net.scores),
    unit=image_data.find_unit,
    compared=lambda config: config.compared,
    seed_changes=SEED_CHANGES,
    controls=image_data.list_controls,
)
