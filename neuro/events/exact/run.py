"""The exact clock: all samples of a run.

Axes: T ticks, B samples, N neurons of a node.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from neuro.events.checks import runaway
from neuro.events.clock import Exact
from neuro.events.exact.compile import compile_exactly
from neuro.events.exact.records import follow, record_of, state_of
from neuro.events.exact.sample import Sample, run_sample
from neuro.events.exact.state import (
    ExactState,
    exactly_at_rest,
    of_sample,
    require_exact_state,
)
from neuro.events.exact.trains import train_of
from neuro.events.recording import Recording, require_recording
from neuro.events.workers import over_samples
from neuro.graph import Graph
from neuro.graph_checks import require_continuous
from neuro.record import Record
from neuro.spikes import Events, Times, to_times
from neuro.stimulus import require_inputs
from neuro.units import Seconds


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
