"""The exact clock: all samples of a run, and its Record.

Axes: T ticks, B samples, N neurons of a node.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from neuro.events.checks import runaway
from neuro.events.clock import Exact
from neuro.events.exact.compile import Network, compile_exactly
from neuro.events.exact.sample import Sample, run_sample
from neuro.events.exact.state import (
    ExactState,
    exactly_at_rest,
    of_sample,
    of_samples,
    require_exact_state,
)
from neuro.events.exact.trains import Train, join_trains, train_of
from neuro.events.recording import Recording, require_recording
from neuro.events.workers import over_samples
from neuro.graph import Graph
from neuro.record import Counts, Record
from neuro.spikes import Events, Times, to_ticks, to_times
from neuro.stimulus import require_inputs
from neuro.units import Seconds


def simulate_exact(
    graph: Graph,
    inputs: Mapping[str, Events | Times],
    clock: Exact,
    state: ExactState | None,
    recording: Recording,
    workers: int,
) -> tuple[Record, ExactState]:
    """Do as :func:`neuro.events.simulate`, in continuous time."""
    require_inputs(graph, inputs)
    trains = {
        n: to_times(e, graph.dt) if isinstance(e, Events) else e for n, e in inputs.items()
    }
    ticks, samples, _ = next(iter(trains.values())).shape
    require_recording(recording, graph, ticks)
    if state is None:
        state = exactly_at_rest(graph, samples)
    require_exact_state(graph, samples, state)
    network = compile_exactly(graph, clock.threads)
    record, states = None, {}
    stops = sorted({*(int(tick) + 1 for tick in recording.states), ticks})
    for start, stop in zip([0, *stops], stops, strict=False):
        part = {n: cut(t, start, stop, graph.dt) for n, t in trains.items()}
        run = partial(_run_some, network, part, state, clock, recording)
        done = [one for some in over_samples(run, samples, workers) for one in some]
        now = record_of(network, part, done, recording)
        record = now if record is None else follow(record, now, graph.dt)
        state = state_of(graph, done)
        if stop - 1 in recording.states:
            states[stop - 1] = state.neurons
        spikes = sum(record.counts[n].spikes for n in graph.populations)
        if spikes > clock.budget or not all(one.held for one in done):
            raise runaway(graph, record, clock.budget)
    return replace(record, states=states), state


def _run_some(
    network: Network,
    inputs: Mapping[str, Times],
    state: ExactState,
    clock: Exact,
    recording: Recording,
    start: int,
    stop: int,
) -> list[Sample]:
    """Run samples ``start`` to ``stop``, one after the other."""
    graph = network.graph
    ticks = next(iter(inputs.values())).shape[0]
    values = tuple(r.name for r in network.readouts if recording.keeps_values(graph, r.name))
    names = [part.name for part in (*network.components, *network.readouts)]
    done = []
    for b in range(start, stop):
        before = {n: rows[:, b] for n, rows in state.neurons.items()}
        pending = {n: of_sample(state, n, b) for n in names}
        trains = {n: train_of(t, b) for n, t in inputs.items()}
        done.append(run_sample(network, trains, before, pending, clock, (ticks, values)))
    return done


def cut(times: Times, start: int, stop: int, dt: Seconds) -> Times:
    """Return the spikes of ticks ``start`` to ``stop`` as a train of its own."""
    if start == 0 and stop == times.shape[0]:
        return times
    late = times.time > (start + 1e-6) * dt
    mine = (
        late & (times.time <= (stop + 1e-6) * dt)
        if start
        else ~(times.time > (stop + 1e-6) * dt)
    )
    columns = (times.sample, times.time - start * dt, times.neuron, times.value)
    _, samples, size = times.shape
    return Times(*(column[mine] for column in columns), (stop - start, samples, size))


def record_of(
    network: Network, inputs: Mapping[str, Times], done: list[Sample], recording: Recording
) -> Record:
    """Return the Record of some samples."""
    graph = network.graph
    ticks, samples, _ = next(iter(inputs.values())).shape
    firing = [n for n in graph.populations if n in done[0].trains]
    shape = {n: (ticks, samples, graph.size(n)) for n in firing}
    times = {n: join_trains([d.trains[n] for d in done], shape[n]) for n in firing}
    emitted = {n: t.time.size for n, t in (inputs | times).items()}
    kept = {n: t for n, t in (inputs | times).items() if recording.keeps_spikes(n)}
    return Record(
        executor="events",
        ticks=ticks,
        samples=samples,
        spikes={n: to_ticks(t, graph.dt) for n, t in kept.items()},
        values={n: np.stack([d.values[n] for d in done], 1) for n in done[0].values},
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
    """Return two runs, one after the other, as one."""
    ticks = first.ticks
    times = {n: _after(t, second.times[n], ticks * dt) for n, t in first.times.items()}
    counts = {
        n: Counts(**{k: v + getattr(second.counts[n], k) for k, v in vars(c).items()})
        for n, c in first.counts.items()
    }
    return Record(
        executor=first.executor,
        ticks=ticks + second.ticks,
        samples=first.samples,
        spikes={n: to_ticks(t, dt) for n, t in times.items()},
        values={n: np.concatenate([v, second.values[n]]) for n, v in first.values.items()},
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
