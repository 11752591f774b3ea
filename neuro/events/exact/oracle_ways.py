"""Where the spikes of a Graph go, source by source, and its biases: for the oracle."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from neuro.events.oracle_synapses import Synapses, biases, synapses
from neuro.graph import AvgPool2d, Connection, Graph
from neuro.neurons import LI

Place = tuple[str, int]


class Way(NamedTuple):
    """From one source to one target, through linear nodes. delay: in all [ticks].

    last: the node that its synaptic event is counted for.
    """

    target: Place
    weight: float
    delay: int
    last: str


def ways_of(graph: Graph) -> dict[Place, list[Way]]:
    """Return all ways out of every source of spikes."""
    reach = {
        n: synapses(graph, n) for n, node in graph.nodes.items() if isinstance(node, Connection)
    }
    return {
        (name, j): list(_onward(graph, reach, Way((name, j), 1.0, 0, "")))
        for name, node in graph.nodes.items()
        if not isinstance(node, Connection | LI)
        for j in range(graph.size(name))
    }


def _onward(graph: Graph, reach: Mapping[str, Synapses], way: Way) -> Iterator[Way]:
    """Return the ways that go on from where ``way`` ends."""
    name, place = way.target
    for edge in graph.out_of(name):
        target, delay = edge.target, way.delay + int(edge.delay)
        if target not in reach:
            yield Way((target, place), way.weight, delay, way.last or target)
            continue
        for s in reach[target][place + graph.offset(edge)]:
            weight = way.weight * s.weight * _share(graph, target)
            next_way = Way((target, s.target), weight, delay + s.delay, target)
            yield from _onward(graph, reach, next_way)


def _share(graph: Graph, name: str) -> float:
    """Return what the weights of a connection are multiplied by."""
    node = graph.nodes[name]
    return 1 / math.prod(node.kernel) if isinstance(node, AvgPool2d) else 1.0


def bias_of(graph: Graph, name: str) -> Float[np.ndarray, " N"]:
    """Return what a connection puts out, or a population gets, every tick without a spike."""
    node = graph.nodes[name]
    total = np.array(biases(node, graph.size(name)))
    for edge in graph.into(name):
        if not isinstance(graph.nodes[edge.source], Connection):
            continue
        given = bias_of(graph, edge.source)
        if isinstance(node, Connection):
            first = graph.offset(edge)
            rows = synapses(graph, name)[first : first + given.size]
            for x, row in zip(given, rows, strict=True):
                for s in row:
                    total[s.target] += x * s.weight * _share(graph, name)
        else:
            total += given
    return total
