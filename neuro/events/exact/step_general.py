"""A window of neurons of any kind, each integrated separately from event to event.

Time constants may differ between neurons, and thresholds may adapt. It is also the reference
for the two kernels with a scaled state, :mod:`~neuro.events.exact.step_delta` and
:mod:`~neuro.events.exact.step_psc`.
"""

import math

import numpy as np

from neuro.events.exact.membrane import NeuronTable, add_input, advance_neuron, check_threshold
from neuro.events.exact.scaled_state import (
    TEST_LIST,
    BlockWindow,
    ScaledState,
    request_test,
    run_tests,
)
from neuro.events.exact.synapse_table import GroupArrivals, SynapseTable
from neuro.ops.jit import bare


@bare
def run_general_window(
    neurons: NeuronTable,
    scaled: ScaledState,
    table: SynapseTable,
    arrivals: GroupArrivals,
    window: BlockWindow,
    out: np.ndarray,
) -> None:
    """Run the neurons of one block through one window; spikes go to ``out`` (SPIKE).

    Of the scaled state it uses only the test list.
    """
    neuron, current, rate_syn = neurons
    lists, weight, target, block = scaled.lists, table.weight, table.target, window.block
    requested, many = 0, arrivals.time.size
    for k in range(many):
        t, g, value = arrivals.time[k], arrivals.group[k], arrivals.value[k]
        first, port = table.first_target[g], table.port[g]
        shift = first - table.synapse_indptr[g, 0]
        for s in range(table.synapse_indptr[g, block], table.synapse_indptr[g, block + 1]):
            j = s + shift if first >= 0 else target[s]
            advance_neuron(neuron, current, rate_syn, j, t, window.quantum, out)
            add_input(neuron, current, j, port, weight[s] * value)
            requested = request_test(lists, window, j, requested)
        if requested > 0 and (k + 1 == many or arrivals.time[k + 1] != t):
            run_tests(neuron, lists, window, requested, t, out)
            for a in range(window.low, window.low + requested):
                schedule_check(neuron, current, lists[TEST_LIST, a])
            requested = 0
    for j in range(window.low, window.high):
        if neuron[j].next_check <= window.stop:
            advance_neuron(neuron, current, rate_syn, j, window.stop, window.quantum, out)
            check_threshold(neuron, j, window.stop, out)
            schedule_check(neuron, current, j)


@bare
def schedule_check(neuron: np.ndarray, current: np.ndarray, j: int) -> None:
    """Set ``next_check``, a time before which neuron ``j`` cannot fire without input.

    A membrane that ends above its current value rises at most as fast as it would now without
    negative currents; the threshold falls at most as fast as now.
    """
    cell = neuron[j]
    if cell.free_at > cell.time:
        cell.next_check = cell.free_at
        return
    slope = cell.drive - cell.rate * cell.v
    for r in range(current.shape[1]):
        slope += max(current[j, r], 0.0)
    if cell.adapt != 0.0:
        slope = max(slope, 0.0) + cell.adapt * cell.rate_adapt
    gap = cell.threshold + cell.adapt - cell.v
    cell.next_check = cell.time + max(gap, 0.0) / slope if slope > 0.0 else math.inf
