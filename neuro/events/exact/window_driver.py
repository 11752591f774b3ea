"""The window driver: a spike fired inside a look-ahead window arrives after that window.

A window is at most as long as the least delay inside the component, so all its arrivals are
known when it begins (conservative look-ahead). Inside a window neurons need no common order:
each takes its own arrivals in order.

Each thread goes through all arrivals of a window, but only over the synapses into its own block
of targets. Threads wait for each other at both ends of a window, inside the kernel; between
windows the first thread alone sends spikes and sorts arrivals. So spikes are the same bit for
bit for any number of threads.

Axes: n neurons of a component, P blocks of neurons.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

from neuro.events.exact.delay_queue import (
    ARRIVALS,
    ENOUGH,
    FIRED,
    OVER_BUDGET,
    PAUSED,
    QUEUE_FULL,
    READY,
    STEP,
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
from neuro.events.progress import Tell, tell_nobody
from neuro.ops.barrier import make_barrier, wait
from neuro.ops.jit import bare


class Machine(NamedTuple):
    """A component, ready to run; a run changes neurons, scaled state and spikes.

    family: DELTA, PSC or GENERAL, see :mod:`neuro.events.exact.scaled_state`.
    spikes: room for a window's spikes (SPIKE, np.recarray).
    edges: P+1; block p of the neurons is edges[p]:edges[p + 1].
    """

    family: int
    neurons: NeuronTable
    scaled: ScaledState
    table: SynapseTable
    spikes: np.ndarray
    edges: np.ndarray


class RunResult(NamedTuple):
    """All spikes, the pending arrivals, and whether the run stayed within its budget."""

    spikes: SourceSpikes
    pending: GroupArrivals
    within_budget: bool


def run_windows(
    machine: Machine,
    outside: SourceSpikes,
    pending: GroupArrivals,
    plan: WindowPlan,
    tell: Tell = tell_nobody,
) -> RunResult:
    """Run all neurons from time 0 to the end of the plan, each block in its own thread.

    outside: spikes of sources outside the component.
    pending: arrivals from before the start.
    tell: called with the number of ticks that have been run.

    Afterwards the neurons' records hold the state at the end of the run.
    """
    run, lacking, barrier, told = start_run(pending, plan), PAUSED, make_barrier(), 0.0
    blocks = range(machine.edges.size - 1)
    with ThreadPoolExecutor(len(blocks)) as pool:
        share = map if len(blocks) == 1 else pool.map
        while lacking != ENOUGH:
            lacking = max(
                share(partial(continue_run, machine, outside, run, plan, barrier), blocks)
            )
            now = min(run.progress[WINDOW] * plan.length, plan.stop)
            tell(now - told)
            told = now
            if lacking not in (ENOUGH, PAUSED):
                run = enlarge_run(run, lacking)
    return finish_run(machine, run, plan)


def finish_run(machine: Machine, run: WindowRun, plan: WindowPlan) -> RunResult:
    """Bring all neurons to the end of a run, and return its result."""
    fired, progress = run.progress[FIRED], run.progress
    _, stop = find_bounds(plan, min(progress[WINDOW], count_windows(plan) - 1))
    unscale_neurons(
        machine.family, machine.neurons, machine.scaled, stop, plan.quantum, machine.spikes
    )
    spikes = SourceSpikes(run.time[:fired], run.neuron[:fired], np.ones(fired))
    return RunResult(spikes, list_pending(run.queue), bool(progress[OVER_BUDGET] == 0))


@bare
def continue_run(
    machine: Machine,
    outside: SourceSpikes,
    run: WindowRun,
    plan: WindowPlan,
    barrier: np.ndarray,
    block: int,
) -> int:
    """Run one block's windows to the end of the plan (ENOUGH), or until a pause (PAUSED).

    If room is lacking, it returns the full part, QUEUE_FULL or SPIKES_FULL. All threads return
    at the same time and the same value.
    """
    progress, table, work = run.progress, machine.table, 0
    low, high, threads = machine.edges[block], machine.edges[block + 1], machine.edges.size - 1
    while True:
        if block == 0:
            progress[STEP] = prepare_window(machine, outside, run, plan, work)
        wait(barrier, threads)
        if progress[STEP] != READY:
            return progress[STEP]
        start, stop = find_bounds(plan, progress[WINDOW])
        origin, arrivals = machine.scaled.origin[0], progress[ARRIVALS]
        window = BlockWindow(low, high, block, start, stop, origin, plan.quantum)
        run_block(machine, run.buffer, arrivals, window)
        if block == 0:
            progress[WAS_RUN] = 1
            for k in range(arrivals):
                g = run.buffer.key[k]
                work += table.synapse_indptr[g, -1] - table.synapse_indptr[g, 0]
            work += machine.neurons.neuron.size + WORK_PER_STEP * (1 + arrivals)
        wait(barrier, threads)


@bare
def prepare_window(
    machine: Machine, outside: SourceSpikes, run: WindowRun, plan: WindowPlan, work: int
) -> int:
    """Send the spikes of the last window, and prepare the next window.

    work: amount of work since the last pause. Returns READY, or the reason why the run stops,
        as in
    :func:`continue_run`.
    """
    progress = run.progress
    if progress[WAS_RUN]:
        lacking = send_all_spikes(machine, run, plan)
        if lacking != ENOUGH or progress[OVER_BUDGET]:
            return lacking
        progress[WAS_RUN] = 0
        progress[WINDOW] += 1
        if work > plan.pause and progress[WINDOW] < count_windows(plan):
            return PAUSED
    if progress[WINDOW] >= count_windows(plan):
        return ENOUGH
    if not receive_spikes(run, machine.table, outside, plan):
        return QUEUE_FULL
    progress[ARRIVALS] = pop_window(run.queue, progress[WINDOW], run.buffer)
    start, stop = find_bounds(plan, progress[WINDOW])
    move_origin(machine.family, machine.neurons, machine.scaled, start, stop)
    return READY


@bare
def send_all_spikes(machine: Machine, run: WindowRun, plan: WindowPlan) -> int:
    """Send the spikes of all blocks; return ENOUGH, or the full part if nothing was sent."""
    spikes, full, edges = 0, False, machine.edges
    for block in range(edges.size - 1):
        out = select_spikes(machine.spikes, edges[block], edges[block + 1], block)
        spikes = copy_spikes(run.buffer, spikes, out)
        full |= out[0].neuron >= out.size
    if spikes == 0:
        return ENOUGH
    lacking = send_spikes(run, machine.table, spikes, plan)
    if lacking == ENOUGH and (full or run.progress[FIRED] > plan.budget):
        run.progress[OVER_BUDGET] = 1
    return lacking


@bare
def run_block(
    machine: Machine, buffer: WindowBuffer, arrivals: int, window: BlockWindow
) -> None:
    """Run one block of neurons through one window. arrivals: entries of the buffer."""
    family, neurons, scaled, table, spikes, _ = machine
    a = GroupArrivals(buffer.time[:arrivals], buffer.key[:arrivals], buffer.value[:arrivals])
    out = select_spikes(spikes, window.low, window.high, window.block)
    out[0].neuron = 0
    if family == DELTA:
        run_delta_window(neurons, scaled, table, a, window, out)
    elif family == PSC:
        run_psc_window(neurons, scaled, table, a, window, out)
    else:
        run_general_window(neurons, scaled, table, a, window, out)
