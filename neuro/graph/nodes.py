"""The parts of a Graph: inputs, nodes, edges with delays, and the wiring between them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from neuro.base.arguments import as_numbers, is_real, is_whole, make_type_error, require_whole
from neuro.base.units import Seconds, Ticks
from neuro.graph.connections import Connection, as_shape
from neuro.graph.host_ops import Host
from neuro.neurons import Neuron, is_neuron


@dataclass(frozen=True, kw_only=True, eq=False)
class Input:
    """A source of spikes. shape: shape of one tick of one sample, for example (1, 28, 28)."""

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_shape("Input.shape", self.shape))


@dataclass(frozen=True, kw_only=True, eq=False)
class GradedInput(Input):
    """A source of graded spikes: signed integers of ``message_bits`` bits.

    message_bits: 2 to 24, including the sign; 8 bits hold -128 to 127.
    """

    message_bits: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("GradedInput.message_bits", self.message_bits, "8 is usual")
        if not 2 <= self.message_bits <= 24:
            raise ValueError(
                f"GradedInput.message_bits must be from 2 to 24, got {self.message_bits}; the "
                "sign is one of them"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Poisson(Input):
    """A source that draws its own spikes, so that a run supplies none for it.

    In a tick of dt each neuron emits k events, where k has a Poisson distribution with mean
    rate dt. They form one spike with value k, or no spike if k is 0. k depends only on seed,
    sample, neuron, and the tick since the start of the whole run: every executor draws the same
    spikes.

    rate: events per second [Hz], >= 0: one number, or an array of ``shape`` with one per
        neuron.
    seed: 0 to 2^63 - 1. Sources with equal seeds and rates emit the same spikes.

    Raises:
        TypeError, ValueError: rate or seed is not a valid number.
    """

    rate: float | Float[np.ndarray, "..."]
    seed: int

    def __post_init__(self) -> None:
        super().__post_init__()
        rate = as_numbers("Poisson.rate", self.rate).astype(np.float64)
        if rate.shape not in ((), self.shape):
            raise ValueError(
                f"Poisson.rate has shape {rate.shape}; it must be one number or of {self.shape}"
            )
        bad = rate[~((rate >= 0) & (rate < np.inf))]
        if bad.size:
            raise ValueError(f"Poisson.rate is {bad[0]}; it must be >= 0 Hz and finite")
        rate.flags.writeable = False
        object.__setattr__(self, "rate", rate if rate.ndim else float(rate))
        require_whole("Poisson.seed", self.seed, "0 is usual")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"Poisson.seed is {self.seed}; it must be from 0 to 2^63 - 1")


Population = Neuron
Node = Input | Connection | Host | Population


class Edge(NamedTuple):
    """An edge: what ``source`` emits at tick t reaches ``target`` at tick t + delay."""

    source: str
    target: str
    delay: Ticks = Ticks(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Topology:
    """Nodes and edges as a user writes them: a Graph before anything is derived from it.

    nodes: by name.
    edges: in the order in which a node that has several reads them.
    dt: length of a tick [s].
    """

    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    dt: Seconds
    _into: Mapping[str, tuple[Edge, ...]] = field(init=False, repr=False)
    _out_of: Mapping[str, tuple[Edge, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.edges, Iterable) and not isinstance(self.edges, Edge):
            object.__setattr__(self, "edges", tuple(self.edges))
        problems = _problems_of_kinds(self)
        if problems:
            raise TypeError("\n".join(["the graph cannot be made:", *problems]))
        object.__setattr__(self, "dt", Seconds(float(self.dt)))
        object.__setattr__(self, "nodes", dict(self.nodes))
        object.__setattr__(self, "edges", tuple(_with_plain_delay(e) for e in self.edges))
        into: dict[str, list[Edge]] = {}
        out_of: dict[str, list[Edge]] = {}
        for e in self.edges:
            into.setdefault(e.target, []).append(e)
            out_of.setdefault(e.source, []).append(e)
        object.__setattr__(self, "_into", {n: tuple(edges) for n, edges in into.items()})
        object.__setattr__(self, "_out_of", {n: tuple(edges) for n, edges in out_of.items()})

    def into(self, name: str) -> tuple[Edge, ...]:
        """Return the edges that end at ``name``, in their order."""
        return self._into.get(name, ())

    def out_of(self, name: str) -> tuple[Edge, ...]:
        """Return the edges that start at ``name``, in their order."""
        return self._out_of.get(name, ())

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the Input nodes, whose spikes the user supplies to a run."""
        return tuple(n for n in self.sources if n not in self.poisson)

    @property
    def poisson(self) -> tuple[str, ...]:
        """Names of the Poisson nodes, which draw their own spikes."""
        return tuple(n for n in self.sources if isinstance(self.nodes[n], Poisson))

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the Input and Poisson nodes."""
        return tuple(n for n, node in self.nodes.items() if isinstance(node, Input))


def _problems_of_kinds(graph: Topology) -> list[str]:
    """List nodes, edges and times that are of the wrong type, each with its cure."""
    problems: list[TypeError] = []
    if isinstance(graph.nodes, Mapping):
        cure = (
            "a class needs brackets, as LIF(tau=0.02); of torch modules "
            "neuro.nn.trace.trace(net, input_shape) makes a Graph"
        )
        problems += [
            make_type_error(f"node {name!r}", "a node of neuro.graph or a neuron", node, cure)
            for name, node in graph.nodes.items()
            if not (isinstance(node, Input | Connection | Host) or is_neuron(node))
        ]
        cure = 'for example "cells"'
        problems += [
            make_type_error("the name of a node", "a word", name, cure)
            for name in graph.nodes
            if not isinstance(name, str)
        ]
    else:
        cure = 'for example {"input": Input(shape=(3,)), ...}'
        problems.append(make_type_error("nodes", "nodes by name", graph.nodes, cure))
    cure = 'for example (Edge("input", "fc"), Edge("fc", "cells", delay=1))'
    if isinstance(graph.edges, tuple) and not isinstance(graph.edges, Edge):
        problems += [
            make_type_error("an edge", "Edge(source, target, delay)", edge, cure)
            for edge in graph.edges
            if not isinstance(edge, tuple) or len(edge) not in (2, 3)
        ]
        problems += [
            make_type_error("an end of an edge", "the name of a node, a word", name, cure)
            for edge in graph.edges
            if isinstance(edge, tuple) and len(edge) in (2, 3)
            for name in edge[:2]
            if not isinstance(name, str)
        ]
    else:
        problems.append(make_type_error("edges", "a tuple of Edges", graph.edges, cure))
    if not is_real(graph.dt):
        problems.append(make_type_error("dt", "a number of seconds", graph.dt, "1 ms is 1e-3"))
    return [str(error) for error in problems]


def _with_plain_delay(edge: tuple[Any, ...]) -> Edge:
    """Return an edge with its delay as an int; the checks refuse what is no integer."""
    edge = Edge(*edge)
    if type(edge.delay) is not int and is_whole(edge.delay):
        return edge._replace(delay=Ticks(int(edge.delay)))
    return edge
