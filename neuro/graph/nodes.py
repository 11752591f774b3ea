"""What a Graph is made of: inputs, nodes, edges with delays, and who is connected to whom."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from neuro.graph.connections import Connection
from neuro.graph.host_ops import Host
from neuro.neurons import Neuron
from neuro.units import Seconds, Ticks


@dataclass(frozen=True, kw_only=True, eq=False)
class Input:
    """A source of spikes. shape: of one tick of one sample, e.g. (1, 28, 28)."""

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))


Population = Neuron
Node = Input | Connection | Host | Population


class Edge(NamedTuple):
    """What ``source`` emits at tick t reaches ``target`` at tick t + delay."""

    source: str
    target: str
    delay: Ticks = Ticks(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Topology:
    """Nodes and edges as they were given: what a Graph is before anything is derived from it.

    nodes: by name. edges: in the order in which a node with several reads them. dt: length of
    a tick [s].
    """

    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    dt: Seconds
    _into: Mapping[str, tuple[Edge, ...]] = field(init=False, repr=False)
    _out_of: Mapping[str, tuple[Edge, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", dict(self.nodes))
        object.__setattr__(self, "edges", tuple(_with_plain_delay(e) for e in self.edges))
        into: dict[str, list[Edge]] = {}
        out_of: dict[str, list[Edge]] = {}
        for e in self.edges:
            into.setdefault(e.target, []).append(e)
            out_of.setdefault(e.source, []).append(e)
        object.__setattr__(self, "_into", {n: tuple(found) for n, found in into.items()})
        object.__setattr__(self, "_out_of", {n: tuple(found) for n, found in out_of.items()})

    def into(self, name: str) -> tuple[Edge, ...]:
        """Return the edges that end at ``name``, in their order."""
        return self._into.get(name, ())

    def out_of(self, name: str) -> tuple[Edge, ...]:
        """Return the edges that start at ``name``, in their order."""
        return self._out_of.get(name, ())

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the Input nodes."""
        return tuple(n for n, node in self.nodes.items() if isinstance(node, Input))


def _with_plain_delay(edge: Edge) -> Edge:
    """Return an edge with its delay as an int; one that is no integer is left to be refused."""
    if type(edge.delay) is not int and isinstance(edge.delay, int | np.integer):
        return edge._replace(delay=Ticks(int(edge.delay)))
    return edge
