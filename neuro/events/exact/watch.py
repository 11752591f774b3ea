"""Cells without currents that something may happen to without an arrival: they are watched.

Some come free in a window; and where the drive alone makes cells fire, the bar comes down on
scaled membranes, and those are watched that it will soon have reached.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.compiled import bare
from neuro.events.exact.cells import Cells
from neuro.events.exact.held import (
    COLD,
    HELD,
    HOLDING,
    HOT,
    WATCHED,
    WATCHES,
    WATCHING,
    Fast,
    Span,
    next_mark,
)
from neuro.events.exact.pack import resting

SOON = 0.05  # in time constants: for how long a list of watched cells is made


class Frame(NamedTuple):
    """What a scaled membrane u means: v - rest = u / scale; the bar is at height * scale.

    margin: how far below the threshold v may be after an arrival, by rounding, where the sum of
    the weights is the threshold. low: where the bar will be when the list of watched cells
    ends, if it comes down.
    """

    rate: float
    rest: float
    height: float
    margin: float
    low: float


@bare
def frame_of(cells: Cells, fast: Fast, span: Span) -> Frame:
    """Return the frame of a window; start a new list of watched cells if the old one ends."""
    one, lists, until, p = cells.cell[span.low], fast.lists, fast.until, span.block
    rest = resting(cells.cell)
    height, low = one.threshold - rest, math.inf
    short = height < 0.0 and one.rate * (span.stop - span.start) < SOON
    new = not short or span.stop > until[p]
    if new:
        for a in range(span.low, span.low + lists[WATCHES, span.low]):
            lists[WATCHING, lists[WATCHED, a]] = 0
        lists[WATCHES, span.low] = 0
    if short:
        if new:
            until[p] = span.start + SOON / one.rate
        low = height * math.exp(one.rate * (until[p] - span.origin))
        if new:
            scan(fast, span, low)
    return Frame(one.rate, rest, height, 1e-14 * (abs(one.threshold) + abs(rest)), low)


@bare
def scan(fast: Fast, span: Span, line: float) -> None:
    """Watch the cells that are above a line."""
    u, marks = fast.modes[0, span.low : span.high], fast.marks[span.low : span.high]
    for k in range(u.size):
        marks[k] = u[k] >= line
    k = next_mark(marks, 0)
    while k < marks.size:
        watch(fast.lists, span, span.low + k)
        k = next_mark(marks, k + 1)


@bare
def watch(lists: np.ndarray, span: Span, j: int) -> None:
    """Have cell ``j`` looked at when the window ends, and as long as the list holds."""
    if not lists[WATCHING, j]:
        lists[WATCHING, j] = 1
        lists[WATCHED, span.low + lists[WATCHES, span.low]] = j
        lists[WATCHES, span.low] += 1


@bare
def wake(cell: np.ndarray, fast: Fast, span: Span) -> None:
    """Set apart the held cells that come free in this window."""
    lists, u = fast.lists, fast.modes[0]
    a, end = span.low, span.low + lists[HOLDING, span.low]
    while a < end:
        j = lists[HELD, a]
        if cell[j].free > span.stop:
            u[j] = COLD
            a += 1
        else:
            u[j] = HOT
            watch(lists, span, j)
            end -= 1
            lists[HELD, a] = lists[HELD, end]
    lists[HOLDING, span.low] = end - span.low


@bare
def free(cell: np.ndarray, u: np.ndarray, f: Frame, origin: float, j: int) -> None:
    """Give back cell ``j`` at the end of its refractory period."""
    u[j] = (cell[j].v - f.rest) * math.exp(f.rate * (cell[j].free - origin))


@bare
def shut(cell: np.ndarray, fast: Fast, span: Span, j: int) -> None:
    """Hold cell ``j``, which has just fired."""
    u, lists = fast.modes[0], fast.lists
    if cell[j].free <= span.stop:
        u[j] = HOT
        watch(lists, span, j)
        return
    u[j] = COLD
    lists[HELD, span.low + lists[HOLDING, span.low]] = j
    lists[HOLDING, span.low] += 1
