"""Which windows a student sees, and which later ones tell whether a seizure begins in time.

    student      K windows up to now, t
    excluded     a seizure in the last of them, or in t ... t + sph - 1
    label        whether a seizure begins in t + sph ... t + sph + sop - 1, the period
    teacher      windows whose middle lies in that occurrence period

A detector that knows the seizures answers "yes" to one of the teacher's windows if and only if
the label is "yes", but for seizures that begin less than a hop before the period's end, so
behind the middle of its last window. The released code of Future-Guided Learning has no such
windows: its teacher sees the student's own. Axes: M windows of a recording, N of a student.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from drivers.series import EventTable


@dataclass(frozen=True, kw_only=True)
class PeriodSizes:
    """Samples, but for lookback: so many windows. hop: from one window to the next."""

    window: int
    hop: int
    lookback: int
    sph: int
    sop: int

    @property
    def gap(self) -> int:
        """Samples left out between two splits: from now to the end of the last window."""
        return self.sph + self.sop + self.window

    def list_starts(self, samples: int) -> Int64[np.ndarray, " M"]:
        """Return the first sample of every window of a recording."""
        return np.arange(0, max(0, samples - self.window + 1), self.hop)

    def list_offsets(self) -> Int64[np.ndarray, " O"]:
        """Return by how many windows those of the occurrence period are later than the last.

        Raises:
            ValueError: there is none.
        """
        half = self.window // 2
        first = -(-(self.sph + self.window - half) // self.hop)
        last = (self.sph + self.sop - 1 + self.window - half) // self.hop
        if last < first:
            raise ValueError(
                f"an occurrence period of {self.sop} samples, {self.sph} from now, has no "
                f"window in steps of {self.hop} in it; give a smaller hop, or a longer sop"
            )
        return np.arange(first, last + 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class PeriodAlignment:
    """Rows that belong together. student, period: indices of windows. labels: 1 for yes.

    now: the first sample behind the student's last window.
    """

    student: Int64[np.ndarray, "N K"]
    period: Int64[np.ndarray, "N O"]
    labels: Int64[np.ndarray, " N"]
    now: Int64[np.ndarray, " N"]

    def keep_last(self, count: int) -> "PeriodAlignment":
        """Return the last rows, so many at most; 0: all."""
        return PeriodAlignment(
            student=self.student[-count:],
            period=self.period[-count:],
            labels=self.labels[-count:],
            now=self.now[-count:],
        )


def align_periods(
    seizures: EventTable, start: int, stop: int, samples: int, sizes: PeriodSizes
) -> PeriodAlignment:
    """Return the rows of a student whose windows and periods lie in start ... stop - 1."""
    starts, offsets = sizes.list_starts(samples), sizes.list_offsets()
    last = np.arange(sizes.lookback - 1, max(sizes.lookback - 1, len(starts) - offsets[-1]))
    first = starts[last - sizes.lookback + 1]
    end = np.maximum(starts[last + offsets[-1]], starts[last] + sizes.sph + sizes.sop)
    last = last[(first >= start) & (end + sizes.window <= stop)]
    now = starts[last] + sizes.window
    ictal = np.concatenate([[0], np.cumsum(seizures.mark(samples))])
    free = ictal[now + sizes.sph] == ictal[now - sizes.window]
    last, now = last[free], now[free]
    bounds = now[:, None] + np.array([sizes.sph, sizes.sph + sizes.sop])
    before = np.searchsorted(seizures.start, bounds)
    return PeriodAlignment(
        student=last[:, None] + np.arange(1 - sizes.lookback, 1),
        period=last[:, None] + offsets,
        labels=np.asarray(before[:, 1] > before[:, 0], np.int64),
        now=now,
    )


def mark_ictal(
    seizures: EventTable, starts: Int64[np.ndarray, " M"], window: int, samples: int
) -> Bool[np.ndarray, " M"]:
    """Return which windows have their middle in a seizure."""
    return np.asarray(seizures.mark(samples)[starts + window // 2])
