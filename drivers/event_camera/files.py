"""Read files of event cameras: 40-bit records, AEDAT 2.0 and AEDAT 3.1.

- 40 bits per event: x (8), y (8), polarity (1), time (23) [us], big-endian (Orchard 2015).
  A record with y = 240 is not an event: it adds 2^13 us to the time of all later ones.
- AEDAT 2.0, DVS128: lines that begin with ``#``, then 32 bits of address and 32 of time [us],
  big-endian. Address: polarity (bit 0), x (1..7), y (8..14), as written by the camera; bits
  15 and 31 mark signals other than pixel events, which the reader skips.
- AEDAT 3.1: header lines up to ``#!END-HEADER``, then packets, little-endian: 28 bytes
  (type, source, size, place of the time, overflows of the time, capacity, number, valid), then
  capacity times 64 bits: polarity (bit 1), y (2..16), x (17..31); 31 bits of time [us].
  The reader skips packets of types other than polarity (1). As in the description of
  DVS-Gesture, it ignores the validity mark (bit 0).

Sources: readers and descriptions published with the data sets; iniVation's file formats.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from drivers.event_camera import Clip

# Cameras deliver some events slightly late; these keep their place. A larger delay means that
# the time of the event, or of an earlier one, is damaged.
LATE = 10_000  # us
# The pixels of a camera occasionally fire in the dark. A longer silence means that the time of
# an event, or the number of overflows before it, is damaged.
SILENCE = 60_000_000  # us
OVERFLOW_ROW = 240
OVERFLOW = 2**13  # us
SIGNALS = 0x8000_8000
AEDAT3_END = b"#!END-HEADER\r\n"
HEADER = struct.Struct("<2h6i")
POLARITY = 1  # the type of packet
EVENT = 8  # bytes, of both AEDAT formats
CURE = "fetch the file again"
READERS = {b"#!AER-DAT2.0": "read_aedat2", b"#!AER-DAT3.1": "read_aedat3"}


class Columns(NamedTuple):
    """E events of a file, in its order; time: [us]. offset: first byte of each."""

    x: Int64[np.ndarray, " E"]
    y: Int64[np.ndarray, " E"]
    polarity: Int64[np.ndarray, " E"]
    time: Int64[np.ndarray, " E"]
    offset: Int64[np.ndarray, " E"]


class Packet(NamedTuple):
    """Offset and number of the events of a packet, and the number of time overflows."""

    at: int
    number: int
    overflow: int


def whole(columns: Columns, side: int, label: int, path: str | Path) -> Clip:
    """Return all events of a file as one clip, from the first to the last time in it."""
    start, stop = int(columns.time.min()), int(columns.time.max()) + 1
    return cut(columns, (start, stop), side, label, str(path))


def cut(columns: Columns, span: tuple[int, int], side: int, label: int, source: str) -> Clip:
    """Return the events of a half-open ``span`` [us] as a clip."""
    inside = (columns.time >= span[0]) & (columns.time < span[1])
    return Clip(
        x=columns.x[inside],
        y=columns.y[inside],
        polarity=columns.polarity[inside],
        time=columns.time[inside],
        start=span[0],
        stop=span[1],
        width=side,
        height=side,
        label=label,
        source=source,
    )


def read_records(path: str | Path, side: int) -> Columns:
    """Return the events of a file of 40-bit records, of a camera of side x side pixels.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated or has no event; an event lies outside the sensor; or
            a time is negative, or jumps back by more than 10 ms or ahead by more than a minute.
            The message names the offset.
    """
    data = Path(path).read_bytes()
    if len(data) % 5:
        raise ValueError(_cut_off(path, "records of 5 bytes", len(data) // 5 * 5, len(data)))
    records = np.frombuffer(data, np.uint8).reshape(-1, 5).astype(np.int64)
    x, y, high, middle, low = records.T
    wraps = y == OVERFLOW_ROW
    time = ((high & 127) << 16 | middle << 8 | low) + OVERFLOW * np.cumsum(wraps)
    columns = Columns(x, y, high >> 7, time, np.arange(len(records)) * 5)
    return _checked(Columns(*(c[~wraps] for c in columns)), path, side)


def read_aedat2(path: str | Path, side: int) -> Columns:
    """Return the events of an AEDAT 2.0 file of a DVS128; x and y are those of the address.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another format, or damage as in :func:`read_records`.
    """
    data = Path(path).read_bytes()
    start = _header(data, path, "2.0")
    while data[start : start + 1] == b"#":
        start = _line_end(data, start, path)
    if (len(data) - start) % EVENT:
        last = start + (len(data) - start) // EVENT * EVENT
        raise ValueError(_cut_off(path, "records of 8 bytes", last, len(data)))
    address, stamp = np.frombuffer(data, ">i4", offset=start).reshape(-1, 2).T.astype(np.int64)
    # Bits above x, y and polarity make y too large, which the check reports.
    columns = Columns(
        x=(address >> 1) & 127,
        y=address >> 8,
        polarity=address & 1,
        time=stamp,
        offset=start + np.arange(len(address)) * EVENT,
    )
    pixels = (address & SIGNALS) == 0
    return _checked(Columns(*(c[pixels] for c in columns)), path, side)


def read_aedat3(path: str | Path, side: int, span: tuple[int, int] | None = None) -> Columns:
    """Return the polarity events of an AEDAT 3.1 file, in order of the file.

    span: read only packets with events in it [us], or within 10 ms of it; there may be none.
    The reader skips the other packets without checking their events.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another format, an invalid packet, or damage as in :func:`read_records`.
    """
    data = Path(path).read_bytes()
    _header(data, path, "3.1")
    end = data.find(AEDAT3_END)
    if end < 0:
        raise ValueError(f"{path}: no line #!END-HEADER; {CURE}")
    packets = [p for p in _packets(data, end + len(AEDAT3_END), path) if _meets(data, p, span)]
    at, number, overflow = np.array(packets, np.int64).reshape(-1, 3).T
    words = [np.frombuffer(data, "<u4", 2 * p.number, p.at) for p in packets]
    every = np.concatenate([*words, np.zeros(0, np.uint32)]).reshape(-1, 2)
    address, stamp = every[:, 0].astype(np.int64), every[:, 1].astype(np.int32)  # signed
    before = np.cumsum(number) - number
    columns = Columns(
        x=address >> 17,
        y=(address >> 2) & 0x7FFF,
        polarity=(address >> 1) & 1,
        # A negative time stays negative, whatever the overflows are.
        time=stamp + np.where(stamp < 0, 0, np.repeat(overflow << 31, number)),
        offset=np.repeat(at - EVENT * before, number) + EVENT * np.arange(len(address)),
    )
    nothing = span is not None and not packets
    return columns if nothing else _checked(columns, path, side)


def _checked(columns: Columns, path: str | Path, side: int) -> Columns:
    """Return ``columns``, or raise with all of their problems."""
    if columns.time.size == 0:
        raise ValueError(f"{path}: holds no event; {CURE}")
    problems = []
    outside = np.flatnonzero((columns.x >= side) | (columns.y >= side))
    if outside.size:
        i = outside[0]
        problems.append(
            f"event at x={columns.x[i]}, y={columns.y[i]} at offset {columns.offset[i]} is "
            f"outside {side} x {side} pixels ({outside.size} such events)"
        )
    latest = np.maximum.accumulate(columns.time)
    late = np.flatnonzero(latest - columns.time > LATE)
    if late.size:
        i = late[0]
        problems.append(
            f"time runs back from {latest[i]} to {columns.time[i]} us at offset "
            f"{columns.offset[i]} ({late.size} such events; up to {LATE} us are taken)"
        )
    below = np.flatnonzero(columns.time < 0)
    if below.size:
        i = below[0]
        problems.append(
            f"time {columns.time[i]} us at offset {columns.offset[i]} is negative "
            f"({below.size} such events)"
        )
    silent = np.flatnonzero(np.diff(latest) > SILENCE)
    if silent.size:
        i = silent[0] + 1
        problems.append(
            f"time runs on from {latest[i - 1]} to {latest[i]} us at offset "
            f"{columns.offset[i]} without an event ({silent.size} such gaps; up to {SILENCE} "
            "us are taken)"
        )
    if problems:
        raise ValueError(f"{path}: {'; '.join(problems)}; {CURE}")
    return columns


def _header(data: bytes, path: str | Path, version: str) -> int:
    """Return the end of the first line, which must contain the version."""
    expected = f"#!AER-DAT{version}".encode()
    found = data[:80].partition(b"\n")[0].rstrip(b"\r")
    if found != expected:
        cure = f"make a Clip of the columns of events in another format, or {CURE}"
        if found in READERS:
            cure = f"{READERS[found]} reads that, or {CURE}"
        raise ValueError(f"{path}: begins with {found[:24]!r}, expected {expected!r}; {cure}")
    return _line_end(data, 0, path)


def _line_end(data: bytes, start: int, path: str | Path) -> int:
    end = data.find(b"\n", start)
    if end < 0:
        raise ValueError(f"{path}: header line at offset {start} has no end; {CURE}")
    return end + 1


def _packets(data: bytes, at: int, path: str | Path) -> Iterator[Packet]:
    """Yield the packets from an offset on that have events."""
    while at < len(data):
        left = len(data) - at
        if left < HEADER.size:
            raise ValueError(_cut_off(path, "packet headers of 28 bytes", at, len(data)))
        kind, _, size, place, overflow, capacity, number, _ = HEADER.unpack_from(data, at)
        sound = size > 0 and overflow >= 0 and 0 <= number <= capacity
        if not sound or (kind == POLARITY and (size, place) != (EVENT, 4)):
            raise ValueError(
                f"{path}: no packet at offset {at}: events of {size} bytes with the time at "
                f"byte {place}, {overflow} overflows, {number} events of {capacity}; expected "
                f"polarity events of 8 bytes with the time at byte 4; {CURE}"
            )
        if left - HEADER.size < capacity * size:
            raise ValueError(
                f"{path}: truncated: the packet at offset {at} has {left - HEADER.size} bytes "
                f"of {capacity * size}; {CURE}"
            )
        if kind == POLARITY and number:
            yield Packet(at + HEADER.size, number, overflow)
        at += HEADER.size + capacity * size


def _meets(data: bytes, packet: Packet, span: tuple[int, int] | None) -> bool:
    """Say whether the events of a packet may overlap a span."""
    if span is None:
        return True
    ends = (packet.at + 4, packet.at + 4 + EVENT * (packet.number - 1))
    first, last = (
        int.from_bytes(data[i : i + 4], "little") + (packet.overflow << 31) for i in ends
    )
    return max(first, last) >= span[0] - LATE and min(first, last) < span[1] + LATE


def _cut_off(path: str | Path, what: str, at: int, size: int) -> str:
    return f"{path}: truncated: {what}, the one at offset {at} has {size - at}; {CURE}"
