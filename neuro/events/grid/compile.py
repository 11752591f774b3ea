"""Compiles a Graph to the arrays of kernels: one part per node, and wires for the edges."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple, TypeGuard, Union

import numpy as np

from neuro.base.units import Ticks
from neuro.events.grid.host_nodes import CompiledHost
from neuro.events.grid.loops import Loop, fits_ring, make_cells, make_loop, make_path
from neuro.events.grid.scatter import (
    Scatter,
    add_spikes,
    choose_scatters,
    is_listed,
    make_slot_scatter,
    make_uncounted_scatter,
)
from neuro.events.grid.updates import Neurons, arrange_by_place, make_parameters
from neuro.graph import (
    Concat,
    Connection,
    Conv2d,
    Dense,
    Edge,
    Graph,
    Hosted,
    Node,
    Reshaping,
    Slot,
    Sparse,
)
from neuro.graph.requirements import require_clocked, require_normal_form
from neuro.graph.sparse import reaches_all
from neuro.neurons import SteppedNeuron, is_leaky_integrator, is_stepped

Layout = tuple[int, int]  # number of places, number of channels
Part = Union["CompiledConnection", "CompiledPopulation", CompiledHost]


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledConnection:
    """A compiled connection.

    layout, rest: of the buffer for its output.
    fills: node that owns this buffer: the population or host node after the connection if it is
        the connection's only target, otherwise the connection itself.
    area: divisor of its sums.
    """

    layout: Layout
    rest: np.ndarray
    fills: str
    area: int


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledPopulation:
    """A compiled population.

    layout, rest: of its input buffer.
    fires: whether it emits spikes, unlike an LI.
    current: whether its neurons have a synaptic current.
    """

    layout: Layout
    rest: np.ndarray
    neurons: Neurons
    fires: bool
    current: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Wire:
    """An edge, or those synapses after it that have one delay.

    delay: delay of edge and synapses [ticks].
    scatter: kernel that adds arriving spikes to the target's buffer; None: the source's output
        buffer is added to it in the same tick.
    in_loop: whether a Loop adds the spikes; ``delay`` is then the longest delay after the edge.
    """

    edge: Edge
    delay: int
    scatter: Scatter | None
    in_loop: bool = False

    @property
    def queues(self) -> bool:
        """Whether spikes wait at this wire."""
        return self.in_loop or self.scatter is not None


class NodeGroup(NamedTuple):
    """Names of parts that run together, as in ``graph.components``.

    window: their look-ahead window [ticks]; 0: no loop, so that any number of ticks runs at a
        time.
    loop: the Loop that runs them instead, if they are of the kinds it supports.
    """

    names: tuple[str, ...]
    window: int
    loop: Loop | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """A compiled Graph.

    A Reshaping that has one edge into it and none into a Concat is left out: the wires after it
    start at its source.

    parts: by node name, except Inputs and left-out nodes.
    into, out_of: wires by the node at which they end or start. No wire leads from a connection
        to the population whose buffer it fills.
    sizes: number of neurons or values of every node.
    """

    graph: Graph
    dtype: np.dtype
    parts: Mapping[str, Part]
    groups: tuple[NodeGroup, ...]
    into: Mapping[str, tuple[Wire, ...]]
    out_of: Mapping[str, tuple[Wire, ...]]
    sizes: Mapping[str, int]

    @cached_property
    def buffered(self) -> tuple[str, ...]:
        """Names of the parts that fill buffers, without those that only a loop feeds."""
        alone = {
            name
            for group in self.groups
            if group.loop
            for name in group.names
            if not self.takes_input(name)
        }
        parts = self.parts.items()
        return tuple(n for n, p in parts if not {n, getattr(p, "fills", n)} & alone)

    def takes_input(self, name: str) -> bool:
        """Say whether spikes or values reach a part's buffer from outside a loop."""
        into = [n for n, p in self.parts.items() if getattr(p, "fills", n) == name]
        return any(not wire.in_loop for n in {*into, name} for wire in self.into[n])


