"""Fast windows for cells with two currents (the second may be idle), all of one kind.

Between events v - rest is a sum of three exponentials, a cell's modes; in scaled form they
stand still. A cell may fire in the window only if v at its end, plus what the bend of v can
hide in between (bend / 2 times the window squared), reaches the threshold; only such cells are
held.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.events.exact.membrane import Cells
from neuro.events.exact.scaled_state import resting
from neuro.events.exact.step_general import (
    COLD,
    HELD,
    HOLDING,
    HOT,
    Fast,
    Span,
    accept,
    advance,
    answer,
    ask,
    finish,
    hold,
    next_mark,
)
from neuro.events.exact.synapse_table import Arrivals, Row, Wiring, row_of, synapse
from neuro.ops.jit import bare


class Frame(NamedTuple):
    """What modes (a, b, c) mean in a window: v - rest = a + kappa_b b + kappa_c c, unscaled.

    high: threshold - rest, less a margin for rounding. end: the share of each mode in v at the
    end of the window. bend: its share in the bend, at the start and at the end.
    """

    rest: float
    high: float
    kappa_b: float
    kappa_c: float
    end_a: float
    end_b: float
    end_c: float
    bend_a: tuple[float, float]
    bend_b: tuple[float, float]
    bend_c: tuple[float, float]


@bare
def frame_of(cells: Cells, span: Span) -> Frame:
    """Return the frame of a window."""
    one, rate_syn = cells.cell[span.low], cells.rate_syn[span.low]
    rate, rate_b, rate_c = one.rate, rate_syn[0], rate_syn[1]
    before, after = span.start - span.origin, span.stop - span.origin
    half = (span.stop - span.start) ** 2 / 2.0
    rest = resting(cells.cell)
    kappa_b, kappa_c = 1.0 / (rate - rate_b), 1.0 / (rate - rate_c)
    start_a, end_a = math.exp(-rate * before), math.exp(-rate * after)
    start_b, end_b = math.exp(-rate_b * before), math.exp(-rate_b * after)
    start_c, end_c = math.exp(-rate_c * before), math.exp(-rate_c * after)
    bow_a = -half * rate * rate
    bow_b, bow_c = -half * kappa_b * rate_b**2, -half * kappa_c * rate_c**2
    high = one.threshold - rest
    return Frame(
        rest,
        high - 1e-9 * (abs(one.threshold) + abs(rest)),
        kappa_b,
        kappa_c,
        end_a,
        kappa_b * end_b,
        kappa_c * end_c,
        (bow_a * start_a, bow_a * end_a),
        (bow_b * start_b, bow_b * end_b),
        (bow_c * start_c, bow_c * end_c),
    )


@bare
def may_fire(f: Frame, a: float, b: float, c: float) -> bool:
    """Say whether a cell with these modes might fire before the window ends."""
    end = f.end_a * a + f.end_b * b + f.end_c * c
    bend = max(f.bend_a[0] * a, f.bend_a[1] * a)
    bend += max(f.bend_b[0] * b, f.bend_b[1] * b)
    bend += max(f.bend_c[0] * c, f.bend_c[1] * c)
    return end + max(bend, 0.0) >= f.high


@bare
def psc_window(
    cells: Cells, fast: Fast, wiring: Wiring, arrivals: Arrivals, span: Span, out: np.ndarray
) -> None:
    """Run the cells of one block through one window."""
    f, (cell, current, rates) = frame_of(cells, span), cells
    modes, lists, synapses = fast.modes, fast.lists, (wiring.target, wiring.weight)
    rate, rate_syn = cell[span.low].rate, rates[span.low]
    watch(cells, fast, span, f)
    ready, many = 0, arrivals.time.size
    for k in range(many):
        t, g, value = arrivals.time[k], arrivals.group[k], arrivals.value[k]
        port, row = wiring.port[g], row_of(wiring, g, span.block)
        excites = wiring.excites[g] or value < 0.0  # a negative value turns the weights round
        factor = value * math.exp(rate * (t - span.origin))
        factor *= -(f.kappa_b if port == 0 else f.kappa_c)
        factor_syn = value * math.exp(rate_syn[port] * (t - span.origin))
        what = (port + 1, excites, factor, factor_syn)
        s = pour(modes, synapses, row, row.start, what, f)
        while s < row.stop:
            j, w = synapse(wiring.target, wiring.weight, row, s)
            if modes[0, j] >= HOT:
                advance(cell, current, rates, j, t, out)
                if cell[j].free > span.stop:
                    modes[0, j] = COLD
                else:
                    accept(cell, current, j, port, w * value)
                    ready = ask(lists, span, j, ready)
            elif modes[0, j] > COLD:
                unpack(cells, modes, f, j, left_of(cells, span, t))
                hold(cell, modes, lists, span, j, t)
                ready = ask(lists, span, j, ready)
            s = pour(modes, synapses, row, s + 1, what, f)
        if ready > 0 and (k + 1 == many or arrivals.time[k + 1] != t):
            answer(cell, lists, span, ready, t, out)
            ready = 0
    finish(cells, lists, span, out)
    release(cells, fast, span, f)


@bare
def pour(
    modes: np.ndarray,
    synapses: tuple[np.ndarray, np.ndarray],
    row: Row,
    s: int,
    what: tuple[int, bool, float, float],
    f: Frame,
) -> int:
    """Add to the targets of a row from synapse s on; synapses: target and weight of all.

    what: the mode of the current, whether any weight makes it grow, and the factors of weights
    for the first mode and that one. Stops behind a target that is held or might fire; returns
    its synapse, or the end of the row.
    """
    (target, weight), (mode, excites, factor, factor_syn) = synapses, what
    alike = row.common == row.common  # not NaN
    step, step_syn = row.common * factor, row.common * factor_syn
    a, b, c, own = modes[0], modes[1], modes[2], modes[mode]
    while s < row.stop:
        j = s + row.shift if row.beside else target[s]
        a[j] += step if alike else weight[s] * factor
        own[j] += step_syn if alike else weight[s] * factor_syn
        if a[j] >= HOT or (excites and may_fire(f, a[j], b[j], c[j])):
            break
        s += 1
    return s


@bare
def watch(cells: Cells, fast: Fast, span: Span, f: Frame) -> None:
    """Hold the cells that might fire by themselves; update held ones that become free."""
    modes, lists, left = fast.modes, fast.lists, left_of(cells, span, span.start)
    for k in range(span.low, span.low + lists[HOLDING, span.low]):
        j = lists[HELD, k]
        modes[0, j] = HOT
        if cells.cell[j].free > span.stop:
            modes[0, j] = COLD  # its currents go on in the fast copy
        elif cells.cell[j].since <= span.start:
            cells.cell[j].since = span.start
            cells.current[j, 0] = modes[1, j] * left[1]
            cells.current[j, 1] = modes[2, j] * left[2]
    low, high = span.low, span.high
    marks, a = fast.marks[low:high], modes[0, low:high]
    b, c = modes[1, low:high], modes[2, low:high]
    for k in range(a.size):
        marks[k] = may_fire(f, a[k], b[k], c[k])
    k = next_mark(marks, 0)
    while k < marks.size:
        if abs(a[k]) < HOT:
            unpack(cells, modes, f, low + k, left)
            hold(cells.cell, modes, lists, span, low + k, span.start)
        k = next_mark(marks, k + 1)


@bare
def left_of(cells: Cells, span: Span, t: float) -> tuple[float, float, float]:
    """Return what is left of each mode at time t."""
    h, rate_syn = span.origin - t, cells.rate_syn[span.low]
    rate = cells.cell[span.low].rate
    return math.exp(rate * h), math.exp(rate_syn[0] * h), math.exp(rate_syn[1] * h)


@bare
def unpack(
    cells: Cells, modes: np.ndarray, f: Frame, j: int, left: tuple[float, float, float]
) -> None:
    """Write membrane and currents into the record of a cell; left: as of left_of."""
    b, c = modes[1, j] * left[1], modes[2, j] * left[2]
    cells.current[j, 0], cells.current[j, 1] = b, c
    cells.cell[j].v = f.rest + modes[0, j] * left[0] + f.kappa_b * b + f.kappa_c * c


@bare
def release(cells: Cells, fast: Fast, span: Span, f: Frame) -> None:
    """Give back the held cells that stand free at the end of the window."""
    modes, lists, h = fast.modes, fast.lists, span.stop - span.origin
    a, end = span.low, span.low + lists[HOLDING, span.low]
    one, rate_syn = cells.cell[span.low], cells.rate_syn[span.low]
    grow, grow_b = math.exp(one.rate * h), math.exp(rate_syn[0] * h)
    grow_c = math.exp(rate_syn[1] * h)
    while a < end:
        j = lists[HELD, a]
        cell = cells.cell[j]
        if cell.since == span.stop and cell.free <= span.stop:
            b, c = cells.current[j, 0], cells.current[j, 1]
            modes[0, j] = (cell.v - f.rest - f.kappa_b * b - f.kappa_c * c) * grow
            modes[1, j], modes[2, j] = b * grow_b, c * grow_c
            end -= 1
            lists[HELD, a] = lists[HELD, end]
        else:
            a += 1
    lists[HOLDING, span.low] = end - span.low
