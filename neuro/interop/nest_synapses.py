"""The synapses of a Graph one by one, with NEST's weights.

A current y of the Graph changes the membrane of its target by
dv/dt += y (1 / tau_s - 1 / tau) / (a - c), a = exp(-dt / tau), c = exp(-dt / tau_s); a current
of 1 pA in NEST, with C = tau [pF, ms], by dv/dt += 1 / tau.
Axes: N neurons of a node, E synapses.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from neuro.graph import Edge, Graph, Reshaping, Sparse
from neuro.graph.impulse import list_synapses
from neuro.graph.paths import list_links
from neuro.interop.nest_script import NestSynapses
from neuro.neurons import Dynamics, has_normal_form

MS = 1e3  # a second in ms


class Port(NamedTuple):
    """What a spike that reaches a population acts on.

    cell: the LIF, by name. rate: decay rate of the synaptic current to which the spike is added
    [1/s], (N,); None: it is added to the membrane. gain: NEST's weight per unit of input, (N,).
    delay: from the population that is reached to ``cell`` [ticks].
    """

    cell: str
    rate: Float[np.ndarray, " N"] | None
    gain: Float[np.ndarray, " N"]
    delay: int


def find_ports(graph: Graph, node: str) -> list[Port]:
    """Return everything that a spike that reaches the population ``node`` acts on."""
    own = find_dynamics(graph, node)
    if own.fires:
        if own.rate_syn is None:
            return [Port(node, None, spread_parameter(graph, node, own.gain), 0)]
        rate, gain = (
            spread_parameter(graph, node, own.rate_syn),
            spread_parameter(graph, node, own.gain),
        )
        return [Port(node, rate, gain * _strength(graph, node, rate), 0)]
    rate, gain = (
        spread_parameter(graph, node, own.rate),
        spread_parameter(graph, node, own.gain),
    )
    return [
        Port(e.target, rate, gain * _strength(graph, e.target, rate), e.delay)
        for e in graph.out_of(node)
    ]


def _strength(
    graph: Graph, cell: str, rate_syn: Float[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """Return a unit current with decay rate ``rate_syn`` [1/s] into ``cell`` in pA (N)."""
    rate, dt = spread_parameter(graph, cell, find_dynamics(graph, cell).rate), graph.dt
    gap = (rate_syn - rate) * dt
    # (1 - exp(-gap)) / gap, also where the two decay alike.
    share = np.where(gap == 0, 1, -np.expm1(-gap) / np.where(gap == 0, 1, gap))
    return np.asarray(1 / (rate * dt * np.exp(-rate * dt) * share))


def find_synapses(
    graph: Graph, way: tuple[Edge, ...], port: Port, *, precise: bool = True
) -> NestSynapses:
    """Return the synapses along one path of edges that act through one port.

    At ticks a spike raises a current before the membrane of that tick is computed, and in NEST
    after it. In NEST it therefore arrives a tick earlier.
    """
    pre, post, weight, extra = _listed(graph, way)
    earlier = 0 if precise or port.rate is None else 1
    steps = sum(e.delay for e in way) + port.delay + extra.astype(np.int64) - earlier
    return NestSynapses(
        source=way[0].source,
        target=port.cell,
        pre=pre,
        post=post,
        weight=weight * port.gain[post],
        delay=steps * (graph.dt * MS),
    )


def _listed(
    graph: Graph, way: tuple[Edge, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return (source, target, weight, delay on top of the edges' [ticks]), each (E,)."""
    chain = list_links(graph, way)
    linear = [node for node in chain if not isinstance(node, Reshaping)]
    size = graph.size(way[0].source)
    if not linear:
        all_of_them = np.arange(size)
        return all_of_them, all_of_them, np.ones(size), np.zeros(size, np.int32)
    node = linear[0]
    if isinstance(node, Sparse) and len(linear) == 1:
        source = np.repeat(np.arange(size), np.diff(node.indptr))
        delay = np.zeros(source.size, np.int32) if node.delay is None else node.delay
        return source, node.indices, np.asarray(node.weight, np.float64), delay
    pre, post, weight = list_synapses(chain, graph.shapes[way[0].source])
    return pre, post, weight, np.zeros(pre.size, np.int32)


def find_dynamics(graph: Graph, name: str) -> Dynamics:
    """Return the continuous normal form of a population."""
    node = graph.nodes[name]
    if not has_normal_form(node):
        raise TypeError(f"{name} is no population with dynamics")
    return node.dynamics(graph.dt)


def spread_parameter(graph: Graph, name: str, value: np.ndarray) -> Float[np.ndarray, " N"]:
    """Return a parameter of a population for each of its neurons."""
    return np.broadcast_to(value, graph.shapes[name]).ravel().astype(np.float64)
