"""What is under way, in a calendar of one page a window; the pages come round again."""

import math
from typing import NamedTuple

import numpy as np

from neuro.compiled import kernel
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


@kernel
def with_room(book: Calendar, entries: int) -> Calendar:
    """Return the calendar, with room for so many entries more."""
    while book.used[0] + entries > book.time.size:
        book = roomier(book)
    return book


@kernel
def number_of_windows(plan: Plan) -> int:
    """Return how many windows a run has."""
    return max(1, math.ceil(plan.stop / plan.length - 1e-9))


@kernel
def enter(book: Calendar, group: int, t: float, value: float, least: int, plan: Plan) -> None:
    """Enter one arrival at time t, into the page of window ``least`` at the earliest."""
    e = book.free[0]
    book.free[0] = book.link[e]
    book.used[0] += 1
    window = math.ceil(t / plan.length) - 1
    if t > (window + 1) * plan.length:  # by rounding
        window += 1
    last = number_of_windows(plan) - 1  # it may be cut short
    window = min(window, last) if t <= plan.stop else max(window, last + 1)
    page = max(window, least) % book.head.size
    book.time[e], book.group[e], book.value[e] = t, group, value
    book.link[e] = book.head[page]
    book.head[page] = e


@kernel
def turn(book: Calendar, window: int) -> Arrivals:
    """Return what arrives in a window, in order of (time, group), and clear its page."""
    page = window % book.head.size
    number, e = 0, book.head[page]
    while e >= 0:
        number += 1
        e = book.link[e]
    time, group, value = np.empty(number), np.empty(number, np.int64), np.empty(number)
    e, k = book.head[page], number
    while e >= 0:  # the last entered comes first
        k -= 1
        time[k], group[k], value[k] = book.time[e], book.group[e], book.value[e]
        following = book.link[e]
        book.link[e] = book.free[0]
        book.free[0] = e
        e = following
    book.head[page] = -1
    book.used[0] -= number
    return in_order(Arrivals(time, group, value))


@kernel
def in_order(a: Arrivals) -> Arrivals:
    """Return arrivals by (time, group); mostly they are in that order already."""
    for k in range(1, a.time.size):
        if a.time[k] < a.time[k - 1] or (
            a.time[k] == a.time[k - 1] and a.group[k] < a.group[k - 1]
        ):
            by_group = np.argsort(a.group, kind="mergesort")
            order = by_group[np.argsort(a.time[by_group], kind="mergesort")]
            return Arrivals(a.time[order], a.group[order], a.value[order])
    return a


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
