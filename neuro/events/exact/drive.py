"""The window driver: what is sent inside a window does not arrive inside it.

A window is at most as long as the least delay inside the component, so that all that arrives in
it is known when it begins (conservative look-ahead). Cells need no common order inside a window:
each sees its own arrivals in theirs. So blocks of cells may run side by side, one thread each,
and every spike is the same for any number of them.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

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
from neuro.events.kernels import kernel

REBASE = 50.0  # time constants after which the scale of the fast copies starts again


class Scratch(NamedTuple):
    """What a run writes on: fast copies, and room for the spikes of one window (np.recarray)."""

    fast: Fast
    room: np.ndarray


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
def rebase(cells: Cells, fast: Fast, elapsed: float) -> None:
    """Start the scale of the fast copies again, ``elapsed`` after its origin."""
    rate, rate_syn = cells.cell[0].rate, cells.rate_syn[0]
    for j in range(fast.modes.shape[0]):
        if abs(fast.modes[j, 0]) < HOT:
            fast.modes[j, 0] *= math.exp(-rate * elapsed)
        for r in range(rate_syn.size):
            fast.modes[j, r + 1] *= math.exp(-rate_syn[r] * elapsed)


@kernel
def must_rebase(family: int, cells: Cells, elapsed: float) -> bool:
    """Say whether the scale has grown so far that it must start again."""
    if family == GENERAL:
        return False
    rate = cells.cell[0].rate
    for r in range(cells.rate_syn.shape[1]):
        rate = max(rate, cells.rate_syn[0, r])
    return rate * elapsed > REBASE


@kernel
def window(
    family: int,
    cells: Cells,
    fast: Fast,
    wiring: Wiring,
    arrivals: Arrivals,
    span: Span,
    out: np.ndarray,
) -> int:
    """Run one block of cells through one window; return how many spikes it had."""
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
    cells: Cells, scratch: Scratch, wiring: Wiring, outside: Sent, pending: Arrivals, plan: Plan
) -> tuple[Sent, Arrivals, bool]:
    """Run all cells as one block.

    Returns their spikes, what is still under way, and whether the budget held. The records of
    ``cells`` then hold for the end of the run.
    """
    n, fast = cells.cell.size, scratch.fast
    book = open_book(pending, plan)
    time, cell, fired = np.empty(1024), np.empty(1024, np.int64), 0
    heard, origin, stop, held = 0, 0.0, 0.0, True
    for w in range(number_of_windows(plan)):
        start, stop = span_of(plan, w)
        if must_rebase(plan.family, cells, stop - origin):
            rebase(cells, fast, start - origin)
            origin = start
        until = heard + np.searchsorted(outside.time[heard:], stop, side="right")
        book = post(book, wiring, some(outside, heard, until), w, plan)
        heard = until
        span = Span(0, n, 0, start, stop, origin)
        out = room_of(scratch.room, span)
        count = window(plan.family, cells, fast, wiring, turn(book, w), span, out)
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
    unpack(plan.family, cells, fast, span, scratch.room)
    return Sent(time[:fired], cell[:fired], np.ones(fired)), leftover(book), held


def run_blocks(
    cells: Cells,
    scratch: Scratch,
    wiring: Wiring,
    outside: Sent,
    pending: Arrivals,
    plan: Plan,
    edges: np.ndarray,
) -> tuple[Sent, Arrivals, bool]:
    """Do as :func:`run_windows`, one thread a block; block p is edges[p]:edges[p + 1]."""
    book, fast = open_book(pending, plan), scratch.fast
    blocks = [p for p in range(edges.size - 1) if edges[p] < edges[p + 1]]
    parts: list[Sent] = []
    heard, fired, origin, stop, held = 0, 0, 0.0, 0.0, True
    with ThreadPoolExecutor(len(blocks)) as pool:
        for w in range(number_of_windows(plan)):
            start, stop = span_of(plan, w)
            if must_rebase(plan.family, cells, stop - origin):
                rebase(cells, fast, start - origin)
                origin = start
            until = heard + int(np.searchsorted(outside.time[heard:], stop, side="right"))
            book = post(book, wiring, some(outside, heard, until), w, plan)
            heard, arrivals = until, turn(book, w)

            spans = [
                Span(int(edges[p]), int(edges[p + 1]), p, start, stop, origin) for p in blocks
            ]
            outs = [room_of(scratch.room, span) for span in spans]
            run = partial(window, plan.family, cells, fast, wiring, arrivals)
            counts = list(pool.map(run, spans, outs))
            if sum(counts) == 0:
                continue
            full = any(c >= out.size for c, out in zip(counts, outs, strict=True))
            held = not full and fired + sum(counts) <= plan.budget
            found = [o[1 : 1 + min(c, o.size - 1)] for c, o in zip(counts, outs, strict=True)]
            merged = np.concatenate([outs[0][:1], *found])
            sent = in_order(merged, merged.size - 1)
            book = post(book, wiring, sent, w + 1, plan)
            parts.append(sent)
            fired += sent.time.size
            if not held:
                break
    span = Span(0, cells.cell.size, 0, origin, stop, origin)
    unpack(plan.family, cells, fast, span, scratch.room)
    columns = [np.concatenate([np.zeros(0), *(p[k] for p in parts)]) for k in range(3)]
    return Sent(columns[0], columns[1].astype(np.int64), columns[2]), leftover(book), held
