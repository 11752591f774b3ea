"""The exact clock: all samples of a run, and their Record.

Components run one after the other, sources first, each with a suitable driver; then LIs are
sampled. A run is split at each recorded state.

Axes: T ticks, B samples, N neurons of a node.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from neuro.base.units import Seconds
from neuro.events.checks import make_runaway_error
from neuro.events.exact.compile import (
    CompiledNetwork,
    Component,
    Readout,
    choose_length,
    compile_exactly,
)
from neuro.events.exact.delay_queue import WindowPlan, count_slots
from neuro.events.exact.heap_driver import run_heap
from neuro.events.exact.limits import find_run_quantum, require_finite_states, require_sizes
from neuro.events.exact.membrane import SPIKE, NeuronTable
from neuro.events.exact.readout import (
    AT_END,
    SpikeTrain,
    count_deliveries,
    expand_arrivals,
    join_samples,
    merge_trains,
    sample_values,
    select_sample,
    sum_by_node,
)
from neuro.events.exact.scaled_state import (
    LISTS,
    SPARE_SPIKES,
    SPIKES_PER_NEURON,
    ScaledState,
    scale_neurons,
)
from neuro.events.exact.state import (
    ExactState,
    join_pending,
    make_rest_state,
    require_exact_state,
    select_pending,
)
from neuro.events.exact.synapse_table import GroupArrivals, SourceSpikes
from neuro.events.exact.window_driver import Machine, RunResult, run_windows
from neuro.events.progress import Tell, add_up, tell_nobody
from neuro.events.resources import require_memory, run_over_samples
from neuro.events.settings import Exact, Recording, measure_draws, require_recording
from neuro.graph import Graph
from neuro.graph.inputs import find_span, require_inputs
from neuro.graph.poisson import draw_events, find_tables
from neuro.graph.requirements import require_continuous
from neuro.io.graph_digest import digest_graph
from neuro.ops.jit import view_fields_read_only
from neuro.ops.poisson import Span
from neuro.spikes import NEAR, Events, Times, join_in_time, round_times, to_instants, to_ticks
from neuro.spikes.record import Counts, Record, sum_counts

# The work of compiled code between two checks for Ctrl-C, see WindowPlan. A unit of work takes
# from one to a few hundred nanoseconds, so this is at most a second.
WORK_PER_PAUSE = 2**22
MOST_DRAWN = 2**21  # spikes of Poisson nodes drawn at a time
INT_BYTES = FLOAT_BYTES = 8  # bytes of an int64 and a float64


class SampleResult(NamedTuple):
    """The result of one sample, by name of node or component.

    trains: spikes.
    values: values of the kept LIs, T N.
    neurons: final states, 4 N, as in an ExactState.
    pending: arrivals after the end, with times counted from the end.
    events, events_all: synaptic events with non-zero weight, and all.
    updates: arrivals at neurons.
    within_budget: if False, the result ends where the budget was exceeded.
    """

    trains: dict[str, SpikeTrain]
    values: dict[str, np.ndarray]
    neurons: dict[str, np.ndarray]
    pending: dict[str, GroupArrivals]
    events: dict[str, int]
    events_all: dict[str, int]
    updates: dict[str, int]
    within_budget: bool


def simulate_exact(
    graph: Graph,
    inputs: Mapping[str, Events | Times],
    clock: Exact,
    length: tuple[int | None, int | None],
    *,
    state: object,
    recording: Recording,
    workers: int,
    progress: Callable[[float], object] | None,
) -> tuple[Record, ExactState]:
    """Run as :func:`neuro.events.simulate` does, in continuous time."""
    require_continuous(graph)
    require_inputs(graph, inputs)
    ticks, samples = find_span((train.shape[:2] for train in inputs.values()), *length)
    require_sizes(inputs)
    quantum = find_run_quantum(graph, ticks)
    trains = {n: to_instants(e, graph.dt, quantum) for n, e in inputs.items()}
    require_recording(recording, graph, ticks)
    before = make_rest_state(graph, samples) if state is None else state
    current = require_exact_state(graph, samples, before)
    network = compile_exactly(graph, clock.threads)
    needed = state_memory(network, clock, recording, (ticks, samples), quantum)
    needed |= measure_draws(graph, recording, ticks * samples)
    require_memory(needed, "run fewer ticks at a time, or lengthen Exact.window")
    records: list[Record] = []
    states, spikes = {}, 0
    per_tick = samples * sum(find_tables(graph, n)[0].spikes for n in graph.poisson)
    most = int(max(1, min(ticks, MOST_DRAWN / max(per_tick, 1))))
    pieces = range(most, ticks, most)
    stops = sorted({*(int(tick) + 1 for tick in recording.states), *pieces, ticks})
    tell = add_up(progress, ticks * samples * len(network.components))
    for start, stop in zip([0, *stops], stops, strict=False):
        part = {n: cut_times(t, start, stop) for n, t in trains.items()}
        here = Span(0, samples, current.ticks, stop - start)
        drawn = {n: draw_events(graph, n, here) for n in graph.poisson}
        part |= {n: to_instants(e, graph.dt, quantum) for n, e in drawn.items()}
        run = partial(_run_samples, graph, clock, recording, part, current, quantum, tell)
        shares = run_over_samples(run, samples, workers)
        results = [result for share in shares for result in share]
        records.append(make_record(graph, part, results, recording))
        spikes += sum(records[-1].counts[n].spikes for n in graph.populations)
        if spikes > clock.budget or not all(result.within_budget for result in results):
            kept = _in_seconds(join_records(records), inputs, graph.dt)
            raise make_runaway_error(graph, kept, clock.budget)
        current = replace(join_states(graph, results), ticks=current.ticks + stop - start)
        require_finite_states(current.neurons)
        if stop - 1 in recording.states:
            states[stop - 1] = current.neurons
    return replace(_in_seconds(join_records(records), inputs, graph.dt), states=states), current


def state_memory(
    network: CompiledNetwork,
    clock: Exact,
    recording: Recording,
    shape: tuple[int, int],
    quantum: float,
) -> dict[str, int]:
    """Return how many bytes a run needs without its spikes, by content. shape: T, B."""
    ticks, samples = shape
    needed = {}
    for c in network.components:
        slots = count_slots(_plan_windows(network, c, clock, float(ticks), quantum))
        needed[f"look-ahead windows of {c.name}"] = INT_BYTES * slots
    for r in network.readouts:
        kept = recording.keeps_values(network.graph, r.name)
        copies = 2 * samples if kept else 1  # of each sample, and of all together
        needed[f"values of {r.name}"] = FLOAT_BYTES * ticks * r.rate.size * copies
    return needed


def _in_seconds(record: Record, inputs: Mapping[str, Events | Times], dt: Seconds) -> Record:
    """Convert a record's times from ticks to seconds; Times of inputs are unchanged."""
    times = {n: t._replace(time=t.time * dt) for n, t in record.times.items()}
    originals = {n: t for n, t in inputs.items() if n in times and isinstance(t, Times)}
    return replace(record, times={**times, **originals})


