"""The Yin-Yang data set: points of a yin-yang sign, generated from its geometry and a seed.

Kriener, Göltz, Petrovici 2022 (arXiv 2102.08211): class "yin", "yang" or "dot", drawn with
equal probabilities. A point is (x, y, 1 - x, 1 - y), so neurons need no bias. A 4-120-3 network
of conventional neurons reaches 98.7 %, a single layer 64.3 %.
Axes: N points.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

Part = Literal["train", "val", "test"]

CLASSES = ("yin", "yang", "dot")
SIZES = {"train": 5000, "val": 1000, "test": 1000}  # as published
RADIUS = 0.5  # radius of the sign, which touches the sides of the unit square
DOT = 0.1  # radius of either dot


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """Labelled points (x, y, 1 - x, 1 - y), each in [0, 1]. source: origin, for reports."""

    points: Float64[np.ndarray, "N 4"]
    labels: Int64[np.ndarray, " N"]
    source: str


def class_of(
    x: Float64[np.ndarray, " N"], y: Float64[np.ndarray, " N"]
) -> Int64[np.ndarray, " N"]:
    """Return the class of each point of the unit square, or -1 outside the sign."""
    left = np.hypot(x - 0.5 * RADIUS, y - RADIUS)
    right = np.hypot(x - 1.5 * RADIUS, y - RADIUS)
    # One half of the sign is the upper half disc, minus the right bulge, plus the left one.
    half = (left <= 0.5 * RADIUS) | ((y > RADIUS) & (right > 0.5 * RADIUS))
    label = np.where((left < DOT) | (right < DOT), 2, half.astype(np.int64))
    inside = np.hypot(x - RADIUS, y - RADIUS) <= RADIUS
    return np.where(inside, label, -1)


def generate(part: Part, seed: int = 0) -> Points:
    """Return one part of the data set; the parts of a seed share no point.

    As published: draws a class for each point, then positions until one is of that class.
    """
    rng = np.random.default_rng([seed, list(SIZES).index(part)])
    labels = rng.integers(0, len(CLASSES), SIZES[part])
    points = np.empty((labels.size, 2))
    missing = np.arange(labels.size)
    while missing.size:
        draws = rng.random((missing.size, 2))
        fits = class_of(draws[:, 0], draws[:, 1]) == labels[missing]
        points[missing[fits]] = draws[fits]
        missing = missing[~fits]
    return Points(
        points=np.concatenate([points, 1 - points], 1),
        labels=labels,
        source=f"Yin-Yang, {part} part, generated from seed {seed}",
    )
