"""Fast windows for cells whose inputs make the membrane jump, all with the same parameters.

With rest = push / rate, u = (v - rest) exp(rate t) stands still between events, and it is the
bar, (threshold - rest) exp(rate t), that moves: a synapse costs one addition and one test.
A cell found above the bar has crossed it, by itself before or by the arrival now.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.events.exact.membrane import Cells
from neuro.events.exact.scaled_state import resting
from neuro.events.exact.step_general import (
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
from neuro.events.exact.synapse_table import Arrivals, Row, Wiring, row_of, synapse
from neuro.ops.jit import bare

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


SIDE = 64  # targets side by side that are looked at together


@bare
def pour(
    u: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    row: Row,
    s: int,
    what: tuple[float, float],
) -> int:
    """Add weights times a factor to the targets of a row from synapse s on.

    what: the factor, and a line. Stops at a target that is above the line or would be; returns
    its synapse, or the end of the row.
    """
    factor, line = what
    if row.beside:
        return pour_beside(u, weight, (s, row.stop, row.shift), factor, line)
    if row.common == row.common:  # not NaN
        return pour_alike(u, target, (s, row.stop), row.common * factor, line)
    return pour_listed(u, target, weight, (s, row.stop), what)


@bare
def pour_listed(
    u: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    part: tuple[int, int],
    what: tuple[float, float],
) -> int:
    """Do as :func:`pour` with synapses ``part`` = (from, to) of any target and weight."""
    (s, end), (factor, line) = part, what
    while s < end:
        j = target[s]
        old = u[j]
        new = old + weight[s] * factor
        if max(old, new) >= line:
            break
        u[j] = new
        s += 1
    return s


@bare
def pour_alike(
    u: np.ndarray, target: np.ndarray, part: tuple[int, int], step: float, line: float
) -> int:
    """Do as :func:`pour` with one step for all."""
    s, end = part
    while s < end:
        j = target[s]
        old = u[j]
        new = old + step
        if max(old, new) >= line:
            break
        u[j] = new
        s += 1
    return s


@bare
def pour_beside(
    u: np.ndarray, weight: np.ndarray, part: tuple[int, int, int], factor: float, line: float
) -> int:
    """Do as :func:`pour` with targets side by side, ``part`` = (from, to, target - synapse)."""
    s, end, shift = part
    while s < end:
        stop, hits = min(s + SIDE, end), 0
        row, more = u[s + shift : stop + shift], weight[s:stop]
        for k in range(row.size):
            hits += max(row[k], row[k] + more[k] * factor) >= line
        if hits > 0:
            k = 0
            while max(row[k], row[k] + more[k] * factor) < line:
                row[k] += more[k] * factor
                k += 1
            return s + k
        add_beside(row, more, factor)
        s = stop
    return end


@bare
def add_beside(row: np.ndarray, weight: np.ndarray, factor: float) -> None:
    """Add to all targets side by side."""
    for k in range(row.size):
        row[k] += weight[k] * factor


class Instant(NamedTuple):
    """Now. bar: of scaled membranes; line: from where on they are to be looked at."""

    t: float
    scale: float
    bar: float
    line: float


@bare
def delta_window(
    cells: Cells, fast: Fast, wiring: Wiring, arrivals: Arrivals, span: Span, out: np.ndarray
) -> None:
    """Run the cells of one block through one window.

    In an instant in which some of targets side by side reach the line, the cells ``opened`` to
    ``closed`` are brought to it at first and looked at when it ends; all else is plain sums.
    """
    f, cell, u = frame_of(cells, fast, span), cells.cell, fast.modes[0]
    target, weight = wiring.target, wiring.weight
    wake(cell, fast, span)
    ready, many, opened, closed = 0, arrivals.time.size, 0, 0
    for k in range(many):
        t, row = arrivals.time[k], row_of(wiring, arrivals.group[k], span.block)
        scale = math.exp(f.rate * (t - span.origin))
        factor, bar = arrivals.value[k] * scale, (f.height - f.margin) * scale
        now = Instant(t, scale, bar, min(bar, f.low))
        s, what = row.start, (factor, now.line)
        if opened == closed or not row.beside:
            s = pour(u, target, weight, row, s, what)
        if row.beside and s < row.stop:
            first, last = row.start + row.shift, row.stop + row.shift
            opened, closed = (first, first) if opened == closed else (opened, closed)
            widen(cell, fast, span, f, (first, opened, now), out)
            widen(cell, fast, span, f, (closed, last, now), out)
            opened, closed = min(opened, first), max(closed, last)
            add_beside(u[s + row.shift : last], weight[s : row.stop], factor)
            s = row.stop
        while s < row.stop:
            j, w = synapse(target, weight, row, s)
            if bring(cell, fast, span, f, (j, now, opened <= j < closed), out):
                u[j] += w * factor
                ready = mark(fast.lists, span, (j, ready, u[j] >= bar))
            s = pour(u, target, weight, row, s + 1, what)
        if (ready > 0 or opened < closed) and (k + 1 == many or arrivals.time[k + 1] != t):
            ready = close(fast, span, (opened, closed, now), ready)
            answer(cell, fast, span, f, (ready, now), out)
            ready, opened, closed = 0, 0, 0
    look(cell, fast, span, f, out)


@bare
def bring(
    cell: np.ndarray,
    fast: Fast,
    span: Span,
    f: Frame,
    at: tuple[int, Instant, bool],
    out: np.ndarray,
) -> bool:
    """Bring cell j, at = (j, now, done before), to now; say if it hears: it is not held."""
    (j, now, done), u = at, fast.modes[0]
    if u[j] >= HOT and cell[j].free > now.t:  # to a refractory cell it is lost
        return False
    if u[j] >= HOT and cell[j].v < cell[j].threshold:
        free(cell, u, f, span.origin, j)
    if u[j] >= now.bar and not (done or fast.lists[ASKING, j]):
        catch_up(cell, fast, span, f, (j, now.t), out)
    return abs(u[j]) < HOT


@bare
def mark(lists: np.ndarray, span: Span, at: tuple[int, int, bool]) -> int:
    """Have cell j, at = (j, ready, high), tested when the instant ends if it stands high, else
    watched; return how many will be tested.
    """
    j, ready, high = at
    if high:
        return ask(lists, span, j, ready)
    watch(lists, span, j)
    return ready


@bare
def widen(
    cell: np.ndarray,
    fast: Fast,
    span: Span,
    f: Frame,
    over: tuple[int, int, Instant],
    out: np.ndarray,
) -> None:
    """Bring the cells over = (first, last, now) that have reached the line to now."""
    (first, last, now), u = over, fast.modes[0]
    j = next_above(u, first, last, now.line)
    while j < last:
        bring(cell, fast, span, f, (j, now, False), out)
        j = next_above(u, j + 1, last, now.line)


@bare
def close(fast: Fast, span: Span, over: tuple[int, int, Instant], ready: int) -> int:
    """Mark the cells over = (first, last, now) that have reached the line, as :func:`mark`."""
    (first, last, now), u = over, fast.modes[0]
    j = next_above(u, first, last, now.line)
    while j < last:
        if u[j] < HOT:
            ready = mark(fast.lists, span, (j, ready, u[j] >= now.bar))
        j = next_above(u, j + 1, last, now.line)
    return ready


@bare
def next_above(u: np.ndarray, first: int, last: int, line: float) -> int:
    """Return the first cell from ``first`` to ``last`` that has reached a line, or ``last``."""
    while first < last:
        row, hits = u[first : min(first + SIDE, last)], 0
        for k in range(row.size):
            hits += row[k] >= line
        if hits > 0:
            while u[first] < line:
                first += 1
            return first
        first += row.size
    return last


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
    at: tuple[int, Instant],
    out: np.ndarray,
) -> None:
    """Test the cells that were asked, at = (their number, now)."""
    (ready, now), u, lists = at, fast.modes[0], fast.lists
    for a in range(span.low, span.low + ready):
        j = lists[ASKED, a]
        lists[ASKING, j] = 0
        if now.bar <= u[j] < HOT:
            judge(cell, fast, span, f, (j, now.t, now.scale), out)


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
        watch(fast.lists, span, j)  # the drive may soon make it fire again


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
