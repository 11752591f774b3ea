"""Windows of a series: what the student sees, what the teacher sees, and the target of both.

    student   x[i] ... x[i + L - 1]                                     target x[i + L - 1 + H]
    teacher   the same, later by H - h, so that the target is h ahead: 1 <= h < H

Axes: N windows, L samples of a window.

A value as one of K classes of equal width, and back.

Student, teacher and all splits share the edges, which come from the training targets. All
classes lie between the least and the largest of these targets; a value outside belongs to the
first or last class. Axes: B samples, K bins.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from tasks.runs.task import Split

Reading = Literal["expectation", "argmax", "median"]
READINGS: tuple[Reading, ...] = ("expectation", "argmax", "median")


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Classes of equal width. low, high: the range of all classes. count: K."""

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
    """Return ``count`` bins over the range of the training targets.

    Raises:
        ValueError: ``count`` is below two, or the targets are constant.
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

    expectation: the mean of the distribution.
    argmax: the most probable bin, the lowest of equally probable ones.
    median: the first bin at which the cumulative probability reaches one half.
    """
    if reading == "expectation":
        bins = torch.arange(probabilities.shape[1], device=probabilities.device)
        return probabilities @ bins.to(probabilities)
    if reading == "argmax":
        return probabilities.argmax(1).to(probabilities)
    half = probabilities.sum(1, keepdim=True) / 2
    below = probabilities.cumsum(1) < half * (1 - 1e-12)  # sums that are half, up to rounding
    return below.sum(1).to(probabilities)


SHARES: dict[Split, tuple[float, float]] = {
    "train": (0.0, 0.6),
    "val": (0.6, 0.8),
    "test": (0.8, 1.0),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class SeriesWindows:
    """The windows of a split. Values have mean 0 and standard deviation 1 in training.

    own: windows of the student.
    later: windows of the teacher, one or M per sample; without look-ahead, the student's own.
    labels: bin of the common target; -1: unlabelled.
    """

    own: Float32[np.ndarray, "N L"]
    later: Float32[np.ndarray, "N *M F"]
    labels: Int64[np.ndarray, " N"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedSeries:
    """A series in windows, by split. bins: of all splits. mean, sd, low, high: of training."""

    windows: dict[Split, SeriesWindows]
    bins: Bins
    mean: float
    sd: float
    low: float
    high: float

    @property
    def teaching(self) -> dict[Split, SeriesWindows]:
        """The training data of a teacher."""
        return {split: replace(part, own=part.later) for split, part in self.windows.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Alignment:
    """Indices into a series. student, teacher: samples of each window. target: of both.

    Row k of one array belongs to row k of the others.
    """

    student: Int64[np.ndarray, "N L"]
    teacher: Int64[np.ndarray, "N L"]
    target: Int64[np.ndarray, " N"]

    def keep_last(self, count: int) -> "Alignment":
        """Return the last ``count`` windows at most; 0: all."""
        return Alignment(
            student=self.student[-count:],
            teacher=self.teacher[-count:],
            target=self.target[-count:],
        )


def align(
    start: int, stop: int, lookback: int, horizon: int, teacher_horizon: int = 1
) -> Alignment:
    """Return all windows inside start ... stop - 1, in the order of time.

    Raises:
        ValueError: the teacher's window is not later than the student's, or holds the target;
            or no window fits.
    """
    if not 1 <= teacher_horizon < horizon:
        raise ValueError(
            f"the teacher looks {teacher_horizon} ahead, the student {horizon}: the teacher's "
            "window must be later than the student's, and end before the target; give "
            "1 <= teacher_horizon < horizon"
        )
    own = _list_windows(start, stop, lookback, horizon)
    later = own + horizon - teacher_horizon
    return Alignment(student=own, teacher=later, target=own[:, -1] + horizon)


def align_student(start: int, stop: int, lookback: int, horizon: int) -> Alignment:
    """Return all windows without look-ahead: the teacher sees the student's own windows."""
    own = _list_windows(start, stop, lookback, horizon)
    return Alignment(student=own, teacher=own, target=own[:, -1] + horizon)


def _list_windows(
    start: int, stop: int, lookback: int, horizon: int
) -> Int64[np.ndarray, "N L"]:
    """Return the indices of all windows of a student inside start ... stop - 1."""
    count = stop - start - lookback - horizon + 1
    if count < 1 or min(lookback, horizon) < 1:
        raise ValueError(
            f"a lookback of {lookback} and a horizon of {horizon} need "
            f"{lookback + horizon} samples, and there are {max(0, stop - start)}; give a "
            "longer series, or less of both"
        )
    return start + np.arange(count)[:, None] + np.arange(lookback)


def find_range(points: int, split: Split, gap: int) -> tuple[int, int]:
    """Return the first sample of a split, and the one after its last.

    gap: samples left out at the start of all splits but the first, so that values of two splits
    are further from each other than a target is from its window.
    """
    first, last = SHARES[split]
    start = round(points * first) + (gap if first else 0)
    return start, max(start, round(points * last))


def require_series(series: Float64[np.ndarray, " N"], name: str) -> None:
    """Raise a ValueError if a series is constant or not finite."""
    bad = np.flatnonzero(~np.isfinite(series))
    if len(bad):
        raise ValueError(
            f"{name}: sample {bad[0]} is {series[bad[0]]}, and {len(bad)} of {len(series)} are "
            "no finite numbers; leave these parts out, or put values in their place"
        )
    if len(series) == 0 or np.ptp(series) == 0:
        raise ValueError(f"{name}: the series is constant, there is nothing to forecast")
