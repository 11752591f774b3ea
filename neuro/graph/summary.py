"""What a Graph consists of, node by node, as a table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from neuro.graph.connections import Concat, Connection, Shape, Weighted
from neuro.graph.nodes import Edge, Node, Topology
from neuro.neurons import is_neuron
from neuro.text import align_columns, format_model, format_shape

HEAD = ("node", "what", "shape", "neurons", "parameters", "synapses", "from")


@dataclass(frozen=True, kw_only=True)
class NodeSummary:
    """One node.

    what: its class and parameters, arrays left out. shape: of what it puts out. neurons: 0
    unless it is a population. parameters: numbers that training may change, those of
    :class:`neuro.nn.net.Net`. synapses: of a connection, weights of zero included and products
    with padding left out. edges: into it.
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
    """Nodes of a Graph, sources first; ``str`` of it is a table with the sums below.

    dt: length of a tick [s].
    """

    nodes: tuple[NodeSummary, ...]
    dt: float

    @property
    def neurons(self) -> int:
        """All neurons, read-outs included."""
        return sum(n.neurons for n in self.nodes)

    @property
    def parameters(self) -> int:
        """All numbers that training may change."""
        return sum(n.parameters for n in self.nodes)

    @property
    def synapses(self) -> int:
        """All synapses."""
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


def summarise(
    graph: Topology, shapes: Mapping[str, Shape], order: Iterable[str]
) -> GraphSummary:
    """Return the summary of a network. shapes: of all nodes. order: of all names."""
    nodes = []
    for name in order:
        node, into = graph.nodes[name], graph.into(name)
        joins = isinstance(node, Concat)
        input_shape = shapes[name] if joins or not into else shapes[into[0].source]
        linear = isinstance(node, Connection)
        nodes.append(
            NodeSummary(
                name=name,
                what=format_model(node),
                shape=shapes[name],
                neurons=int(np.prod(shapes[name])) if is_neuron(node) else 0,
                parameters=_count_parameters(node),
                synapses=int(node.fan_out(input_shape).every.sum()) if linear else 0,  # type: ignore[union-attr]
                edges=into,
            )
        )
    return GraphSummary(nodes=tuple(nodes), dt=graph.dt)


def _count_parameters(node: Node) -> int:
    if is_neuron(node):
        return sum(p.numel() for p in node.free().values())
    if isinstance(node, Weighted):
        return node.weight.size + (0 if node.bias is None else node.bias.size)
    return 0
