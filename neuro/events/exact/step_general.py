"""Windows for cells of any kind: each is brought from event to event by itself.

Time constants may differ from cell to cell, thresholds may adapt. This is also the slow twin of
the fast windows.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.events.exact.membrane import Cells, move, wait
from neuro.events.exact.synapse_table import Arrivals, Wiring
from neuro.ops.jit import bare, inlined

# Marks of the fast copy of a held cell; whatever is added, they stay as they are. COLD: it is
# refractory until after the window. HOT: else, so it must be looked at when something arrives.
HOT, COLD = 1e300, -1e300

CHUNK = 16  # marks that are looked at together

# Spikes of one block of cells in one window; record 0 has their number under ``cell``. Where
# the room is spent, that number goes on counting: its owner must look.
SPIKE = np.dtype([("time", np.float64), ("cell", np.int64)])

# Rows of ``lists`` (int64), each with a place a cell. The cells of three lists of each block,
# from its first place on: those that are held, those to be tested at the end of this instant,
# and those to be looked at when the window ends. Whether a cell is in the second or third of
# them; and, at the first place of a block, the length of the first and third.
HELD, ASKED, WATCHED, ASKING, WATCHING, HOLDING, WATCHES = range(7)

ROOM = 16  # spikes a cell has room for, on average, in one window
SPARE = 2**14  # and a block on top, so that few cells may fire as often


class Fast(NamedTuple):
    """Fast copies of cells that cannot fire in this window.

    modes: R+1 n, the amplitudes of a cell's exponentials, scaled by what they have decayed
        since the origin of the scale. The record of such a cell is out of date; that of a held
        cell holds, and modes[0] is HOT or COLD.
    lists: see above.
    origin: one element, the time when the scale was 1 [s].
    marks: by cell, whether it must be looked at.
    until: by block, the time up to which its list of watched cells holds [s].
    """

    modes: np.ndarray
    lists: np.ndarray
    origin: np.ndarray
    marks: np.ndarray
    until: np.ndarray


class Span(NamedTuple):
    """Cells ``low`` to ``high`` (block ``block``) from time ``start`` to ``stop`` [s].

    origin: when the scale of the fast copies was 1.
    """

    low: int
    high: int
    block: int
    start: float
    stop: float
    origin: float


@inlined
def room_of(room: np.ndarray, span: Span) -> np.ndarray:
    """Return that part of the room for spikes which belongs to one block."""
    first = ROOM * span.low + SPARE * span.block
    return room[first : ROOM * span.high + SPARE * (span.block + 1)]


@bare
def fire(cell: np.ndarray, j: int, t: float, out: np.ndarray) -> None:
    """Let cell ``j`` fire at time t."""
    one = cell[j]
    out[0].cell += 1
    k = out[0].cell
    if k < out.size:
        out[k].time, out[k].cell = t, j
    one.v = 0.0 if one.hard else one.v - (one.threshold + one.adapt)
    one.adapt += one.beta
    one.free = t + one.refractory


@bare
def settle(cell: np.ndarray, j: int, t: float, out: np.ndarray) -> None:
    """Test cell ``j``, after all that reached it in the instant t."""
    one = cell[j]
    while one.free <= t and one.v >= one.threshold + one.adapt:
        fire(cell, j, t, out)
        if out[0].cell >= out.size:
            break


@bare
def advance(
    cell: np.ndarray,
    current: np.ndarray,
    rate_syn: np.ndarray,
    j: int,
    t: float,
    out: np.ndarray,
) -> None:
    """Bring cell ``j`` to time t, firing where it must before t."""
    one = cell[j]
    while one.since < t:
        since = one.since
        if one.free > since:
            one.since = min(one.free, t)
            wait(cell, current, rate_syn, j, one.since - since)
            if one.since < t:
                settle(cell, j, one.since, out)
            continue
        moved, fires = move(cell, current, rate_syn, j, t - since)
        if fires and since + moved < t:
            one.since = since + moved
            one.v = one.threshold + one.adapt
            settle(cell, j, one.since, out)
        else:
            one.since = t


@bare
def accept(cell: np.ndarray, current: np.ndarray, j: int, port: int, x: float) -> None:
    """Add an arrival to a cell that stands at its time; a refractory membrane ignores it."""
    if port >= 0:
        current[j, port] += x
    elif cell[j].free <= cell[j].since:
        cell[j].v += x


@bare
def hold(
    cell: np.ndarray, modes: np.ndarray, lists: np.ndarray, span: Span, j: int, t: float
) -> None:
    """Take cell ``j``, whose record holds for time t, out of the fast copies."""
    cell[j].since = t
    modes[0, j] = HOT
    lists[HELD, span.low + lists[HOLDING, span.low]] = j
    lists[HOLDING, span.low] += 1


@bare
def ask(lists: np.ndarray, span: Span, j: int, ready: int) -> int:
    """Have cell ``j`` tested at the end of this instant; return how many will be."""
    if lists[ASKING, j]:
        return ready
    lists[ASKING, j] = 1
    lists[ASKED, span.low + ready] = j
    return ready + 1


@bare
def answer(
    cell: np.ndarray, lists: np.ndarray, span: Span, ready: int, t: float, out: np.ndarray
) -> None:
    """Test all cells that were asked."""
    for a in range(span.low, span.low + ready):
        j = lists[ASKED, a]
        lists[ASKING, j] = 0
        settle(cell, j, t, out)


@bare
def finish(cells: Cells, lists: np.ndarray, span: Span, out: np.ndarray) -> None:
    """Bring the held cells of a block, save the refractory, to the end of its window."""
    cell, current, rate_syn = cells
    for a in range(span.low, span.low + lists[HOLDING, span.low]):
        j = lists[HELD, a]
        if cell[j].free <= span.stop:
            advance(cell, current, rate_syn, j, span.stop, out)
            settle(cell, j, span.stop, out)


@bare
def next_mark(marks: np.ndarray, k: int) -> int:
    """Return the first place from k on that is marked, or the end."""
    while k < marks.size:
        if k % CHUNK == 0:
            any_of_them, some = False, marks[k : min(k + CHUNK, marks.size)]
            for m in range(some.size):
                any_of_them |= some[m]
            if not any_of_them:
                k += CHUNK
                continue
        if marks[k]:
            return k
        k += 1
    return marks.size


@bare
def general_window(
    cells: Cells, fast: Fast, wiring: Wiring, arrivals: Arrivals, span: Span, out: np.ndarray
) -> None:
    """Run the cells of one block through one window."""
    cell, current, rate_syn = cells
    lists, weight, target, block = fast.lists, wiring.weight, wiring.target, span.block
    ready, many = 0, arrivals.time.size
    for k in range(many):
        t, g, value = arrivals.time[k], arrivals.group[k], arrivals.value[k]
        first, port = wiring.first[g], wiring.port[g]
        shift = first - wiring.bounds[g, 0]
        for s in range(wiring.bounds[g, block], wiring.bounds[g, block + 1]):
            j = s + shift if first >= 0 else target[s]
            advance(cell, current, rate_syn, j, t, out)
            accept(cell, current, j, port, weight[s] * value)
            ready = ask(lists, span, j, ready)
        if ready > 0 and (k + 1 == many or arrivals.time[k + 1] != t):
            answer(cell, lists, span, ready, t, out)
            for a in range(span.low, span.low + ready):
                warn(cell, current, lists[ASKED, a])
            ready = 0
    for j in range(span.low, span.high):
        if cell[j].alarm <= span.stop:
            advance(cell, current, rate_syn, j, span.stop, out)
            settle(cell, j, span.stop, out)
            warn(cell, current, j)


@bare
def warn(cell: np.ndarray, current: np.ndarray, j: int) -> None:
    """Set a time before which cell ``j`` cannot fire by itself.

    The bound of its slope is that of :func:`neuro.events.exact.membrane.search`, for ever.
    """
    one = cell[j]
    if one.free > one.since:
        one.alarm = one.free
        return
    slope = one.push - one.rate * one.v
    for r in range(current.shape[1]):
        slope += max(current[j, r], 0.0)
    if one.adapt != 0.0:
        slope += one.adapt * one.rate_adapt
    gap = one.threshold + one.adapt - one.v
    one.alarm = one.since + max(gap, 0.0) / slope if slope > 0.0 else math.inf
