"""What samples did in continuous time, as a Record and as the state of the next run.

Axes: T ticks, B samples, N neurons of a node.
"""

from collections.abc import Mapping

import numpy as np

from neuro.events.exact.sample import Sample
from neuro.events.exact.state import ExactState, of_samples
from neuro.events.exact.trains import join_trains
from neuro.events.recording import Recording
from neuro.graph import Graph
from neuro.record import Counts, Record
from neuro.spikes import Times, to_ticks
from neuro.units import Seconds


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
