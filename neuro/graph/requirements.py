"""What an executor asks of a Graph: a clock, continuous time, or a chip."""

from neuro.graph.graph import Graph
from neuro.graph.order import least_delay
from neuro.graph.validate import GraphError, Hosted, find_cycle, kind
from neuro.neurons import ALIF, LIF
from neuro.units import ticks


def require_clocked(graph: Graph) -> None:
    """Raise a GraphError with :func:`problems_on_a_clock`, unless there are none."""
    found = problems_on_a_clock(graph)
    if found:
        raise GraphError(found, "the graph cannot run on a clock")


def problems_on_a_clock(graph: Graph) -> list[str]:
    """Return what cannot run tick by tick.

    These are zero-delay loops, and refractory periods that are no whole number of ticks.
    """
    found = []
    for loop in graph.instant_loops:
        inside = [e for e in graph.edges if e.source in loop and e.target in loop]
        cycle = find_cycle(graph, [e for e in inside if least_delay(graph, e) == 0])
        found.append(
            f"zero-delay loop {' -> '.join(cycle)}; give one of its edges a delay of >= 1 "
            "tick, or run it with clock=Exact()"
        )
    for name, node in graph.nodes.items():
        if isinstance(node, LIF | ALIF):
            try:
                ticks(node.refractory, graph.dt)
            except ValueError as error:
                found.append(f"{name}.refractory: {error}, or run it with clock=Exact()")
    return found


def require_continuous(graph: Graph) -> None:
    """Raise a GraphError that lists what has values at ticks only, unless there is none."""
    found = [
        f"{name}: a {kind(node)} has a value a tick, and none between; use clock=Grid()"
        for name, node in graph.nodes.items()
        if isinstance(node, Hosted)
    ]
    if found:
        raise GraphError(found, "the graph cannot run in continuous time")


def problems_on_a_chip(graph: Graph) -> list[str]:
    """Return the nodes that no chip runs, each with its cure."""
    return [
        f"{name}: no chip runs a {kind(node)}, its host does; go on with what is left, "
        "neuro.graph.partition.chip_part(graph)"
        for name, node in graph.nodes.items()
        if isinstance(node, Hosted)
    ]
