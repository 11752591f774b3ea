"""Fast windows for cells whose inputs make the membrane jump, all with the same parameters.

With rest = push / rate, u = (v - rest) exp(rate t) stands still between events, and it is the
bar, (threshold - rest) exp(rate t), that moves: a synapse costs one multiply-add and one
comparison. A cell found above the bar has crossed it, by itself before or by the arrival now.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.compiled import bare
from neuro.events.exact.cells import Cells
from neuro.events.exact.held import (
    ASKED,
    ASKING,
    CHUNK,
    COLD,
    HELD,
    HOLDING,
    HOT,
    Fast,
    Span,
    ask,
    fire,
    settle,
)
from neuro.events.exact.wiring import Arrivals, Wiring


class Frame(NamedTuple):
    """What a scaled membrane u means: v - rest = u / scale; the bar is at height * scale.

    A height above rest is less by what scaling may lose, for weights that just add up to it.
    """

    rate: float
    rest: float
    height: float


@bare
def frame_of(cells: Cells, span: Span) -> Frame:
    """Return the frame of a window."""
    one = cells.cell[span.low]
    rest = one.push / one.rate if one.rate > 0.0 else 0.0
    height = one.threshold - rest
    if height > 0.0:
        height = max(height - 1e-15 * (one.threshold + abs(rest)), 0.0)
    return Frame(one.rate, rest, height)


@bare
def delta_window(
    cells: Cells, fast: Fast, wiring: Wiring, arrivals: Arrivals, span: Span, out: np.ndarray
) -> None:
    """Run the cells of one block through one window.

    In an instant in which targets side by side go above the bar, their cells ``opened`` to
    ``closed`` are brought to it at first and tested at its end, and all else is plain sums.
    """
    f, cell, block = frame_of(cells, span), cells.cell, span.block
    u, lists = fast.modes.reshape(-1), fast.lists
    must_look = wake(cell, u, lists, span) or f.height < 0.0  # the drive alone makes them fire
    ready, many, opened, closed = 0, arrivals.time.size, 0, 0
    for k in range(many):
        t, g, value = arrivals.time[k], arrivals.group[k], arrivals.value[k]
        scale = math.exp(f.rate * (t - span.origin))
        factor, bar = value * scale, f.height * scale
        begin, end = wiring.bounds[g, block], wiring.bounds[g, block + 1]
        target, weight = wiring.target[begin:end], wiring.weight[begin:end]
        if wiring.first[g] >= 0:
            first = wiring.first[g] + begin - wiring.bounds[g, 0]
            last = first + end - begin
            if opened < closed or not lift(u[first:last], weight, factor, bar):
                if opened == closed:
                    opened, closed = first, first
                if first < opened:
                    sweep(cell, fast, span, f, (first, opened, t, False), out)
                if last > closed:
                    sweep(cell, fast, span, f, (closed, last, t, False), out)
                opened, closed = min(opened, first), max(closed, last)
                add_row(u[first:last], weight, factor)
            end = begin
        for s in range(end - begin):
            j = target[s]
            old = u[j]
            new = old + weight[s] * factor
            if max(old, new) < bar:
                u[j] = new
                continue
            if not (lists[ASKING, j] or opened <= j < closed):
                catch_up(cell, fast, span, f, (j, t), out)
            if abs(u[j]) < HOT:  # to a refractory cell it is lost
                u[j] += weight[s] * factor
                ready = ask(lists, span, j, ready)
        if (ready > 0 or opened < closed) and (k + 1 == many or arrivals.time[k + 1] != t):
            for a in range(span.low, span.low + ready):
                j = lists[ASKED, a]
                lists[ASKING, j] = 0
                judge(cell, fast, span, f, (j, t), out)
            sweep(cell, fast, span, f, (opened, closed, t, True), out)
            ready, opened, closed = 0, 0, 0
            must_look |= cell[span.low].refractory < span.stop - t
    if must_look:
        for tested in (False, True):
            sweep(cell, fast, span, f, (span.low, span.high, span.stop, tested), out)


@bare
def lift(row: np.ndarray, weight: np.ndarray, factor: float, bar: float) -> bool:
    """Add to targets side by side, unless one is or would be above the bar; say if done."""
    hits = 0
    for s in range(row.size):
        hits += max(row[s], row[s] + weight[s] * factor) >= bar
    if hits == 0:
        add_row(row, weight, factor)
    return hits == 0


@bare
def add_row(row: np.ndarray, weight: np.ndarray, factor: float) -> None:
    """Add to targets side by side."""
    for s in range(row.size):
        row[s] += weight[s] * factor


@bare
def wake(cell: np.ndarray, u: np.ndarray, lists: np.ndarray, span: Span) -> bool:
    """Set apart the held cells that come free in this window; say whether there are any."""
    a, end = span.low, span.low + lists[HOLDING, span.low]
    held = end
    while a < end:
        j = lists[HELD, a]
        if cell[j].free > span.stop:
            u[j] = COLD
            a += 1
        else:
            u[j] = HOT
            end -= 1
            lists[HELD, a] = lists[HELD, end]
    lists[HOLDING, span.low] = end - span.low
    return end < held


@bare
def shut(cell: np.ndarray, fast: Fast, span: Span, j: int) -> None:
    """Hold cell ``j``, which has just fired."""
    modes, lists = fast.modes, fast.lists
    if cell[j].free <= span.stop:
        modes[j, 0] = HOT
        return
    modes[j, 0] = COLD
    lists[HELD, span.low + lists[HOLDING, span.low]] = j
    lists[HOLDING, span.low] += 1


@bare
def catch_up(
    cell: np.ndarray, fast: Fast, span: Span, f: Frame, at: tuple[int, float], out: np.ndarray
) -> None:
    """Bring cell j, at = (j, t), to time t: free it in time, fire where it must before t."""
    (j, t), u, one = at, fast.modes, cell[at[0]]
    while out[0].cell < out.size:
        if u[j, 0] >= HOT and one.free <= t:
            if one.v >= one.threshold and one.free < t:  # soft reset
                fire(cell, j, one.free, out)
                shut(cell, fast, span, j)
                continue
            u[j, 0] = (one.v - f.rest) * math.exp(f.rate * (one.free - span.origin))
        if f.height >= 0.0 or abs(u[j, 0]) >= HOT:
            return
        crossing = span.origin + math.log(max(u[j, 0] / f.height, 1.0)) / f.rate
        crossing = max(crossing, one.free, span.start)
        if crossing >= t:
            return
        one.v = one.threshold
        fire(cell, j, crossing, out)
        shut(cell, fast, span, j)


@bare
def judge(
    cell: np.ndarray, fast: Fast, span: Span, f: Frame, at: tuple[int, float], out: np.ndarray
) -> None:
    """Test cell j, at = (j, t), after all that reached it in the instant t."""
    (j, t), u, one = at, fast.modes, cell[at[0]]
    scale = math.exp(f.rate * (t - span.origin))
    if abs(u[j, 0]) >= HOT or u[j, 0] < f.height * scale:
        return
    one.v, one.free = max(one.threshold, f.rest + u[j, 0] / scale), t
    settle(cell, j, t, out)
    if one.free > t:
        shut(cell, fast, span, j)
    else:
        u[j, 0] = (one.v - f.rest) * scale


@bare
def sweep(
    cell: np.ndarray,
    fast: Fast,
    span: Span,
    f: Frame,
    over: tuple[int, int, float, bool],
    out: np.ndarray,
) -> None:
    """Bring the cells above the bar, over = (first, last, t, tested), to time t, or test them.

    Cells that have been asked stand at t already.
    """
    (first, last, t, tested), u = over, fast.modes.reshape(-1)
    bar = f.height * math.exp(f.rate * (t - span.origin))
    for low in range(first, last, CHUNK):
        high, hits = min(low + CHUNK, last), 0
        for j in range(low, high):
            hits += u[j] >= bar
        if hits > 0:
            for j in range(low, high):
                if u[j] >= bar and tested:
                    judge(cell, fast, span, f, (j, t), out)
                elif u[j] >= bar and not fast.lists[ASKING, j]:
                    catch_up(cell, fast, span, f, (j, t), out)
