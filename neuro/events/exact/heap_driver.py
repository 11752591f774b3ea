"""The heap driver: from event to event, also through loops without delay; the reference.

Within an instant populations pass spikes on in their order in the Graph; what goes back against
that order, around a loop without delay, arrives in the next round of the same instant.
"""

import math
from heapq import heappop, heappush

import numpy as np

from neuro.events.exact.delay_queue import Plan, Sent, grown
from neuro.events.exact.membrane import Cells, move
from neuro.events.exact.step_general import Span, accept, advance, room_of, settle
from neuro.events.exact.synapse_table import Arrivals, Wiring
from neuro.events.exact.window_driver import Machine
from neuro.ops.jit import kernel

CHECK = -1  # stands for the group in a check of a cell, whose number is then the value
DONE = -2  # the same for an arrival that has been delivered


@kernel
def run_heap(
    machine: Machine, outside: Sent, pending: Arrivals, plan: Plan
) -> tuple[Sent, Arrivals, bool]:
    """Run all cells from time 0 to the end of the plan; as :func:`..drive.run_windows`."""
    cells, wiring = machine.cells, machine.wiring
    number = cells.cell.size
    heap = [(math.inf, CHECK, 0.0)]
    fill(heap, wiring, outside, pending)
    for j in range(number):
        predict(cells, j, plan.stop, heap)
    out = room_of(machine.room, Span(0, number, 0, 0.0, plan.stop, 0.0))
    asked, touched = np.zeros(number, np.bool_), np.zeros(number, np.bool_)
    time, source, fired, held = np.empty(1024), np.empty(1024, np.int64), 0, True
    while held and heap[0][0] <= plan.stop:
        out[0].cell = 0
        run_instant(cells, wiring, heap, (asked, touched), out)
        for j in np.flatnonzero(touched):
            touched[j] = False
            predict(cells, j, plan.stop, heap)
        count = min(out[0].cell, out.size - 1)
        held = out[0].cell < out.size and fired + count <= plan.budget
        while fired + count > time.size:
            time, source = grown(time), grown(source)
        for k in range(count):
            time[fired + k], source[fired + k] = out[k + 1].time, out[k + 1].cell
        fired += count
    out[0].cell = 0
    cell, current, rate_syn = cells
    for j in range(number):
        if held:
            advance(cell, current, rate_syn, j, plan.stop, out)
    return Sent(time[:fired], source[:fired], np.ones(fired)), under_way(heap), held


@kernel
def fill(heap: list, wiring: Wiring, outside: Sent, pending: Arrivals) -> None:
    """Enter all that comes from outside, and what was under way."""
    for k in range(pending.time.size):
        heappush(heap, (pending.time[k], pending.group[k], pending.value[k]))
    for k in range(outside.time.size):
        source, t = outside.source[k], outside.time[k]
        for g in range(wiring.groups[source], wiring.groups[source + 1]):
            heappush(heap, (t + wiring.delay[g], np.int64(g), outside.value[k]))


@kernel
def predict(cells: Cells, j: int, stop: float, heap: list) -> None:
    """Enter when cell ``j``, left alone, fires or becomes free, if that is by ``stop``."""
    cell, current, rate_syn = cells
    one = cell[j]
    one.alarm = math.inf
    if one.free > one.since:
        one.alarm = one.free
    else:
        v, adapt, before = one.v, one.adapt, current[j].copy()
        moved, fires = move(cell, current, rate_syn, j, stop - one.since)
        if fires:
            one.alarm = one.since + moved
        one.v, one.adapt = v, adapt
        current[j] = before
    if one.alarm <= stop:
        heappush(heap, (one.alarm, np.int64(CHECK), float(j)))


