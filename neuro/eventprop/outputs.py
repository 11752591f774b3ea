"""The output of a network as a torch tensor that is differentiable by its weights.

The gradient is exact, except at spikes where V only touches the threshold: there the bound
``least`` makes it smaller, and a Tally counts these spikes. Without the bound a few such spikes
change weights so much that neurons may never fire again.
Axes: T ticks, B samples, N neurons of the network's one output.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neuro.eventprop.adjoint import compute_activity, compute_gradients
from neuro.eventprop.layers import EventPropError
from neuro.graph import Dense, Graph
from neuro.nn.trace import trace
from neuro.spikes import Times, to_events, to_times

# Usual ``least``, chosen by hand; a training reports the number of raised slopes.
LEAST = 0.1
_CHANGES_IN_TRAINING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout, nn.Dropout2d)


@dataclass
class Tally:
    """Sums over a training: differentiated spikes, and spikes with a raised slope."""

    spikes: int = 0
    raised: int = 0


class _Request(NamedTuple):
    """The arguments of :func:`compute_outputs`; names: of the weights, in their order."""

    graph: Graph
    inputs: Mapping[str, Times]
    names: tuple[str, ...]
    tally: Tally
    least: float


def compute_outputs(
    graph: Graph,
    inputs: Mapping[str, Times],
    weights: Mapping[str, Tensor],
    tally: Tally,
    least: float = LEAST,
) -> Float[Tensor, "..."]:
    """Return the values of the network's one output, in float64.

    Args:
        weights: the torch parameters of its Dense nodes, by name.
        tally: each backward pass adds its counts to it.
        least: slopes of V at spikes are raised to it [threshold * (1 / tau + 1 / tau_syn)]. The
            gradient through the time of such a spike is then too small by the factor slope /
            bound: derivatives with this term have errors of tens of percent, and more where
            terms cancel. With 0 all derivatives are exact, but they have no upper bound where V
            only touches its threshold.

    Returns:
        For an LI: its membrane averaged over each tick (T B N). For a LIF: the time of each
        neuron's first spike [s] (B N), or the end of the run for a silent neuron.

    Raises:
        ValueError: ``least`` is negative or not finite.
        EventPropError: the network has parts without exact gradients, or not one output.
    """
    if len(graph.outputs) != 1:
        raise EventPropError([f"one output is needed, got {', '.join(graph.outputs)}"])
    if not 0 <= least < math.inf:
        raise ValueError(
            f"least must be >= 0 and finite, got {least}; {LEAST} is usual, 0 leaves every "
            "gradient exact"
        )
    apply: Any = _Outputs.apply  # torch annotates it in some versions only
    out: Tensor = apply(
        _Request(graph, inputs, tuple(weights), tally, least), *weights.values()
    )
    return out


def compute_module_outputs(
    module: nn.Module, x: Float[Tensor, "T B *N"], tally: Tally, least: float = LEAST
) -> Float[Tensor, "..."]:
    """Return the output of a torch module in continuous time; see :func:`compute_outputs`.

    x: its input in ticks; an event of tick k becomes a spike at the end of that tick.

    Raises:
        EventPropError: the module has parts without exact gradients (lists all), or is not on
            the CPU.
        TraceError: a Graph cannot hold parts of the module.
    """
    problems = [
        f"{name}: {type(part).__name__} acts differently in training; leave it out"
        for name, part in module.named_modules()
        if isinstance(part, _CHANGES_IN_TRAINING)
    ]
    if x.device.type != "cpu":
        problems.append(f"the input is on {x.device.type}; EventProp runs on the cpu")
    if problems:
        raise EventPropError(problems)
    graph = trace(module, tuple(x.shape[2:]))
    weights = {
        name: module.get_submodule(name).get_parameter("weight")
        for name, node in graph.nodes.items()
        if isinstance(node, Dense)
    }
    (name,) = graph.inputs
    times = to_times(to_events(x.flatten(2).numpy()), graph.dt)
    return compute_outputs(graph, {name: times}, weights, tally, least)


def find_first_spikes(
    times: Times, end: float
) -> tuple[Float[np.ndarray, "B N"], Int[np.ndarray, "B N"]]:
    """Return the time [s] of each neuron's first spike and its index in ``times``.

    For a silent neuron: ``end`` [s] and -1.
    """
    _, samples, size = times.shape
    time, index = np.full(samples * size, end), np.full(samples * size, -1)
    which, first = np.unique(times.sample * size + times.neuron, return_index=True)
    time[which], index[which] = times.time[first], first
    return time.reshape(samples, size), index.reshape(samples, size)


class _Outputs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, request: _Request, *weights: Tensor) -> Tensor:  # noqa: ARG004
        activity = compute_activity(request.graph, request.inputs)
        ctx.request, ctx.times = request, activity.times
        (name,) = request.graph.outputs
        if name in activity.means:
            return torch.from_numpy(activity.means[name])
        spikes = activity.times[name]
        time, ctx.index = find_first_spikes(spikes, spikes.shape[0] * request.graph.dt)
        return torch.from_numpy(time)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise ValueError(
                "EventProp has no gradients of gradients; differentiate without create_graph, "
                "or train with surrogate gradients"
            )
        request, times = ctx.request, ctx.times
        (name,) = request.graph.outputs
        if name in times:
            by_time = np.zeros(times[name].time.size)
            by_time[ctx.index[ctx.index >= 0]] = grad.numpy()[ctx.index >= 0]
            loss: Any = {"by_time": {name: by_time}}
        else:
            loss = {"by_mean": {name: grad.numpy()}}
        gradients = compute_gradients(request.graph, times, least=request.least, **loss)
        request.tally.spikes += gradients.spikes
        request.tally.raised += gradients.raised
        return None, *(torch.from_numpy(gradients.weights[n]) for n in request.names)
