"""Cells into their fast copies at the start of a run, and out of them at its end."""

import math

import numpy as np

from neuro.events.exact.membrane import Cells
from neuro.events.exact.step_general import HELD, HOLDING, HOT, SPARE, Fast, advance
from neuro.ops.jit import bare, kernel

DELTA, PSC, GENERAL = range(3)  # families of cells

REBASE = 50.0  # time constants after which the scale of the fast copies starts again


@bare
def resting(cell: np.ndarray) -> float:
    """Return where v goes without input, of cells that are all alike."""
    rest = 0.0
    if cell[0].rate > 0.0:
        rest = cell[0].push / cell[0].rate
    return rest


@kernel
def pack(family: int, cells: Cells, fast: Fast, edges: np.ndarray) -> None:
    """Fill the fast copies from records that hold for time 0; the refractory are held."""
    cell, current, rate_syn = cells
    modes, lists = fast.modes, fast.lists
    lists[:] = 0
    if family == GENERAL:
        return
    rest = resting(cell)
    for p in range(edges.size - 1):
        held = 0
        for j in range(edges[p], edges[p + 1]):
            a = cell[j].v - rest
            for r in range(current.shape[1]):
                a -= current[j, r] / (cell[j].rate - rate_syn[j, r])
                modes[r + 1, j] = current[j, r]
            modes[0, j] = a
            if cell[j].free > 0.0:
                modes[0, j] = HOT
                lists[HELD, edges[p] + held] = j
                held += 1
        if edges[p] < edges[p + 1]:
            lists[HOLDING, edges[p]] = held


@kernel
def unpack(family: int, cells: Cells, fast: Fast, stop: float, room: np.ndarray) -> None:
    """Bring all records to the time ``stop``; no cell fires any more before."""
    cell, current, rate_syn = cells
    modes, h = fast.modes, fast.origin[0] - stop
    out, rest = room[:SPARE], resting(cell)
    out[0].cell = 0
    for j in range(cell.size):
        if family == GENERAL:
            advance(cell, current, rate_syn, j, stop, out)
            continue
        v = 0.0
        for r in range(current.shape[1]):
            current[j, r] = modes[r + 1, j] * math.exp(rate_syn[j, r] * h)
            v += current[j, r] / (cell[j].rate - rate_syn[j, r])
        if abs(modes[0, j]) < HOT:
            cell[j].v = rest + v + modes[0, j] * math.exp(cell[j].rate * h)
        cell[j].since = stop


@bare
def rebase(family: int, cells: Cells, fast: Fast, start: float, stop: float) -> None:
    """Have the scale of the fast copies start again where it would grow too far in a window."""
    modes, rate, rate_syn = fast.modes, cells.cell[0].rate, cells.rate_syn[0]
    fastest = rate
    for r in range(rate_syn.size):
        fastest = max(fastest, rate_syn[r])
    elapsed = start - fast.origin[0]
    if family == GENERAL or fastest * (elapsed + stop - start) <= REBASE:
        return
    fast.origin[0] = start
    for j in range(cells.cell.size):
        if abs(modes[0, j]) < HOT:
            modes[0, j] *= math.exp(-rate * elapsed)
        for r in range(rate_syn.size):
            modes[r + 1, j] *= math.exp(-rate_syn[r] * elapsed)