@kernel
def run_instant(
    cells: Cells,
    wiring: Wiring,
    heap: list,
    marks: tuple[np.ndarray, np.ndarray],
    out: np.ndarray,
) -> None:
    """Let everything happen that happens at the time of the first entry.

    marks: by cell, whether it is to be tested in this instant, and whether anything reached it.
    """
    asked, touched = marks
    t, now = heap[0][0], [(DONE, 0.0)]
    while heap[0][0] == t:
        _, g, x = heappop(heap)
        if g != CHECK:
            now.append((g, x))
        elif check(cells, int(x), t, out):
            asked[int(x)] = touched[int(x)] = True
    passed, waiting = 0, True
    while waiting:
        for rank in range(wiring.rank.max() + 1):
            for k in range(len(now)):
                g, x = now[k]
                if g != DONE and rank_of(wiring, g) == rank:
                    now[k] = (DONE, 0.0)
                    deliver(cells, wiring, (g, x, t), marks, out)
            for j in np.flatnonzero(asked & (wiring.rank == rank)):
                asked[j] = False
                settle(cells.cell, j, t, out)
            passed = pass_on(wiring, heap, now, passed, out)
        waiting = out[0].cell < out.size and has_more(now)


@kernel
def check(cells: Cells, j: int, t: float, out: np.ndarray) -> bool:
    """Bring cell ``j`` to time t, if a crossing or a release is still predicted for then."""
    cell, current, rate_syn = cells
    if cell[j].alarm != t:
        return False  # something reached it since
    cell[j].alarm = math.nan  # there may be a second entry
    becomes_free, before = cell[j].free > cell[j].since, out[0].cell
    advance(cell, current, rate_syn, j, t, out)
    if not becomes_free and out[0].cell == before:  # what rounding leaves is nothing
        cell[j].v = max(cell[j].v, cell[j].threshold + cell[j].adapt)
    return True


@kernel
def deliver(
    cells: Cells,
    wiring: Wiring,
    arrival: tuple[int, float, float],
    marks: tuple[np.ndarray, np.ndarray],
    out: np.ndarray,
) -> None:
    """Add an arrival (group, value, time) to its targets, which are then to be tested."""
    cell, current, rate_syn = cells
    (g, x, t), (asked, touched) = arrival, marks
    for s in range(wiring.bounds[g, 0], wiring.bounds[g, -1]):
        j = wiring.first[g] + s - wiring.bounds[g, 0]
        if wiring.first[g] < 0:
            j = wiring.target[s]
        advance(cell, current, rate_syn, j, t, out)
        accept(cell, current, j, wiring.port[g], wiring.weight[s] * x)
        asked[j] = touched[j] = True


@kernel
def pass_on(wiring: Wiring, heap: list, now: list, passed: int, out: np.ndarray) -> int:
    """Send the spikes of this instant after the first ``passed``; return their number."""
    count = min(out[0].cell, out.size - 1)
    for k in range(passed + 1, count + 1):
        j = out[k].cell
        for g in range(wiring.groups[j], wiring.groups[j + 1]):
            if wiring.delay[g] > 0.0:
                heappush(heap, (out[k].time + wiring.delay[g], np.int64(g), 1.0))
            else:
                now.append((g, 1.0))
    return count


@kernel
def has_more(now: list) -> bool:
    """Say whether any arrival of this instant is not delivered yet."""
    left = 0
    for g, _ in now:
        left += g != DONE
    return left > 0


@kernel
def rank_of(wiring: Wiring, g: int) -> int:
    """Return the rank of the targets of a group; those of one group have the same."""
    if wiring.bounds[g, 0] == wiring.bounds[g, -1]:
        return 0
    if wiring.first[g] >= 0:
        return wiring.rank[wiring.first[g]]
    return wiring.rank[wiring.target[wiring.bounds[g, 0]]]


@kernel
def under_way(heap: list) -> Arrivals:
    """Return the arrivals that are left."""
    left = [entry for entry in heap if entry[1] != CHECK]
    time, group, value = np.empty(len(left)), np.empty(len(left), np.int64), np.empty(len(left))
    for k in range(len(left)):
        time[k], group[k], value[k] = left[k]
    return Arrivals(time, group, value)
