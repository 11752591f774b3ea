"""The recordings of a patient: files and seizures on one time axis.

Times are seconds since the start of the patient's first file. Axes: C channels, N samples,
E seizures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from neuro.base.text import shorten_list

Read = Callable[[Sequence[int], int, int], Float32[np.ndarray, "C N"]]  # channels, first, stop


@dataclass(frozen=True, kw_only=True, eq=False)
class SeizureTable:
    """Start and stop of each seizure [s], in the order of their starts."""

    start: Float64[np.ndarray, " E"]
    stop: Float64[np.ndarray, " E"]

    def __post_init__(self) -> None:
        problems = []
        if not (np.diff(self.start) >= 0).all():
            problems.append("the seizures are not in the order of their starts; sort them")
        if not (self.stop > self.start).all():
            k = int(np.argmin(self.stop > self.start))
            problems.append(
                f"seizure {k + 1} starts at {self.start[k]} s and stops at {self.stop[k]} s; "
                "correct the table"
            )
        if problems:
            raise ValueError("; ".join(problems))

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True, kw_only=True)
class RecordedFile:
    """A file of a patient, or a run of consecutive files."""

    path: Path
    """The file, or the first one, for messages."""
    duration: float
    """Length [s]."""
    read: Read
    """Returns samples first ... stop - 1 of some channels of the file."""
    start: float
    """Start on the patient's axis of time [s]."""
    channels: tuple[int, ...]
    """The file's channel for each channel of the patient."""
    signs: tuple[int, ...]
    """1 for each channel, or -1 where the file has it the other way round."""

    @property
    def stop(self) -> float:
        """End of the file [s]."""
        return self.start + self.duration


@dataclass(frozen=True, kw_only=True, eq=False)
class PatientRecordings:
    """All recordings of a patient."""

    patient: str
    files: tuple[RecordedFile, ...]
    channels: tuple[str, ...]
    rate: float
    """Samples per second, the same in every file."""
    seizures: SeizureTable
    """All known seizures, including those in files that cannot be used."""
    notes: tuple[str, ...] = ()
    """What to know before use, such as files that are left out."""

    def read(self, file: int, first: int, count: int) -> Float32[np.ndarray, "C N"]:
        """Return samples of a file, in microvolts.

        Raises:
            BadSignalsError: a channel is constant or not finite in these samples.
            ValueError: the samples are outside the file, or the file is damaged.
        """
        own = self.files[file]
        x = own.read(own.channels, first, first + count)
        where = f"{own.path}, samples {first} to {first + count}"
        require_signals(x, self.channels, where)
        return np.asarray(x * np.array(own.signs, np.float32)[:, None])


class BadSignalsError(ValueError):
    """A channel is constant, or contains a value that is not finite."""


def require_signals(
    x: Float32[np.ndarray, "C N"], channels: tuple[str, ...], where: str
) -> None:
    """Raise a BadSignalsError that lists the channels that are constant or not finite."""
    finite = np.isfinite(x).all(1)
    flat = finite & (np.ptp(np.where(np.isfinite(x), x, 0), axis=1) == 0)
    if problems := [
        f"channel {name} {'is constant' if flat[k] else 'holds what is no finite number'}"
        for k, name in enumerate(channels)
        if flat[k] or not finite[k]
    ]:
        told = "; ".join(shorten_list(problems))
        raise BadSignalsError(f"{where}: {told}; leave this part out")
