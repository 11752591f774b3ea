"""The state at the end of a run in continuous time, from which the next run can start."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from neuro.events.exact.synapse_table import GroupArrivals
from neuro.graph import Graph
from neuro.io.graph_digest import digest_graph, list_foreign


class Pending(NamedTuple):
    """E pending arrivals, sorted by sample.

    time: time of arrival, counted from the end of the run [ticks].
    group: group of synapses, see SynapseTable.
    """

    sample: Int[np.ndarray, " E"]
    time: Float[np.ndarray, " E"]
    group: Int[np.ndarray, " E"]
    value: Float[np.ndarray, " E"]


@dataclass(frozen=True, eq=False)
class ExactState:
    """The final state of a run in continuous time. Axes: B samples, N neurons of a population.

    neurons: membrane, own synaptic current, adaptation, and remaining refractory period [ticks]
        of each population, axes 4 B N.
    pending: arrivals after the end, by component (named after its first population) or LI.
    digest: digest of the Graph, see :func:`neuro.io.graph_digest.digest_graph`.
    ticks: number of ticks of all runs so far, from which Poisson nodes continue to draw.
    """

    neurons: Mapping[str, Float[np.ndarray, "4 B N"]]
    pending: Mapping[str, Pending]
    digest: str
    ticks: int = 0


def make_rest_state(graph: Graph, samples: int) -> ExactState:
    """Return the state at rest, from which a run starts by default."""
    neurons = {n: np.zeros((4, samples, graph.size(n))) for n in graph.populations}
    return ExactState(neurons=neurons, pending={}, digest=digest_graph(graph))


def require_exact_state(graph: Graph, samples: int, state: object) -> ExactState:
    """Return ``state``; raise a ValueError unless it fits this graph and number of samples."""
    if not isinstance(state, ExactState):
        raise ValueError(
            f"Exact() continues from an ExactState, got {type(state).__name__}; start at rest "
            "(state=None), or run both parts with one clock"
        )
    problems = list_foreign(graph, state.digest)
    for name in sorted({*graph.populations, *state.neurons}):
        want = (4, samples, graph.size(name)) if name in graph.populations else None
        have = state.neurons[name].shape if name in state.neurons else None
        if want != have:
            problems.append(f"{name}: the state has {have}, the run needs {want}")
        elif not np.all(np.isfinite(state.neurons[name])):
            problems.append(f"{name}: the state is not finite")
    if problems:
        cure = "continue with the same graph and samples, or start at rest"
        raise ValueError("\n".join([f"the state does not fit; {cure}:", *problems]))
    return state


def select_pending(state: ExactState, name: str, b: int) -> GroupArrivals:
    """Return one component's pending arrivals in one sample."""
    if name not in state.pending:
        return GroupArrivals(np.zeros(0), np.zeros(0, np.int64), np.zeros(0))
    p = state.pending[name]
    lo, hi = np.searchsorted(p.sample, np.array([b, b + 1]))
    return GroupArrivals(p.time[lo:hi], p.group[lo:hi], p.value[lo:hi])


def join_pending(parts: list[GroupArrivals]) -> Pending:
    """Join the pending arrivals of samples 0, 1, ...."""
    sample = np.repeat(np.arange(len(parts)), [p.time.size for p in parts])
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Pending(sample, columns[0], columns[1], columns[2])
