"""Spikes inside a run, spikes outside it, and what one run hands to the next."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from neuro.events.kernels import Train, order
from neuro.graph import Edge
from neuro.spikes import Events, join


@dataclass(frozen=True, eq=False)
class EngineState:
    """Where a run stopped. Axes: B samples, N neurons of a population.

    neurons: membrane, synaptic current and adaptation of each population, axes 3 B N.
    pending: what each delayed edge still holds; ticks count from the next run's first one.
    """

    neurons: Mapping[str, Float[np.ndarray, "3 B N"]]
    pending: Mapping[Edge, Events]


class Batch(NamedTuple):
    """All spikes of one source in the ``ticks`` ticks from ``first`` on."""

    first: int
    ticks: int
    train: Train


def to_batch(events: Events, first: int, dtype: np.dtype) -> Batch:
    """Return events, whose tick 0 becomes tick ``first``, in the order the kernels want."""
    tick = events.tick.astype(np.int32)
    sort, at = order(tick, events.shape[0])
    train = Train(
        at,
        events.sample[sort].astype(np.int32),
        events.neuron[sort].astype(np.int32),
        events.value[sort].astype(dtype),
    )
    return Batch(first, events.shape[0], train)


def to_events(
    batches: list[Batch], first: int, shape: tuple[int, int, int], dtype: np.dtype
) -> Events:
    """Return the spikes from tick ``first`` on, which becomes tick 0; the way back."""
    nothing = np.zeros(0, np.int32)
    trains = [b.train for b in batches]
    ticks = [
        np.repeat(np.arange(b.ticks) + b.first - first, np.diff(b.train.at)) for b in batches
    ]
    tick = np.concatenate([nothing, *ticks]).astype(np.int32)
    sample = np.concatenate([nothing, *(t.sample for t in trains)])
    neuron = np.concatenate([nothing, *(t.neuron for t in trains)])
    value = np.concatenate([np.zeros(0, dtype), *(t.value for t in trains)])
    sort, _ = order(sample, shape[1])
    sort = sort[tick[sort] >= 0]
    return Events(sample[sort], tick[sort], neuron[sort], value[sort], shape)


def some_samples(events: Events, start: int, stop: int) -> Events:
    """Return the samples ``start`` to ``stop`` of a train; values of zero are no spikes."""
    lo, hi = np.searchsorted(events.sample, np.array([start, stop], events.sample.dtype))
    keep = lo + np.flatnonzero(events.value[lo:hi])
    ticks, _, size = events.shape
    return Events(
        events.sample[keep] - start,
        events.tick[keep],
        events.neuron[keep],
        events.value[keep],
        (ticks, stop - start, size),
    )


def samples_of_state(state: EngineState, start: int, stop: int) -> EngineState:
    """Return the state of the samples ``start`` to ``stop``."""
    return EngineState(
        neurons={k: v[:, start:stop] for k, v in state.neurons.items()},
        pending={k: some_samples(e, start, stop) for k, e in state.pending.items()},
    )


def join_states(states: list[EngineState]) -> EngineState:
    """Return states of the same network as one, along the sample axis."""
    first = states[0]
    return EngineState(
        neurons={k: np.concatenate([s.neurons[k] for s in states], 1) for k in first.neurons},
        pending={k: join([s.pending[k] for s in states]) for k in first.pending},
    )
