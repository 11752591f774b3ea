"""The heap driver: runs event by event, also through loops without delay; the reference.

Within an instant, populations pass spikes on in their order in the Graph. A spike against this
order, in a loop without delay, arrives in the next round of the same instant.

The heap holds two kinds of entries (time, group, value): arrivals at a group of synapses, and
checks of a neuron (group is CHECK, value the neuron) at the predicted time of its crossing or
release. Later input moves the neuron's ``next_check``; the old entry is then ignored.
"""

import math
from heapq import heappop, heappush

import numpy as np

from neuro.events.exact.delay_queue import CAPACITY, WORK_PER_STEP, WindowPlan, enlarge_array
from neuro.events.exact.membrane import (
    NeuronTable,
    add_input,
    advance_neuron,
    check_threshold,
    integrate_to_crossing,
    place_crossing,
    settle_sum,
)
from neuro.events.exact.scaled_state import select_spikes
from neuro.events.exact.synapse_table import GroupArrivals, SourceSpikes, SynapseTable
from neuro.events.exact.window_driver import Machine, RunResult
from neuro.ops.jit import kernel, view_fields_read_only
from neuro.ops.threads import delay_interrupts

CHECK = -1  # used as a group: a check of a neuron
DELIVERED = -2  # used as a group: an arrival of this instant that has been delivered

# A call does at least this much work per neuron, because starting a call costs time per neuron.
WORK_PER_NEURON = 16
NEURONS_PER_STEP = 64  # looking at this many neurons counts as work of 1


def run_heap(
    machine: Machine, outside: SourceSpikes, pending: GroupArrivals, plan: WindowPlan
) -> RunResult:
    """Run as :func:`~neuro.events.exact.window_driver.run_windows` does, for any delays."""
    with delay_interrupts():
        result, paused, until, inside = run_to_pause(machine, outside, pending, plan, 0.0, 0)
    parts = [result.spikes]
    nothing = SourceSpikes(*(column[:0] for column in outside))
    while paused:
        left = plan.budget - sum(part.time.size for part in parts)
        now = plan._replace(budget=left)
        pending = view_fields_read_only(result.pending)
        with delay_interrupts():
            result, paused, until, inside = run_to_pause(
                machine, nothing, pending, now, until, inside
            )
        parts.append(result.spikes)
    spikes = SourceSpikes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    return result._replace(spikes=spikes)


@kernel
def run_to_pause(
    machine: Machine,
    outside: SourceSpikes,
    pending: GroupArrivals,
    plan: WindowPlan,
    until: float,
    inside: int,
) -> tuple[RunResult, bool, float, int]:
    """Run instants from the neurons' time on; return the result, and whether the run paused.

    A run also exceeds its budget if it fires more in one window than a driver in windows has
    room for. So each call passes on the end ``until`` of the current window and the number of
    spikes ``inside`` it.
    """
    neurons, table = machine.neurons, machine.table
    number = neurons.neuron.size
    heap = [(math.inf, CHECK, 0.0)]
    push_arrivals(heap, table, outside, pending)
    for j in range(number):
        push_check(neurons, j, plan, heap)
    out = select_spikes(machine.spikes, 0, number, 0)
    to_test, touched = np.zeros(number, np.bool_), np.zeros(number, np.bool_)
    time, source = np.empty(CAPACITY), np.empty(CAPACITY, np.int64)
    fired, within_budget = 0, True
    first = -WORK_PER_NEURON * number - len(heap)
    work = first
    while within_budget and heap[0][0] <= plan.stop and (work == first or work <= plan.pause):
        if heap[0][0] > until:  # a new window begins
            until, inside = math.ceil(heap[0][0] / plan.length) * plan.length, 0
        out[0].neuron = 0
        work += run_instant(machine, heap, to_test, touched, plan.quantum, out)
        for j in np.flatnonzero(touched):
            touched[j] = False
            push_check(neurons, j, plan, heap)
            work += WORK_PER_STEP
        count = min(out[0].neuron, out.size - 1)
        inside += count
        room = out[0].neuron < out.size and inside < out.size
        within_budget = room and fired + count <= plan.budget
        while fired + count > time.size:
            time, source = enlarge_array(time), enlarge_array(source)
        for k in range(count):
            time[fired + k], source[fired + k] = out[k + 1].time, out[k + 1].neuron
        fired += count
    out[0].neuron = 0
    neuron, current, rate_syn = neurons
    paused = within_budget and heap[0][0] <= plan.stop
    for j in range(number):
        if within_budget and not paused:
            advance_neuron(neuron, current, rate_syn, j, plan.stop, plan.quantum, out)
    spikes = SourceSpikes(time[:fired], source[:fired], np.ones(fired))
    return RunResult(spikes, list_arrivals(heap), within_budget), paused, until, inside


@kernel
def push_arrivals(
    heap: list, table: SynapseTable, outside: SourceSpikes, pending: GroupArrivals
) -> None:
    """Push all spikes from outside and all pending arrivals."""
    for k in range(pending.time.size):
        heappush(heap, (pending.time[k], pending.group[k], pending.value[k]))
    for k in range(outside.time.size):
        source, t = outside.source[k], outside.time[k]
        for g in range(table.group_indptr[source], table.group_indptr[source + 1]):
            x = outside.value[k] * table.gain[g]
            heappush(heap, (t + table.delay[g], np.int64(g), x))


