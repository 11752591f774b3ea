"""What the inputs of a population are in continuous time: its bias, and its currents.

Axes: N cells of a population.
"""

from dataclasses import dataclass

import numpy as np

from neuro.graph import Graph, GraphError
from neuro.graph.paths import find_silent_output
from neuro.neurons.normal_form import Dynamics


@dataclass(frozen=True, eq=False)
class Current:
    """A current of a population: its own, or an LI behind it. Axis: N cells of the population.

    name: the LI, or the population itself. port: its column. rate: [1/s]. gain: what weights
    are multiplied by. unit: what one unit of the node's state is in 1/s of v. idle: what it
    settles at without spikes, in units of the cells.
    """

    name: str
    port: int
    rate: np.ndarray
    gain: np.ndarray
    unit: np.ndarray
    idle: np.ndarray


def per_second(rate: np.ndarray, rate_syn: np.ndarray, dt: float) -> np.ndarray:
    """Return the slope of v that equals, sampled, adding a current to v every tick [1/s].

    (rate_syn - rate) / (exp(-rate dt) - exp(-rate_syn dt)) for a current that decays with
    ``rate_syn``; 0 is a constant one.
    """
    x = np.asarray((rate_syn - rate) * dt, np.float64)
    safe = np.where(x == 0, 1.0, x)
    ratio = np.where(x == 0, 1.0, safe / -np.expm1(-safe))
    return np.asarray(np.exp(rate * dt) / dt * ratio)


def bias_of(graph: Graph, name: str) -> np.ndarray:
    """Return what connections add to a node every tick (N), gain left out."""
    total = np.zeros(graph.size(name))
    for edge in graph.into(name):
        for since, b in find_silent_output(graph, edge.source).items():
            if since + edge.delay and b.any():
                raise refused(
                    f"{name}: a bias arrives {since + edge.delay} ticks late; put the delays "
                    "on the edges into the biased nodes"
                )
            total += np.broadcast_to(b.numpy(), graph.shapes[name]).ravel()
    return total


def dynamics_of(graph: Graph, name: str) -> tuple[Dynamics, dict[str, np.ndarray]]:
    """Return the dynamics of a population, and its arrays by neuron (N)."""
    d = graph.nodes[name].dynamics(graph.dt)  # type: ignore[union-attr]
    arrays = {
        key: np.broadcast_to(value, graph.shapes[name]).ravel()
        for key, value in d._asdict().items()
        if isinstance(value, np.ndarray)
    }
    return d, arrays


def currents_of(graph: Graph, name: str) -> tuple[Current, ...]:
    """Return the currents of a population: its own, then one for each edge from an LI."""
    dynamics, arrays = dynamics_of(graph, name)
    found = []
    if dynamics.rate_syn is not None:
        rate = arrays["rate_syn"]
        unit = arrays["gain"] * per_second(arrays["rate"], rate, graph.dt)
        idle = _settles(name, bias_of(graph, name), rate, graph.dt) * unit
        found.append(Current(name, 0, rate, unit, unit, idle))
    for edge in graph.into(name):
        if edge.source in graph.currents:
            require_no_current(graph, edge.source)
            if edge.delay:
                raise refused(
                    f"edge {edge.source} -> {name}: a current comes {edge.delay} ticks late; "
                    f"put the delay on the edges into {edge.source}"
                )
            _, own = dynamics_of(graph, edge.source)
            unit = arrays["gain"] * per_second(arrays["rate"], own["rate"], graph.dt)
            steady = own["gain"] * bias_of(graph, edge.source)
            idle = _settles(edge.source, steady, own["rate"], graph.dt) * unit
            gain = own["gain"] * unit
            found.append(Current(edge.source, len(found), own["rate"], gain, unit, idle))
    return tuple(found)


def require_no_current(graph: Graph, name: str) -> None:
    """Raise a GraphError if an LI is fed by another."""
    for edge in graph.into(name):
        if edge.source in graph.currents:
            raise refused(
                f"edge {edge.source} -> {name}: a current feeds a current; feed both from the "
                "same connections, or use clock=Grid()"
            )


def _settles(name: str, steady: np.ndarray, rate: np.ndarray, dt: float) -> np.ndarray:
    """Return where a current goes that gets ``steady`` every tick."""
    if not steady.any():
        return np.zeros(steady.size)
    if np.any(rate == 0):
        raise refused(f"{name}: a bias into a current that never decays; give it a finite tau")
    return np.asarray(steady / -np.expm1(-rate * dt))


def refused(problem: str) -> GraphError:
    """Return the error of a Graph that the exact clock cannot run."""
    return GraphError([problem], "the graph cannot run in continuous time")
