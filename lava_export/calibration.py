"""Measures how far membranes without a leak must reach, so that weights keep their bits.

v of such a neuron sums over a whole run. With room for the worst inputs in every tick, each
doubling of the run takes a bit off every weight. Much of that range changes no spike: a neuron
far below its threshold stays silent, and one far above fires in every tick, wherever v clips.
Axes: T ticks, B samples, ``*N`` the shape of a node.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from neuro.graph import Graph, Hosted
from neuro.graph.requirements import problems_on_a_clock
from neuro.graph.sparse import unroll_delays
from neuro.neurons import has_normal_form
from neuro.nn.net import record_activity
from neuro.nn.rounding import delay_ticks
from neuro.spikes import Events

SPARE = 2.0  # bound over what the samples need
RANGES = tuple(2.0**k for k in range(1, 11))  # clips that are tried, over the threshold


@torch.no_grad()
def measure_bounds(graph: Graph, inputs: Mapping[str, Events]) -> dict[str, float]:
    """Return a bound of |v| for each population without a leak [units of the float network].

    For a read-out it is ``SPARE`` times the largest value on the samples; for neurons that
    subtract at a spike, ``SPARE`` times the smallest clip in ``RANGES`` that changes none of
    their spikes on the samples. Populations that every clip changes are left out, and so are
    all if ``inputs`` lack one of the graph's, or a host drives the graph.
    """
    if problems_on_a_clock(graph):
        return {}  # lowering tells them
    hosted = any(isinstance(node, Hosted) for node in graph.nodes.values())
    nodes: dict[str, Any] = {
        name: node
        for name in graph.populations
        if has_normal_form(node := graph.nodes[name])
        if (node.coefficients(graph.dt).decay == 1).all()
        if not node.coefficients(graph.dt).hard
    }
    if not nodes or hosted or not {*graph.inputs} <= {*inputs}:
        return {}
    graph = unroll_delays(graph).graph
    activity = record_activity(graph, {name: inputs[name] for name in graph.inputs})
    found = {}
    for name, node in nodes.items():
        if not node.fires:
            found[name] = SPARE * float(activity[name].abs().max())
            continue
        x = sum(delay_ticks(activity[e.source], e.delay) for e in graph.into(name))
        clip = _find_clip(node, x, activity[name], graph.dt)
        if clip is not None:
            found[name] = SPARE * clip
    return {name: bound for name, bound in found.items() if bound}


def _find_clip(node: Any, x: Any, spikes: Tensor, dt: Any) -> float | None:
    """Return the smallest clip of |v| at which a neuron fires as without one; None: none does.

    x: its input. spikes: what it sends without a clip. Both T B *N.
    """
    k = node.coefficients(dt)
    for clip in (float(k.threshold.max()) * r for r in RANGES):
        state, high = node.initial(x[0]), clip - torch.tensor(k.subtracted)
        for t in range(len(x)):
            s, state = node.step(x[t], state, dt)
            # A chip clips before the reset; v above the clip has fired.
            state = state._replace(v=state.v.clamp(min=-clip).minimum(high))
            if not torch.equal(s, spikes[t]):
                break
        else:
            return clip
    return None