@kernel
def push_check(neurons: NeuronTable, j: int, plan: WindowPlan, heap: list) -> None:
    """Push the time within the run at which neuron ``j`` fires or is released."""
    neuron, current, rate_syn = neurons
    cell = neuron[j]
    cell.next_check = math.inf
    if cell.free_at > cell.time:
        cell.next_check = cell.free_at
    else:
        v, adapt, before = cell.v, cell.adapt, current[j].copy()
        horizon = plan.stop - cell.time
        moved, fires = integrate_to_crossing(neuron, current, rate_syn, j, horizon)
        if fires:
            cell.next_check = place_crossing(cell.time, moved, plan.quantum)
        cell.v, cell.adapt = v, adapt
        for port in range(before.size):
            current[j, port] = before[port]
    if cell.next_check <= plan.stop:
        heappush(heap, (cell.next_check, np.int64(CHECK), float(j)))


@kernel
def run_instant(
    machine: Machine,
    heap: list,
    to_test: np.ndarray,
    touched: np.ndarray,
    quantum: float,
    out: np.ndarray,
) -> int:
    """Run all events at the time of the first entry, including spikes without delay.

    to_test, touched: by neuron, whether to test it in this instant, and whether an event
        reached it.
    Returns the amount of work, as defined in WindowPlan.
    """
    neurons, table, work = machine.neurons, machine.table, WORK_PER_STEP
    t, now = heap[0][0], [(DELIVERED, 0.0)]
    while heap[0][0] == t:
        _, g, x = heappop(heap)
        if g != CHECK:
            now.append((g, x))
        elif run_check(neurons, int(x), t, quantum, out):
            to_test[int(x)] = touched[int(x)] = True
    passed_on, waiting = 0, True
    while waiting:
        for rank in range(table.rank.max() + 1):
            for k in range(len(now)):
                g, x = now[k]
                if g != DELIVERED and find_rank(table, g) == rank:
                    now[k] = (DELIVERED, 0.0)
                    deliver_arrival(machine, g, x, t, to_test, touched, quantum, out)
                    work += table.synapse_indptr[g, -1] - table.synapse_indptr[g, 0]
            work += len(now) + neurons.neuron.size // NEURONS_PER_STEP
            for j in np.flatnonzero(to_test & (table.rank == rank)):
                to_test[j] = False
                settle_sum(neurons.neuron, j)
                check_threshold(neurons.neuron, j, t, out)
            passed_on = pass_on_spikes(table, heap, now, passed_on, out)
        waiting = out[0].neuron < out.size and has_undelivered(now)
    return work


@kernel
def run_check(neurons: NeuronTable, j: int, t: float, quantum: float, out: np.ndarray) -> bool:
    """Bring neuron ``j`` to time t if its crossing or release is still predicted for t."""
    neuron, current, rate_syn = neurons
    if neuron[j].next_check != t:
        return False  # an event reached it since
    neuron[j].next_check = math.nan  # there may be a second entry
    comes_free, before = neuron[j].free_at > neuron[j].time, out[0].neuron
    advance_neuron(neuron, current, rate_syn, j, t, quantum, out)
    if not comes_free and out[0].neuron == before:  # rounding may leave it just below
        neuron[j].v = max(neuron[j].v, neuron[j].threshold + neuron[j].adapt)
    return True


@kernel
def deliver_arrival(
    machine: Machine,
    g: int,
    x: float,
    t: float,
    to_test: np.ndarray,
    touched: np.ndarray,
    quantum: float,
    out: np.ndarray,
) -> None:
    """Add an arrival of value x at group g and time t to the group's targets, and mark them."""
    (neuron, current, rate_syn), table = machine.neurons, machine.table
    for s in range(table.synapse_indptr[g, 0], table.synapse_indptr[g, -1]):
        j = table.first_target[g] + s - table.synapse_indptr[g, 0]
        if table.first_target[g] < 0:
            j = table.target[s]
        advance_neuron(neuron, current, rate_syn, j, t, quantum, out)
        add_input(neuron, current, j, table.port[g], table.weight[s] * x)
        to_test[j] = touched[j] = True


@kernel
def pass_on_spikes(
    table: SynapseTable, heap: list, now: list, passed_on: int, out: np.ndarray
) -> int:
    """Send this instant's spikes after the first ``passed_on``; return their new number."""
    count = min(out[0].neuron, out.size - 1)
    for k in range(passed_on + 1, count + 1):
        j = out[k].neuron
        for g in range(table.group_indptr[j], table.group_indptr[j + 1]):
            if table.delay[g] > 0.0:
                heappush(heap, (out[k].time + table.delay[g], np.int64(g), table.gain[g]))
            else:
                now.append((g, table.gain[g]))
    return count


@kernel
def has_undelivered(now: list) -> bool:
    """Say whether any arrival of this instant is undelivered."""
    left = 0
    for g, _ in now:
        left += g != DELIVERED
    return left > 0


@kernel
def find_rank(table: SynapseTable, g: int) -> int:
    """Return the rank at which a group is delivered: its targets' rank, or 0 after a delay.

    The targets of a group without delay all have the same rank.
    """
    if table.delay[g] > 0.0 or table.synapse_indptr[g, 0] == table.synapse_indptr[g, -1]:
        return 0
    if table.first_target[g] >= 0:
        return table.rank[table.first_target[g]]
    return table.rank[table.target[table.synapse_indptr[g, 0]]]


@kernel
def list_arrivals(heap: list) -> GroupArrivals:
    """Return the arrivals on the heap."""
    left = [entry for entry in heap if entry[1] != CHECK]
    time, group, value = np.empty(len(left)), np.empty(len(left), np.int64), np.empty(len(left))
    for k in range(len(left)):
        time[k], group[k], value[k] = left[k]
    return GroupArrivals(time, group, value)
