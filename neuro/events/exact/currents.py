"""The inputs of a population in continuous time: its constant drive, and its currents.

A Graph defines the input that is added to v every tick. Here it becomes a current, in units of
v per tick, that has the same effect at the ends of ticks. An LI that feeds a population is one
of its currents.

Axes: N neurons of a population.
"""

from dataclasses import dataclass

import numpy as np

from neuro.graph import Graph, GraphError
from neuro.graph.paths import find_silent_output
from neuro.neurons.normal_form import Dynamics

# [1/tick]: least rate of a current with a bias. The current starts at 0, far from its steady
# state bias / rate, and the difference between the two loses 6 digits.
LEAST_DECAY = 1e-6
RATES = {"rate", "rate_syn", "rate_adapt"}  # fields of Dynamics in 1/s


@dataclass(frozen=True, eq=False)
class InputCurrent:
    """A current of a population: its own, or an LI that feeds it. All arrays: N.

    name: name of the LI, or of the population itself.
    port: its column among the currents.
    rate: [1/tick].
    gain: factor of the weights.
    unit: one unit of the node's state, in v per tick.
    idle: its steady state without spikes, due to biases [v per tick].
    drive: the constant input that has the same effect as idle at the ends of ticks; it is
        smaller, because idle does not decay within a tick.
    """

    name: str
    port: int
    rate: np.ndarray
    gain: np.ndarray
    unit: np.ndarray
    idle: np.ndarray
    drive: np.ndarray


def convert_to_slope(rate: np.ndarray, rate_syn: np.ndarray) -> np.ndarray:
    """Return the current [v per tick] that acts at ticks' ends like an input of 1 per tick.

    It is (rate_syn - rate) / (exp(-rate) - exp(-rate_syn)) for a current that decays with
    ``rate_syn`` [1/tick]; 0 means a constant current.
    """
    x = np.abs(np.asarray(rate_syn - rate, np.float64))
    safe = np.where(x == 0, 1.0, x)
    ratio = np.where(x == 0, 1.0, safe / -np.expm1(-safe))
    return np.asarray(np.exp(np.minimum(rate, rate_syn)) * ratio)


def sum_bias(graph: Graph, name: str) -> np.ndarray:
    """Return a node's input in every tick without spikes (N), without its gain.

    Raises:
        GraphError: a bias passes through a delay.
    """
    total = np.zeros(graph.size(name))
    for edge in graph.into(name):
        for since, b in find_silent_output(graph, edge.source).items():
            if since + edge.delay and b.any():
                raise make_refusal(
                    f"{name}: a bias arrives {since + edge.delay} ticks late; put the delays "
                    "on the edges into the biased nodes"
                )
            total += np.broadcast_to(b.numpy(), graph.shapes[name]).ravel()
    return total


def read_dynamics(graph: Graph, name: str) -> tuple[Dynamics, dict[str, np.ndarray]]:
    """Return a population's dynamics, and their arrays per neuron (N) with rates in 1/tick."""
    d = graph.nodes[name].dynamics(graph.dt)  # type: ignore[union-attr]
    arrays = {
        key: np.broadcast_to(value, graph.shapes[name]).ravel()
        for key, value in d._asdict().items()
        if isinstance(value, np.ndarray)
    }
    for key in RATES & arrays.keys():
        arrays[key] = arrays[key] * graph.dt
    return d, arrays


def find_currents(graph: Graph, name: str) -> tuple[InputCurrent, ...]:
    """Return the currents of a population: its own, then one per edge from an LI.

    Raises:
        GraphError: the edge from an LI has a delay, an LI feeds another LI, or a current with a
            bias has no steady state.
    """
    dynamics, arrays = read_dynamics(graph, name)
    constant = arrays["gain"] * convert_to_slope(arrays["rate"], np.zeros(()))
    currents: list[InputCurrent] = []

    def add(source: str, rate: np.ndarray, gain: np.ndarray | float) -> None:
        unit = arrays["gain"] * convert_to_slope(arrays["rate"], rate)
        steady = _find_steady_state(source, gain * sum_bias(graph, source), rate)
        current = InputCurrent(
            name=source,
            port=len(currents),
            rate=rate,
            gain=gain * unit,
            unit=unit,
            idle=steady * unit,
            drive=steady * constant,
        )
        currents.append(current)

    if dynamics.rate_syn is not None:
        add(name, arrays["rate_syn"], 1.0)
    for edge in graph.into(name):
        if edge.source in graph.currents:
            require_no_current(graph, edge.source)
            if edge.delay:
                raise make_refusal(
                    f"edge {edge.source} -> {name}: a current has a delay of {edge.delay} "
                    f"ticks; put the delay on the edges into {edge.source}"
                )
            _, own = read_dynamics(graph, edge.source)
            add(edge.source, own["rate"], own["gain"])
    return tuple(currents)


def require_no_current(graph: Graph, name: str) -> None:
    """Raise a GraphError if another LI feeds this one."""
    for edge in graph.into(name):
        if edge.source in graph.currents:
            raise make_refusal(
                f"edge {edge.source} -> {name}: a current feeds a current; feed both from the "
                "same connections, or use clock=Grid()"
            )


def _find_steady_state(name: str, steady: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Return the steady state of a current that gets the input ``steady`` in every tick (N)."""
    slowest = float(rate[steady != 0].min(initial=np.inf))
    if slowest < LEAST_DECAY:
        raise make_refusal(
            f"{name}: a current with a bias decays too slowly, dt / tau = {slowest:.3g}; give "
            f"it a tau of {1 / LEAST_DECAY:.0e} dt at most"
        )
    return np.divide(steady, -np.expm1(-rate), out=np.zeros(steady.size), where=steady != 0)


def make_refusal(problem: str) -> GraphError:
    """Return the error for a Graph that the exact clock cannot run."""
    return GraphError([problem], "the graph cannot run in continuous time")