@lru_cache(maxsize=4)
def compile_graph(graph: Graph, dtype: np.dtype, recorded: tuple[str, ...] = ()) -> Program:
    """Return ``graph`` compiled for arithmetic in ``dtype``.

    A Graph never changes, so the Programs of the last four Graphs are cached.

    recorded: LIs whose membranes are recorded; a Loop does not record them.

    Raises:
        GraphError: the graph does not run on a clock, or has neurons without a normal form.
    """
    require_clocked(graph)
    require_normal_form(graph, "the event engine")
    edges = _edges(graph)
    valued = [n for n, node in graph.nodes.items() if _runs_in_torch(node)]
    cells = [n for n in graph.populations if n not in valued]
    layouts = {n: _layout(graph, edges, n) for n in cells}
    layouts |= {n: (1, graph.size(graph.into(n)[0].source)) for n in valued}
    parts: dict[str, Part] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, Connection) and any(e.target == name for e in edges):
            parts[name] = _linear(graph, edges, name, layouts, dtype)
    for name in (*cells, *valued):
        near = [e.source for e in edges if e.target == name and e.delay == 0]
        none = np.zeros(graph.size(graph.into(name)[0].source), dtype)
        drive = sum((_bias(graph, n, dtype) for n in near), none)
        make = _valued if name in valued else _cells
        parts[name] = make(graph, name, layouts[name], drive)
    names = [tuple(n for n in group if n in parts) for group in graph.components]
    loops = {
        group: _make_loop(graph, edges, group, parts, dtype, recorded)
        for group in names
        if group
    }
    paths = {path.edge: path for loop in loops.values() if loop for path in loop.paths}
    fed = {e for e in edges for loop in loops.values() if loop and loop.feeds(e)}
    carried = {
        n: choose_scatters(graph, n, dtype)
        for n, p in parts.items()
        if isinstance(p, CompiledConnection)
        and any(e.target == n and e not in paths for e in edges)
    }
    wires = [
        w
        for e in edges
        if e not in fed
        for w in (
            [Wire(edge=e, delay=paths[e].longest, scatter=None, in_loop=True)]
            if e in paths
            else _wires(graph, e, parts, carried)
        )
    ]
    return Program(
        graph=graph,
        dtype=dtype,
        parts=parts,
        groups=tuple(NodeGroup(group, _window(group, wires), loops[group]) for group in loops),
        into={n: tuple(w for w in wires if w.edge.target == n) for n in graph.nodes},
        out_of={n: tuple(w for w in wires if w.edge.source == n) for n in graph.nodes},
        sizes={n: graph.size(n) for n in graph.nodes},
    )


def _edges(graph: Graph) -> list[Edge]:
    """Return the edges between nodes after left-out nodes are bridged; see :class:`Program`."""
    left_out = {
        name
        for name, node in graph.nodes.items()
        if isinstance(node, Reshaping)
        and len(graph.into(name)) == 1
        # An edge into a Concat stays, because it has a slot there.
        and not any(isinstance(graph.along(e), Slot) for e in graph.out_of(name))
    }
    edges = []
    for edge in graph.edges:
        if edge.target not in left_out:
            while edge.source in left_out:
                (before,) = graph.into(edge.source)
                edge = Edge(before.source, edge.target, Ticks(before.delay + edge.delay))
            edges.append(edge)
    return edges


def _natural(graph: Graph, edges: list[Edge], name: str) -> Layout | None:
    """Return the layout of a node's output, or None if any layout fits."""
    node, size = graph.nodes[name], graph.size(name)
    if isinstance(node, Conv2d):
        return size // graph.shapes[name][0], graph.shapes[name][0]
    if is_leaky_integrator(node):
        return _layout(graph, edges, name)
    in_one_place = isinstance(node, Dense | Hosted) or reaches_all(node)
    return (1, size) if in_one_place else None


def _layout(graph: Graph, edges: list[Edge], name: str) -> Layout:
    """Return the layout of a population's input: its sources' layout if they agree."""
    near = [e.source for e in edges if e.target == name and e.delay == 0]
    layouts = {layout for n in near if (layout := _natural(graph, edges, n))}
    if len(layouts) == 1:
        return layouts.pop()
    size = graph.size(name)
    return (1, size) if layouts or is_leaky_integrator(graph.nodes[name]) else (size, 1)


def _linear(
    graph: Graph,
    edges: list[Edge],
    name: str,
    layouts: Mapping[str, Layout],
    dtype: np.dtype,
) -> CompiledConnection:
    node, size = graph.nodes[name], graph.size(name)
    area = node.divisor if isinstance(node, Connection) else 1
    own = _natural(graph, edges, name) or (size, 1)
    (target, delay), *more = [(e.target, e.delay) for e in edges if e.source == name]
    theirs = layouts.get(target, own)
    fitting = theirs == own or (is_listed(node) and theirs[0] in (1, size))
    alone = target in layouts and delay == 0 and not more
    renames = isinstance(node, Reshaping | Concat)
    fills = alone and (fitting or renames) and area == 1
    layout = theirs if fills else own
    return CompiledConnection(
        layout=layout,
        rest=arrange_by_place(_bias(graph, name, dtype), (size,), layout[0]),
        fills=target if fills else name,
        area=area,
    )


