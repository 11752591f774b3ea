"""neuro as a subject: as users call it, and the scatter-add that bounds its speed."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from neuro.events import Clock, Exact, Grid, Recording, simulate
from neuro.graph import Sparse
from neuro.ops.jit import kernel
from neuro.spikes import Times
from neuro.spikes.record import Record
from tasks.bench.harness import Build, Run
from tasks.bench.peers.networks import start
from tasks.bench.peers.problem import CELLS, BenchProblem, iterate_projections, list_synapses
from tasks.bench.stopwatch import repeat

Make = Callable[[], BenchProblem]


def run_clock(make: Make, clock: Clock) -> Run:
    """Return a run under a clock."""
    problem = make()
    state = start(problem.graph, problem.membranes, clock)

    def once() -> tuple[int, int]:
        record, _ = simulate(problem.graph, problem.inputs, clock, state=state)
        spikes = sum(record.counts[name].spikes for name in problem.graph.firing)
        return spikes, synaptic_events(record)

    return repeat(once)


def exact(make: Make, threads: int) -> Run:
    """Return a run in continuous time."""
    return run_clock(make, Exact(threads=threads))


def alone(subject: Build, _: int) -> Run:
    """Return a subject on one thread, whatever the other subjects use."""
    return subject(1)


def grid(make: Make, threads: int, *, dtype: type) -> Run:
    """Return a run in ticks."""
    return run_clock(make, Grid(dtype=dtype, threads=threads))


def synaptic_events(record: Record) -> int:
    """Return the synaptic events of a whole network, weights of zero included."""
    return sum(c.synaptic_events_all for c in record.counts.values())


def spikes_of(problem: BenchProblem, clock: Clock = Exact()) -> Times:  # noqa: B008
    """Return the spikes of the only population, by time."""
    state = start(problem.graph, problem.membranes)
    only = Recording(spikes=(CELLS,), values=())
    record, _ = simulate(problem.graph, problem.inputs, clock, state=state, record=only)
    return record.times[CELLS]


def bound(make: Make, _: int) -> Run:
    """Return a run of only the additions that the network's spikes cause, in their order."""
    problem = make()
    times = spikes_of(problem)
    factor = np.exp(times.time / float(problem.cell.tau) % 50)  # decay-free sums have one
    rows = rows_of(problem)
    sums = np.zeros(problem.size)

    def once() -> tuple[int, int]:
        added = scatter(rows.indptr, rows.indices, rows.weight, times.neuron, factor, sums)
        return times.neuron.size, int(added)

    return repeat(once)


def rows_of(problem: BenchProblem) -> Sparse:
    """Return all synapses between neurons as one connection."""
    inner = [p for p in iterate_projections(problem) if p.source in problem.graph.firing]
    if len(inner) == 1:
        return inner[0].synapses
    source, target, weight, _ = list_synapses(problem, inner)
    return Sparse.from_coo(source, target, weight, shape=(problem.size, problem.size))


@kernel
def scatter(
    at: Int[np.ndarray, " R"],
    target: Int[np.ndarray, " E"],
    weight: Float[np.ndarray, " E"],
    spikes: Int[np.ndarray, " S"],
    factor: Float[np.ndarray, " S"],
    sums: Float[np.ndarray, " N"],
) -> int:
    """Add the rows of all spikes, each times its factor; return the number of additions."""
    added = 0
    for k in range(spikes.size):
        row, f = spikes[k], factor[k]
        for s in range(at[row], at[row + 1]):
            sums[target[s]] += weight[s] * f
        added += at[row + 1] - at[row]
    return added
