"""A network's activity in continuous time, its output, and the derivatives of a loss.

The backward pass needs only the spikes of the forward run, so memory grows with their number,
not with simulated time.

The gradient of a spike time is divided by the slope of V at the threshold, so it diverges where
V only touches the threshold. Then a few spikes change weights so much that neurons may never
fire again, and a neuron that never fires has no gradient. Training may therefore bound the
gradient: slopes below ``least`` * threshold * (1 / tau + 1 / tau_syn) are raised to this value.
Every result has the number of raised slopes, and a Tally adds these numbers up.
Axes: T ticks, B samples, N neurons, E spikes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neuro.eventprop.layers import EventPropError, Layer, build_layers
from neuro.eventprop.spiking import (
    LIFParameters,
    SpikeBuffer,
    TimedSpikes,
    find_currents,
    find_spikes,
    mean_membranes,
    propagate_back,
    propagate_means_back,
)
from neuro.graph import Dense, Graph, Sparse
from neuro.graph.inputs import require_inputs
from neuro.neurons import LI
from neuro.nn.delayed import DelayedLinear
from neuro.nn.trace import trace
from neuro.spikes import Events, Times, to_events, to_times

# Usual value of ``least``, chosen by hand; a training reports how many slopes it raised.
LEAST = 0.1
_CHANGES_IN_TRAINING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout, nn.Dropout2d)
SPIKES_AT_FIRST = 4  # initial buffer size per neuron and sample
MAX_SPIKES = 10**8  # per layer and run: 1.2 GB of times and neurons


@dataclass(frozen=True, kw_only=True)
class Activity:
    """The result of a run in continuous time.

    times: the spikes of every Input and LIF.
    means: the membrane of every read-out (LI), averaged over each tick.
    """

    times: Mapping[str, Times]
    means: Mapping[str, Float[np.ndarray, "T B _"]]


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """Derivatives of a loss, summed over samples.

    weights: dL/dweight of each Dense (out, in), and of each Sparse by synapse (E,).
    delays: dL/d(delay) of each Dense and Sparse, by input value (in,) [1/s].
    times: dL/d(time) of each Input's spikes [1/s].
    spikes: number of LIF spikes that were differentiated.
    raised: number of these spikes whose slope of V was raised to ``least``.
    """

    weights: Mapping[str, Float[np.ndarray, "..."]]
    delays: Mapping[str, Float[np.ndarray, " _"]]
    times: Mapping[str, Float[np.ndarray, " _"]]
    spikes: int
    raised: int


def compute_activity(graph: Graph, inputs: Mapping[str, Events | Times]) -> Activity:
    """Run a network for training; its spikes equal those of the engine's ``Exact()`` clock.

    Args:
        graph: the network.
        inputs: spikes of every Input, all with the same T and B.

    Raises:
        ValueError: the inputs do not fit the network; lists every problem by node.
        EventPropError: the network has parts without exact gradients (lists all), or a layer
            has more than MAX_SPIKES spikes.
    """
    require_inputs(graph, inputs)
    times = {
        name: train if isinstance(train, Times) else to_times(train, graph.dt)
        for name, train in inputs.items()
    }
    read = {}
    ticks, samples, _ = next(iter(inputs.values())).shape
    end = ticks * graph.dt
    for layer in build_layers(graph):
        train, _ = _find_arrivals(layer, times, end)
        if layer.cell is None:
            rows = layer.gain * layer.rows
            read[layer.name] = mean_membranes(layer.leak, rows, train, ticks, graph.dt)
        else:
            shape = (ticks, samples, graph.size(layer.name))
            times[layer.name] = _find_spikes(layer, layer.cell, train, shape, end)
    return Activity(times=times, means=read)


def compute_gradients(
    graph: Graph,
    times: Mapping[str, Times],
    *,
    by_time: Mapping[str, Float[np.ndarray, " _"]] | None = None,
    by_mean: Mapping[str, Float[np.ndarray, "T B _"]] | None = None,
    least: float = 0.0,
) -> Gradients:
    """Return the derivatives of a loss by the weights, the delays and the input spike times.

    Args:
        graph: the network.
        times: the network's spikes: ``Record.times`` of the engine, or of
            :func:`compute_activity`.
        by_time: dL/d(time of each spike) for any LIF [1/s], in the order of ``times``.
        by_mean: dL/d(mean membrane in each tick) for any read-out.
        least: smaller slopes at spikes are raised to it [threshold * (1 / tau + 1 / tau_syn)];
            0, the default, leaves the gradient exact.

    Raises:
        ValueError: ``by_time`` or ``by_mean`` does not fit the network; lists every problem.
        EventPropError: the network has parts without exact gradients; lists all.
    """
    by_time, by_mean = by_time or {}, by_mean or {}
    _require(graph, times, by_time, by_mean)
    end = next(iter(times.values())).shape[0] * graph.dt
    by_spike = {name: np.zeros(t.time.size) for name, t in times.items()}
    for name, derivative in by_time.items():
        by_spike[name] += derivative
    weights: dict[str, np.ndarray] = {}
    delays: dict[str, np.ndarray] = {}
    spikes = raised = 0
    for layer in reversed(build_layers(graph)):
        train, order = _find_arrivals(layer, times, end)
        if layer.cell is None:
            if layer.name not in by_mean:
                continue
            rows = layer.gain * layer.rows
            to_means = np.ascontiguousarray(by_mean[layer.name], np.float64)
            by_row, by_arrival = propagate_means_back(
                layer.leak, rows, train, to_means, graph.dt
            )
            by_row *= layer.gain
        else:
            spiked = times[layer.name]
            indptr = np.searchsorted(spiked.sample, np.arange(spiked.shape[1] + 1))
            own = TimedSpikes(indptr, spiked.time, spiked.neuron, spiked.value)
            own = own._replace(value=find_currents(layer.cell, layer.rows, train, own))
            by_row, by_arrival, bounded = propagate_back(
                layer.cell, layer.rows, train, own, by_spike[layer.name], least
            )
            spikes, raised = spikes + own.time.size, raised + bounded
        by_path = np.zeros(sum(by_spike[path.source].size for path in layer.paths))
        by_path[order] = by_arrival
        spike = row = 0
        for path in layer.paths:
            neuron, size = times[path.source].neuron, graph.size(path.source)
            part = by_path[spike : spike + neuron.size]
            by_spike[path.source] += part
            if path.matrix is not None:
                node, own = graph.nodes[path.matrix], by_row[row : row + size]
                own = own[node.source, node.indices] if isinstance(node, Sparse) else own.T
                weights[path.matrix] = weights.get(path.matrix, 0) + own
                by_delay = np.bincount(neuron, part, size)
                delays[path.matrix] = delays.get(path.matrix, 0) + by_delay
            spike, row = spike + neuron.size, row + size
    by_input = {name: by_spike[name] for name in graph.inputs}
    return Gradients(
        weights=weights, delays=delays, times=by_input, spikes=spikes, raised=raised
    )


def _require(
    graph: Graph,
    times: Mapping[str, Times],
    by_time: Mapping[str, np.ndarray],
    by_mean: Mapping[str, np.ndarray],
) -> None:
    """Raise a ValueError that lists every derivative that does not fit the network."""
    ticks, samples, _ = next(iter(times.values())).shape
    problems = []
    for name, derivative in by_time.items():
        if name not in times or derivative.shape != times[name].time.shape:
            problems.append(
                f"by_time {name}: needs one value for each spike of an Input or LIF"
            )
    for name, derivative in by_mean.items():
        read = name in graph.nodes and isinstance(graph.nodes[name], LI)
        if not read or derivative.shape != (ticks, samples, graph.size(name)):
            problems.append(f"by_mean {name}: needs axes T B N of a read-out (LI)")
    if problems:
        raise ValueError("\n".join(["derivatives do not fit the network:", *problems]))


def _find_spikes(
    layer: Layer,
    cell: LIFParameters,
    train: TimedSpikes,
    shape: tuple[int, int, int],
    end: float,
) -> Times:
    """Return the spikes of a layer up to ``end`` [s]. shape: (T, B, N)."""
    size = SPIKES_AT_FIRST * shape[1] * shape[2]
    while True:  # at most twice
        buffer = SpikeBuffer(np.empty(size), np.empty(size, np.int32), np.zeros(1, np.int64))
        indptr = find_spikes(cell, layer.rows, train, end, buffer)
        count = int(indptr[-1])
        if count <= size:
            break
        if count > MAX_SPIKES:
            raise EventPropError(
                [f"{layer.name}: {count:,} spikes in one run are too many; lower its weights"]
            )
        size = count
    sample = np.repeat(np.arange(shape[1], dtype=np.int32), np.diff(indptr))
    return Times(sample, buffer.time[:count], buffer.neuron[:count], np.ones(count), shape)


def _find_arrivals(
    layer: Layer, times: Mapping[str, Times], end: float
) -> tuple[TimedSpikes, np.ndarray]:
    """Return the arrivals at a layer before ``end`` [s], and for each the index of its spike.

    The index counts the spikes of all paths, one path after the other.
    """
    sources = [times[path.source] for path in layer.paths]
    first = np.cumsum([0] + [t.shape[2] for t in sources])
    sample = np.concatenate([t.sample for t in sources])
    time = np.concatenate(
        [t.time + p.delay[t.neuron] for t, p in zip(sources, layer.paths, strict=True)]
    )
    pairs = zip(sources, first, strict=False)
    row = np.concatenate([t.neuron.astype(np.int32) + n for t, n in pairs])
    value = np.concatenate([t.value for t in sources]).astype(np.float64)
    order = np.lexsort((time, sample))
    order = order[time[order] < end]
    indptr = np.searchsorted(sample[order], np.arange(sources[0].shape[1] + 1))
    return TimedSpikes(indptr, time[order], row[order], value[order]), order


@dataclass
class Tally:
    """Sums over a training: differentiated spikes, and spikes whose slope was raised."""

    spikes: int = 0
    raised: int = 0


class _Request(NamedTuple):
    """The arguments of :func:`compute_outputs`. weights, delays: their names, in order."""

    graph: Graph
    inputs: Mapping[str, Times]
    weights: tuple[str, ...]
    delays: tuple[str, ...]
    tally: Tally
    least: float


def compute_outputs(
    graph: Graph,
    inputs: Mapping[str, Times],
    weights: Mapping[str, Tensor],
    tally: Tally,
    least: float = LEAST,
    delays: Mapping[str, Tensor] = MappingProxyType({}),
) -> Float[Tensor, "..."]:
    """Return the values of the network's only output, in float64.

    Args:
        graph: the network.
        inputs: spikes of every Input.
        weights: the torch parameters of the network's Dense and Sparse nodes, by name, with
            the shape of their weights.
        tally: each backward pass adds its counts to it.
        least: smaller slopes of V at spikes are raised to it [threshold * (1 / tau + 1 /
            tau_syn)]. The gradient through the time of such a spike is then too small by the
            factor slope / bound: derivatives with this term have errors of tens of percent, and
            more where terms cancel. With 0 all derivatives are exact, but they have no upper
            bound where V only touches its threshold.
        delays: torch tensors (in,) of the delays [ticks] of Dense and Sparse nodes, by name,
            which take the gradients; the run has the whole delays of the network.

    Returns:
        For an LI, its membrane averaged over each tick (T B N). For a LIF, the time of each
        neuron's first spike [s] (B N), or the end of the run for a neuron that never fires.

    Raises:
        ValueError: ``least`` is negative or not finite.
        EventPropError: the network has parts without exact gradients, or several outputs.
    """
    if len(graph.outputs) != 1:
        raise EventPropError([f"one output is needed, got {', '.join(graph.outputs)}"])
    if not 0 <= least < math.inf:
        raise ValueError(
            f"least must be >= 0 and finite, got {least}; {LEAST} is usual, 0 leaves every "
            "gradient exact"
        )
    apply: Any = _Outputs.apply  # torch annotates it in some versions only
    request = _Request(graph, inputs, tuple(weights), tuple(delays), tally, least)
    out: Tensor = apply(request, *weights.values(), *delays.values())
    return out


def compute_module_outputs(
    module: nn.Module, x: Float[Tensor, "T B *N"], tally: Tally, least: float = LEAST
) -> Float[Tensor, "..."]:
    """Return a torch module's output in continuous time; see :func:`compute_outputs`.

    x: its input in ticks; an event in tick k becomes a spike at the end of that tick.

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
    for part in module.modules():
        if isinstance(part, DelayedLinear):
            part.keep_in_range()
    graph = trace(module, tuple(x.shape[2:]))
    weights, delays = dict[str, Tensor](), dict[str, Tensor]()
    for name, node in graph.nodes.items():
        if isinstance(node, Dense | Sparse):
            part = module.get_submodule(name)
            weight = part.get_parameter("weight")
            weights[name] = weight.T.flatten() if isinstance(node, Sparse) else weight
            if isinstance(part, DelayedLinear):
                delays[name] = part.delays
    (name,) = graph.inputs
    times = to_times(to_events(x.flatten(2).numpy()), graph.dt)
    return compute_outputs(graph, {name: times}, weights, tally, least, delays)


def find_first_spikes(
    times: Times, end: float
) -> tuple[Float[np.ndarray, "B N"], Int[np.ndarray, "B N"]]:
    """Return the time [s] of each neuron's first spike and the spike's index in ``times``.

    A neuron that never fires gets ``end`` [s] and -1.
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
        by_tick = {n: gradients.delays[n] * request.graph.dt for n in request.delays}
        return None, *(
            torch.from_numpy(value)
            for own, names in ((gradients.weights, request.weights), (by_tick, request.delays))
            for value in (own[name] for name in names)
        )
