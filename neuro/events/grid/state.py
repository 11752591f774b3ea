"""The state of a run on the grid clock, from which a later run can continue."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from neuro.graph import Edge
from neuro.spikes import Events, cut_samples, join


@dataclass(frozen=True, eq=False)
class EngineState:
    """The final state of a run. Axes: B samples, N neurons of a population.

    neurons: states of each population, axes 4 B N: membrane, synaptic current (0 without one),
        adaptation, and remaining refractory ticks; for a SteppedNeuron, the tensors of its own
        state.
    pending: spikes still on their way, by edge, due to the delays of the edge and of single
        synapses after it. A train has as many ticks as the longest of these delays; with that
        delay, its spikes in tick k arrive at tick k of the next run.
    digest: digest of the Graph, see :func:`neuro.io.graph_digest.digest_graph`.
    ticks: number of ticks of all runs so far, from which Poisson nodes continue to draw.
    """

    neurons: Mapping[str, Float[np.ndarray, "4 B N"]]
    pending: Mapping[Edge, Events]
    digest: str
    ticks: int = 0


def slice_state(state: EngineState, start: int, stop: int) -> EngineState:
    """Return the state of the samples ``start`` to ``stop``."""
    return EngineState(
        neurons={k: v[:, start:stop] for k, v in state.neurons.items()},
        pending={k: cut_samples(e, start, stop) for k, e in state.pending.items()},
        digest=state.digest,
        ticks=state.ticks,
    )


def join_states(states: list[EngineState]) -> EngineState:
    """Concatenate states of the same network along the sample axis."""
    first = states[0]
    if len(states) == 1:
        return first
    return EngineState(
        neurons={k: np.concatenate([s.neurons[k] for s in states], 1) for k in first.neurons},
        pending={k: join([s.pending[k] for s in states]) for k in first.pending},
        digest=first.digest,
        ticks=first.ticks,
    )
