"""The exact clock: all samples of a run.

Axes: T ticks, B samples, N neurons of a node.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from neuro.events.checks import runaway
from neuro.events.clock import Exact
from neuro.events.exact.compile import Component, Network, Readout, compile_exactly
from neuro.events.exact.delay_queue import Plan, Sent, in_order
from neuro.events.exact.heap_driver import run_heap
from neuro.events.exact.membrane import Cells
from neuro.events.exact.readout import (
    Train,
    by_name,
    deliveries,
    gather,
    join_trains,
    sample_values,
    train_of,
)
from neuro.events.exact.scaled_state import pack
from neuro.events.exact.state import (
    ExactState,
    exactly_at_rest,
    of_sample,
    of_samples,
    require_exact_state,
)
from neuro.events.exact.step_general import ROOM, SPARE, SPIKE, WATCHES, Fast
from neuro.events.exact.synapse_table import Arrivals, Wiring
from neuro.events.exact.threaded_driver import run_blocks
from neuro.events.exact.window_driver import Machine, run_windows
from neuro.events.recording import Recording, require_recording
from neuro.events.workers import over_samples
from neuro.graph import Graph
from neuro.graph.inputs import require_inputs
from neuro.graph.requirements import require_continuous
from neuro.record import Counts, Record
from neuro.spikes import Events, Times, to_ticks, to_times
from neuro.units import Seconds


class Sample(NamedTuple):
    """What one sample did, by name of node or component.

    trains: spikes. values: LIs that are kept, T N. neurons: end states, 4 N. pending: what is
    under way, its times since the end. events, events_all: synaptic events, non-zero and all.
    updates: arrivals at neurons. held: whether the budget held; if not, the rest is left out.
    """

    trains: dict[str, Train]
    values: dict[str, np.ndarray]
    neurons: dict[str, np.ndarray]
    pending: dict[str, Arrivals]
    events: dict[str, int]
    events_all: dict[str, int]
    updates: dict[str, int]
    held: bool


def run_sample(
    network: Network,
    inputs: Mapping[str, Train],
    before: Mapping[str, np.ndarray],
    pending: Mapping[str, Arrivals],
    clock: Exact,
    kept: tuple[int, tuple[str, ...]],
) -> Sample:
    """Run one sample.

    before: the state of each population, 4 N. pending: by component. kept: T, and the LIs whose
    values are kept.
    """
    ticks, _ = kept
    stop = ticks * network.graph.dt
    done = Sample(dict(inputs), {}, {}, {}, {}, {}, {}, True)
    for c in network.components:
        cells = _cells(c, before)
        outside = gather(c.sources, c.outside, done.trains)
        under_way = pending[c.name]
        plan = _plan(network, c, clock, stop)
        sent, left, held = _run(c, cells, outside, under_way, plan, clock)
        _take(c, cells, sent, done, stop)
        both = Sent(*(np.concatenate(x) for x in zip(outside, sent, strict=True)))
        _count(c, deliveries(c.wiring, both, under_way, left), done)
        done.pending[c.name] = left._replace(time=left.time - stop)
        if not held:
            return done._replace(held=False)
    for r in network.readouts:
        _sample_readout(network, r, before, pending, done, kept)
    return done


def _cells(c: Component, before: Mapping[str, np.ndarray]) -> Cells:
    """Return the cells of a component in a state."""
    cell = c.template.copy().view(np.recarray)
    current = np.zeros(c.rate_syn.shape)
    for name, first in c.offsets.items():
        v, i, adapt, wait = before[name]
        here = slice(first, first + v.size)
        cell.v[here], cell.adapt[here] = v, adapt
        cell.free[here] = np.where(wait > 0, wait, -np.inf)
        for own in c.currents[name]:
            state = i if own.name == name else before[own.name][0]
            current[here, own.port] = state * own.unit - own.idle
    return Cells(cell, current, c.rate_syn)


def _plan(network: Network, c: Component, clock: Exact, stop: float) -> Plan:
    """Return windows a little shorter than the least delay in a loop, else as long as a tick.

    The difference is more than rounding can move a spike: none arrives in its own window.
    """
    loop = 0 < c.least < np.inf
    length = c.least * (1 - 1e-6) if loop else network.graph.dt
    length = min(length, clock.window or np.inf)
    return Plan(stop, length, max(c.longest, length), clock.budget)


def _run(
    c: Component, cells: Cells, outside: Sent, pending: Arrivals, plan: Plan, clock: Exact
) -> tuple[Sent, Arrivals, bool]:
    """Run a component with the driver that fits."""
    n = cells.cell.size
    fast = Fast(
        modes=np.zeros((cells.current.shape[1] + 1, n)),
        lists=np.zeros((WATCHES + 1, n), np.int64),
        origin=np.zeros(1),
        marks=np.zeros(n, np.bool_),
        until=np.zeros(c.edges.size),
    )
    room = np.empty(ROOM * n + SPARE * c.edges.size, SPIKE).view(np.recarray)
    machine = Machine(c.family, cells, fast, c.wiring, room, c.edges)
    if c.least == 0 or clock.driver == "heap":
        return run_heap(machine, outside, pending, plan)
    pack(c.family, cells, fast, c.edges)
    run = run_blocks if c.edges.size > 2 else run_windows
    return run(machine, outside, pending, plan)


def _take(c: Component, cells: Cells, sent: Sent, done: Sample, stop: float) -> None:
    """Keep the spikes and end states of the populations of a component."""
    for name, first in c.offsets.items():
        last = first + c.sizes[name]
        mine = (
            slice(None)
            if len(c.offsets) == 1
            else (sent.source >= first) & (sent.source < last)
        )
        neuron = (sent.source[mine] - first).astype(np.int32)
        done.trains[name] = Train(sent.time[mine], neuron, sent.value[mine])
        cell: Any = cells.cell[first:last]
        i = np.zeros(last - first)
        for own in c.currents[name]:
            state = (cells.current[first:last, own.port] + own.idle) / own.unit
            if own.name == name:
                i = state
            else:
                rest = np.zeros(last - first)
                done.neurons[own.name] = np.stack([state, rest, rest, rest])
        wait = np.maximum(cell.free - stop, 0.0)
        done.neurons[name] = np.stack([cell.v, i, cell.adapt, wait])


def _count(part: Component | Readout, times: np.ndarray, done: Sample) -> None:
    """Count what the synapses of a part served; those of a current once, for the LI."""
    synapses = part.wiring.bounds[:, -1] - part.wiring.bounds[:, 0]
    served, fed = part.names
    done.events.update(by_name(served, times * part.wiring.nonzero))
    done.events_all.update(by_name(served, times * synapses))
    done.updates.update(by_name(fed, times * synapses))


def _sample_readout(
    network: Network,
    r: Readout,
    before: Mapping[str, np.ndarray],
    pending: Mapping[str, Arrivals],
    done: Sample,
    kept: tuple[int, tuple[str, ...]],
) -> None:
    """Keep values, end state and pending of an LI."""
    ticks, names = kept
    dt = network.graph.dt
    sent = gather(r.sources, tuple(r.sources), done.trains)
    arrivals = all_arrivals(r.wiring, sent, pending[r.name])
    until = int(np.searchsorted(arrivals.time, (ticks + 1e-9) * dt, side="right"))
    left = Arrivals(*(column[until:] for column in arrivals))
    _count(r, deliveries(r.wiring, sent, pending[r.name], left), done)
    done.pending[r.name] = left._replace(time=left.time - ticks * dt)
    if r.name in names or r.name not in done.neurons:
        state = before[r.name][0].copy()
        values = sample_values(state, r.rate, r.push, r.wiring, arrivals, (ticks, dt))
        if r.name in names:
            done.values[r.name] = values
        rest = np.zeros(state.size)
        done.neurons.setdefault(r.name, np.stack([state, rest, rest, rest]))


def all_arrivals(wiring: Wiring, sent: Sent, pending: Arrivals) -> Arrivals:
    """Return what spikes send, and what was under way, in order of time."""
    first, last = wiring.groups[sent.source], wiring.groups[sent.source + 1]
    number = last - first
    which = np.repeat(np.arange(sent.time.size), number)
    group = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
    group += first[which]
    time = sent.time[which] + wiring.delay[group]
    columns = zip((time, group, sent.value[which]), pending, strict=True)
    return in_order(Arrivals(*(np.concatenate(c) for c in columns)))


def record_of(
    graph: Graph, inputs: Mapping[str, Times], done: list[Sample], recording: Recording
) -> Record:
    """Return the Record of some samples: of the nodes that all of them reached."""
    ticks, samples, _ = next(iter(inputs.values())).shape
    firing = [n for n in graph.populations if all(n in d.trains for d in done)]
    read = [n for n in done[0].values if all(n in d.values for d in done)]
    shape = {n: (ticks, samples, graph.size(n)) for n in firing}
    times = {n: join_trains([d.trains[n] for d in done], shape[n]) for n in firing}
    trains = {**inputs, **times}
    emitted = {n: t.time.size for n, t in trains.items()}
    kept = {n: t for n, t in trains.items() if recording.keeps_spikes(n)}
    return Record(
        executor="events",
        ticks=ticks,
        samples=samples,
        spikes={n: to_ticks(t, graph.dt) for n, t in kept.items()},
        values={n: np.stack([d.values[n] for d in done], 1) for n in read},
        counts={
            n: Counts(
                spikes=emitted.get(n, 0),
                synaptic_events=sum(d.events.get(n, 0) for d in done),
                synaptic_events_all=sum(d.events_all.get(n, 0) for d in done),
                updates=sum(d.updates.get(n, 0) for d in done),
            )
            for n in graph.nodes
        },
        times=kept,
    )


def state_of(graph: Graph, done: list[Sample]) -> ExactState:
    """Return where some samples stopped."""
    return ExactState(
        neurons={
            n: np.stack([d.neurons[n] for d in done], 1)
            for n in graph.populations
            if n in done[0].neurons
        },
        pending={n: of_samples([d.pending[n] for d in done]) for n in done[0].pending},
    )


def follow(first: Record, second: Record, dt: Seconds) -> Record:
    """Return two runs, one after the other, as one: of the nodes that both reached."""
    ticks = first.ticks
    times = {
        n: _after(t, second.times[n], ticks * dt)
        for n, t in first.times.items()
        if n in second.times
    }
    counts = {
        n: Counts(**{k: v + getattr(second.counts[n], k) for k, v in vars(c).items()})
        for n, c in first.counts.items()
    }
    return Record(
        executor=first.executor,
        ticks=ticks + second.ticks,
        samples=first.samples,
        spikes={n: to_ticks(t, dt) for n, t in times.items()},
        values={
            n: np.concatenate([v, second.values[n]])
            for n, v in first.values.items()
            if n in second.values
        },
        counts=counts,
        times=times,
    )


def _after(one: Times, other: Times, shift: float) -> Times:
    """Return ``other``, which starts ``shift`` later [s], behind ``one``."""
    time = np.concatenate([one.time, other.time + shift])
    sample = np.concatenate([one.sample, other.sample])
    order = np.argsort(sample, kind="stable")
    neuron, value = (np.concatenate([one[k], other[k]]) for k in (2, 3))
    shape = (one.shape[0] + other.shape[0], *one.shape[1:])
    return Times(sample[order], time[order], neuron[order], value[order], shape)


class Job(NamedTuple):
    """What all samples share."""

    graph: Graph
    clock: Exact
    recording: Recording


def simulate_exact(
    job: Job,
    inputs: Mapping[str, Events | Times],
    state: object,
    workers: int,
) -> tuple[Record, ExactState]:
    """Do as :func:`neuro.events.simulate`, in continuous time."""
    graph, clock, recording = job
    require_continuous(graph)
    require_inputs(graph, inputs)
    trains = {
        n: to_times(e, graph.dt) if isinstance(e, Events) else e for n, e in inputs.items()
    }
    ticks, samples, _ = next(iter(trains.values())).shape
    require_recording(recording, graph, ticks)
    before = exactly_at_rest(graph, samples) if state is None else state
    now_at = require_exact_state(graph, samples, before)
    records: list[Record] = []
    states = {}
    stops = sorted({*(int(tick) + 1 for tick in recording.states), ticks})
    for start, stop in zip([0, *stops], stops, strict=False):
        part = {n: cut(t, start, stop, graph.dt) for n, t in trains.items()}
        run = partial(_run_some, job, part, now_at)
        done = [one for some in over_samples(run, samples, workers) for one in some]
        now = record_of(graph, part, done, recording)
        records = [follow(records[0], now, graph.dt) if records else now]
        spikes = sum(records[0].counts[n].spikes for n in graph.populations)
        if spikes > clock.budget or not all(one.held for one in done):
            raise runaway(graph, records[0], clock.budget)
        now_at = state_of(graph, done)
        if stop - 1 in recording.states:
            states[stop - 1] = now_at.neurons
    return replace(records[0], states=states), now_at


def _run_some(
    job: Job, inputs: Mapping[str, Times], state: ExactState, start: int, stop: int
) -> list[Sample]:
    """Run samples ``start`` to ``stop``, one after the other."""
    graph, clock, recording = job
    network = compile_exactly(graph, clock.threads)
    ticks = next(iter(inputs.values())).shape[0]
    values = tuple(r.name for r in network.readouts if recording.keeps_values(graph, r.name))
    names = [c.name for c in network.components] + [r.name for r in network.readouts]
    done = []
    for b in range(start, stop):
        before = {n: rows[:, b] for n, rows in state.neurons.items()}
        pending = {n: of_sample(state, n, b) for n in names}
        trains = {n: train_of(t, b) for n, t in inputs.items()}
        done.append(run_sample(network, trains, before, pending, clock, (ticks, values)))
    return done


def cut(times: Times, start: int, stop: int, dt: Seconds) -> Times:
    """Return the spikes of ticks ``start`` to ``stop`` as a train of its own."""
    ticks, samples, size = times.shape
    if start == 0 and stop == ticks:
        return times
    mine = (times.time > (start + 1e-6) * dt) | (start == 0)
    mine &= times.time <= (stop + 1e-6) * dt
    return Times(
        times.sample[mine],
        times.time[mine] - start * dt,
        times.neuron[mine],
        times.value[mine],
        (stop - start, samples, size),
    )
