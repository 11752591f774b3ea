"""Converts the Graph of a trained ANN into that of a spiking network, which counts spikes.

Each ReLU becomes an integrate-and-fire neuron whose rate stands for its output:

    v[t] = v[t-1] + z[t]      s[t] = 1 if v[t] >= scale      v[t] = v[t] - scale s[t]

It starts at scale / 2, so that in T ticks of a constant z it sends
clip(floor(T z / scale + 1/2), 0, T) spikes, and scale x (spikes / T) is the ReLU's output,
rounded to T steps and cut at ``scale``. The weights behind it are multiplied by ``scale``. The
output of the network is the sum of its logits over all ticks.
Source: T. Bu et al., ICLR 2022; B. Rueckauer et al., Front. Neurosci. 11:682, 2017.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from neuro.base.units import Seconds
from neuro.graph.connections import Concat, Connection, Shape, Weighted
from neuro.graph.graph import Graph
from neuro.graph.host_ops import Host, MaxPool2d, Pointwise, Softmax
from neuro.graph.nodes import Edge, Node
from neuro.graph.scaling import make_scale_node, scale_inputs
from neuro.graph.validate import GraphError
from neuro.neurons import LI, DiscreteLIF, is_neuron

Scale = float | Float[np.ndarray, " _"]  # of a layer, or of each of its channels
WITHOUT_NODE = "train the ANN with ReLU or CountedReLU in its place"
AVERAGE = "a maximum of spikes is no maximum of rates; train with AvgPool2d, or a stride"
CURES: Mapping[type, str] = {
    MaxPool2d: AVERAGE,
    Softmax: "end the network in its logits; their order is the same",
}


def list_activations(graph: Graph) -> list[str]:
    """Return the names of the ReLUs of an ANN, in the order in which they run."""
    return [name for name in graph.order if _is_relu(graph.nodes[name])]


def list_unconvertible(graph: Graph) -> list[str]:
    """Return every part of an ANN that has no spiking form, each with its cure."""
    problems = [p for name in graph.nodes for p in _list_problems(graph, name)]
    problems += [
        f"{e.source} -> {e.target}: waits {e.delay} ticks, and an ANN has none; leave it out"
        for e in graph.edges
        if e.delay
    ]
    if not list_activations(graph):
        problems.append("the network has no ReLU that could become spiking neurons")
    return problems


def _is_relu(node: Node) -> bool:
    return isinstance(node, Pointwise) and node.function == "relu"


def _list_problems(graph: Graph, name: str) -> Iterator[str]:
    node = graph.nodes[name]
    if is_neuron(node) and not (isinstance(node, LI) and name in graph.outputs):
        kind = type(node).__name__
        yield f"{name}: a {kind} is a neuron, and an ANN has none; convert the ANN"
    elif isinstance(node, Host) and not _is_relu(node):
        kind = node.function if isinstance(node, Pointwise) else type(node).__name__
        yield f"{name}: {kind} has no spiking form; {CURES.get(type(node), WITHOUT_NODE)}"


def convert(graph: Graph, scales: Mapping[str, Scale]) -> Graph:
    """Return the spiking network of an ANN; the Graph is unchanged.

    It needs the same constant input in every tick. In T ticks its output is T times the logits.

    Args:
        graph: the ANN: connections, ReLUs (Pointwise), and an LI at its end.
        scales: the largest value that a spike train can stand for, by ReLU: one number, or one
            for each channel of (C, H, W) or value of (N,). A ReLU with levels has its own.

    Raises:
        GraphError: a part has no spiking form, or a scale is missing or not > 0; lists all.
    """
    problems = list_unconvertible(graph)
    relus = list_activations(graph)
    found = {name: _find_scale(graph, name, scales, problems) for name in relus}
    if problems:
        raise GraphError(problems, "the network cannot be converted")
    change = _Change(graph, dict(graph.nodes), {e: e for e in graph.edges})
    for name, scale in found.items():
        change.nodes[name] = make_counter(scale, graph.shapes[name])
        change.weigh(name, scale)
    for name in graph.outputs:
        change.nodes[name] = replace(graph.nodes[name], tau=math.inf)  # type: ignore[type-var]
    edges = (*change.edges.values(), *change.added)
    return Graph(nodes=change.nodes, edges=edges, dt=Seconds(graph.dt))


def _find_scale(
    graph: Graph, name: str, scales: Mapping[str, Scale], problems: list[str]
) -> Float[np.ndarray, " _"]:
    """Return the scales of the channels of a ReLU, one if all are equal."""
    node = graph.nodes[name]
    own = node.scale if isinstance(node, Pointwise) and node.levels else scales.get(name, 0.0)
    scale = np.atleast_1d(np.asarray(own, np.float64))
    channels = graph.shapes[name][0]
    if scale.shape not in ((1,), (channels,)) or not ((scale > 0) & (scale < np.inf)).all():
        problems.append(
            f"{name}: its scale is {scale.min():g} (shape {scale.shape}); it must be > 0 and "
            f"finite, one number or {channels}. find_scales measures it"
        )
    return scale


def make_counter(scale: Float[np.ndarray, " _"], shape: Shape) -> DiscreteLIF:
    """Return the neurons that stand for a ReLU, one of each value in ``shape``."""
    wide = scale.reshape(-1, *[1] * (len(shape) - 1))
    value = wide.item() if scale.size == 1 else wide
    return DiscreteLIF(decay=1.0, threshold=value, rest=value / 2, reset_by=value)


@dataclass
class _Change:
    """A graph whose spikes get the value ``scale``: in weights, else in a node of its own."""

    graph: Graph
    nodes: dict[str, Node]
    edges: dict[Edge, Edge]
    added: list[Edge] = field(default_factory=list)

    def weigh(self, source: str, scale: Float[np.ndarray, " _"]) -> None:
        """Multiply all that a node sends by the scales of its channels."""
        for edge in self.graph.out_of(source):
            node = self.graph.nodes[edge.target]
            alone = isinstance(node, Connection) and len(self.graph.into(edge.target)) == 1
            if alone and isinstance(node, Weighted):
                own: Weighted = self.nodes[edge.target]  # type: ignore[assignment]
                self.nodes[edge.target] = scale_inputs(own, scale)
            elif alone and not isinstance(node, Concat):
                self.weigh(edge.target, scale)  # a pool, or another shape
            else:
                self.edges[edge] = edge._replace(source=self.add_scale(source, scale))

    def add_scale(self, source: str, scale: Float[np.ndarray, " _"]) -> str:
        """Return the node that multiplies the output of ``source``, which is made once."""
        name, shape = f"{source}_scale", self.graph.shapes[source]
        if name not in self.nodes:
            wide = scale.repeat(math.prod(shape) // scale.size).reshape(shape)
            node = make_scale_node(shape, wide, None)
            if node is None:  # not of these axes
                raise GraphError([f"{source}: its shape {shape} must have 1 to 3 axes"])
            self.nodes[name] = node
            self.added.append(Edge(source, name))
        return name
