"""The door to torch: the output of a network, differentiable by its weights.

The gradient is exact but where V grazes the threshold: there ``LEAST`` bounds it, lest a few
such spikes throw the weights about and leave neurons silent for good.
Axes: T ticks, B samples, N neurons of the network's one output.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neuro.eventprop.adjoint import activity, gradients
from neuro.eventprop.layers import EventPropError
from neuro.graph import Dense, Graph
from neuro.nn.trace import trace
from neuro.spikes import Times, to_events, to_times

LEAST = 0.1  # smallest slope at a spike, see neuro.eventprop.gradients
_OTHERWISE = (nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout, nn.Dropout2d)


@dataclass
class Tally:
    """How many spikes a training has differentiated, and at how many it bounded the slope."""

    spikes: int = 0
    raised: int = 0


@dataclass(frozen=True)
class _Asked:
    graph: Graph
    inputs: Mapping[str, Times]
    names: tuple[str, ...]
    tally: Tally


def outputs(
    graph: Graph, inputs: Mapping[str, Times], weights: Mapping[str, Tensor], tally: Tally
) -> Float[Tensor, "..."]:
    """Return what the network's one output says, in float64.

    Args:
        graph: the network.
        inputs: spikes of every Input.
        weights: the torch parameters that its Dense nodes were made of, by name.
        tally: adds up what each backward pass has met.

    Returns:
        Of an LI: its membrane averaged over each tick (T B N). Of a LIF: its first spikes [s]
        (B N), the end of the run where there is none.

    Raises:
        EventPropError: the network has parts without exact gradients, or not one output.
    """
    if len(graph.outputs) != 1:
        raise EventPropError([f"one output is needed, there are {', '.join(graph.outputs)}"])
    apply: Any = _Outputs.apply  # torch annotates it in some versions only
    out: Tensor = apply(_Asked(graph, inputs, tuple(weights), tally), *weights.values())
    return out


def outputs_of(
    module: nn.Module, x: Float[Tensor, "T B *N"], tally: Tally
) -> Float[Tensor, "..."]:
    """Return what a torch module says in continuous time; see :func:`outputs`.

    x: its input on the clock; an event of tick k stands at the end of that tick.

    Raises:
        EventPropError: the module has parts without exact gradients (lists all), or is not on
            the CPU.
        TraceError: it has parts that no Graph can hold.
    """
    otherwise = [
        f"{name}: {type(part).__name__} acts otherwise in training; leave it out"
        for name, part in module.named_modules()
        if isinstance(part, _OTHERWISE)
    ]
    if x.device.type != "cpu":
        otherwise.append(f"the input is on {x.device.type}: EventProp runs on the cpu alone")
    if otherwise:
        raise EventPropError(otherwise)
    graph = trace(module, tuple(x.shape[2:]))
    weights = {
        name: module.get_submodule(name).get_parameter("weight")
        for name, node in graph.nodes.items()
        if isinstance(node, Dense)
    }
    (name,) = graph.inputs
    times = to_times(to_events(x.flatten(2).numpy()), graph.dt)
    return outputs(graph, {name: times}, weights, tally)


def first_spikes(
    times: Times, end: float
) -> tuple[Float[np.ndarray, "B N"], Int[np.ndarray, "B N"]]:
    """Return the time of each neuron's first spike and its place in ``times``.

    Without a spike: ``end`` [s] and -1.
    """
    _, samples, size = times.shape
    time, place = np.full(samples * size, end), np.full(samples * size, -1)
    which, first = np.unique(times.sample * size + times.neuron, return_index=True)
    time[which], place[which] = times.time[first], first
    return time.reshape(samples, size), place.reshape(samples, size)


class _Outputs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, asked: _Asked, *weights: Tensor) -> Tensor:  # noqa: ARG004
        done = activity(asked.graph, asked.inputs)
        ctx.asked, ctx.times = asked, done.times
        (name,) = asked.graph.outputs
        if name in done.means:
            return torch.from_numpy(done.means[name])
        spikes = done.times[name]
        time, ctx.place = first_spikes(spikes, spikes.shape[0] * asked.graph.dt)
        return torch.from_numpy(time)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        asked, times = ctx.asked, ctx.times
        (name,) = asked.graph.outputs
        if name in times:
            by_time = np.zeros(times[name].time.size)
            by_time[ctx.place[ctx.place >= 0]] = grad.numpy()[ctx.place >= 0]
            found = gradients(asked.graph, times, by_time={name: by_time}, least=LEAST)
        else:
            found = gradients(asked.graph, times, by_mean={name: grad.numpy()}, least=LEAST)
        asked.tally.spikes += found.spikes
        asked.tally.raised += found.raised
        return None, *(torch.from_numpy(found.weights[n]) for n in asked.names)