def _run_samples(
    graph: Graph,
    clock: Exact,
    recording: Recording,
    inputs: Mapping[str, Times],
    state: ExactState,
    quantum: float,
    tell: Tell,
    start: int,
    stop: int,
) -> list[SampleResult]:
    """Run samples ``start`` to ``stop``, one after the other."""
    network = compile_exactly(graph, clock.threads)
    ticks = next(iter(inputs.values())).shape[0]
    kept = tuple(r.name for r in network.readouts if recording.keeps_values(graph, r.name))
    names = [c.name for c in network.components] + [r.name for r in network.readouts]
    results = []
    for b in range(start, stop):
        before = {n: rows[:, b] for n, rows in state.neurons.items()}
        pending = {n: select_pending(state, n, b) for n in names}
        trains = {n: select_sample(t, b) for n, t in inputs.items()}
        sample = partial(run_sample, network, trains, before, pending, clock)
        results.append(sample(ticks=ticks, quantum=quantum, kept=kept, tell=tell))
    return results


def run_sample(
    network: CompiledNetwork,
    inputs: Mapping[str, SpikeTrain],
    before: Mapping[str, np.ndarray],
    pending: Mapping[str, GroupArrivals],
    clock: Exact,
    *,
    ticks: int,
    quantum: float,
    kept: tuple[str, ...],
    tell: Tell = tell_nobody,
) -> SampleResult:
    """Run one sample.

    before: state of each population, 4 N.
    pending: arrivals by component or LI.
    ticks: T.
    quantum: quantum of instants.
    kept: LIs whose values are recorded.
    tell: called with the number of ticks that a component has run.
    """
    stop = float(ticks)
    result = SampleResult(dict(inputs), {}, {}, {}, {}, {}, {}, True)
    for c in network.components:
        neurons = _load_neurons(c, before, quantum)
        outside = merge_trains(c.first_source, c.outside, result.trains)
        plan = _plan_windows(network, c, clock, stop, quantum)
        run = _run_component(c, neurons, outside, pending[c.name], plan, clock, tell)
        _store_component(c, neurons, run.spikes, result, stop)
        pairs = zip(outside, run.spikes, strict=True)
        sent = SourceSpikes(*(np.concatenate(pair) for pair in pairs))
        _count_events(c, count_deliveries(c.table, sent, pending[c.name], run.pending), result)
        result.pending[c.name] = run.pending._replace(time=run.pending.time - stop)
        if not run.within_budget:
            return result._replace(within_budget=False)
    for r in network.readouts:
        _run_readout(r, before, pending, result, ticks, kept)
    return result


