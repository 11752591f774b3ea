"""A value as one of K classes of equal width, and back.

The edges come from the targets of training, once, for the student, for the teacher and for
every split. All classes lie between the least and the largest of these targets; a value outside
belongs to the class at the end. Axes: B samples, K bins.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

Reading = Literal["expectation", "argmax", "median"]
READINGS: tuple[Reading, ...] = ("expectation", "argmax", "median")


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Classes of equal width. low, high: the range that they fill. count: K."""

    low: float
    high: float
    count: int

    def encode(self, values: Float64[np.ndarray, "*B"]) -> Int64[np.ndarray, "*B"]:
        """Return the class of each value."""
        place = np.floor((values - self.low) / (self.high - self.low) * self.count)
        return np.asarray(np.clip(place, 0, self.count - 1), np.int64)

    def place(self, values: Float64[np.ndarray, "*B"]) -> Float64[np.ndarray, "*B"]:
        """Return values in units of bins, where the middle of class k is at k."""
        return (values - self.low) / (self.high - self.low) * self.count - 0.5

    def decode(self, places: Float64[np.ndarray, "*B"]) -> Float64[np.ndarray, "*B"]:
        """Return the values at places in units of bins: the inverse of :meth:`place`."""
        return self.low + (places + 0.5) / self.count * (self.high - self.low)


def fit_bins(targets: Float64[np.ndarray, " N"], count: int) -> Bins:
    """Return so many bins over the range of the targets of training.

    Raises:
        ValueError: there are fewer than two bins, or the targets are constant.
    """
    if count < 2 or len(targets) == 0 or not np.ptp(targets) > 0:
        raise ValueError(
            f"{count} bins over {len(targets)} targets: give at least 2 bins, and targets that "
            "are not constant"
        )
    return Bins(low=float(targets.min()), high=float(targets.max()), count=count)


def read_bins(
    probabilities: Float[Tensor, "B K"], reading: Reading = "expectation"
) -> Float[Tensor, " B"]:
    """Return the answer to each sample in units of bins.

    expectation: the mean of the distribution. argmax: its most probable bin, the lower of two.
    median: the first bin up to which it has half its mass.
    """
    if reading == "expectation":
        bins = torch.arange(probabilities.shape[1], device=probabilities.device)
        return probabilities @ bins.to(probabilities)
    if reading == "argmax":
        return probabilities.argmax(1).to(probabilities)
    half = probabilities.sum(1, keepdim=True) / 2
    below = probabilities.cumsum(1) < half * (1 - 1e-12)  # sums that are half, up to rounding
    return below.sum(1).to(probabilities)
