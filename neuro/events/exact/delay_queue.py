"""What a run in windows writes: spikes under way, those of this window, and all so far."""

import math
from typing import NamedTuple

import numpy as np

from neuro.events.exact.synapse_table import Arrivals, Wiring
from neuro.ops.jit import bare, kernel


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


# Where a run is: its next window; whether that was run, and its spikes wait to be sent; how
# many spikes from outside are under way; how many the cells have fired, and whether too many.
WINDOW, RAN, HEARD, FIRED, SPENT = range(5)

# What there is no room for: more entries of the calendar or on the desk; more spikes in all.
NOTHING, ENTRIES, SPIKES = range(3)


class Sent(NamedTuple):
    """Spikes of sources, in order of time [s]."""

    time: np.ndarray
    source: np.ndarray
    value: np.ndarray


class Papers(NamedTuple):
    """What a run writes.

    book: what is under way. desk: as large, for one window. time, cell: all spikes so far. at:
    see above.
    """

    book: Calendar
    desk: Desk
    time: np.ndarray
    cell: np.ndarray
    at: np.ndarray


@kernel
def papers_of(pending: Arrivals, plan: Plan) -> Papers:
    """Return the papers of a run that begins with ``pending`` under way."""
    book = calendar(int(plan.longest / plan.length) + 3, 1024)
    while book.time.size < pending.time.size:
        book = roomier(book)
    for k in range(pending.time.size):
        enter(book, pending.group[k], pending.time[k], pending.value[k], 0, plan)
    desk, none = desk_of(book.time.size), np.zeros(5, np.int64)
    return Papers(book, desk, np.empty(1024), np.empty(1024, np.int64), none)


@kernel
def more(p: Papers, lacking: int) -> Papers:
    """Return the papers with twice the room for what is lacking."""
    if lacking == ENTRIES:
        book = roomier(p.book)
        return Papers(book, desk_of(book.time.size), p.time, p.cell, p.at)
    return Papers(p.book, p.desk, grown(p.time), grown(p.cell), p.at)


@kernel
def grown(a: np.ndarray) -> np.ndarray:
    """Return a copy with twice the room."""
    out = np.empty(2 * a.size, a.dtype)
    out[: a.size] = a
    return out


@bare
def fits(book: Calendar, wiring: Wiring, source: int) -> bool:
    """Say whether there is room for what a spike of this source sends."""
    return book.used[0] + wiring.groups[source + 1] - wiring.groups[source] <= book.time.size


@bare
def post(
    book: Calendar, wiring: Wiring, spike: tuple[float, int, float], least: int, plan: Plan
) -> None:
    """Enter what a spike (time, source, value) sends, in the pages from ``least`` on."""
    t, source, value = spike
    for g in range(wiring.groups[source], wiring.groups[source + 1]):
        enter(book, g, t + wiring.delay[g], value, least, plan)


@bare
def hear(p: Papers, wiring: Wiring, outside: Sent, plan: Plan) -> bool:
    """Post the spikes from outside of the next window; say whether there was room for them."""
    _, stop = span_of(plan, p.at[WINDOW])
    for k in range(p.at[HEARD], outside.time.size):
        if outside.time[k] > stop:
            break
        if not fits(p.book, wiring, outside.source[k]):
            return False
        spike = (outside.time[k], outside.source[k], outside.value[k])
        post(p.book, wiring, spike, p.at[WINDOW], plan)
        p.at[HEARD] = k + 1
    return True


@bare
def collect(desk: Desk, first: int, out: np.ndarray) -> int:
    """Lay the spikes of a block on the desk, from place ``first`` on; return the next place.

    Where there is no room for them they are only counted.
    """
    stop = first + min(out[0].cell, out.size - 1)
    if stop <= desk.time.size:
        for k in range(first, stop):
            spike = out[k - first + 1]
            desk.time[k], desk.number[k], desk.value[k] = spike.time, spike.cell, 1.0
    return stop


@bare
def send(p: Papers, wiring: Wiring, spikes: int, plan: Plan) -> int:
    """Post and keep the spikes on the desk; return what there is no room for: none is, then."""
    book, desk, at = p.book, p.desk, p.at
    if spikes > desk.time.size:
        return ENTRIES
    if at[FIRED] + spikes > p.time.size:
        return SPIKES
    entries = book.used[0]
    for k in range(spikes):
        entries += wiring.groups[desk.number[k] + 1] - wiring.groups[desk.number[k]]
    if entries > book.time.size:
        return ENTRIES
    sort(desk, spikes)
    for k in range(spikes):
        t, j = desk.time[k], desk.number[k]
        p.time[at[FIRED] + k], p.cell[at[FIRED] + k] = t, j
        post(book, wiring, (t, j, 1.0), at[WINDOW] + 1, plan)
    at[FIRED] += spikes
    return NOTHING


@bare
def next_arrival(p: Papers, outside: Sent, plan: Plan) -> int:
    """Return the next window in which anything arrives, at most the last of the run."""
    last = number_of_windows(plan) - 1
    if p.at[HEARD] < outside.time.size:
        last = min(last, window_of(outside.time[p.at[HEARD]], plan))
    return next_page(p.book, p.at[WINDOW] + 1, last)