def _load_neurons(
    c: Component, before: Mapping[str, np.ndarray], quantum: float
) -> NeuronTable:
    """Return the neurons of a component, set to a state."""
    neuron = c.template.copy().view(np.recarray)
    neuron.refractory = round_times(neuron.refractory, quantum)
    current = np.zeros(c.rate_syn.shape)
    for name, first in c.offsets.items():
        v, i, adapt, refractory = before[name]
        here = slice(first, first + v.size)
        neuron.v[here], neuron.adapt[here] = v, adapt
        waits = round_times(refractory, quantum)
        neuron.free_at[here] = np.where(waits > 0, waits, -np.inf)
        for own in c.currents[name]:
            state = i if own.name == name else before[own.name][0]
            current[here, own.port] = state * own.unit - own.idle
    return NeuronTable(neuron, current, c.rate_syn)


def _plan_windows(
    network: CompiledNetwork, c: Component, clock: Exact, stop: float, quantum: float
) -> WindowPlan:
    """Return windows as long as a loop's least delay, or one tick."""
    length = choose_length(c.least_delay)
    if clock.window is not None:
        window = round_times(np.asarray(clock.window / network.graph.dt), quantum)
        length = min(length, max(float(window), quantum))
    return WindowPlan(
        stop, length, max(c.longest_delay, length), quantum, clock.budget, WORK_PER_PAUSE
    )


def _run_component(
    c: Component,
    neurons: NeuronTable,
    outside: SourceSpikes,
    pending: GroupArrivals,
    plan: WindowPlan,
    clock: Exact,
    tell: Tell,
) -> RunResult:
    """Run a component with a suitable driver."""
    outside, pending = view_fields_read_only(outside), view_fields_read_only(pending)
    n = neurons.neuron.size
    scaled = ScaledState(
        modes=np.zeros((neurons.current.shape[1] + 1, n)),
        lists=np.zeros((LISTS, n), np.int64),
        origin=np.zeros(1),
        marks=np.zeros(n, np.bool_),
        candidates_until=np.zeros(c.edges.size),
        sums=np.zeros((4, n)),
        before=np.zeros((n, 3)),
        height=np.zeros(n),
    )
    spikes = np.empty(SPIKES_PER_NEURON * n + SPARE_SPIKES * c.edges.size, SPIKE)
    machine = Machine(c.family, neurons, scaled, c.table, spikes.view(np.recarray), c.edges)
    if c.least_delay == 0 or clock.driver == "heap":
        result = run_heap(machine, outside, pending, plan)
        tell(plan.stop)
        return result
    scale_neurons(c.family, neurons, scaled, c.edges)
    return run_windows(machine, outside, pending, plan, tell)


def _store_component(
    c: Component, neurons: NeuronTable, sent: SourceSpikes, result: SampleResult, stop: float
) -> None:
    """Store spikes and final states of a component's populations, and their LIs' states."""
    for name, first in c.offsets.items():
        last = first + c.sizes[name]
        mine = (
            slice(None)
            if len(c.offsets) == 1
            else (sent.source >= first) & (sent.source < last)
        )
        number = (sent.source[mine] - first).astype(np.int32)
        result.trains[name] = SpikeTrain(sent.time[mine], number, sent.value[mine])
        neuron: Any = neurons.neuron[first:last]
        i = np.zeros(last - first)
        for own in c.currents[name]:
            state = (neurons.current[first:last, own.port] + own.idle) / own.unit
            if own.name == name:
                i = state
            else:
                rest = np.zeros(last - first)
                result.neurons[own.name] = np.stack([state, rest, rest, rest])
        refractory = np.maximum(neuron.free_at - stop, 0.0)
        result.neurons[name] = np.stack([neuron.v, i, neuron.adapt, refractory])


def _count_events(
    part: Component | Readout, deliveries: np.ndarray, result: SampleResult
) -> None:
    """Count synaptic events; an event into an LI counts once, whatever it feeds."""
    nodes, reached = part.nodes, deliveries[part.nodes.group]
    result.events.update(sum_by_node(nodes.counted, reached * nodes.nonzero))
    result.events_all.update(sum_by_node(nodes.counted, reached * nodes.synapses))
    result.updates.update(sum_by_node(nodes.fed, reached * nodes.synapses))


