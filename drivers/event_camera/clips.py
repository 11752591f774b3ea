"""Event cameras: clips of events, and their conversion to frames, spikes and times.

An event reports that the light at a pixel became stronger (polarity 1, ON) or weaker (0, OFF).
The clock of a camera has ticks of 1 us. An event with time stamp t happens at t + 1 us, the end
of tick t, as in :mod:`neuro.spikes`.
Axes: E events, N clips, T ticks, polarities (OFF, ON), H rows from the top, W columns.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from neuro.base.units import Seconds, ticks as whole_ticks
from neuro.spikes import LARGEST, Events, Times, as_tick_column

MICROSECOND = Seconds(1e-6)
# Data types in which a clip stores its columns.
TYPES = {"x": np.int16, "y": np.int16, "polarity": np.uint8, "time": np.int64}
WIDEST = 2**15  # pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """The events of a camera from ``start`` to ``stop`` [us].

    x, y: column from the left, row from the top, of width x height pixels.
    polarity: 0 OFF, 1 ON. time: [us], as in the file; start <= time < stop, in any order.
    label: the class. source: the origin of the clip, for reports.
    Columns hold whole numbers of any type (or booleans); a clip stores them as :data:`TYPES`.

    Raises:
        TypeError: a column does not hold whole numbers (times in seconds, for example).
        ValueError: columns of different length, or an event outside the sensor or the span.
    """

    x: Shaped[np.ndarray, " E"]
    y: Shaped[np.ndarray, " E"]
    polarity: Shaped[np.ndarray, " E"]
    time: Shaped[np.ndarray, " E"]
    start: int
    stop: int
    width: int
    height: int
    label: int
    source: str

    def __post_init__(self) -> None:
        columns = {name: np.asarray(getattr(self, name)) for name in TYPES}
        wrong = [f"{n} of {c.dtype}" for n, c in columns.items() if c.dtype.kind not in "iub"]
        if wrong:
            raise TypeError(
                f"{self.source}: {'; '.join(wrong)}; columns hold whole numbers: pixels, "
                "polarity 0 or 1, time in us (of seconds np.round(1e6 * t).astype(np.int64))"
            )
        lengths = {len(c) for c in columns.values()}
        if len(lengths) != 1:
            raise ValueError(f"{self.source}: columns of different length {sorted(lengths)}")
        if self.stop <= self.start:
            raise ValueError(f"{self.source}: a clip from {self.start} to {self.stop} us")
        limits = {
            "x": (0, min(self.width, WIDEST)),
            "y": (0, min(self.height, WIDEST)),
            "polarity": (0, 2),
            "time": (self.start, self.stop),
        }
        problems = [
            f"{name} of {column.min()}..{column.max()}, expected {lo}..{hi - 1}"
            for (name, column), (lo, hi) in zip(columns.items(), limits.values(), strict=True)
            if column.size and (column.min() < lo or column.max() >= hi)
        ]
        if problems:
            raise ValueError(
                f"{self.source}: {'; '.join(problems)}; give the width and height of the "
                "sensor, a span that holds all events, and polarity as 0 or 1"
            )
        for name, dtype in TYPES.items():
            object.__setattr__(self, name, columns[name].astype(dtype, copy=False))


@dataclass(frozen=True, kw_only=True, eq=False)
class Clips:
    """Labelled clips, read on demand: ``clips[3]``, ``for clip in clips``.

    read: function that returns clip number i. source: origin, for reports.
    labels: the class of each clip, 0 <= label < classes, known without reading the clip.
    """

    read: Callable[[int], Clip]
    labels: Int64[np.ndarray, " N"]
    classes: int
    source: str

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Clip:
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}: {self.source}")
        return self.read(index % len(self))

    def __iter__(self) -> Iterator[Clip]:
        return map(self.read, range(len(self)))

    def take(self, part: slice | Int64[np.ndarray, " _"]) -> "Clips":
        """Return the clips that a slice or an array of indices selects, in that order."""
        numbers = np.arange(len(self))[part]
        return replace(
            self, read=partial(_read_at, self.read, numbers), labels=self.labels[part]
        )


def frames(
    clip: Clip,
    ticks: int | None = None,
    dt: Seconds | None = None,
    pool: int = 1,
    binary: bool = False,
) -> Float32[np.ndarray, "T 2 H W"]:
    """Count the events of each pixel in each tick, separately for OFF and ON.

    ticks: number of ticks. Without ``dt`` they divide the clip into equal spans.
    dt: length of a tick [s], a whole number of us. Without ``ticks`` the ticks cover the clip;
        with ``ticks`` a longer clip is cut, and a shorter one ends in silence.
    pool: sums the events of pool x pool pixels, which divides H and W by this factor; of a
        sensor with one row, only W.
    binary: 1 for any number of events (a spike).

    Raises:
        ValueError: ticks and dt are both missing, or not positive; dt is not a whole number of
            us; or ``pool`` does not divide width and height.
    """
    places, shape = _places(clip, ticks, dt, pool)
    counts = np.bincount(places, minlength=shape[0] * 2 * shape[1] * shape[2])
    out = np.minimum(counts, 1) if binary else counts
    return out.astype(np.float32).reshape(shape[0], 2, *shape[1:])


def to_events(
    clip: Clip,
    ticks: int | None = None,
    dt: Seconds | None = None,
    pool: int = 1,
    binary: bool = False,
) -> Events:
    """Return the sparse form of :func:`frames`, B = 1; neurons in C order of (2, H, W)."""
    places, (total, height, width) = _places(clip, ticks, dt, pool)
    occupied, counts = np.unique(places, return_counts=True)
    value = (np.minimum(counts, 1) if binary else counts).astype(np.float32)
    size = 2 * height * width
    tick, neuron = np.divmod(occupied, size)
    index = (as_tick_column(tick, total), neuron.astype(np.int32))
    return Events(np.zeros(occupied.size, np.int32), *index, value, (total, 1, size))


def to_times(clip: Clip, dt: Seconds, pool: int = 1) -> Times:
    """Return the events at their own times since the start of the clip, B = 1, value 1 each.

    :func:`neuro.spikes.to_ticks` with the same ``dt`` [s], below 1 s, converts them to the
    events of :func:`to_events`.

    Raises:
        ValueError: as :func:`frames`.
    """
    _, (total, height, width) = _places(clip, None, dt, pool)
    size = 2 * height * width
    neuron = _cells(clip, pool)
    order = np.lexsort((neuron, clip.time))
    time = (clip.time[order] - clip.start + 1) * MICROSECOND
    columns = (neuron[order].astype(np.int32), np.ones(time.size, np.float32))
    return Times(np.zeros(time.size, np.int32), time, *columns, (total, 1, size))


def _read_at(read: Callable[[int], Clip], numbers: Int64[np.ndarray, " _"], index: int) -> Clip:
    return read(int(numbers[index]))


def _places(
    clip: Clip, ticks: int | None, dt: Seconds | None, pool: int
) -> tuple[Int64[np.ndarray, " _"], tuple[int, int, int]]:
    """Return the flat index in (T, 2, H, W) of each event before tick T, and (T, H, W)."""
    if pool < 1 or clip.width % pool or (clip.height > 1 and clip.height % pool):
        raise ValueError(
            f"pool={pool} does not divide {clip.width} x {clip.height} pixels; use a whole "
            "number that divides both"
        )
    tick, total = _ticks(clip, ticks, dt)
    shape = (total, max(clip.height // pool, 1), clip.width // pool)
    inside = tick < total
    return (tick * 2 * shape[1] * shape[2] + _cells(clip, pool))[inside], shape


def _cells(clip: Clip, pool: int) -> Int64[np.ndarray, " E"]:
    """Return the flat index of each event in (2, H, W)."""
    row = clip.polarity.astype(np.int64) * max(clip.height // pool, 1) + clip.y // pool
    return row * (clip.width // pool) + clip.x // pool


def _ticks(
    clip: Clip, ticks: int | None, dt: Seconds | None
) -> tuple[Int64[np.ndarray, " E"], int]:
    """Return the tick of each event, and the number of ticks."""
    if ticks is not None and ticks < 1:
        raise ValueError(f"ticks must be >= 1, got {ticks}")
    since, length = clip.time - clip.start, clip.stop - clip.start
    if dt is not None:
        step = int(whole_ticks(dt, MICROSECOND))
        if step == 0:
            raise ValueError(f"dt must be >= 1 us, got {dt} s")
        return since // step, -(-length // step) if ticks is None else ticks
    if ticks is None:
        raise ValueError("set ticks, the number of equal spans of the clip, or dt in seconds")
    if ticks * length > LARGEST:
        raise ValueError(
            f"{ticks} equal spans of {length} us exceed 64-bit counts; set dt instead"
        )
    return since * ticks // length, ticks
