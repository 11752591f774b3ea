"""What one run hands to the next."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from neuro.graph import Edge
from neuro.spikes import Events, join


@dataclass(frozen=True, eq=False)
class EngineState:
    """Where a run on the grid stopped. Axes: B samples, N neurons of a population.

    neurons: of each population, axes 4 B N: membrane, synaptic current (0 without one),
        adaptation, and the ticks for which a refractory membrane is still held.
    pending: what each edge with a delay still holds, delays of single synapses behind it
        included; ticks count from the next run's first one.
    """

    neurons: Mapping[str, Float[np.ndarray, "4 B N"]]
    pending: Mapping[Edge, Events]


def some_samples(events: Events, start: int, stop: int) -> Events:
    """Return the samples ``start`` to ``stop`` of a train."""
    ticks, _, size = events.shape
    bounds = np.array([start, stop], events.sample.dtype)  # a list would cast the whole array
    here = slice(*np.searchsorted(events.sample, bounds).tolist())
    sample, tick, neuron, value = (column[here] for column in events[:4])
    return Events(sample - start, tick, neuron, value, (ticks, stop - start, size))


def samples_of_state(state: EngineState, start: int, stop: int) -> EngineState:
    """Return the state of the samples ``start`` to ``stop``."""
    return EngineState(
        neurons={k: v[:, start:stop] for k, v in state.neurons.items()},
        pending={k: some_samples(e, start, stop) for k, e in state.pending.items()},
    )


def join_states(states: list[EngineState]) -> EngineState:
    """Return states of the same network as one, along the sample axis."""
    first = states[0]
    if len(states) == 1:
        return first
    return EngineState(
        neurons={k: np.concatenate([s.neurons[k] for s in states], 1) for k in first.neurons},
        pending={k: join([s.pending[k] for s in states]) for k in first.pending},
    )