def _run_readout(
    r: Readout,
    before: Mapping[str, np.ndarray],
    pending: Mapping[str, GroupArrivals],
    result: SampleResult,
    ticks: int,
    kept: tuple[str, ...],
) -> None:
    """Store values, final state and pending arrivals of an LI."""
    sent = merge_trains(r.first_source, tuple(r.first_source), result.trains)
    sampled = r.name in kept or r.name not in result.neurons
    late = sent.time > ticks - r.table.delay.max(initial=0.0)  # may arrive after the end
    felt = sent if sampled else SourceSpikes(*(column[late] for column in sent))
    arrivals = expand_arrivals(r.table, felt, pending[r.name])
    until = int(np.searchsorted(arrivals.time, ticks + AT_END, side="right"))
    left = GroupArrivals(*(column[until:] for column in arrivals))
    _count_events(r, count_deliveries(r.table, sent, pending[r.name], left), result)
    result.pending[r.name] = left._replace(time=left.time - ticks)
    if sampled:
        state = before[r.name][0].copy()
        values = sample_values(state, r.rate, r.drive, r.table, arrivals, ticks)
        if r.name in kept:
            result.values[r.name] = values
        rest = np.zeros(state.size)
        result.neurons.setdefault(r.name, np.stack([state, rest, rest, rest]))


def cut_times(times: Times, start: int, stop: int) -> Times:
    """Return the spikes of ticks ``start`` to ``stop``; times count from ``start`` [ticks]."""
    ticks, samples, size = times.shape
    if start == 0 and stop == ticks:
        return times
    mine = (times.time > start + NEAR) | (start == 0)
    mine &= times.time <= stop + NEAR
    return Times(
        times.sample[mine],
        times.time[mine] - start,
        times.neuron[mine],
        times.value[mine],
        (stop - start, samples, size),
    )


def make_record(
    graph: Graph, inputs: Mapping[str, Times], results: list[SampleResult], recording: Recording
) -> Record:
    """Return the Record of samples, with the nodes that all samples completed.

    All times are in ticks, as in ``inputs``.
    """
    ticks, samples, _ = next(iter(inputs.values())).shape
    firing = [n for n in graph.populations if all(n in d.trains for d in results)]
    read = [n for n in results[0].values if all(n in d.values for d in results)]
    shape = {n: (ticks, samples, graph.size(n)) for n in firing}
    times = {n: join_samples([d.trains[n] for d in results], shape[n]) for n in firing}
    trains = {**inputs, **times}
    emitted = {n: t.time.size for n, t in trains.items()}
    kept = {n: t for n, t in trains.items() if recording.keeps_spikes(n)}
    return Record(
        executor="events",
        ticks=ticks,
        samples=samples,
        spikes={n: to_ticks(t, Seconds(1.0)) for n, t in kept.items()},
        values={n: np.stack([d.values[n] for d in results], 1) for n in read},
        counts={
            n: Counts(
                spikes=emitted.get(n, 0),
                synaptic_events=sum(d.events.get(n, 0) for d in results),
                synaptic_events_all=sum(d.events_all.get(n, 0) for d in results),
                updates=sum(d.updates.get(n, 0) for d in results),
            )
            for n in graph.nodes
        },
        times=kept,
        digest=digest_graph(graph),
    )


def join_records(parts: list[Record]) -> Record:
    """Join successive runs, with the nodes that all runs completed; times are in ticks."""
    first = parts[0]
    if len(parts) == 1:
        return first
    names = [n for n in first.times if all(n in p.times for p in parts)]
    times = {n: join_in_time([(p.times[n], p.ticks) for p in parts], 1.0) for n in names}
    read = [n for n in first.values if all(n in p.values for p in parts)]
    return Record(
        executor=first.executor,
        ticks=sum(p.ticks for p in parts),
        samples=first.samples,
        spikes={n: to_ticks(t, Seconds(1.0)) for n, t in times.items()},
        values={n: np.concatenate([p.values[n] for p in parts]) for n in read},
        counts={n: sum_counts(p.counts[n] for p in parts) for n in first.counts},
        times=times,
        digest=first.digest,
    )


def join_states(graph: Graph, results: list[SampleResult]) -> ExactState:
    """Return the final state of all samples."""
    return ExactState(
        neurons={
            n: np.stack([d.neurons[n] for d in results], 1)
            for n in graph.populations
            if n in results[0].neurons
        },
        pending={n: join_pending([d.pending[n] for d in results]) for n in results[0].pending},
        digest=digest_graph(graph),
    )
