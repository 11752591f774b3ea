"""Data in the times of spikes, for networks with delays and without.

intervals: which of ten intervals lies between the spikes of two channels?
yinyang: Yin-Yang points; four coordinates and a start spike once each, larger values earlier.
digits: the embedded digits; pixels with ink spike once, darker ones earlier.
vowels: JapaneseVowels; a coefficient more than half a deviation above or below its mean spikes,
    in one of two channels, a tick per frame.

Axes: T ticks, N samples, C channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Int64

from drivers import mnist, vowels, yinyang
from drivers.intervals import INTERVALS, STARTS, enumerate_intervals
from neuro.base.units import Ticks
from neuro.spikes.codes import latency
from tasks.runs.task import Split

Name = Literal["intervals", "yinyang", "digits", "vowels"]
CODED = Ticks(20)  # length of a latency code


@dataclass(frozen=True, kw_only=True)
class DataSizes:
    """ticks: until the last spike. samples: of the training part."""

    ticks: int
    channels: int
    samples: int
    classes: tuple[str, ...]


SOURCES: Mapping[Name, DataSizes] = {
    "intervals": DataSizes(
        ticks=STARTS + INTERVALS[-1],
        channels=2,
        samples=len(enumerate_intervals("train").labels),
        classes=tuple(f"{n} ticks" for n in INTERVALS),
    ),
    "yinyang": DataSizes(
        ticks=CODED, channels=5, samples=yinyang.SIZES["train"], classes=yinyang.CLASSES
    ),
    "digits": DataSizes(
        ticks=CODED, channels=mnist.SIDE**2, samples=3500, classes=tuple("0123456789")
    ),
    "vowels": DataSizes(
        ticks=vowels.FRAMES,
        channels=2 * vowels.COEFFICIENTS,
        samples=216,
        classes=tuple(f"speaker {n + 1}" for n in range(vowels.SPEAKERS)),
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Rasters:
    """The spikes of a split, and the class of each sample."""

    spikes: Bool[np.ndarray, "T N C"]
    labels: Int64[np.ndarray, " N"]


@lru_cache(maxsize=4)
def read(name: Name, split: Split, seed: int) -> Rasters:
    """Return a split. seed: that of generated points.

    Raises:
        FileNotFoundError: the files of ``vowels`` are missing.
    """
    if name == "intervals":
        part = enumerate_intervals(split)
        at = np.arange(SOURCES[name].ticks)[:, None, None]
        return Rasters(spikes=at == part.times, labels=part.labels)
    if name == "yinyang":
        drawn = yinyang.generate(split, seed)
        start = np.ones((len(drawn.labels), 1))
        return _encode(np.concatenate([drawn.points, start], 1), drawn.labels)
    if name == "digits":
        every = mnist.embedded()
        first, stop = {"train": (0, 3500), "val": (3500, 4000), "test": (4000, 5000)}[split]
        images = every.images[first:stop].reshape(stop - first, -1)
        return _encode(images / 255, every.labels[first:stop])
    return _read_vowels(split)


def _encode(x: np.ndarray, labels: np.ndarray) -> Rasters:
    return Rasters(spikes=latency(torch.from_numpy(x), CODED).bool().numpy(), labels=labels)


def _read_vowels(split: Split) -> Rasters:
    """Return the utterances of a split; every fifth of the training part is "val"."""
    own = vowels.load("train")
    mean, deviation = (f(own.values, axis=(0, 1)) for f in (np.nanmean, np.nanstd))
    if split == "test":
        own, kept = vowels.load("test"), slice(None)
    else:
        kept = (np.arange(len(own.labels)) % 5 == 4) == (split == "val")
    x = (own.values[kept].swapaxes(0, 1) - mean) / deviation  # a comparison with NaN is False
    return Rasters(spikes=np.concatenate([x > 0.5, x < -0.5], 2), labels=own.labels[kept])
