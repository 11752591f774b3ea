"""How long no cell of a component fires by itself: until then windows can be passed over."""

import math

import numpy as np

from neuro.compiled import bare
from neuro.events.exact.cells import Cells
from neuro.events.exact.held import HELD, HOLDING, Fast
from neuro.events.exact.pack import DELTA, GENERAL, PSC, resting


@bare
def quiet_until(
    family: int, cells: Cells, fast: Fast, edges: np.ndarray, start: float
) -> float:
    """Return a time before which no cell fires if nothing arrives from ``start`` on.

    It is ``start`` where that is not known at once.
    """
    cell, lists = cells.cell, fast.lists
    if family == GENERAL:
        until = math.inf
        for j in range(cell.size):
            until = min(until, cell[j].alarm)
        return until
    if cell[0].threshold < resting(cell):
        return start
    for p in range(edges.size - 1):
        for a in range(edges[p], edges[p] + lists[HOLDING, edges[p]]):
            j = lists[HELD, a]
            if family == PSC or cell[j].v >= cell[j].threshold:  # it may once it is free
                return start
    return math.inf if family == DELTA or decays(cells, fast, start) else start


@bare
def decays(cells: Cells, fast: Fast, start: float) -> bool:
    """Say whether the parts of v above its rest are, all together, too small for any cell."""
    modes, one, rate_syn = fast.modes, cells.cell[0], cells.rate_syn[0]
    h, rest = fast.origin[0] - start, resting(cells.cell)
    share = math.exp(one.rate * h)
    share_b = math.exp(rate_syn[0] * h) / (one.rate - rate_syn[0])
    share_c = math.exp(rate_syn[1] * h) / (one.rate - rate_syn[1])
    high = one.threshold - rest - 1e-9 * (abs(one.threshold) + abs(rest))
    hits = 0
    for j in range(cells.cell.size):
        above = max(share * modes[0, j], 0.0) + max(share_b * modes[1, j], 0.0)
        hits += above + max(share_c * modes[2, j], 0.0) >= high
    return hits == 0