def _bias(graph: Graph, name: str, dtype: np.dtype) -> np.ndarray:
    """Return a node's output in a tick without input (N): its bias, or 0."""
    bias = getattr(graph.nodes[name], "bias", None)
    if bias is None:
        return np.zeros(graph.size(name), dtype)
    out: np.ndarray = np.repeat(bias.astype(dtype), graph.size(name) // bias.size)
    return out


def _cells(graph: Graph, name: str, layout: Layout, drive: np.ndarray) -> CompiledPopulation:
    k = graph.nodes[name].coefficients(graph.dt)  # type: ignore[union-attr]
    rest, parameters = make_parameters(k, drive, graph.shapes[name], layout[0])
    return CompiledPopulation(
        layout=layout,
        rest=rest,
        neurons=parameters,
        fires=k.fires,
        current=bool(np.any(k.decay_syn)),
    )


def _runs_in_torch(node: Node) -> TypeGuard[Hosted | SteppedNeuron]:
    """Say whether torch computes a node at every tick."""
    return isinstance(node, Hosted) or is_stepped(node)


def _valued(graph: Graph, name: str, layout: Layout, drive: np.ndarray) -> CompiledHost:
    node, input_shape = graph.nodes[name], graph.shapes[graph.into(name)[0].source]
    if not _runs_in_torch(node):
        raise TypeError(f"{name} is not a node that torch computes")
    return CompiledHost(
        node=node,
        rest=arrange_by_place(drive, drive.shape, layout[0]),
        input_shape=input_shape,
        shape=graph.shapes[name],
        macs=node.macs(input_shape) if isinstance(node, Hosted) else 0,
        dt=graph.dt,
    )


def _wires(
    graph: Graph,
    edge: Edge,
    parts: Mapping[str, Part],
    carried: Mapping[str, Mapping[int, Scatter]],
) -> list[Wire]:
    source = parts.get(edge.source)
    if isinstance(source, CompiledConnection) and source.fills == edge.target:
        return []
    if isinstance(slot := graph.along(edge), Slot):
        return [Wire(edge=edge, delay=edge.delay, scatter=make_slot_scatter(slot))]
    if edge.target in carried:
        kernels_of = carried[edge.target].items()
        return [Wire(edge=edge, delay=edge.delay + late, scatter=s) for late, s in kernels_of]
    # A connection sends values, an Input (None) sends spikes.
    spikes = source is None or (not isinstance(source, CompiledConnection) and source.fires)
    if not spikes and edge.delay == 0:
        return [Wire(edge=edge, delay=0, scatter=None)]
    # A spike through a Reshaping or to a host node is not a synaptic event.
    direct = spikes and edge in graph.edges and edge.target not in graph.hosts
    return [
        Wire(
            edge=edge,
            delay=edge.delay,
            scatter=add_spikes if direct else make_uncounted_scatter,
        )
    ]


def _make_loop(
    graph: Graph,
    edges: list[Edge],
    group: tuple[str, ...],
    parts: Mapping[str, Part],
    dtype: np.dtype,
    recorded: tuple[str, ...],
) -> Loop | None:
    """Return the loop that runs a group; None if the group has unsupported nodes or delays."""
    cells, inner = {}, [e for e in edges if e.source in group and e.target in group]
    for name in group:
        part = parts[name]
        if isinstance(part, CompiledPopulation) and 1 in part.layout and name not in recorded:
            feeds = None if part.fires else _find_fed(edges, name)
            if part.fires or feeds:
                cells[name] = make_cells(part.rest, part.neurons, graph.size(name), feeds)
    paths = []
    for edge in inner:
        part, node = parts[edge.target], graph.nodes[edge.target]
        if isinstance(part, CompiledConnection) and part.fills in cells:
            if not isinstance(node, Sparse | Dense) or edge.source not in cells:
                return None
            if node.weight.size:
                paths.append(make_path(edge, part.fills, node))
        elif edge.target not in cells or (
            edge.source in cells and cells[edge.source].feeds != edge.target
        ):
            return None
    fire = all(cells[path.source].feeds is None for path in paths)
    return make_loop(cells, paths, dtype) if fire and paths and fits_ring(paths) else None


def _find_fed(edges: list[Edge], name: str) -> str | None:
    """Return a node's target if it is the only one and the edge to it has no delay."""
    out = [e for e in edges if e.source == name]
    return out[0].target if len(out) == 1 and out[0].delay == 0 else None


def _window(group: tuple[str, ...], wires: list[Wire]) -> int:
    """Return the look-ahead window of a group: the least delay inside it, or 0."""
    inner = [w.delay for w in wires if w.edge.source in group and w.edge.target in group]
    return min((d for d in inner if d > 0), default=0)
