"""Read EDF files: channels of 16-bit samples in records of equal length.

A header of 256 bytes and 256 more a channel, as text; then the records. A record has the
samples of the first channel, of the second and so on, little-endian. Channels may have rates of
their own. Kemp et al. 1992 (Electroencephalography and Clinical Neurophysiology 82, 391-393).
EDF+ of 2003 adds channels of annotations, which hold no signal: choose channels by name.

The format is small, so this is a reader of its own: nothing has to be installed, samples are
read from the disk as they are needed, and a damaged file is refused with all of its problems
(pyedflib checks as much, and has to be compiled; edfio cuts a truncated file with a warning).
Axes: C channels, N samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from neuro.base.text import shorten_list

FIXED, PER_CHANNEL = 256, 256  # bytes of a header
FIELDS = {  # characters of a field of each channel, in the order of the file
    "label": 16,
    "transducer": 80,
    "unit": 8,
    "physical_min": 8,
    "physical_max": 8,
    "digital_min": 8,
    "digital_max": 8,
    "filters": 80,
    "samples": 8,
    "reserved": 32,
}
CURE = "fetch the file again"


@dataclass(frozen=True, kw_only=True)
class EdfChannel:
    """A channel of a file. samples: of a record. at: before them in a record.

    A sample is gain times the stored integer plus offset [unit]; gain is nan where the file
    says no range, as some do for channels that are not connected.
    """

    label: str
    unit: str
    samples: int
    at: int
    gain: float
    offset: float


@dataclass(frozen=True, kw_only=True)
class EdfFile:
    """What the header of a file says. seconds: of a record. width: samples of a record."""

    path: Path
    channels: tuple[EdfChannel, ...]
    records: int
    seconds: float
    width: int
    start: int

    @property
    def duration(self) -> float:
        """Seconds of the file."""
        return self.records * self.seconds

    def read(
        self, channels: Sequence[int], first: int, stop: int
    ) -> Float32[np.ndarray, "C N"]:
        """Return samples first ... stop - 1 of some channels, in their units.

        Raises:
            ValueError: the file has no such samples, or channels of different rates or
                without a range.
        """
        found = [self.channels[k] for k in channels]
        rates = {c.samples for c in found}
        problems = [
            f"channel {c.label} has no range, so its samples have no unit"
            for c in found
            if not math.isfinite(c.gain)
        ]
        if len(rates) != 1:
            each = ", ".join(f"{c.label} {c.samples / self.seconds:g} Hz" for c in found)
            problems.append(f"channels of one rate are read together, not {each or 'none'}")
        elif not 0 <= first < stop <= self.records * found[0].samples:
            most = self.records * found[0].samples
            problems.append(f"samples {first} to {stop} are not among the {most} of a channel")
        if problems:
            raise ValueError(f"{self.path}: {'; '.join(problems)}; choose others")
        samples = found[0].samples
        begin, end = first // samples, -(-stop // samples)
        stored = np.memmap(self.path, "<i2", "r", self.start, (self.records, self.width))
        rows = [stored[begin:end, c.at : c.at + samples].reshape(-1) for c in found]
        cut = np.stack(rows)[:, first - begin * samples : stop - begin * samples]
        gain, offset = (np.array([[getattr(c, k)] for c in found]) for k in ("gain", "offset"))
        return np.asarray(gain * cut + offset, np.float32)


def read_edf(path: Path) -> EdfFile:
    """Return what the header of a file says; its samples stay on the disk.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no EDF, is truncated or too long, or is not continuous; lists
            every problem.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(FIXED)
        count = _read_whole(head[252:256])
        if len(head) < FIXED or head[:8].strip() != b"0" or count is None or count < 1:
            raise ValueError(
                f"{path}: no EDF: it begins with {head[:8]!r}, and the header should have "
                f"{FIXED} bytes and a number of channels; {CURE}"
            )
        table = file.read(PER_CHANNEL * count)
    if len(table) < PER_CHANNEL * count:
        raise ValueError(
            f"{path}: truncated: the header of {count} channels has {FIXED + len(table)} bytes "
            f"of {FIXED + PER_CHANNEL * count}; {CURE}"
        )
    columns = _split_table(table, count)
    problems = list[str]()
    records, seconds = _read_whole(head[236:244]), _read_number(head[244:252])
    start = _read_whole(head[184:192])
    if start != FIXED + PER_CHANNEL * count:
        problems.append(f"the header says that it has {head[184:192]!r} bytes")
    if records is None or records < 1:
        problems.append(f"the number of records is {head[236:244]!r}")
    if not 0 < seconds < math.inf:
        problems.append(f"a record lasts {head[244:252]!r} seconds")
    if head[192:197] == b"EDF+D":
        problems.append("the recording is interrupted (EDF+D), which is not read")
    samples = [_read_whole(field) for field in columns["samples"]]
    for k, number in enumerate(samples):
        if number is None or number < 1:
            problems.append(f"channel {k + 1} has {columns['samples'][k]!r} samples a record")
    if problems:
        raise ValueError(f"{path}: {'; '.join(shorten_list(problems))}; {CURE}")
    wanted, whole = [n or 0 for n in samples], records or 0
    width = sum(wanted)
    _require_size(path, size, FIXED + PER_CHANNEL * count, whole, width)
    return EdfFile(
        path=path,
        channels=tuple(_make_channel(columns, k, wanted) for k in range(count)),
        records=whole,
        seconds=seconds,
        width=width,
        start=FIXED + PER_CHANNEL * count,
    )


def _require_size(path: Path, size: int, start: int, records: int, width: int) -> None:
    """Raise a ValueError if a file has other than so many records."""
    expected = start + 2 * records * width
    if size != expected:
        what = "truncated" if size < expected else "too long"
        raise ValueError(
            f"{path}: {what}: {records} records of {2 * width} bytes end at byte {expected}, "
            f"and the file has {size}; {CURE}"
        )


def _split_table(table: bytes, count: int) -> dict[str, list[bytes]]:
    """Return the fields of all channels by name."""
    columns, at = {}, 0
    for name, length in FIELDS.items():
        columns[name] = [table[at + k * length : at + (k + 1) * length] for k in range(count)]
        at += count * length
    return columns


def _make_channel(
    columns: dict[str, list[bytes]], k: int, samples: Sequence[int]
) -> EdfChannel:
    names = ("physical_min", "physical_max", "digital_min", "digital_max")
    low, high, first, last = (_read_number(columns[name][k]) for name in names)
    sound = math.isfinite(low) and math.isfinite(high) and low != high and first < last
    gain = (high - low) / (last - first) if sound else math.nan
    return EdfChannel(
        label=_read_text(columns["label"][k]),
        unit=_read_text(columns["unit"][k]),
        samples=samples[k],
        at=sum(samples[:k]),
        gain=gain,
        offset=low - gain * first,
    )


def _read_text(field: bytes) -> str:
    return field.decode("latin-1").strip(" \0")


def _read_whole(field: bytes) -> int | None:
    """Return the whole number in a field, or None."""
    text = _read_text(field)
    return int(text) if text.isascii() and text.isdigit() else None


def _read_number(field: bytes) -> float:
    """Return the number in a field, or nan."""
    try:
        return float(_read_text(field))
    except ValueError:
        return math.nan
