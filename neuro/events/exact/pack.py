"""Cells into their fast copies at the start of a run, and out of them at its end."""

import math

import numpy as np

from neuro.compiled import kernel
from neuro.events.exact.cells import Cells
from neuro.events.exact.held import HELD, HOLDING, HOT, Fast, Span, advance, room_of

DELTA, PSC, GENERAL = range(3)  # families of cells


@kernel
def pack(family: int, cells: Cells, fast: Fast, edges: np.ndarray) -> None:
    """Fill the fast copies from records that hold for time 0; the refractory are held."""
    cell, current, rate_syn = cells
    modes, lists = fast.modes, fast.lists
    lists[:] = 0
    if family == GENERAL:
        return
    rest = cell[0].push / cell[0].rate if cell[0].rate > 0.0 else 0.0
    for p in range(edges.size - 1):
        held = 0
        for j in range(edges[p], edges[p + 1]):
            a = cell[j].v - rest
            for r in range(current.shape[1]):
                a -= current[j, r] / (cell[j].rate - rate_syn[j, r])
                modes[j, r + 1] = current[j, r]
            modes[j, 0] = a
            if cell[j].free > 0.0:
                modes[j, 0] = HOT
                lists[HELD, edges[p] + held] = j
                held += 1
        if edges[p] < edges[p + 1]:
            lists[HOLDING, edges[p]] = held


@kernel
def unpack(family: int, cells: Cells, fast: Fast, span: Span, room: np.ndarray) -> None:
    """Bring all records to the end of ``span``; no cell fires any more before."""
    cell, current, rate_syn = cells
    modes, origin, stop = fast.modes, span.origin, span.stop
    out = room_of(room, span)
    rest = cell[0].push / cell[0].rate if cell[0].rate > 0.0 else 0.0
    for j in range(cell.size):
        if family == GENERAL:
            advance(cell, current, rate_syn, j, stop, out)
            continue
        v = 0.0
        for r in range(current.shape[1]):
            current[j, r] = modes[j, r + 1] * math.exp(rate_syn[j, r] * (origin - stop))
            v += current[j, r] / (cell[j].rate - rate_syn[j, r])
        if abs(modes[j, 0]) < HOT:
            cell[j].v = rest + v + modes[j, 0] * math.exp(cell[j].rate * (origin - stop))
        cell[j].since = stop
