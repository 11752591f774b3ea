"""The window driver: what is sent inside a window does not arrive inside it.

A window is at most as long as the least delay inside the component, so that all that arrives in
it is known when it begins (conservative look-ahead). Cells need no common order inside a window:
each sees its own arrivals in theirs.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.events.exact.calendar import Calendar, calendar, enter, turn, with_room
from neuro.events.exact.cells import Cells
from neuro.events.exact.delta import delta_window
from neuro.events.exact.held import HOT, SPIKE, Fast, Span
from neuro.events.exact.psc import psc_window
from neuro.events.exact.wiring import Arrivals, Wiring
from neuro.events.kernels import kernel

DELTA, PSC, GENERAL = 0, 1, 2
REBASE = 50.0  # time constants after which the scale of the fast copies starts again
ROOM = 16  # spikes a cell has room for in one window


class Sent(NamedTuple):
    """Spikes of sources, in order of time."""

    time: np.ndarray
    source: np.ndarray
    value: np.ndarray


class Plan(NamedTuple):
    """How to run: from 0 to ``stop`` [s] in windows of ``length``; longest delay, most spikes."""

    family: int
    stop: float
    length: float
    longest: float
    budget: int


@kernel
def window(
    family: int,
    cells: Cells,
    fast: Fast,
    wiring: Wiring,
    arrivals: Arrivals,
    span: Span,
    out: np.ndarray,
) -> None:
    """Run one block of cells through one window."""
    if family == DELTA:
        delta_window(cells, fast, wiring, arrivals, span, out)
    elif family == PSC:
        psc_window(cells, fast, wiring, arrivals, span, out)


@kernel
def rebase(cells: Cells, fast: Fast, elapsed: float) -> None:
    """Start the scale of the fast copies again, ``elapsed`` after its origin."""
    rate, rate_syn = cells.cell[0].rate, cells.rate_syn[0]
    for j in range(fast.modes.shape[0]):
        if fast.modes[j, 0] < HOT:
            fast.modes[j, 0] *= math.exp(-rate * elapsed)
        for r in range(rate_syn.size):
            fast.modes[j, r + 1] *= math.exp(-rate_syn[r] * elapsed)


@kernel
def post(book: Calendar, wiring: Wiring, spikes: Sent, least: int, length: float) -> Calendar:
    """Enter what spikes send, into the page of window ``least`` at the earliest."""
    groups, delay = wiring.groups, wiring.delay
    entries = 0
    for source in spikes.source:
        entries += groups[source + 1] - groups[source]
    book = with_room(book, entries)
    for k in range(spikes.time.size):
        for g in range(groups[spikes.source[k]], groups[spikes.source[k] + 1]):
            enter(book, g, spikes.time[k] + delay[g], spikes.value[k], least, length)
    return book


@kernel
def sorted_spikes(out: np.ndarray, count: int) -> Sent:
    """Return the spikes of a window in order of time."""
    time, source = np.empty(count), np.empty(count, np.int64)
    for k in range(count):
        time[k] = out[k + 1].time
    order = np.argsort(time)
    for k in range(count):
        source[k] = out[order[k] + 1].cell
    return Sent(time[order], source, np.ones(count))


@kernel
def some(spikes: Sent, start: int, stop: int) -> Sent:
    """Return spikes ``start`` to ``stop``."""
    return Sent(spikes.time[start:stop], spikes.source[start:stop], spikes.value[start:stop])


@kernel
def grown(a: np.ndarray) -> np.ndarray:
    """Return a copy with twice the room."""
    out = np.empty(2 * a.size, a.dtype)
    out[: a.size] = a
    return out


@kernel
def run_windows(
    cells: Cells,
    fast: Fast,
    wiring: Wiring,
    outside: Sent,
    pending: Arrivals,
    plan: Plan,
) -> tuple[np.ndarray, np.ndarray, Arrivals]:
    """Run all cells as one block; return the times and cells of their spikes, and what is left."""
    n = cells.cell.size
    book = calendar(int(plan.longest / plan.length) + 3, 1024)
    book = with_room(book, pending.time.size)
    for k in range(pending.time.size):
        enter(book, pending.group[k], pending.time[k], pending.value[k], 0, plan.length)
    time, cell, fired = np.empty(1024), np.empty(1024, np.int64), 0
    out = np.empty(ROOM * n + 64, SPIKE)
    rate = cells.cell[0].rate
    if cells.rate_syn.size:
        rate = max(rate, cells.rate_syn[0].max())
    heard, origin = 0, 0.0
    windows = int(math.ceil(plan.stop / plan.length - 1e-9))
    for w in range(windows):
        start = w * plan.length
        stop = min((w + 1) * plan.length, plan.stop) if w + 1 < windows else plan.stop
        if plan.family != GENERAL and rate * (stop - origin) > REBASE:
            rebase(cells, fast, start - origin)
            origin = start
        until = heard + np.searchsorted(outside.time[heard:], stop, side="right")
        book = post(book, wiring, some(outside, heard, until), w, plan.length)
        heard = until
        arrivals = turn(book, w)
        span = Span(0, n, 0, start, stop, origin)
        out[0].cell = 0
        window(plan.family, cells, fast, wiring, arrivals, span, out)
        count = out[0].cell
        if count == 0:
            continue
        sent = sorted_spikes(out, count)
        book = post(book, wiring, sent, w + 1, plan.length)
        while fired + count > time.size:
            time, cell = grown(time), grown(cell)
        time[fired : fired + count], cell[fired : fired + count] = sent.time, sent.source
        fired += count
        if fired > plan.budget:
            break
    return time[:fired], cell[:fired], leftover(book)


@kernel
def leftover(book: Calendar) -> Arrivals:
    """Return all that is still under way."""
    number = 0
    for head in book.head:
        e = head
        while e >= 0:
            number += 1
            e = book.link[e]
    time, group, value = np.empty(number), np.empty(number, np.int64), np.empty(number)
    k = 0
    for head in book.head:
        e = head
        while e >= 0:
            time[k], group[k], value[k] = book.time[e], book.group[e], book.value[e]
            k += 1
            e = book.link[e]
    return Arrivals(time, group, value)
