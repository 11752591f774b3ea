"""The distance of membranes from their thresholds, which explains spikes that differ.

Axes: T ticks, B samples, ``*N`` a node's shape.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float64

from neuro.graph import Graph
from neuro.neurons import has_normal_form
from neuro.neurons.reset import SOFT_OR_HARD
from neuro.nn.net import record_activity
from neuro.nn.rounding import integrate_membranes
from neuro.spikes import Events


def compute_margins(
    graph: Graph, inputs: Mapping[str, Events], name: str
) -> Float64[np.ndarray, "T B N"]:
    """Return v - threshold of a spiking population at every tick, before its reset (float64).

    In a refractory period it is minus infinity.

    Raises:
        ValueError: ``name`` is not a spiking population with a normal form and a soft or hard
            reset.
    """
    neuron = graph.nodes[name]
    if not has_normal_form(neuron) or not neuron.fires:
        raise ValueError(
            f"{name}: a {type(neuron).__name__} has no threshold; use the name of a LIF or an "
            "ALIF"
        )
    if (reset := neuron.coefficients(graph.dt).reset) not in SOFT_OR_HARD:
        raise ValueError(
            f"{name}: margins exist for soft and hard resets, got {str(reset)!r}; use one of "
            "them"
        )
    activity = record_activity(graph, inputs)
    currents = [
        torch.cat([torch.zeros_like(y[: e.delay]), y])[: len(y)]
        for e in graph.into(name)
        for y in [activity[e.source]]
    ]
    x = torch.stack(currents).sum(0).numpy()
    k, fired = neuron.coefficients(graph.dt), activity[name].numpy()
    _, _, bounds = integrate_membranes(k, x, fired)
    return bounds.margin
