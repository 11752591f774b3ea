"""Images of digits or objects, resized for the network, in -1..1.

Axes: T ticks, N or B images, C colours, H height, W width.
"""

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Literal

import numpy as np
import torch

from drivers import cifar
from neuro.training.shuffle import shuffle_batches
from tasks.images.classification.data import Labelled, take_split
from tasks.images.classification.mnist import read_digits
from tasks.images.generation.config import GenerationConfig
from tasks.images.metrics.sheet import scale_images
from tasks.runs.task import Pair, Split

EVALUATED = 256  # images per batch outside training; the metric depends on it


@lru_cache(maxsize=4)
def _part(source: str, which: Literal["train", "test"]) -> Labelled:
    if source == "cifar10":
        objects = cifar.official(which, "cifar10")
        return Labelled(images=objects.images, labels=objects.labels, source=objects.source)
    return read_digits(source, which)


def part(config: GenerationConfig, split: Split) -> Labelled:
    """Return a split in its stored form."""
    source = partial(_part, config.source)
    return take_split(source, config, split, "image_generation:tiny")


def batches(config: GenerationConfig, split: Split, epoch: int) -> Iterator[Pair]:
    """Yield (images T B C H W, the same at every tick; labels B).

    In training the epoch seeds the order, and the mirroring of colour images.
    """
    data = part(config, split)
    n = len(data.labels)
    if split != "train":
        for i in range(0, n, EVALUATED):
            yield _batch(data, np.arange(i, min(i + EVALUATED, n)), config)
        return
    rng = np.random.default_rng([config.seed_of_data, epoch])
    for indices in shuffle_batches(n, config.batch, rng):
        x, labels = _batch(data, indices, config)
        if config.colours == 3:
            mirrored = torch.from_numpy(rng.random(config.batch) < 0.5)[:, None, None, None]
            x = torch.where(mirrored, x[0].flip(-1), x[0]).expand_as(x)
        yield x, labels


def make_dummy_batch(config: GenerationConfig) -> Pair:
    """Return a training batch of grey images."""
    size, side = config.batch, config.side
    x = torch.zeros(config.ticks, size, config.colours, side, side)
    return x, torch.zeros(size, dtype=torch.int64)


def _batch(data: Labelled, indices: np.ndarray, config: GenerationConfig) -> Pair:
    x = scale_images(data.images[indices], config.side)
    return x.expand(config.ticks, *x.shape), torch.from_numpy(data.labels[indices])
