"""The part of a Graph that a spiking chip runs, and what is left to its host.

A host computes host nodes and GatedLIs, and the connections that lead to them. It reads what
the chip puts out before them, and sends what they put out back into the chip.
"""

from dataclasses import replace

from neuro.graph.connections import Connection
from neuro.graph.graph import Graph
from neuro.graph.nodes import Input, Node
from neuro.graph.validate import GraphError, Hosted


def find_host_nodes(graph: Graph) -> tuple[str, ...]:
    """Return the names of what a host computes; a connection may be part of the chip, too."""
    found = {n for n, node in graph.nodes.items() if isinstance(node, Hosted)}
    for _ in graph.nodes:  # at most so many connections follow each other
        found |= {
            e.source
            for e in graph.edges
            if e.target in found and isinstance(graph.nodes[e.source], Connection)
        }
    return tuple(n for n in graph.order if n in found)


def chip_part(graph: Graph) -> Graph:
    """Return a graph without what only the host computes.

    What it sends into the chip comes from an Input of the same name; a population that only it
    reads becomes an output. A graph without host nodes and GatedLIs is returned as it is.

    Raises:
        GraphError: nothing is left.
    """
    given = {n for n, node in graph.nodes.items() if isinstance(node, Hosted)}
    if not given:
        return graph
    nodes: dict[str, Node] = {
        n: Input(shape=graph.shapes[n]) if n in given else node
        for n, node in graph.nodes.items()
    }
    edges = [e for e in graph.edges if e.target not in given]
    kept = set(graph.populations) - given
    for _ in graph.nodes:  # until nothing is left that feeds nothing
        feeding = kept | {e.source for e in edges}
        nodes = {n: node for n, node in nodes.items() if n in feeding}
        edges = [e for e in edges if e.target in nodes]
    if not kept:
        raise GraphError(
            ["a host computes every node; put a LIF or ALIF where spikes are to do the work"],
            "no part of the graph runs on a chip",
        )
    return replace(graph, nodes=nodes, edges=tuple(edges))
