"""The event engine: a Graph driven by spikes, under either of its clocks.

On the grid it computes tick for tick what the torch clock does.
Axes: T ticks, B samples, N neurons of a node in C order of its shape.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from neuro.events.checks import require_state, runaway
from neuro.events.clock import Clock, Exact, Grid
from neuro.events.exact.state import ExactState
from neuro.events.grid.batches import Batch, of_samples, to_batch
from neuro.events.grid.compile import compile_graph
from neuro.events.grid.run import Run
from neuro.events.grid.state import EngineState, join_states, samples_of_state
from neuro.events.recording import Recording, require_recording
from neuro.events.workers import over_samples
from neuro.graph import Graph
from neuro.graph.inputs import require_inputs
from neuro.record import Record, concatenate
from neuro.spikes import Events, Times, to_ticks

State = EngineState | ExactState

BUFFER = 2**19  # values in one node's buffer: few enough to stay in a core's cache


def simulate(
    graph: Graph,
    inputs: Mapping[str, Events | Times],
    clock: Clock = Grid(),  # noqa: B008
    *,
    state: State | None = None,
    record: Recording = Recording(),  # noqa: B008
    workers: int = 1,
) -> tuple[Record, State]:
    """Run a network on events.

    On the grid the result is bit for bit the same, however a run is cut into parts and samples;
    where torch computes exponentials (Softmax, Pointwise), to their last bit.

    Args:
        graph: the network.
        inputs: the spikes of every Input, all with the same T and B. Events and Times become
            what the clock runs on: see :func:`neuro.spikes.to_ticks` and ``to_times``.
        clock: ``Grid()`` runs in ticks of ``graph.dt``, ``Exact()`` in continuous time.
        state: of an earlier run under the same clock, to go on from there; None starts at
            rest.
        record: what to keep beside the counts.
        workers: how many threads share the samples, which does not change the result. Inside
            ``joblib.parallel_config(backend=...)`` they are processes or a cluster.

    Returns:
        The Record, with ``counts``, and the state: an EngineState of ``Grid()``, an ExactState
        of ``Exact()``.

    Raises:
        ValueError: inputs, state or record do not fit the graph; lists every problem by node.
        GraphError: the graph does not run on this clock.
        Runaway: more spikes than the clock's budget; it carries the Record up to there.
    """
    if isinstance(clock, Exact):
        from neuro.events.exact.run import simulate_exact

        return simulate_exact(
            graph, inputs, clock, state=state, recording=record, workers=workers
        )
    program = compile_graph(graph, np.dtype(clock.dtype))
    trains, batches = _on_the_grid(graph, inputs, program.dtype)
    ticks, samples, _ = next(iter(trains.values())).shape
    require_recording(record, graph, ticks)
    start = None if state is None else require_state(program, samples, state)
    job = _Job(graph, batches, clock, start, record)
    parts = over_samples(job.run, samples, workers)
    records, states = zip(*(pair for pairs in parts for pair in pairs), strict=True)
    whole = records[0] if len(records) == 1 else concatenate(list(records))
    given = {name: train for name, train in trains.items() if record.keeps_spikes(name)}
    whole = replace(whole, spikes={**given, **whole.spikes})
    if sum(whole.counts[name].spikes for name in graph.populations) > clock.budget:
        raise runaway(graph, whole, clock.budget)
    return whole, join_states(list(states))


def _on_the_grid(
    graph: Graph, inputs: Mapping[str, Events | Times], dtype: np.dtype
) -> tuple[dict[str, Events], dict[str, Batch]]:
    """Return inputs as events, without values of zero, which are no spikes, and as batches."""
    trains = {
        name: to_ticks(train, graph.dt) if isinstance(train, Times) else train
        for name, train in inputs.items()
    }
    alike = len({train.shape[:2] for train in trains.values()}) == 1
    known = trains.keys() == set(graph.inputs)
    if alike and known and all(_fits(graph, name, train) for name, train in trains.items()):
        pairs = {name: to_batch(train, 0, dtype) for name, train in trains.items()}
        if all(sound for _, sound in pairs.values()):
            return trains, {name: batch for name, (batch, _) in pairs.items()}
    require_inputs(graph, trains)  # slower: it finds all that is wrong, and says so
    for name, train in trains.items():
        keep = np.flatnonzero(train.value)
        sample, tick, neuron, value = (column[keep] for column in train[:4])
        trains[name] = Events(sample, tick, neuron, value, train.shape)
    return trains, {name: to_batch(train, 0, dtype)[0] for name, train in trains.items()}


def _fits(graph: Graph, name: str, train: Events) -> bool:
    """Say whether events can be read as those of an Input."""
    columns = train[:4]
    return (
        train.shape[2] == math.prod(graph.shapes[name])
        and min(train.shape) > 0
        and len({column.shape for column in columns}) == 1
        and all(column.dtype.kind in "iu" for column in columns[:3])
    )


@dataclass(frozen=True)
class _Job:
    """A run on the grid, of which some samples can be run by themselves."""

    graph: Graph
    inputs: Mapping[str, Batch]
    clock: Grid
    state: EngineState | None
    recording: Recording

    def run(self, start: int, stop: int) -> list[tuple[Record, EngineState]]:
        """Run the samples ``start`` to ``stop``, as many together as fit."""
        inputs, state, clock = self.inputs, self.state, self.clock
        program = compile_graph(self.graph, np.dtype(clock.dtype))
        ticks = next(iter(inputs.values())).ticks
        fitting = max(1, BUFFER // max(program.sizes[name] for name in program.parts))
        length = min(ticks, clock.stretch, fitting)
        together = max(1, fitting // length)
        done, before = [], 0
        for first in range(start, stop, together):
            last = min(first + together, stop)
            some = {name: of_samples(batch, first, last) for name, batch in inputs.items()}
            given = None if state is None else samples_of_state(state, first, last)
            run = Run(program, some, given, self.recording)
            for spikes in run.advance(length):
                if before + spikes > clock.budget:
                    raise runaway(self.graph, run.partial_record(), clock.budget)
            before += spikes
            done.append((run.record(), run.state()))
        return done
