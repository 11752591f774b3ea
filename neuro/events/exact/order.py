"""What is sent or arrives in one window, in order of (time, number): few entries, but often."""

from typing import NamedTuple

import numpy as np

from neuro.compiled import bare, kernel


class Desk(NamedTuple):
    """Room for the entries of one window: time, number (of a group or cell) and value.

    copy_time, copy_number, copy_value: as much again, and place: counters, to sort them.
    """

    time: np.ndarray
    number: np.ndarray
    value: np.ndarray
    copy_time: np.ndarray
    copy_number: np.ndarray
    copy_value: np.ndarray
    place: np.ndarray


@kernel
def desk_of(room: int) -> Desk:
    """Return room for so many entries."""
    return Desk(
        np.empty(room),
        np.empty(room, np.int64),
        np.empty(room),
        np.empty(room),
        np.empty(room, np.int64),
        np.empty(room),
        np.empty(room + 2, np.int64),
    )


@bare
def sort(d: Desk, entries: int) -> None:
    """Sort the first entries of a desk, unless they are in order already.

    As many buckets of time as there are entries leave little to do.
    """
    low, high, ordered = np.inf, -np.inf, True
    for k in range(entries):
        t = d.time[k]
        ordered &= k == 0 or not later(d, k - 1, t, d.number[k])
        low, high = min(low, t), max(high, t)
    if ordered:
        return
    scale = entries / (high - low) if (high - low) * 1e300 > entries else 0.0
    most, gap = spread(d, entries, low, scale), 1
    while 9 * gap < most:  # none is further from its place than its bucket is large
        gap = 3 * gap + 1
    while gap > 0:
        insert(d, entries, gap)
        gap //= 3


@bare
def later(d: Desk, k: int, t: float, number: int) -> bool:
    """Say whether entry k comes after (t, number)."""
    return d.time[k] > t or (d.time[k] == t and d.number[k] > number)


@bare
def spread(d: Desk, entries: int, low: float, scale: float) -> int:
    """Put entries in order of their buckets; return the size of the largest bucket."""
    place, most = d.place, 0
    place[: entries + 2] = 0
    for k in range(entries):
        d.copy_time[k], d.copy_number[k], d.copy_value[k] = d.time[k], d.number[k], d.value[k]
        bucket = int((d.time[k] - low) * scale)
        place[bucket + 1] += 1
        most = max(most, place[bucket + 1])
    for k in range(entries):
        place[k + 1] += place[k]
    for k in range(entries):
        bucket = int((d.copy_time[k] - low) * scale)
        m = place[bucket]
        place[bucket] += 1
        d.time[m], d.number[m], d.value[m] = d.copy_time[k], d.copy_number[k], d.copy_value[k]
    return most


@bare
def insert(d: Desk, entries: int, gap: int) -> None:
    """Sort by insertion every chain of entries ``gap`` apart: one round of Shell's sort."""
    for k in range(gap, entries):
        t, number, value, m = d.time[k], d.number[k], d.value[k], k
        while m >= gap and later(d, m - gap, t, number):
            d.time[m], d.number[m] = d.time[m - gap], d.number[m - gap]
            d.value[m] = d.value[m - gap]
            m -= gap
        d.time[m], d.number[m], d.value[m] = t, number, value
