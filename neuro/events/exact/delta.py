"""Fast windows for cells whose inputs make the membrane jump, all with the same parameters.

With rest = push / rate, u = (v - rest) exp(rate t) stands still between events, and it is the
bar, (threshold - rest) exp(rate t), that moves: a synapse costs one addition and one test.
A cell found above the bar has crossed it, by itself before or by the arrival now. Cells that
may fire or come free without an arrival are watched: where the drive alone makes cells fire the
bar comes down, and those are watched that it will soon have reached.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.compiled import bare
from neuro.events.exact.cells import Cells
from neuro.events.exact.held import (
    ASKED,
    ASKING,
    COLD,
    HELD,
    HOLDING,
    HOT,
    WATCHED,
    WATCHES,
    WATCHING,
    Fast,
    Span,
    ask,
    fire,
    next_mark,
    settle,
)
from neuro.events.exact.pour import pour
from neuro.events.exact.wiring import Arrivals, Wiring, row_of, synapse

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
def delta_window(
    cells: Cells, fast: Fast, wiring: Wiring, arrivals: Arrivals, span: Span, out: np.ndarray
) -> None:
    """Run the cells of one block through one window."""
    f, cell, u, lists = frame_of(cells, fast, span), cells.cell, fast.modes[0], fast.lists
    target, weight = wiring.target, wiring.weight
    wake(cell, fast, span)
    ready, many = 0, arrivals.time.size
    for k in range(many):
        t, row = arrivals.time[k], row_of(wiring, arrivals.group[k], span.block)
        scale = math.exp(f.rate * (t - span.origin))
        factor, bar = arrivals.value[k] * scale, (f.height - f.margin) * scale
        what = (factor, min(bar, f.low))
        s = pour(u, target, weight, row, row.start, what)
        while s < row.stop:
            j, w = synapse(target, weight, row, s)
            if u[j] < HOT or cell[j].free <= t:  # to a refractory cell it is lost
                if u[j] >= HOT and cell[j].v < cell[j].threshold:
                    free(cell, u, f, span.origin, j)
                if u[j] >= bar and not lists[ASKING, j]:
                    catch_up(cell, fast, span, f, (j, t), out)
                if abs(u[j]) < HOT:
                    u[j] += w * factor
                    if u[j] >= bar:
                        ready = ask(lists, span, j, ready)
                    else:
                        watch(lists, span, j)
            s = pour(u, target, weight, row, s + 1, what)
        if ready > 0 and (k + 1 == many or arrivals.time[k + 1] != t):
            answer(cell, fast, span, f, (ready, t, scale), out)
            ready = 0
    look(cell, fast, span, f, out)


@bare
def frame_of(cells: Cells, fast: Fast, span: Span) -> Frame:
    """Return the frame of a window; start a new list of watched cells if the old one ends."""
    one, lists, until, p = cells.cell[span.low], fast.lists, fast.until, span.block
    rest = one.push / one.rate if one.rate > 0.0 else 0.0
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


@bare
def catch_up(
    cell: np.ndarray, fast: Fast, span: Span, f: Frame, at: tuple[int, float], out: np.ndarray
) -> None:
    """Bring cell j, at = (j, t), to time t: free it in time, fire where it must before t."""
    (j, t), u, one = at, fast.modes[0], cell[at[0]]
    while out[0].cell < out.size:
        if u[j] >= HOT and one.free < t and one.v >= one.threshold:  # soft reset
            fire(cell, j, one.free, out)
            shut(cell, fast, span, j)
            continue
        if u[j] >= HOT and one.free <= t:
            free(cell, u, f, span.origin, j)
        if f.height >= 0.0 or abs(u[j]) >= HOT:
            return
        crossing = span.origin + math.log(max(u[j] / f.height, 1.0)) / f.rate
        crossing = max(crossing, one.free, span.start)
        if crossing >= t:
            return
        one.v = one.threshold
        fire(cell, j, crossing, out)
        shut(cell, fast, span, j)


@bare
def answer(
    cell: np.ndarray,
    fast: Fast,
    span: Span,
    f: Frame,
    at: tuple[int, float, float],
    out: np.ndarray,
) -> None:
    """Test the cells that were asked, at = (their number, t, scale)."""
    (ready, t, scale), u, lists = at, fast.modes[0], fast.lists
    for a in range(span.low, span.low + ready):
        j = lists[ASKED, a]
        lists[ASKING, j] = 0
        if (f.height - f.margin) * scale <= u[j] < HOT:
            judge(cell, fast, span, f, (j, t, scale), out)


@bare
def judge(
    cell: np.ndarray,
    fast: Fast,
    span: Span,
    f: Frame,
    at: tuple[int, float, float],
    out: np.ndarray,
) -> None:
    """Have cell j, at = (j, t, scale), fire: it stands at its threshold or above."""
    (j, t, scale), u, one = at, fast.modes[0], cell[at[0]]
    v = f.rest + u[j] / scale
    whole = math.floor((v + f.margin) / one.threshold) * one.threshold  # v, save for rounding
    one.v, one.free = max(v, whole, one.threshold), t
    settle(cell, j, t, out)
    if one.free > t:
        shut(cell, fast, span, j)
    else:
        u[j] = (one.v - f.rest) * scale


@bare
def look(cell: np.ndarray, fast: Fast, span: Span, f: Frame, out: np.ndarray) -> None:
    """Bring the watched cells to the end of the window: free, or over the threshold."""
    u, lists = fast.modes[0], fast.lists
    scale = math.exp(f.rate * (span.stop - span.origin))
    bar = f.height * scale
    if f.height < 0.0 and f.low == math.inf:
        scan(fast, span, bar)
    for a in range(span.low, span.low + lists[WATCHES, span.low]):
        j = lists[WATCHED, a]
        if u[j] >= HOT and cell[j].v < cell[j].threshold:
            free(cell, u, f, span.origin, j)
        if u[j] >= bar:
            catch_up(cell, fast, span, f, (j, span.stop), out)
            if bar <= u[j] < HOT:
                judge(cell, fast, span, f, (j, span.stop, scale), out)
