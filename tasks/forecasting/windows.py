"""Windows of a series: what the student sees, what the teacher sees, and the target of both.

    student   x[i] ... x[i + L - 1]                                     target x[i + L - 1 + H]
    teacher   the same, later by H - h, so that the target is h ahead: 1 <= h < H

Axes: N windows, L samples of a window.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64, Int64

from tasks.forecasting.bins import Bins
from tasks.runs.task import Split

SHARES: dict[Split, tuple[float, float]] = {
    "train": (0.0, 0.6),
    "val": (0.6, 0.8),
    "test": (0.8, 1.0),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class SeriesWindows:
    """The windows of a split. Values have mean 0 and deviation 1 in the part for training.

    own: what the student sees. later: what the teacher sees, one window or M of them; where
    nobody looks ahead, the own. labels: the bin of the target of both; -1: there is none.
    """

    own: Float32[np.ndarray, "N L"]
    later: Float32[np.ndarray, "N *M F"]
    labels: Int64[np.ndarray, " N"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedSeries:
    """A series in windows, by split. bins: of all splits. mean, sd, low, high: in training."""

    windows: dict[Split, SeriesWindows]
    bins: Bins
    mean: float
    sd: float
    low: float
    high: float

    @property
    def teaching(self) -> dict[Split, SeriesWindows]:
        """What a teacher is trained on."""
        return {split: replace(part, own=part.later) for split, part in self.windows.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Alignment:
    """Indices into a series. student, teacher: of the samples of each window. target: of both.

    Row k of all three belongs together.
    """

    student: Int64[np.ndarray, "N L"]
    teacher: Int64[np.ndarray, "N L"]
    target: Int64[np.ndarray, " N"]

    def keep_last(self, count: int) -> "Alignment":
        """Return the last windows, so many at most; 0: all."""
        return Alignment(
            student=self.student[-count:],
            teacher=self.teacher[-count:],
            target=self.target[-count:],
        )


def align(
    start: int, stop: int, lookback: int, horizon: int, teacher_horizon: int = 1
) -> Alignment:
    """Return all windows inside start ... stop - 1, in their order.

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
    """Return all windows where nobody looks ahead: in the place of the teacher's, the own."""
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
    """Return the first sample of a split, and the one behind its last.

    gap: samples left out at the start of all splits but the first, so that no value that one
    split holds is as near to one of the next as a target to its window.
    """
    first, last = SHARES[split]
    start = round(points * first) + (gap if first else 0)
    return start, max(start, round(points * last))


def require_series(series: Float64[np.ndarray, " N"], name: str) -> None:
    """Raise a ValueError if a series is constant, or holds what is no number."""
    bad = np.flatnonzero(~np.isfinite(series))
    if len(bad):
        raise ValueError(
            f"{name}: sample {bad[0]} is {series[bad[0]]}, and {len(bad)} of {len(series)} are "
            "no finite numbers; leave these parts out, or put values in their place"
        )
    if len(series) == 0 or np.ptp(series) == 0:
        raise ValueError(f"{name}: the series is constant, there is nothing to forecast")
