"""What nodes without spikes emit.

Axes: T ticks, N values of a node in C order of its shape.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from neuro.graph import Concat, Connection, Graph, Host, Node, Weighted
from neuro.graph.connections import get_bias, get_weight
from neuro.neurons import LI, is_leaky_integrator, is_neuron, run_population


def compute_node_outputs(
    graph: Graph, names: Iterable[str], spikes: Mapping[str, Float[np.ndarray, "T _"]]
) -> dict[str, Float[np.ndarray, "T _"]]:
    """Return what each of the nodes ``names`` emits, delays and biases included.

    spikes: the raster of one sample of every Input and spiking population. Its dtype is the
        dtype of the arithmetic.
    """
    known = dict(spikes)

    def emit(name: str) -> np.ndarray:
        if name not in known:
            into = graph.into(name)
            arrived = [delay_raster(emit(e.source), e.delay) for e in into]
            if isinstance(graph.nodes[name], Concat):
                known[name] = np.concatenate(arrived, 1)
            else:
                shape = graph.shapes[into[0].source]
                y = _apply(graph, name, np.reshape(sum(arrived), (-1, *shape)))
                known[name] = y.reshape(len(y), -1)
        return known[name]

    return {n: emit(n) for n in names}


def delay_raster(x: Float[np.ndarray, "T N"], delay: int) -> Float[np.ndarray, "T N"]:
    """Return ``x`` shifted by ``delay`` ticks; what would arrive at tick T or later is lost."""
    y = np.zeros_like(x)
    y[delay:] = x[: max(len(x) - delay, 0)]
    return y


def mark_nonzero_weights(graph: Graph) -> Graph:
    """Return the same graph with 1 for every weight and bias that is not zero.

    Fed with 0 and 1, its linear nodes emit more than 0 exactly where something arrived, and its
    LIs, which forget within a tick, lead that on.
    """
    nodes = {n: _support(node, graph.dt) for n, node in graph.nodes.items()}
    return replace(graph, nodes=nodes)


def mark_all_weights(graph: Graph) -> Graph:
    """Return the same with 1 for weights of zero too."""
    nodes = {
        n: node.with_weight(np.ones_like(node.weight), node.bias)
        if isinstance(node, Weighted)
        else node
        for n, node in graph.nodes.items()
    }
    return mark_nonzero_weights(replace(graph, nodes=nodes))


def _support(node: Node, dt: float) -> Node:
    if is_leaky_integrator(node):
        return LI(tau=dt / 1000)
    if not isinstance(node, Weighted):
        return node
    bias = None if node.bias is None else node.bias != 0
    return node.with_weight(node.weight != 0, bias)


@torch.no_grad()
def _apply(graph: Graph, name: str, x: np.ndarray) -> np.ndarray:
    """Return what a node makes of the values of all ticks (T, *shape)."""
    node, cases = graph.nodes[name], torch.from_numpy(x)
    if isinstance(node, Host):
        return np.asarray(node.run(cases))
    if is_neuron(node) and not node.fires:
        return np.asarray(run_population(node, cases[:, None], graph.dt)[0][:, 0])
    if not isinstance(node, Connection):
        raise TypeError(f"{name} spikes: its raster is needed")
    weight, bias = get_weight(node, cases.dtype), get_bias(node, cases.dtype)
    return np.asarray(node.apply(cases, weight, bias))
