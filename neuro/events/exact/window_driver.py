"""The window driver: what is sent inside a window does not arrive inside it.

A window is shorter than the least delay inside the component, so that all that arrives in it is
known when it begins (conservative look-ahead). Cells need no common order inside a window: each
sees its own arrivals in theirs. Windows in which nothing arrives and no cell can fire by itself
are passed over.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.events.exact.delay_queue import (
    ENTRIES,
    FIRED,
    NOTHING,
    RAN,
    SPENT,
    WINDOW,
    Desk,
    Papers,
    Plan,
    Sent,
    collect,
    hear,
    leftover,
    more,
    next_arrival,
    number_of_windows,
    papers_of,
    send,
    span_of,
    turn,
    window_of,
)
from neuro.events.exact.membrane import Cells
from neuro.events.exact.scaled_state import DELTA, GENERAL, PSC, rebase, resting, unpack
from neuro.events.exact.step_delta import delta_window
from neuro.events.exact.step_general import HELD, HOLDING, Fast, Span, general_window, room_of
from neuro.events.exact.step_psc import psc_window
from neuro.events.exact.synapse_table import Arrivals, Wiring
from neuro.ops.jit import bare, kernel


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


class Machine(NamedTuple):
    """A component, ready to run; a run writes on its cells, fast copies and room.

    family: of windows, see :mod:`neuro.events.exact.scaled_state`. room: for the spikes of a
    window (np.recarray). edges: block p of the cells is edges[p]:edges[p + 1].
    """

    family: int
    cells: Cells
    fast: Fast
    wiring: Wiring
    room: np.ndarray
    edges: np.ndarray


@kernel
def run_windows(
    machine: Machine, outside: Sent, pending: Arrivals, plan: Plan
) -> tuple[Sent, Arrivals, bool]:
    """Run all cells as one block.

    Returns their spikes, what is still under way, and whether the budget held. The records of
    the cells then hold for the end of the run.
    """
    papers = papers_of(pending, plan)
    lacking = go(machine, outside, papers, plan)
    while lacking != NOTHING:
        papers = more(papers, lacking)
        lacking = go(machine, outside, papers, plan)
    fired, at = papers.at[FIRED], papers.at
    _, stop = span_of(plan, min(at[WINDOW], number_of_windows(plan) - 1))
    unpack(machine.family, machine.cells, machine.fast, stop, machine.room)
    sent = Sent(papers.time[:fired], papers.cell[:fired], np.ones(fired))
    return sent, leftover(papers.book), bool(at[SPENT] == 0)


@bare
def go(machine: Machine, outside: Sent, papers: Papers, plan: Plan) -> int:
    """Run windows to the end of the plan, or until there is no room for something; say what."""
    at, windows = papers.at, number_of_windows(plan)
    whole = Span(0, machine.cells.cell.size, 0, 0.0, 0.0, 0.0)
    out = room_of(machine.room, whole)
    while at[WINDOW] < windows:
        if not at[RAN]:
            if not hear(papers, machine.wiring, outside, plan):
                return ENTRIES
            arrivals = turn(papers.book, at[WINDOW], papers.desk)
            start, stop, origin = begin(machine, at[WINDOW], plan)
            window(machine, papers.desk, arrivals, Span(0, whole.high, 0, start, stop, origin))
            at[RAN] = 1
        if out[0].cell > 0:
            lacking = send(papers, machine.wiring, collect(papers.desk, 0, out), plan)
            if lacking != NOTHING:
                return lacking
            if out[0].cell >= out.size or at[FIRED] > plan.budget:
                at[SPENT] = 1
                break
        at[RAN] = 0
        at[WINDOW] = following(machine, outside, papers, plan)
    return NOTHING


@bare
def begin(machine: Machine, w: int, plan: Plan) -> tuple[float, float, float]:
    """Return start and stop of a window, and the origin of the scale in it."""
    start, stop = span_of(plan, w)
    rebase(machine.family, machine.cells, machine.fast, start, stop)
    return start, stop, machine.fast.origin[0]


@bare
def window(machine: Machine, desk: Desk, arrivals: int, span: Span) -> int:
    """Run one block of cells through one window; return how many spikes it had.

    arrivals: how many lie on the desk.
    """
    family, cells, fast, wiring, room, _ = machine
    d = Arrivals(desk.time[:arrivals], desk.number[:arrivals], desk.value[:arrivals])
    out = room_of(room, span)
    out[0].cell = 0
    if family == DELTA:
        delta_window(cells, fast, wiring, d, span, out)
    elif family == PSC:
        psc_window(cells, fast, wiring, d, span, out)
    else:
        general_window(cells, fast, wiring, d, span, out)
    return out[0].cell


@bare
def following(machine: Machine, outside: Sent, papers: Papers, plan: Plan) -> int:
    """Return the next window in which anything can happen.

    The last one always is: what cells have to do by the end of the run they do in it.
    """
    w = papers.at[WINDOW] + 1
    due = next_arrival(papers, outside, plan)
    if due > w:
        start, _ = span_of(plan, w)
        quiet = quiet_until(machine.family, machine.cells, machine.fast, machine.edges, start)
        if quiet < plan.stop:
            due = max(w, min(due, window_of(quiet, plan)))
    return max(due, w)
