"""The event engine: runs a Graph spike by spike, in ticks or in continuous time.

In ticks its results equal those of the torch clock.
Axes: T ticks, B samples, N neurons of a node in C order of its shape.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from neuro.base.arguments import make_type_error
from neuro.events.checks import make_runaway_error, require_state
from neuro.events.exact.state import ExactState
from neuro.events.grid.batches import SpikeBatch, slice_samples, to_batch
from neuro.events.grid.compile import Program, compile_graph
from neuro.events.grid.run import GridRun
from neuro.events.grid.state import EngineState, join_states, slice_state
from neuro.events.progress import Tell, add_up
from neuro.events.resources import require_memory, run_over_samples
from neuro.events.settings import (
    Clock,
    Exact,
    Grid,
    Recording,
    measure_draws,
    require_recording,
)
from neuro.graph import GradedInput, Graph
from neuro.graph.inputs import find_span, require_inputs, require_trains
from neuro.graph.requirements import require_graph
from neuro.ops.poisson import Span
from neuro.spikes import Events, Times, list_problems_of_types, to_ticks
from neuro.spikes.record import Record, concatenate

State = EngineState | ExactState

# Most values in one node's buffer, which limits how many samples and ticks run together. In
# float32 it is 2 MB, about a second-level cache; chosen by hand, not measured.
MAX_BUFFER_VALUES = 2**19
LOOP_STRETCHES = 8  # stretches run together if there are only loops, which need no buffers
MAX_TICKS = 2**31 - 1  # most ticks of a run and of a delay: the range of int32
INDEX = 8  # bytes per tick and sample of a spike train, for the index of the first spike
BATCH = 2000  # bytes of Python and NumPy objects per batch of spikes; measured
SHORTER = (
    "cut the stimulus into pieces with neuro.events.to_disk.simulate_to_disk, run fewer "
    "samples at a time or record less"
)


def simulate(  # noqa: PLR0913 - the run, and its length
    graph: Graph,
    inputs: Mapping[str, Events | Times],
    clock: Clock = Grid(),  # noqa: B008
    *,
    state: State | None = None,
    record: Recording = Recording(),  # noqa: B008
    workers: int = 1,
    ticks: int | None = None,
    samples: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> tuple[Record, State]:
    """Run a network on events.

    With ``Grid()`` the result is the same bit for bit however a run is split into parts and
    samples; only torch's exponentials (Softmax, Pointwise) may differ in their last bit.

    Args:
        graph: the network.
        inputs: the spikes of every Input, all with the same T and B.
            :func:`neuro.spikes.to_ticks` and :func:`neuro.spikes.to_times` convert Events and
            Times for the clock.
        clock: ``Grid()`` runs in ticks of ``graph.dt``, ``Exact()`` in continuous time.
        state: final state of an earlier run with the same clock, which this run continues; None
            starts at rest.
        record: the parts to record in addition to the counts.
        workers: number of threads among which the samples are split; the result stays the same.
            Inside ``joblib.parallel_config(backend=...)`` they are processes or a cluster.
        ticks, samples: size of the run if the graph has no Inputs but Poisson nodes that draw
            their own spikes; one sample by default. Otherwise the inputs determine it.
        progress: called now and then, from any thread of the run, with the share of the run
            that is done (0 to 1); not called if samples are split among processes.

    Returns:
        The Record, with ``counts``, and the final state: an EngineState for ``Grid()``, an
        ExactState for ``Exact()``.

    Raises:
        TypeError: an argument has a wrong type, such as a raster instead of Events.
        ValueError: inputs, state or record do not fit the graph (lists every problem by node),
            or the run needs more memory than is free.
        GraphError: the graph does not run on this clock.
        Runaway: there were more spikes than the clock's budget; it holds the Record up to that
            point.
    """
    require_graph(graph)
    require_trains(inputs)
    if not isinstance(clock, Grid | Exact):
        cure = "write Exact() or Grid(), with brackets"
        raise make_type_error("clock", "Grid() or Exact()", clock, cure)
    if isinstance(clock, Exact):
        from neuro.events.exact.run import simulate_exact

        run_exactly = partial(simulate_exact, graph, inputs, clock, (ticks, samples))
        return run_exactly(state=state, recording=record, workers=workers, progress=progress)
    compile_graph(graph, np.dtype(clock.dtype))  # refuses a graph that does not run on a clock
    events = _convert_inputs(graph, inputs)
    ticks, samples = find_span((train.shape[:2] for train in events.values()), ticks, samples)
    require_recording(record, graph, ticks)
    program = _compile(graph, clock, record)
    _require_room(program, clock, ticks, samples, record)
    trains, batches = _read_inputs(graph, events, program.dtype)
    start = None if state is None else require_state(program, samples, state)
    span = Span(0, samples, 0 if start is None else start.ticks, ticks)
    tell = add_up(progress, ticks * samples)
    run = partial(_run_samples, graph, batches, clock, start, record, span, tell)
    parts = run_over_samples(run, samples, workers)
    records, states = zip(*(pair for pairs in parts for pair in pairs), strict=True)
    whole = records[0] if len(records) == 1 else concatenate(list(records))
    kept = {name: train for name, train in trains.items() if record.keeps_spikes(name)}
    whole = replace(whole, spikes={**kept, **whole.spikes})
    if sum(whole.counts[name].spikes for name in graph.populations) > clock.budget:
        raise make_runaway_error(graph, whole, clock.budget)
    return whole, join_states(list(states))


def _compile(graph: Graph, clock: Grid, recording: Recording) -> Program:
    """Compile the graph; loops with membranes to record are compiled node by node."""
    program = compile_graph(graph, np.dtype(clock.dtype))
    looped = {name for group in program.groups if group.loop for name in group.names}
    recorded = tuple(sorted(looped.intersection(recording.values or ())))
    return compile_graph(graph, np.dtype(clock.dtype), recorded) if recorded else program


def _convert_inputs(graph: Graph, inputs: Mapping[str, Events | Times]) -> dict[str, Events]:
    """Return the inputs as Events; raise a ValueError that lists why they do not fit."""
    if not all(isinstance(train, Events) for train in inputs.values()):
        require_inputs(graph, inputs)
    trains = {
        name: to_ticks(train, graph.dt) if isinstance(train, Times) else train
        for name, train in inputs.items()
    }
    known = trains.keys() == set(graph.inputs)
    fits = known and all(_fits(graph, name, train) for name, train in trains.items())
    graded = any(isinstance(graph.nodes[name], GradedInput) for name in graph.inputs)
    if graded or not fits or len({train.shape[:2] for train in trains.values()}) != 1:
        require_inputs(graph, trains)
    return trains


def _require_room(
    program: Program, clock: Grid, ticks: int, samples: int, record: Recording
) -> None:
    """Raise a ValueError if there are too many ticks, or the run does not fit into memory."""
    if ticks > MAX_TICKS:
        raise ValueError(
            f"a run with Grid() must have <= {MAX_TICKS} ticks, got {ticks}; {SHORTER}"
        )
    for wire in (wire for wires in program.into.values() for wire in wires):
        if wire.delay > MAX_TICKS:
            raise ValueError(
                f"the delay of {wire.edge.source} -> {wire.edge.target} is {wire.delay} ticks; "
                f"with Grid() it must be <= {MAX_TICKS}. Shorten it, or use a longer dt"
            )
    graph, size = program.graph, program.dtype.itemsize
    length, together = _plan_parts(program, clock, ticks)
    copies = 1 if samples <= together else 2  # of the parts, and of the whole
    held = min(samples, together)
    needed = {f"the ticks of {n}": INDEX * samples * (ticks + 1) for n in graph.inputs}
    needed |= measure_draws(graph, record, ticks * samples)
    for name in graph.populations:
        wide = samples * program.sizes[name] * size * copies
        needed[f"states of {name}"] = 4 * len(record.states) * wide
        if record.keeps_values(graph, name):
            needed[f"values of {name}"] = ticks * wide
    for group, window, loop in program.groups:
        batches = -(-ticks // (length if loop else window or length))
        index = INDEX * held * (ticks + batches) + BATCH * batches
        kept = (n for n in group if n in graph.firing and record.keeps_spikes(n))
        needed |= {f"the ticks of {name}": index for name in kept}
        if loop:
            ring = loop.slots * loop.columns * size * held
            needed[f"delay slots of {', '.join(loop.populations)}"] = ring
    require_memory({what: number for what, number in needed.items() if number}, SHORTER)


def _read_inputs(
    graph: Graph, trains: dict[str, Events], dtype: np.dtype
) -> tuple[dict[str, Events], dict[str, SpikeBatch]]:
    """Return the checked inputs, without entries of value 0, as Events and as batches."""
    pairs = {name: to_batch(train, 0, dtype) for name, train in trains.items()}
    if all(valid for _, valid in pairs.values()):
        return trains, {name: batch for name, (batch, _) in pairs.items()}
    require_inputs(graph, trains)  # slower: lists every problem
    nonzero = {}
    for name, train in trains.items():
        keep = np.flatnonzero(train.value)
        sample, tick, neuron, value = (column[keep] for column in train[:4])
        nonzero[name] = Events(sample, tick, neuron, value, train.shape)
    return nonzero, {name: to_batch(train, 0, dtype)[0] for name, train in nonzero.items()}


def _fits(graph: Graph, name: str, train: Events) -> bool:
    """Return whether a train's columns have the sizes and types of an Input's spikes."""
    return (
        not list_problems_of_types(train)
        and train.shape[2] == math.prod(graph.shapes[name])
        and min(train.shape) > 0
        and len({column.size for column in train[:4]}) == 1
    )


def _plan_parts(program: Program, clock: Grid, ticks: int) -> tuple[int, int]:
    """Return how many ticks and how many samples run together within the buffers."""
    names = (*program.buffered, *program.graph.poisson)
    largest = max((program.sizes[name] for name in names), default=1)
    stretch = clock.stretch if names else LOOP_STRETCHES * clock.stretch
    length = min(ticks, stretch, max(1, MAX_BUFFER_VALUES // largest))
    rings = (g.loop.slots * g.loop.columns for g in program.groups if g.loop)
    return length, max(1, MAX_BUFFER_VALUES // max(length * largest, *rings, 1))


def _run_samples(  # noqa: PLR0913 - the run, and its samples
    graph: Graph,
    inputs: Mapping[str, SpikeBatch],
    clock: Grid,
    state: EngineState | None,
    recording: Recording,
    span: Span,
    tell: Tell,
    start: int,
    stop: int,
) -> list[tuple[Record, EngineState]]:
    """Run the samples ``start`` to ``stop`` in groups that fit into the buffers."""
    program = _compile(graph, clock, recording)
    length, together = _plan_parts(program, clock, span.ticks)
    results, before = [], 0
    for first in range(start, stop, together):
        last = min(first + together, stop)
        group = {name: slice_samples(batch, first, last) for name, batch in inputs.items()}
        own = None if state is None else slice_state(state, first, last)
        part = span._replace(first_sample=first, samples=last - first)
        run = GridRun(program, group, own, recording, part, length, clock.threads)
        told = 0
        for spikes in run.advance():
            tell((last - first) * (run.now - told))
            told = run.now
            if before + spikes > clock.budget:
                raise make_runaway_error(graph, run.partial_record(), clock.budget)
        before += spikes
        results.append((run.record(), run.state()))
    return results
