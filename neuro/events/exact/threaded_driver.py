"""The window driver for one large network: blocks of neurons in parallel, one thread each.

Every thread goes through all arrivals of a window, over the synapses of its own targets, and
all threads wait for each other at the end of the window. So spikes are the same bit for bit
with any number of threads.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from neuro.events.exact.delay_queue import (
    ENOUGH,
    FIRED,
    QUEUE_FULL,
    WINDOW,
    WindowPlan,
    WindowRun,
    copy_spikes,
    count_windows,
    enlarge_run,
    list_pending,
    pop_window,
    receive_spikes,
    send_spikes,
    start_run,
)
from neuro.events.exact.scaled_state import BlockWindow, select_spikes, unscale_neurons
from neuro.events.exact.synapse_table import GroupArrivals, SourceSpikes
from neuro.events.exact.window_driver import (
    Machine,
    RunResult,
    begin_window,
    run_block,
)


def run_blocks(
    machine: Machine, outside: SourceSpikes, pending: GroupArrivals, plan: WindowPlan
) -> RunResult:
    """Run all neurons as :func:`~neuro.events.exact.window_driver.run_windows`, in threads.

    Each block of neurons has one thread.
    """
    run, edges = start_run(pending, plan), machine.edges.tolist()
    blocks, stop, within_budget = range(len(edges) - 1), 0.0, True
    with ThreadPoolExecutor(len(blocks)) as pool:
        while within_budget and run.progress[WINDOW] < count_windows(plan):
            while not receive_spikes(run, machine.table, outside, plan):
                run = enlarge_run(run, QUEUE_FULL)
            arrivals = pop_window(run.queue, run.progress[WINDOW], run.buffer)
            start, stop, origin = begin_window(machine, run.progress[WINDOW], plan)
            windows = [
                BlockWindow(edges[p], edges[p + 1], p, start, stop, origin, plan.quantum)
                for p in blocks
            ]
            run_one = partial(run_block, machine, run.buffer, arrivals)
            counts = list(pool.map(run_one, windows))
            if sum(counts) > 0:
                outs = [select_spikes(machine.spikes, window) for window in windows]
                run = _send_spikes(run, machine, outs, plan)
                full = any(count >= out.size for count, out in zip(counts, outs, strict=True))
                within_budget = not full and bool(run.progress[FIRED] <= plan.budget)
            run.progress[WINDOW] += 1
    unscale_neurons(
        machine.family, machine.neurons, machine.scaled, stop, plan.quantum, machine.spikes
    )
    fired = run.progress[FIRED]
    spikes = SourceSpikes(run.time[:fired], run.neuron[:fired], np.ones(fired))
    return RunResult(spikes, list_pending(run.queue), within_budget)


def _send_spikes(
    run: WindowRun, machine: Machine, outs: list[np.ndarray], plan: WindowPlan
) -> WindowRun:
    """Send the spikes of all blocks; return the run with room for them."""
    lacking = QUEUE_FULL
    while lacking != ENOUGH:
        spikes = 0
        for out in outs:
            spikes = copy_spikes(run.buffer, spikes, out)
        lacking = send_spikes(run, machine.table, spikes, plan)
        if lacking != ENOUGH:
            run = enlarge_run(run, lacking)
    return run
