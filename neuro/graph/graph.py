"""A spiking network as a value: frozen nodes, edges with delays in ticks, one dt.

Values of several edges into one node are added (a residual connection is two edges). Shapes are
inferred from the inputs. A GraphError lists all problems at once, each with a cure.
Axes: C channels, H height, W width; images are ``C H W``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from neuro.base.text import align_columns, format_model, format_shape
from neuro.graph.connections import Concat, Connection, Shape, Slot, Weighted
from neuro.graph.host_ops import Host
from neuro.graph.nodes import Edge, Node, Topology
from neuro.graph.order import find_instant_loops, find_loops, order_feed_forward
from neuro.graph.validate import (
    GraphError,
    infer_shapes,
    problems_of_values,
    problems_of_wiring,
)
from neuro.neurons import is_leaky_integrator, is_neuron
from neuro.neurons.parameter_names import describe_other_dt, warn_of_long_times

HEAD = ("node", "what", "shape", "neurons", "parameters", "synapses", "from")


@dataclass(frozen=True, kw_only=True)
class NodeSummary:
    """One node of a Graph, described.

    what: its class and parameters, without arrays.
    shape: shape of its output.
    neurons: number of neurons, 0 unless it is a population.
    parameters: number of trainable numbers, as in :class:`neuro.nn.net.Net`.
    synapses: number of synapses of a connection, with weights of zero but without products with
        padding.
    edges: edges into it.
    """

    name: str
    what: str
    shape: Shape
    neurons: int
    parameters: int
    synapses: int
    edges: tuple[Edge, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class GraphSummary:
    """All nodes of a Graph, sources first; ``str`` makes a table with sums below.

    dt: length of a tick [s].
    """

    nodes: tuple[NodeSummary, ...]
    dt: float

    @property
    def neurons(self) -> int:
        """Number of neurons, read-outs included."""
        return sum(n.neurons for n in self.nodes)

    @property
    def parameters(self) -> int:
        """Number of trainable numbers."""
        return sum(n.parameters for n in self.nodes)

    @property
    def synapses(self) -> int:
        """Number of synapses."""
        return sum(n.synapses for n in self.nodes)

    def __str__(self) -> str:
        rows = [
            (
                *(n.name, n.what, format_shape(n.shape)),
                *(f"{k:,}" if k else "" for k in (n.neurons, n.parameters, n.synapses)),
                ", ".join(map(_format_source, n.edges)),
            )
            for n in self.nodes
        ]
        edges = sum(len(n.edges) for n in self.nodes)
        return (
            f"{align_columns([HEAD, *rows])}\n"
            f"{len(self.nodes)} nodes, {edges} edges, dt = {self.dt:g} s: "
            f"{self.neurons:,} neurons, {self.parameters:,} parameters, "
            f"{self.synapses:,} synapses"
        )

    __repr__ = __str__


def _format_source(edge: Edge) -> str:
    late = f" ({edge.delay} tick{'s' * (edge.delay > 1)} later)" if edge.delay else ""
    return edge.source + late


def _count_parameters(node: Node) -> int:
    if is_neuron(node):
        return sum(p.numel() for p in node.free().values())
    if isinstance(node, Weighted):
        return node.weight.size + (0 if node.bias is None else node.bias.size)
    return 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph(Topology):
    """A network.

    nodes: by name. Populations come from :mod:`neuro.neurons`.
    edges: a loop needs a LIF or ALIF. A loop without delay runs under the exact clock only, see
        :func:`neuro.graph.requirements.require_clocked`.
    dt: length of a tick [s].
    shapes: shape of one tick of one sample, by node (derived).
    order: node names, sources first along zero-delay edges (derived).
    components: the same names in groups, ordered so that each group needs only earlier ones; a
        group of several nodes, or of a node with an edge to itself, is a loop (derived).
    instant_loops: the loops of zero-delay edges, in order (derived).

    Raises:
        GraphError: lists every problem with its cure.
    """

    shapes: Mapping[str, tuple[int, ...]] = field(init=False)
    order: tuple[str, ...] = field(init=False)
    components: tuple[tuple[str, ...], ...] = field(init=False)
    instant_loops: tuple[tuple[str, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = problems_of_wiring(self) + problems_of_values(self)
        problems += [
            f"{name}: dt of the graph is {self.dt:g} s, and {other}"
            for name, node in self.nodes.items()
            if (other := describe_other_dt(node, self.dt))
        ]
        if problems:
            raise GraphError(problems)
        order = order_feed_forward(self)
        object.__setattr__(self, "order", order)
        object.__setattr__(self, "shapes", infer_shapes(self, order))
        object.__setattr__(self, "components", find_loops(self, order))
        object.__setattr__(self, "instant_loops", find_instant_loops(self, order))
        for name in self.populations:
            warn_of_long_times(self.nodes[name], self.dt, level=3)

    def along(self, edge: Edge) -> Node | Slot:
        """Return the receiver of an edge: its target, or its slot if that is a Concat."""
        node = self.nodes[edge.target]
        if not isinstance(node, Concat):
            return node
        into = self.into(edge.target)
        before = into[: into.index(edge)]
        first = sum(self.shapes[e.source][0] for e in before)
        return Slot(shape=self.shapes[edge.target], first=first)

    def input_shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a node's input; for a Concat, the joined shape."""
        if isinstance(self.nodes[name], Concat):
            return self.shapes[name]
        return self.shapes[self.into(name)[0].source]

    def offset(self, edge: Edge) -> int:
        """Return the index of an edge's first value in its target's flattened input."""
        slot = self.along(edge)
        return slot.offset if isinstance(slot, Slot) else 0

    @cached_property
    def populations(self) -> tuple[str, ...]:
        """Names of the populations, read-outs included, sources first."""
        return tuple(n for n in self.order if is_neuron(self.nodes[n]))

    @cached_property
    def firing(self) -> tuple[str, ...]:
        """Names of the populations that spike, sources first."""
        return tuple(n for n in self.populations if self.nodes[n].fires)  # type: ignore[union-attr]

    @cached_property
    def integrators(self) -> tuple[str, ...]:
        """Names of the populations that output values, LI and GatedLI, sources first."""
        return tuple(n for n in self.populations if not self.nodes[n].fires)  # type: ignore[union-attr]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of the host nodes, sources first."""
        return tuple(n for n in self.order if isinstance(self.nodes[n], Host))

    @property
    def readouts(self) -> tuple[str, ...]:
        """Names of the integrators that feed no other node."""
        return tuple(n for n in self.integrators if not self.out_of(n))

    @property
    def currents(self) -> tuple[str, ...]:
        """Names of the LIs that feed populations or host nodes."""
        lis = (n for n in self.populations if is_leaky_integrator(self.nodes[n]))
        return tuple(n for n in lis if self.out_of(n))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of read-outs, and of firing populations that feed only their own loop."""
        group = {n: members for members in self.components for n in members}
        left = {group[e.source] for e in self.edges if group[e.source] != group[e.target]}
        shown = {*self.firing, *self.readouts}
        return tuple(n for n in self.populations if n in shown and group[n] not in left)

    def summary(self) -> GraphSummary:
        """Return a table of the nodes: kind, shape, neurons, parameters, synapses."""
        nodes = [
            NodeSummary(
                name=name,
                what=format_model(node),
                shape=self.shapes[name],
                neurons=self.size(name) if is_neuron(node) else 0,
                parameters=_count_parameters(node),
                synapses=int(node.fan_out(self.input_shape(name)).every.sum())
                if isinstance(node, Connection)
                else 0,
                edges=self.into(name),
            )
            for name in self.order
            for node in [self.nodes[name]]
        ]
        return GraphSummary(nodes=tuple(nodes), dt=self.dt)

    def __repr__(self) -> str:
        first = " ".join(self.order[:8]) + " ..." * (len(self.order) > 8)
        return (
            f"Graph({len(self.nodes)} nodes, {len(self.edges)} edges, dt={self.dt:g}: {first}; "
            "graph.summary() is a table of them)"
        )

    def size(self, name: str) -> int:
        """Return the number of a node's neurons, or of its values per tick."""
        return int(np.prod(self.shapes[name], dtype=np.int64))
