"""The spikes of a Graph's Poisson nodes, equal for every executor.

Axes: S samples, T ticks, N neurons, E spikes.
"""

from functools import lru_cache

import numpy as np

from neuro.base.units import Seconds
from neuro.graph.graph import Graph
from neuro.graph.nodes import Poisson
from neuro.ops.poisson import PoissonTables, Span, draw_spikes, make_tables
from neuro.spikes import Events, as_tick_column


def find_tables(graph: Graph, name: str) -> tuple[PoissonTables, np.uint64]:
    """Return tables and seed of a Poisson node for :func:`neuro.ops.poisson.draw_spikes`."""
    node = graph.nodes[name]
    if not isinstance(node, Poisson):
        raise TypeError(f"{name} is a {type(node).__name__}; it must be a Poisson")
    return _make_tables(node, graph.dt), np.uint64(node.seed)


@lru_cache(maxsize=32)  # nodes of the graphs used last
def _make_tables(node: Poisson, dt: Seconds) -> PoissonTables:
    return make_tables(np.broadcast_to(node.rate, node.shape).ravel() * dt)


def draw_events(graph: Graph, name: str, span: Span) -> Events:
    """Return a Poisson node's spikes; ticks and samples count from the span's start."""
    at, neuron, value = draw_spikes(*find_tables(graph, name), span, np.zeros(0))
    per_tick = np.diff(at)
    place = np.repeat(np.arange(per_tick.size), per_tick.ravel())
    sample, tick = np.divmod(place, span.ticks)
    shape = (span.ticks, span.samples, graph.size(name))
    tick = as_tick_column(tick, span.ticks)
    return Events(sample.astype(np.int32), tick, neuron, value, shape)
