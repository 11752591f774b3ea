"""The heap driver: from event to event, also through loops without delay; the reference.

Within an instant populations pass spikes on in their order in the Graph; what goes back against
that order, around a loop without delay, arrives in the next round of the same instant.
"""

import math
from heapq import heappop, heappush

import numpy as np

from neuro.events.exact.calendar import Plan
from neuro.events.exact.cells import Cells
from neuro.events.exact.crossing import move
from neuro.events.exact.drive import Scratch, Sent, grown
from neuro.events.exact.held import Span, accept, advance, room_of, settle
from neuro.events.exact.wiring import Arrivals, Wiring
from neuro.events.kernels import kernel

CHECK = -1  # stands for the group in a check of a cell, whose number is then the value


@kernel
def run_heap(
    cells: Cells, scratch: Scratch, wiring: Wiring, outside: Sent, pending: Arrivals, plan: Plan
) -> tuple[Sent, Arrivals, bool]:
    """Run all cells from time 0 to the end of the plan; as :func:`..drive.run_windows`."""
    cell, current, rate_syn = cells
    heap = [(math.inf, CHECK, 0.0)]
    for k in range(pending.time.size):
        heappush(heap, (pending.time[k], pending.group[k], pending.value[k]))
    for k in range(outside.time.size):
        source, t = outside.source[k], outside.time[k]
        for g in range(wiring.groups[source], wiring.groups[source + 1]):
            heappush(heap, (t + wiring.delay[g], np.int64(g), outside.value[k]))
    for j in range(cell.size):
        predict(cells, j, plan.stop, heap)
    out = room_of(scratch.room, Span(0, cell.size, 0, 0.0, plan.stop, 0.0))
    touched = np.zeros(cell.size, np.bool_)
    time, source, fired, held = np.empty(1024), np.empty(1024, np.int64), 0, True
    while held and heap[0][0] <= plan.stop:
        t, out[0].cell = heap[0][0], 0
        run_instant(cells, wiring, heap, t, touched, out)
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
    for j in range(cell.size):
        if held:
            advance(cell, current, rate_syn, j, plan.stop, out)
    return Sent(time[:fired], source[:fired], np.ones(fired)), under_way(heap), held


@kernel
def predict(cells: Cells, j: int, stop: float, heap: list) -> None:
    """Enter when cell ``j``, left alone, fires or becomes free, if that is by ``stop``."""
    cell, current, rate_syn = cells
    one = cell[j]
    since, alarm = one.since, math.inf
    if one.free > since:
        alarm = one.free
    else:
        v, adapt, before = one.v, one.adapt, current[j].copy()
        moved, fires = move(cell, current, rate_syn, j, stop - since)
        if fires:
            alarm = since + moved
        one.v, one.adapt = v, adapt
        current[j] = before
    one.alarm = alarm
    if alarm <= stop:
        heappush(heap, (alarm, np.int64(CHECK), float(j)))


@kernel
def run_instant(
    cells: Cells, wiring: Wiring, heap: list, t: float, touched: np.ndarray, out: np.ndarray
) -> None:
    """Let everything happen that happens at time t."""
    cell, current, rate_syn = cells
    group, value = [np.int64(0)], [0.0]
    group.clear()
    value.clear()
    asked = np.zeros(cell.size, np.bool_)
    while heap[0][0] == t:
        _, g, x = heappop(heap)
        if g != CHECK:
            group.append(g)
            value.append(x)
            continue
        j = int(x)
        if cell[j].alarm == t:
            cell[j].alarm = math.nan  # there may be a second entry for it
            became_free, before = cell[j].free > cell[j].since, out[0].cell
            advance(cell, current, rate_syn, j, t, out)
            if not became_free and out[0].cell == before:  # what rounding leaves is nothing
                cell[j].v = max(cell[j].v, cell[j].threshold + cell[j].adapt)
            asked[j] = touched[j] = True
    ranks, sent = wiring.rank.max() + 1, 0
    while True:
        for rank in range(ranks):
            for k in range(len(group)):
                g = group[k]
                if g < 0 or rank_of(wiring, g) != rank:
                    continue
                group[k] = -1
                for s in range(wiring.bounds[g, 0], wiring.bounds[g, -1]):
                    j = wiring.target[s]
                    if wiring.first[g] >= 0:
                        j = wiring.first[g] + s - wiring.bounds[g, 0]
                    advance(cell, current, rate_syn, j, t, out)
                    accept(cell, current, j, wiring.port[g], wiring.weight[s] * value[k])
                    asked[j] = touched[j] = True
            for j in range(cell.size):
                if asked[j] and wiring.rank[j] == rank:
                    asked[j] = False
                    settle(cell, j, t, out)
            while sent < out[0].cell and out[0].cell < out.size:
                sent += 1
                j = out[sent].cell
                for g in range(wiring.groups[j], wiring.groups[j + 1]):
                    if wiring.delay[g] > 0.0:
                        arrival = out[sent].time + wiring.delay[g]
                        heappush(heap, (arrival, np.int64(g), 1.0))
                    else:
                        group.append(np.int64(g))
                        value.append(1.0)
        waiting = 0
        for k in range(len(group)):
            waiting += group[k] >= 0
        if waiting == 0 or out[0].cell >= out.size:
            break


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
    number = 0
    for entry in heap:
        number += entry[1] != CHECK
    time, group, value = np.empty(number), np.empty(number, np.int64), np.empty(number)
    k = 0
    for entry in heap:
        if entry[1] != CHECK:
            time[k], group[k], value[k] = entry
            k += 1
    return Arrivals(time, group, value)
