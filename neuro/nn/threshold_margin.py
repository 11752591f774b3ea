"""How far from its threshold a neuron was: what a spike that differs is judged by.

Axes: T ticks, B samples, ``*N`` a node's shape.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float64

from neuro.graph import Graph
from neuro.neurons import LinearNeuron, has_normal_form
from neuro.neurons.membrane import charge_membrane, reset_membrane, rest_membrane
from neuro.neurons.reset import SOFT_OR_HARD
from neuro.nn.net import record_activity
from neuro.spikes import Events


def compute_margins(
    graph: Graph, inputs: Mapping[str, Events], name: str
) -> Float64[np.ndarray, "T B N"]:
    """Return v - threshold of a firing population at every tick, before its reset (float64).

    In a refractory period, where nothing makes it fire, it is minus infinity.

    Raises:
        ValueError: ``name`` is no firing population with a normal form, or has another reset
            than soft or hard.
    """
    neuron = graph.nodes[name]
    if not has_normal_form(neuron) or not neuron.fires:
        raise ValueError(
            f"{name}: a {type(neuron).__name__} has no threshold of a normal form; use the "
            "name of a LIF or an ALIF"
        )
    if (reset := neuron.coefficients(graph.dt).reset) not in SOFT_OR_HARD:
        raise ValueError(
            f"{name}: margins are known of soft and hard resets, not of {str(reset)!r}; use "
            "one of them"
        )
    activity = record_activity(graph, inputs)
    currents = [
        torch.cat([torch.zeros_like(y[: e.delay]), y])[: len(y)]
        for e in graph.into(name)
        for y in [activity[e.source]]
    ]
    x = torch.stack(currents).sum(0).numpy()
    return _distance(neuron, x, graph).reshape(*x.shape[:2], -1)


def _distance(neuron: LinearNeuron, x: np.ndarray, graph: Graph) -> np.ndarray:
    """Return v - threshold - a over time, by the normal form of the neuron."""
    k = neuron.coefficients(graph.dt)
    state, out = rest_membrane(*x.shape[1:]), np.empty_like(x)
    for t, x_t in enumerate(x):
        state = charge_membrane(k, state, x_t, k.decay * state.v)
        out[t] = np.where(state.free, state.v - (k.threshold + state.a), -np.inf)
        state = reset_membrane(k, state, out[t] >= 0)
    return out
