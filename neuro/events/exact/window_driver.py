"""The window driver: a spike from inside a look-ahead window arrives after the window.

A window is at most as long as the least delay inside the component, so all its arrivals are
known when it begins (conservative look-ahead). Neurons need no common order inside a window:
each takes its own arrivals in order.

In threads, each goes through all arrivals of a window, over the synapses of its own block of
targets, and all wait for each other at the end of the window. So spikes are the same bit for
bit with any number of threads.

Axes: n neurons of a component, P blocks of neurons.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

from neuro.events.exact.delay_queue import (
    ENOUGH,
    FIRED,
    OVER_BUDGET,
    PAUSED,
    QUEUE_FULL,
    WAS_RUN,
    WINDOW,
    WORK_PER_STEP,
    WindowBuffer,
    WindowPlan,
    WindowRun,
    copy_spikes,
    count_windows,
    enlarge_run,
    find_bounds,
    list_pending,
    pop_window,
    receive_spikes,
    send_spikes,
    start_run,
)
from neuro.events.exact.membrane import NeuronTable
from neuro.events.exact.scaled_state import (
    DELTA,
    PSC,
    BlockWindow,
    ScaledState,
    move_origin,
    select_spikes,
    unscale_neurons,
)
from neuro.events.exact.step_delta import run_delta_window
from neuro.events.exact.step_general import run_general_window
from neuro.events.exact.step_psc import run_psc_window
from neuro.events.exact.synapse_table import GroupArrivals, SourceSpikes, SynapseTable
from neuro.ops.jit import bare


class Machine(NamedTuple):
    """A component, ready to run; a run changes neurons, scaled state and spikes.

    family: DELTA, PSC or GENERAL, see :mod:`neuro.events.exact.scaled_state`. spikes: room for
    the spikes of a window (SPIKE, np.recarray). edges: P+1; block p of the neurons is
    edges[p]:edges[p + 1].
    """

    family: int
    neurons: NeuronTable
    scaled: ScaledState
    table: SynapseTable
    spikes: np.ndarray
    edges: np.ndarray


class RunResult(NamedTuple):
    """The spikes of all neurons, pending arrivals, and whether the budget sufficed."""

    spikes: SourceSpikes
    pending: GroupArrivals
    within_budget: bool


def run_windows(
    machine: Machine, outside: SourceSpikes, pending: GroupArrivals, plan: WindowPlan
) -> RunResult:
    """Run all neurons as one block, from time 0 to the end of the plan.

    outside: spikes of sources outside the component. pending: arrivals from before the start.
    At the end, the records of the neurons are those of the end of the run.
    """
    run, lacking = start_run(pending, plan), PAUSED
    while lacking != ENOUGH:
        lacking = continue_run(machine, outside, run, plan)
        if lacking != ENOUGH and lacking != PAUSED:
            run = enlarge_run(run, lacking)
    return finish_run(machine, run, plan)


def finish_run(machine: Machine, run: WindowRun, plan: WindowPlan) -> RunResult:
    """Return the result of a run at its end, and bring all neurons there."""
    fired, progress = run.progress[FIRED], run.progress
    _, stop = find_bounds(plan, min(progress[WINDOW], count_windows(plan) - 1))
    unscale_neurons(
        machine.family, machine.neurons, machine.scaled, stop, plan.quantum, machine.spikes
    )
    spikes = SourceSpikes(run.time[:fired], run.neuron[:fired], np.ones(fired))
    return RunResult(spikes, list_pending(run.queue), bool(progress[OVER_BUDGET] == 0))


@bare
def continue_run(
    machine: Machine, outside: SourceSpikes, run: WindowRun, plan: WindowPlan
) -> int:
    """Run windows to the end of the plan (ENOUGH), or until it is time to pause (PAUSED).

    Without room it returns the full part, QUEUE_FULL or SPIKES_FULL.
    """
    progress, windows, work = run.progress, count_windows(plan), 0
    whole = BlockWindow(0, machine.neurons.neuron.size, 0, 0.0, 0.0, 0.0, plan.quantum)
    out, table = select_spikes(machine.spikes, whole), machine.table
    while progress[WINDOW] < windows:
        if not progress[WAS_RUN]:
            if not receive_spikes(run, machine.table, outside, plan):
                return QUEUE_FULL
            arrivals = pop_window(run.queue, progress[WINDOW], run.buffer)
            start, stop, origin = begin_window(machine, progress[WINDOW], plan)
            window = BlockWindow(0, whole.high, 0, start, stop, origin, plan.quantum)
            run_block(machine, run.buffer, arrivals, window)
            progress[WAS_RUN] = 1
            for k in range(arrivals):
                g = run.buffer.key[k]
                work += table.synapse_indptr[g, -1] - table.synapse_indptr[g, 0]
            work += whole.high + WORK_PER_STEP * (1 + arrivals)
        if out[0].neuron > 0:
            spikes = copy_spikes(run.buffer, 0, out)
            lacking = send_spikes(run, machine.table, spikes, plan)
            if lacking != ENOUGH:
                return lacking
            if out[0].neuron >= out.size or progress[FIRED] > plan.budget:
                progress[OVER_BUDGET] = 1
                break
        progress[WAS_RUN] = 0
        progress[WINDOW] += 1
        if work > plan.pause:
            return PAUSED
    return ENOUGH


@bare
def begin_window(machine: Machine, w: int, plan: WindowPlan) -> tuple[float, float, float]:
    """Return start and stop of a window, and the origin of the scale in it."""
    start, stop = find_bounds(plan, w)
    move_origin(machine.family, machine.neurons, machine.scaled, start, stop)
    return start, stop, machine.scaled.origin[0]


@bare
def run_block(
    machine: Machine, buffer: WindowBuffer, arrivals: int, window: BlockWindow
) -> int:
    """Run one block of neurons through one window; return the number of its spikes.

    arrivals: number of entries of the buffer.
    """
    family, neurons, scaled, table, spikes, _ = machine
    a = GroupArrivals(buffer.time[:arrivals], buffer.key[:arrivals], buffer.value[:arrivals])
    out = select_spikes(spikes, window)
    out[0].neuron = 0
    if family == DELTA:
        run_delta_window(neurons, scaled, table, a, window, out)
    elif family == PSC:
        run_psc_window(neurons, scaled, table, a, window, out)
    else:
        run_general_window(neurons, scaled, table, a, window, out)
    return out[0].neuron


def run_blocks(
    machine: Machine, outside: SourceSpikes, pending: GroupArrivals, plan: WindowPlan
) -> RunResult:
    """Run all neurons as :func:`~neuro.events.exact.window_driver.run_windows`, in threads.

    Each block of neurons has one thread.
    """
    run, edges = start_run(pending, plan), machine.edges.tolist()
    blocks = range(len(edges) - 1)
    with ThreadPoolExecutor(len(blocks)) as pool:
        while run.progress[WINDOW] < count_windows(plan):
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
                if full or run.progress[FIRED] > plan.budget:
                    run.progress[OVER_BUDGET] = 1
                    break
            run.progress[WINDOW] += 1
    return finish_run(machine, run, plan)


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
