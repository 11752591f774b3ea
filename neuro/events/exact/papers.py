"""What a run in windows writes: spikes under way, those of this window, and all so far."""

from typing import NamedTuple

import numpy as np

from neuro.compiled import bare, kernel
from neuro.events.exact.calendar import (
    Calendar,
    Plan,
    calendar,
    enter,
    next_page,
    number_of_windows,
    roomier,
    span_of,
    window_of,
)
from neuro.events.exact.order import Desk, desk_of, sort
from neuro.events.exact.wiring import Arrivals, Wiring

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
