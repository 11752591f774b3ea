"""Batches of labelled images: splits, order, augmentation, code.

Axes: N images, C H W of an image, T ticks, B batch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from neuro.base.bounds import Count, Natural, Positive
from neuro.training.shuffle import shuffle_batches
from tasks.images.classification.network import InputCode, NetConfig, stimulus
from tasks.runs.configuration import ScheduledConfig
from tasks.runs.task import Pair, Split

SEED_CHANGES = (
    "the initial weights and the draws of dropout; order and augmentation of the images follow "
    "from the epoch and seed_of_data"
)
EVALUATED = 100  # images per batch outside training


@runtime_checkable
class SplitSizes(Protocol):
    """The fields of a configuration that :func:`take_split` reads."""

    @property
    def held(self) -> int:
        """Number of images at the end of the training part for model selection."""

    @property
    def train(self) -> int:
        """Largest number of training images (0: all)."""

    @property
    def test(self) -> int:
        """Largest number of test images (0: all)."""

    @property
    def batch(self) -> int:
        """Images per batch."""


@runtime_checkable
class Part(Protocol):
    """A part of a data set that :func:`take_split` divides."""

    @property
    def labels(self) -> Int64[np.ndarray, " N"]:
        """Class of each sample."""

    @property
    def source(self) -> str:
        """Origin of the samples, for messages."""

    def take(self, part: Any) -> Any:
        """Return the samples that a slice names."""


P = TypeVar("P", bound=Part)


@runtime_checkable
class Batching(SplitSizes, InputCode, Protocol):
    """The fields of a configuration that :func:`batches` reads."""

    @property
    def seed_of_data(self) -> int:
        """Seed of the order and of the augmentation."""


Augment = Callable[[UInt8[np.ndarray, "N C H W"], np.random.Generator], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class ImageConfig(ScheduledConfig, NetConfig):
    """An experiment on images."""

    held: Count
    """Images at the end of the training part for model selection."""
    train: Natural = 0
    """Largest number of training images; 0 takes all."""
    test: Natural = 0
    """Largest number of test images; 0 takes all."""
    compared: Natural = 0
    """Test images that other executors run; 0 takes all."""
    batch: Count = 50
    epochs: Count = 12
    lr: Positive = 5e-3


def list_controls(config: ImageConfig) -> dict[str, dict[str, Any]]:
    """Return the twin without spikes of a spiking network."""
    if config.neuron != "alif":
        return {}
    return {"the same layers without spikes": {"neuron": "relu", "ticks": 1, "code": "direct"}}


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """Images and the class of each. source: origin of the images, for messages."""

    images: UInt8[np.ndarray, "N C H W"]
    labels: Int64[np.ndarray, " N"]
    source: str

    def take(self, part: slice) -> "Labelled":
        """Return part of the images."""
        return replace(self, images=self.images[part], labels=self.labels[part])


def take_split(part: Callable[[str], P], config: SplitSizes, split: Split, smaller: str) -> P:
    """Return a split; "val" is the held-out end of the training part.

    part: "train" or "test" -> that part of a data set.
    smaller: name of a configuration that needs fewer samples, for the message.

    Raises:
        ValueError: the training part is too small.
    """
    if split == "test":
        whole, span = part("test"), slice(0, config.test or None)
    else:
        whole = part("train")
        most = len(whole.labels) - config.held
        if most < config.batch:
            raise ValueError(
                f"{whole.source}: too few samples for {config.held} for model selection and a "
                f"batch of {config.batch}; use the whole data set, or {smaller}"
            )
        val = split == "val"
        span = slice(most, None) if val else slice(0, min(config.train or most, most))
    taken: P = whole.take(span)
    return taken


def iterate_indices(
    n: int, config: Any, split: Split, epoch: int, most: int
) -> Iterator[Int64[np.ndarray, " B"]]:
    """Yield the indices of each batch of n samples; the epoch seeds their order in training.

    most: samples per batch outside training, where they keep their order.
    """
    if split != "train":
        return iter(np.split(np.arange(n), range(most, n, most)))
    rng = np.random.default_rng([config.seed_of_data, epoch])
    return shuffle_batches(n, config.batch, rng)


def batches(
    data: Labelled, config: Batching, augment: Augment, split: Split, epoch: int
) -> Iterator[Pair]:
    """Yield the batches of a split in the order of the data set.

    Training yields only full batches; the epoch seeds their order and augmentation.
    """
    if split != "train":
        for i in range(0, len(data.labels), EVALUATED):
            some = slice(i, i + EVALUATED)
            yield _batch(data.images[some], data.labels[some], config)
        return
    rng = np.random.default_rng([config.seed_of_data, epoch])
    for indices in shuffle_batches(len(data.labels), config.batch, rng):
        yield _batch(augment(data.images[indices], rng), data.labels[indices], config)


def find_unit(config: InputCode) -> float:
    """Return the step between two values of a pixel; 0 if pixels become spikes."""
    return 1 / 255 if config.code == "direct" else 0.0


def make_dummy_batch(config: Any, shape: tuple[int, ...]) -> Pair:
    """Return a training batch of black images, or of silence: T B ``*shape``."""
    labels = torch.zeros(config.batch, dtype=torch.int64)
    return torch.zeros(config.ticks, config.batch, *shape), labels


def _batch(images: np.ndarray, labels: np.ndarray, config: InputCode) -> Pair:
    x = torch.from_numpy(images.astype(np.float32) / 255)
    return stimulus(x, config), torch.from_numpy(labels)
