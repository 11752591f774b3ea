"""The order in which the nodes of a Graph can run, and the loops among them."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from neuro.graph.connections import Sparse
from neuro.units import Ticks

if TYPE_CHECKING:
    from neuro.graph.graph import Edge, Graph

Group = tuple[str, ...]


def least_delay(graph: Graph, edge: Edge) -> Ticks:
    """Return the least delay of an edge [ticks], delays of the synapses behind it included."""
    node = graph.nodes[edge.target]
    if isinstance(node, Sparse) and node.delay is not None and node.delay.size:
        return Ticks(edge.delay + int(node.delay.min()))
    return edge.delay


def feed_forward_order(graph: Graph) -> Group:
    """Return the nodes, sources first along zero-delay edges, else in the order given.

    The nodes of a zero-delay loop stand together, in the order given.
    """
    groups = _strongly_connected(graph.nodes, _instant(graph))
    waiting: dict[Group, set[Group]] = {group: set() for group in groups.values()}
    for e in _instant(graph):
        if groups[e.source] != groups[e.target]:
            waiting[groups[e.target]].add(groups[e.source])
    order: list[str] = []
    while waiting:
        ready = next(group for group, needs in waiting.items() if not needs)
        order += ready
        del waiting[ready]
        for needs in waiting.values():
            needs.discard(ready)
    return tuple(order)


def instant_loops(graph: Graph) -> tuple[Group, ...]:
    """Return the loops along zero-delay edges, each in feed-forward order."""
    instant = _instant(graph)
    with_itself = {e.source for e in instant if e.source == e.target}
    groups = dict.fromkeys(_strongly_connected(graph.order, instant).values())
    return tuple(g for g in groups if len(g) > 1 or g[0] in with_itself)


def loops(graph: Graph) -> tuple[Group, ...]:
    """Return the strongly connected components, sources first, each in feed-forward order."""
    groups = _strongly_connected(graph.order, graph.edges)
    sorter = graphlib.TopologicalSorter({groups[n]: set() for n in graph.order})
    for e in graph.edges:
        if groups[e.source] != groups[e.target]:
            sorter.add(groups[e.target], groups[e.source])
    return tuple(sorter.static_order())


def _instant(graph: Graph) -> list[Edge]:
    return [e for e in graph.edges if least_delay(graph, e) == 0]


def _strongly_connected(names: Iterable[str], edges: Iterable[Edge]) -> dict[str, Group]:
    """Return the group of each node, by node; its members in the order of ``names``."""
    reach = {n: {n} for n in names}
    for _ in reach:
        for e in edges:
            reach[e.source] |= reach[e.target]
    return {n: tuple(m for m in reach if m in reach[n] and n in reach[m]) for n in reach}
