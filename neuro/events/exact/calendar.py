"""What is under way, in a calendar of one page a window; the pages come round again."""

import math
from typing import NamedTuple

import numpy as np

from neuro.compiled import bare, kernel
from neuro.events.exact.order import Desk, desk_of, sort
from neuro.events.exact.wiring import Arrivals


class Plan(NamedTuple):
    """A run from 0 to ``stop`` [s] in windows of ``length``; longest delay, most spikes."""

    stop: float
    length: float
    longest: float
    budget: int


class Calendar(NamedTuple):
    """Entries in chains, one chain a page.

    head: the first entry of each page, -1: none. time, group, value, link: by entry; ``link``
    is the next entry of the page, or of the chain of unused ones, which starts at free[0].
    used: one element, the number of entries.
    """

    head: np.ndarray
    time: np.ndarray
    group: np.ndarray
    value: np.ndarray
    link: np.ndarray
    free: np.ndarray
    used: np.ndarray


@kernel
def calendar(pages: int, room: int) -> Calendar:
    """Return an empty calendar."""
    link = np.arange(1, room + 1)
    link[-1] = -1
    return Calendar(
        np.full(pages, -1),
        np.empty(room),
        np.empty(room, np.int64),
        np.empty(room),
        link,
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
    )


@kernel
def roomier(old: Calendar) -> Calendar:
    """Return the same entries with twice the room."""
    room = old.time.size
    new = calendar(old.head.size, 2 * room)
    new.head[:] = old.head
    new.time[:room], new.group[:room], new.value[:room] = old.time, old.group, old.value
    new.link[:room] = old.link
    new.link[-1] = old.free[0]
    new.free[0], new.used[0] = room, old.used[0]
    return new


@bare
def number_of_windows(plan: Plan) -> int:
    """Return how many windows a run has."""
    return max(1, math.ceil(plan.stop / plan.length - 1e-9))


@bare
def span_of(plan: Plan, w: int) -> tuple[float, float]:
    """Return start and stop of a window; the last one ends with the run."""
    last = w + 1 == number_of_windows(plan)
    return w * plan.length, plan.stop if last else (w + 1) * plan.length


@bare
def window_of(t: float, plan: Plan) -> int:
    """Return the window with time t; the last one may be cut short."""
    window = math.ceil(t / plan.length) - 1
    if t > (window + 1) * plan.length:  # by rounding
        window += 1
    last = number_of_windows(plan) - 1
    return min(window, last) if t <= plan.stop else max(window, last + 1)


@bare
def enter(book: Calendar, group: int, t: float, value: float, least: int, plan: Plan) -> None:
    """Enter one arrival at time t, into the page of window ``least`` at the earliest."""
    e = book.free[0]
    book.free[0] = book.link[e]
    book.used[0] += 1
    page = max(window_of(t, plan), least) % book.head.size
    book.time[e], book.group[e], book.value[e] = t, group, value
    book.link[e] = book.head[page]
    book.head[page] = e


@bare
def turn(book: Calendar, window: int, desk: Desk) -> int:
    """Lay what arrives in a window on the desk, in order of (time, group); return how much.

    Its page is cleared. The desk has as much room as the calendar.
    """
    page = window % book.head.size
    entries, e = 0, book.head[page]
    while e >= 0:
        entries += 1
        e = book.link[e]
    e, k = book.head[page], entries
    while e >= 0:  # the last entered comes first
        k -= 1
        desk.time[k], desk.number[k], desk.value[k] = book.time[e], book.group[e], book.value[e]
        following = book.link[e]
        book.link[e] = book.free[0]
        book.free[0] = e
        e = following
    book.head[page] = -1
    book.used[0] -= entries
    sort(desk, entries)
    return entries


@bare
def next_page(book: Calendar, first: int, last: int) -> int:
    """Return the first window from ``first`` on in which anything arrives, at most ``last``."""
    if book.used[0] > 0:
        for window in range(first, min(last, first + book.head.size)):
            if book.head[window % book.head.size] >= 0:
                return window
    return last


@kernel
def in_order(a: Arrivals) -> Arrivals:
    """Return arrivals in order of (time, group)."""
    entries = a.time.size
    desk = desk_of(entries)
    desk.time[:], desk.number[:], desk.value[:] = a.time, a.group, a.value
    sort(desk, entries)
    return Arrivals(desk.time, desk.number, desk.value)


@kernel
def leftover(book: Calendar) -> Arrivals:
    """Return all that is still under way."""
    time, group = np.empty(book.used[0]), np.empty(book.used[0], np.int64)
    value, k = np.empty(book.used[0]), 0
    for head in book.head:
        e = head
        while e >= 0:
            time[k], group[k], value[k] = book.time[e], book.group[e], book.value[e]
            k += 1
            e = book.link[e]
    return in_order(Arrivals(time, group, value))
