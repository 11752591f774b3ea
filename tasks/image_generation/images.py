"""The images: digits or objects, brought to the network's size, in -1..1.

Axes: T ticks, N or B images, C colours, H height, W width.
"""

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from drivers import cifar, mnist
from neuro.training.shuffle import shuffle_batches
from tasks.image_classification.data import Labelled, take_split
from tasks.image_generation.config import GenerationConfig
from tasks.runs.task import Pair, Split

WHOLE = 256  # images of a batch that is not trained on; the metric depends on it


@lru_cache(maxsize=4)
def _part(source: str, which: Literal["train", "test"]) -> Labelled:
    if source == "cifar10":
        found: cifar.Images | mnist.Digits = cifar.official(which, "cifar10")
        return Labelled(images=found.images, labels=found.labels, source=found.source)
    if source == "embedded":
        found = mnist.default(which, environ={})
    else:
        found = mnist.official(which, "fashion" if source == "fashion" else "mnist")
    return Labelled(images=found.images[:, None], labels=found.labels, source=found.source)


def part(config: GenerationConfig, split: Split) -> Labelled:
    """Return a split, as it is stored."""
    source = partial(_part, config.source)
    return take_split(source, config, split, "image_generation:tiny")


def scale_images(
    images: UInt8[np.ndarray, "N C H W"], side: int
) -> Float[Tensor, "N C side side"]:
    """Return images as numbers in -1..1, resized between pixels (bilinear)."""
    x = torch.from_numpy(images.astype(np.float32) / 127.5 - 1)
    if x.shape[-1] == side:
        return x
    return F.interpolate(x, (side, side), mode="bilinear", align_corners=False)


def steps(config: GenerationConfig) -> int:
    """Return the number of batches in an epoch of training; a last part batch is left out."""
    return len(part(config, "train").labels) // config.batch


def batches(config: GenerationConfig, split: Split, epoch: int) -> Iterator[Pair]:
    """Yield (images T B C H W, the same at every tick; labels B).

    Training is shuffled by epoch; colour images are mirrored at random there.
    """
    found = part(config, split)
    n = len(found.labels)
    if split != "train":
        for i in range(0, n, WHOLE):
            yield _batch(found, np.arange(i, min(i + WHOLE, n)), config)
        return
    rng = np.random.default_rng([config.seed_of_data, epoch])
    for some in shuffle_batches(n, config.batch, rng):
        x, labels = _batch(found, some, config)
        if config.colours == 3:
            mirrored = torch.from_numpy(rng.random(config.batch) < 0.5)[:, None, None, None]
            x = torch.where(mirrored, x[0].flip(-1), x[0]).expand_as(x)
        yield x, labels


def make_dummy_batch(config: GenerationConfig) -> Pair:
    """Return a batch of training of grey images."""
    size, side = config.batch, config.side
    x = torch.zeros(config.ticks, size, config.colours, side, side)
    return x, torch.zeros(size, dtype=torch.int64)


def _batch(found: Labelled, which: np.ndarray, config: GenerationConfig) -> Pair:
    x = scale_images(found.images[which], config.side)
    return x.expand(config.ticks, *x.shape), torch.from_numpy(found.labels[which])
