"""Read EDF files (channels of 16-bit samples in records of equal length) with edfio.

Samples are read from the disk on demand. A file that edfio would truncate or repair with a
warning is refused. Axes: C channels, N samples.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from neuro.base.extras import require_extra

if TYPE_CHECKING:
    from edfio import Edf, EdfSignal

CURE = "fetch the file again"


@dataclass(frozen=True, kw_only=True, eq=False)
class EdfFile:
    """An open file."""

    path: Path
    edf: "Edf"

    @property
    def signals(self) -> "tuple[EdfSignal, ...]":
        """The channels, without annotations."""
        return self.edf.signals

    @property
    def duration(self) -> float:
        """Length of the file [s]."""
        return float(self.edf.duration)

    def read(
        self, channels: Sequence[int], first: int, stop: int
    ) -> Float32[np.ndarray, "C N"]:
        """Return samples first ... stop - 1 of some channels, in physical units.

        Raises:
            ValueError: the samples are outside the file, or the channels differ in rate.
        """
        found = [self.signals[k] for k in channels]
        rates = {s.sampling_frequency for s in found}
        most = round(self.duration * min(rates, default=0.0))
        if len(rates) != 1 or not 0 <= first < stop <= most:
            raise ValueError(
                f"{self.path}: samples {first} to {stop} of channels at {sorted(rates)} Hz are "
                f"not among {most} samples at one rate; choose others"
            )
        (rate,) = rates
        rows = [signal.get_data_slice(first / rate, stop / rate) for signal in found]
        return np.stack(rows).astype(np.float32)


def read_edf(path: Path) -> EdfFile:
    """Open a file and read its header; the samples stay on the disk.

    Raises:
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: edfio is not installed.
        ValueError: the file is not EDF, is truncated or too long, or is not continuous.
    """
    with require_extra("eeg", "EDF files need edfio"):
        import edfio  # late, because edfio is an extra
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {CURE}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            edf = edfio.read_edf(path, lazy_load_data=True, header_encoding="latin-1")
        if edf.reserved.startswith("EDF+D"):
            raise ValueError("the recording is interrupted (EDF+D), which is not read")
        count = [s.samples_per_data_record for s in edf.signals]
        if not edf.signals or min(count) < 1 or not 0 < edf.duration < math.inf:
            raise ValueError(f"{count} samples per record, {edf.duration} s in all")
    except Exception as error:  # edfio raises a dozen kinds
        raise ValueError(f"{path}: no EDF file that can be read ({error}); {CURE}") from error
    return EdfFile(path=path, edf=edf)


def has_range(signal: "EdfSignal") -> bool:
    """Return whether a channel states the ranges that convert its samples to physical units.

    Channels that are not connected may state none.
    """
    try:
        low, high = signal.physical_range
        return low != high and signal.digital_min < signal.digital_max
    except ValueError:
        return False
