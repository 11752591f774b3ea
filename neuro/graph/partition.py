"""The part of a Graph that a spiking chip runs, the part left to its host, and lags on a chip.

A host computes host nodes and GatedLIs, and the connections that lead to them. It reads what
the chip sends to them, and sends their output back into the chip.
"""

from collections.abc import Sequence
from dataclasses import replace

from neuro.graph.connections import Connection
from neuro.graph.graph import Graph
from neuro.graph.nodes import Edge, Input, Node
from neuro.graph.paths import Route
from neuro.graph.validate import GraphError, Hosted


def find_host_nodes(graph: Graph) -> tuple[str, ...]:
    """Return the names of the nodes a host computes; the chip may need a connection as well."""
    found = {n for n, node in graph.nodes.items() if isinstance(node, Hosted)}
    for _ in graph.nodes:  # as many rounds as connections can follow each other
        found |= {
            e.source
            for e in graph.edges
            if e.target in found and isinstance(graph.nodes[e.source], Connection)
        }
    return tuple(n for n in graph.order if n in found)


def chip_part(graph: Graph) -> Graph:
    """Return a graph without the nodes that only the host computes.

    Values that the host sends into the chip come from an Input of the same name; a population
    that only the host reads becomes an output. A graph without host nodes and GatedLIs is
    returned as it is.

    Raises:
        GraphError: no node is left.
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
    for _ in graph.nodes:  # until every node that is left feeds another
        feeding = kept | {e.source for e in edges}
        nodes = {n: node for n, node in nodes.items() if n in feeding}
        edges = [e for e in edges if e.target in nodes]
    if not kept:
        raise GraphError(
            ["a host computes every node; put a LIF or ALIF where spikes are to do the work"],
            "no part of the graph runs on a chip",
        )
    return replace(graph, nodes=nodes, edges=tuple(edges))


def find_tight_loops(graph: Graph, routes: Sequence[Route | Edge]) -> list[str]:
    """List each loop whose delays sum to less than its number of connections, with a cure."""
    problems = []
    for group in graph.components:
        inside = [r for r in routes if r.source in group and r.target in group]
        loop = _find_tight_loop(inside)
        if loop:
            names = " -> ".join([*(r.source for r in loop), loop[-1].target])
            problems.append(
                f"loop {names}: its delays add up to {sum(r.delay for r in loop)} ticks, but "
                f"every connection of a chip takes one step; make them at least {len(loop)}"
            )
    return problems


def _find_tight_loop(inside: Sequence[Route | Edge]) -> list[Route | Edge]:
    """Return the routes of a loop along which lags would grow without end; empty if none."""
    lag = {name: 0 for r in inside for name in (r.source, r.target)}
    came: dict[str, Route | Edge] = {}
    for _ in range(len(lag) + 1):
        last = ""
        for r in inside:
            if lag[r.target] < lag[r.source] + 1 - r.delay:
                lag[r.target] = lag[r.source] + 1 - r.delay
                came[r.target], last = r, r.target
    if not last:
        return []
    for _ in lag:  # far enough back to be inside the loop
        last = came[last].source
    loop = [came[last]]
    while loop[0].source != last:
        loop.insert(0, came[loop[0].source])
    return loop


def assign_lags(names: list[str], routes: Sequence[Route | Edge]) -> dict[str, int]:
    """Return each population's lag [steps]: its tick t happens at step t + lag.

    Lags are the smallest >= 0 with lag[target] >= lag[source] + 1 - delay on every route.
    """
    lag = dict.fromkeys(names, 0)
    for _ in names:
        for r in routes:
            lag[r.target] = max(lag[r.target], lag[r.source] + 1 - r.delay)
    return lag
