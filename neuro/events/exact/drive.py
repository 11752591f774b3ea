"""The window driver: what is sent inside a window does not arrive inside it.

A window is shorter than the least delay inside the component, so that all that arrives in it is
known when it begins (conservative look-ahead). Cells need no common order inside a window: each
sees its own arrivals in theirs.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.compiled import kernel
from neuro.events.exact.calendar import (
    Calendar,
    Plan,
    calendar,
    enter,
    leftover,
    number_of_windows,
    turn,
    with_room,
)
from neuro.events.exact.cells import Cells
from neuro.events.exact.delta import delta_window
from neuro.events.exact.general import general_window
from neuro.events.exact.held import HOT, Fast, Span, room_of
from neuro.events.exact.pack import DELTA, GENERAL, PSC, unpack
from neuro.events.exact.psc import psc_window
from neuro.events.exact.wiring import Arrivals, Wiring

REBASE = 50.0  # time constants after which the scale of the fast copies starts again


class Machine(NamedTuple):
    """A component, ready to run; a run writes on its cells, fast copies and room.

    family: of windows, see :mod:`neuro.events.exact.pack`. room: for the spikes of a window
    (np.recarray). edges: block p of the cells is edges[p]:edges[p + 1].
    """

    family: int
    cells: Cells
    fast: Fast
    wiring: Wiring
    room: np.ndarray
    edges: np.ndarray


class Sent(NamedTuple):
    """Spikes of sources, in order of time [s]."""

    time: np.ndarray
    source: np.ndarray
    value: np.ndarray


@kernel
def span_of(plan: Plan, w: int) -> tuple[float, float]:
    """Return start and stop of a window; the last one ends with the run."""
    last = w + 1 == number_of_windows(plan)
    return w * plan.length, plan.stop if last else (w + 1) * plan.length


@kernel
def open_book(pending: Arrivals, plan: Plan) -> Calendar:
    """Return the calendar of a run that begins with ``pending`` under way."""
    book = calendar(int(plan.longest / plan.length) + 3, 1024)
    book = with_room(book, pending.time.size)
    for k in range(pending.time.size):
        enter(book, pending.group[k], pending.time[k], pending.value[k], 0, plan)
    return book


@kernel
def post(book: Calendar, wiring: Wiring, spikes: Sent, least: int, plan: Plan) -> Calendar:
    """Enter what spikes send, into the page of window ``least`` at the earliest."""
    groups, delay = wiring.groups, wiring.delay
    entries = 0
    for source in spikes.source:
        entries += groups[source + 1] - groups[source]
    book = with_room(book, entries)
    for k in range(spikes.time.size):
        for g in range(groups[spikes.source[k]], groups[spikes.source[k] + 1]):
            enter(book, g, spikes.time[k] + delay[g], spikes.value[k], least, plan)
    return book


@kernel
def some(spikes: Sent, start: int, stop: int) -> Sent:
    """Return spikes ``start`` to ``stop``."""
    return Sent(spikes.time[start:stop], spikes.source[start:stop], spikes.value[start:stop])


@kernel
def in_order(out: np.ndarray, count: int) -> Sent:
    """Return the spikes of a window in order of (time, cell)."""
    time, source = np.empty(count), np.empty(count, np.int64)
    for k in range(count):
        time[k], source[k] = out[k + 1].time, out[k + 1].cell
    order = np.argsort(time)
    time, source = time[order], source[order]
    for k in range(1, count):
        m = k
        while m > 0 and time[m - 1] == time[m] and source[m - 1] > source[m]:
            source[m - 1], source[m] = source[m], source[m - 1]
            m -= 1
    return Sent(time, source, np.ones(count))


@kernel
def origin_for(machine: Machine, origin: float, start: float, stop: float) -> float:
    """Return the origin of the scale for a window; start it again if it has grown too far."""
    family, cells, fast, _, _, _ = machine
    if family == GENERAL:
        return origin
    rate, rate_syn = cells.cell[0].rate, cells.rate_syn[0]
    fastest = rate
    for r in range(rate_syn.size):
        fastest = max(fastest, rate_syn[r])
    if fastest * (stop - origin) <= REBASE:
        return origin
    elapsed = start - origin
    for j in range(fast.modes.shape[0]):
        if abs(fast.modes[j, 0]) < HOT:
            fast.modes[j, 0] *= math.exp(-rate * elapsed)
        for r in range(rate_syn.size):
            fast.modes[j, r + 1] *= math.exp(-rate_syn[r] * elapsed)
    return start


@kernel
def window(machine: Machine, arrivals: Arrivals, span: Span, out: np.ndarray) -> int:
    """Run one block of cells through one window; return how many spikes it had."""
    family, cells, fast, wiring, _, _ = machine
    if family == DELTA:
        delta_window(cells, fast, wiring, arrivals, span, out)
    elif family == PSC:
        psc_window(cells, fast, wiring, arrivals, span, out)
    else:
        general_window(cells, fast, wiring, arrivals, span, out)
    return out[0].cell


@kernel
def grown(a: np.ndarray) -> np.ndarray:
    """Return a copy with twice the room."""
    out = np.empty(2 * a.size, a.dtype)
    out[: a.size] = a
    return out


@kernel
def run_windows(
    machine: Machine, outside: Sent, pending: Arrivals, plan: Plan
) -> tuple[Sent, Arrivals, bool]:
    """Run all cells as one block.

    Returns their spikes, what is still under way, and whether the budget held. The records of
    the cells then hold for the end of the run.
    """
    n, wiring = machine.cells.cell.size, machine.wiring
    book = open_book(pending, plan)
    time, cell, fired = np.empty(1024), np.empty(1024, np.int64), 0
    heard, origin, stop, held = 0, 0.0, 0.0, True
    for w in range(number_of_windows(plan)):
        start, stop = span_of(plan, w)
        origin = origin_for(machine, origin, start, stop)
        until = heard + int(np.searchsorted(outside.time[heard:], stop, side="right"))
        book = post(book, wiring, some(outside, heard, until), w, plan)
        heard = until
        span = Span(0, n, 0, start, stop, origin)
        out = room_of(machine.room, span)
        count = window(machine, turn(book, w), span, out)
        if count == 0:
            continue
        held = count < out.size and fired + count <= plan.budget
        sent = in_order(out, min(count, out.size - 1))
        book = post(book, wiring, sent, w + 1, plan)
        while fired + sent.time.size > time.size:
            time, cell = grown(time), grown(cell)
        time[fired : fired + sent.time.size] = sent.time
        cell[fired : fired + sent.time.size] = sent.source
        fired += sent.time.size
        if not held:
            break
    span = Span(0, n, 0, origin, stop, origin)
    unpack(machine.family, machine.cells, machine.fast, span, machine.room)
    return Sent(time[:fired], cell[:fired], np.ones(fired)), leftover(book), held
