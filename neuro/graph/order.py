"""The order in which the nodes of a Graph can run, and its loops, found in linear time.

networkx takes long to import, so it is imported when the first Graph is made.
"""

import graphlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from neuro.base.units import Ticks
from neuro.graph.connections import Sparse
from neuro.graph.nodes import Edge, Topology

if TYPE_CHECKING:
    import networkx as nx

Names = tuple[str, ...]


def find_least_delay(graph: Topology, edge: Edge) -> Ticks:
    """Return an edge's least delay [ticks], including the delays of its target's synapses."""
    node = graph.nodes[edge.target]
    if isinstance(node, Sparse) and node.delay is not None and node.delay.size:
        return Ticks(edge.delay + int(node.delay.min()))
    return edge.delay


def order_feed_forward(graph: Topology) -> Names:
    """Return the nodes, sources first along zero-delay edges, otherwise in the user's order.

    The nodes of a zero-delay loop are adjacent, in the user's order.
    """
    import networkx as nx

    edges = _instant(graph)
    groups = _strongly_connected(graph.nodes, edges)
    condensed = _directed(dict.fromkeys(groups.values()), _between(groups, edges))
    position = {name: k for k, name in enumerate(graph.nodes)}
    ordered = nx.lexicographical_topological_sort(condensed, key=lambda g: position[g[0]])
    return tuple(name for group in ordered for name in group)


def find_instant_loops(graph: Topology, order: Names) -> tuple[Names, ...]:
    """Return the loops of zero-delay edges, each in feed-forward order."""
    instant = _instant(graph)
    with_itself = {e.source for e in instant if e.source == e.target}
    groups = dict.fromkeys(_strongly_connected(order, instant).values())
    return tuple(g for g in groups if len(g) > 1 or g[0] in with_itself)


def find_loops(graph: Topology, order: Names) -> tuple[Names, ...]:
    """Return the strongly connected components, sources first, each in feed-forward order."""
    groups = _strongly_connected(order, graph.edges)
    sorter = graphlib.TopologicalSorter({groups[n]: set() for n in order})
    for source, target in _between(groups, graph.edges):
        sorter.add(target, source)
    return tuple(sorter.static_order())


def _instant(graph: Topology) -> list[Edge]:
    return [e for e in graph.edges if find_least_delay(graph, e) == 0]


def _between(groups: dict[str, Names], edges: Iterable[Edge]) -> list[tuple[Names, Names]]:
    """Return the pairs of different groups that an edge connects."""
    pairs = ((groups[e.source], groups[e.target]) for e in edges)
    return [(source, target) for source, target in pairs if source != target]


def _strongly_connected(names: Iterable[str], edges: Iterable[Edge]) -> dict[str, Names]:
    """Map each node to its strongly connected group, whose members are in the order given."""
    import networkx as nx

    position = {name: k for k, name in enumerate(names)}
    directed = _directed(position, ((e.source, e.target) for e in edges))
    groups: dict[str, Names] = {}
    for members in nx.strongly_connected_components(directed):
        group = tuple(sorted(members, key=position.__getitem__))
        groups |= dict.fromkeys(group, group)
    return {name: groups[name] for name in position}


def _directed(nodes: Iterable[object], edges: Iterable[tuple[object, object]]) -> "nx.DiGraph":
    import networkx as nx

    directed = nx.DiGraph()
    directed.add_nodes_from(nodes)
    directed.add_edges_from(edges)
    return directed
