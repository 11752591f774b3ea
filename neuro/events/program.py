"""A Graph as the arrays that the kernels read: one part a node, one wire an edge."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from neuro.events import kernels
from neuro.events.kernels import Span, Train, Weights, Windows
from neuro.events.neurons import Neurons, neurons
from neuro.graph import AvgPool2d, Connection, Conv2d, Dense, Edge, Flatten, Graph
from neuro.units import Ticks

Scatter = Callable[[np.ndarray, np.ndarray, Span, Train], tuple[int, int]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """A connection.

    size: number of its values. places: how many groups of them are hit separately.
    scatter: the kernel that adds spikes to (sums, hit) and counts synaptic events.
    channels_last: whether that kernel keeps the channels of a place side by side.
    area: what the sums are divided by. bias: what they get every tick (size,).
    """

    size: int
    places: int
    scatter: Scatter
    channels_last: bool = False
    area: int = 1
    bias: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Wire:
    """An edge. A Flatten with one edge into it is left out: its wires start at its source.

    buffered: from a connection into a population in the same tick: read from the buffer.
    counted: straight from spikes into a population: each is one synaptic event.
    """

    edge: Edge
    buffered: bool
    counted: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """What runs.

    parts: by node name; Inputs and left-out nodes have none.
    groups: those names as in ``graph.components``, each group with the most ticks that it can
        run in one go; 0 stands for any number.
    """

    graph: Graph
    dtype: np.dtype
    parts: Mapping[str, Linear | Neurons]
    groups: tuple[tuple[tuple[str, ...], int], ...]
    wires: tuple[Wire, ...]

    def into(self, name: str) -> list[Wire]:
        """Return the wires that end at ``name``, in the order of its edges."""
        return [w for w in self.wires if w.edge.target == name]

    def out_of(self, name: str) -> list[Wire]:
        """Return the wires that start at ``name``."""
        return [w for w in self.wires if w.edge.source == name]


def compile_graph(graph: Graph, dtype: np.dtype) -> Program:
    """Return what runs ``graph`` with arithmetic in ``dtype``."""
    left_out = {
        name
        for name, node in graph.nodes.items()
        if isinstance(node, Flatten) and len(graph.into(name)) == 1
    }
    wires = tuple(_wire(graph, e, left_out) for e in graph.edges if e.target not in left_out)
    linear = {
        name: _linear(graph, name, node, dtype)
        for name, node in graph.nodes.items()
        if isinstance(node, Connection) and name not in left_out
    }
    parts: dict[str, Linear | Neurons] = dict(linear)
    for name in graph.populations:
        near = [w.edge.source for w in wires if w.edge.target == name and w.buffered]
        drive = np.zeros(graph.size(name), dtype)
        for bias in (linear[source].bias for source in near):
            drive += 0 if bias is None else bias
        k = graph.nodes[name].coefficients(graph.dt)  # type: ignore[union-attr]
        parts[name] = neurons(k, drive, graph.shapes[name])
    groups = [tuple(n for n in group if n in parts) for group in graph.components]
    return Program(
        graph=graph,
        dtype=dtype,
        parts=parts,
        groups=tuple((group, _window(group, wires)) for group in groups if group),
        wires=wires,
    )


def _wire(graph: Graph, edge: Edge, left_out: set[str]) -> Wire:
    into_population = not isinstance(graph.nodes[edge.target], Connection)
    from_spikes = not isinstance(graph.nodes[edge.source], Connection)
    while edge.source in left_out:
        (before,) = graph.into(edge.source)
        edge = Edge(before.source, edge.target, Ticks(before.delay + edge.delay))
    from_connection = isinstance(graph.nodes[edge.source], Connection)
    return Wire(
        edge=edge,
        buffered=from_connection and into_population and edge.delay == 0,
        counted=from_spikes and into_population,
    )


def _window(group: tuple[str, ...], wires: tuple[Wire, ...]) -> int:
    """Return the least delay inside a loop: nothing that it emits comes back sooner."""
    inner = [w.edge.delay for w in wires if w.edge.source in group and w.edge.target in group]
    return min((d for d in inner if d > 0), default=0)


def _linear(graph: Graph, name: str, node: Connection, dtype: np.dtype) -> Linear:
    size, shape = graph.size(name), graph.shapes[name]
    given = graph.shapes[graph.into(name)[0].source]
    if isinstance(node, Dense):
        rows = _weights(node.weight.T)
        return Linear(
            size=size,
            places=1,
            scatter=lambda sums, hit, span, train: kernels.dense(sums, hit, span, train, rows),
            bias=None if node.bias is None else node.bias.astype(dtype),
        )
    if isinstance(node, Conv2d):
        kernel = _weights(node.weight.transpose(1, 2, 3, 0))
        shifts = _windows(given, shape, node.weight.shape[2:], node.stride, node.padding)
        places = shape[1] * shape[2]
        return Linear(
            size=size,
            places=places,
            scatter=lambda sums, hit, span, train: kernels.conv(
                sums, hit, span, train, kernel, shifts
            ),
            channels_last=True,
            bias=None if node.bias is None else np.repeat(node.bias, places).astype(dtype),
        )
    if isinstance(node, AvgPool2d):
        windows = _windows(given, shape, node.kernel, node.stride, (0, 0))
        area = node.kernel[0] * node.kernel[1]
        return Linear(
            size=size,
            places=size,
            scatter=lambda sums, hit, span, train: kernels.pool(
                sums, hit, span, train, windows
            ),
            area=area,
        )
    return Linear(size=size, places=size, scatter=_unweighted)


def _unweighted(sums: np.ndarray, hit: np.ndarray, span: Span, train: Train) -> tuple[int, int]:
    """Add spikes as they are: a Flatten costs no synaptic event."""
    kernels.add(sums, hit, span, train)
    return 0, 0


def _weights(rows: np.ndarray) -> Weights:
    """Return rows in float32: exact in float64 too, at half the traffic."""
    return Weights(np.array(rows, order="C"), np.count_nonzero(rows, axis=-1))


def _windows(*pairs: tuple[int, ...]) -> Windows:
    """Return the last two numbers of (given, size, kernel, stride, padding)."""
    return Windows(*((int(p[-2]), int(p[-1])) for p in pairs))
