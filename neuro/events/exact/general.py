"""Windows for cells of any kind: each is brought from event to event by itself.

Time constants may differ from cell to cell, thresholds may adapt. This is also the slow twin of
the fast windows.
"""

import math

import numpy as np

from neuro.compiled import bare
from neuro.events.exact.cells import Cells
from neuro.events.exact.held import ASKED, Fast, Span, accept, advance, answer, ask, settle
from neuro.events.exact.wiring import Arrivals, Wiring


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

    The bound of its slope is that of :func:`neuro.events.exact.crossing.search`, for ever.
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
