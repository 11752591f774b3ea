"""The activity of a network in continuous time, and the derivatives of a loss on it.

The backward pass needs only the spikes of the forward run: memory grows with their number, not
with simulated time.

The gradient of a spike time is divided by the slope of V at the threshold; it diverges where V
only touches the threshold. Training may bound it: slopes below ``least`` * threshold *
(1 / tau + 1 / tau_syn) are raised to this value, and every result has their number. A neuron
that never fires has no gradient.
Axes: T ticks, B samples, N neurons, E spikes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

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
from neuro.graph import Graph
from neuro.graph.inputs import require_inputs
from neuro.neurons import LI
from neuro.spikes import Events, Times, to_times

SPIKES_AT_FIRST = 4  # per neuron and sample: the buffer before their number is known
MAX_SPIKES = 10**8  # of one layer in one run: 1.2 GB of times and neurons


@dataclass(frozen=True, kw_only=True)
class Activity:
    """The result of a run in continuous time.

    times: the spikes of every Input and LIF. means: the membrane of every read-out (LI),
    averaged over each tick.
    """

    times: Mapping[str, Times]
    means: Mapping[str, Float[np.ndarray, "T B _"]]


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """Derivatives of a loss, summed over samples.

    weights: dL/dweight of each Dense (out, in). times: dL/d(time) of each Input's spikes [1/s].
    spikes: number of differentiated spikes of LIFs. raised: number of these spikes at which the
    slope of V was raised to ``least``.
    """

    weights: Mapping[str, Float[np.ndarray, "_ _"]]
    times: Mapping[str, Float[np.ndarray, " _"]]
    spikes: int
    raised: int


def compute_activity(graph: Graph, inputs: Mapping[str, Events | Times]) -> Activity:
    """Run a network for training; its spikes equal those of the engine's ``Exact()`` clock.

    Args:
        inputs: spikes of every Input, all with the same T and B.

    Raises:
        ValueError: the inputs do not fit the network; lists every problem by node.
        EventPropError: the network has parts without exact gradients (lists all), or a layer
            exceeds MAX_SPIKES.
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
    """Return the derivatives of a loss by the weights and by the input spike times.

    Args:
        times: its spikes: ``Record.times`` of the engine, or of :func:`compute_activity`.
        by_time: dL/d(time of each spike) of any LIF [1/s], in the order of ``times``.
        by_mean: dL/d(mean membrane in each tick) of any read-out.
        least: slopes at spikes are raised to it [threshold * (1 / tau + 1 / tau_syn)]; 0, the
            default, leaves the gradient exact.

    Raises:
        ValueError: ``by_time`` or ``by_mean`` do not fit the network; lists every problem.
        EventPropError: the network has parts without exact gradients; lists all.
    """
    by_time, by_mean = by_time or {}, by_mean or {}
    _require(graph, times, by_time, by_mean)
    end = next(iter(times.values())).shape[0] * graph.dt
    by_spike = {name: np.zeros(t.time.size) for name, t in times.items()}
    for name, derivative in by_time.items():
        by_spike[name] += derivative
    weights: dict[str, np.ndarray] = {}
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
        _add_derivatives(graph, layer, by_row, by_path, weights, by_spike)
    by_input = {name: by_spike[name] for name in graph.inputs}
    return Gradients(weights=weights, times=by_input, spikes=spikes, raised=raised)


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
    """Return the spikes of a layer until ``end`` [s]; shape: (T, B, N)."""
    size = SPIKES_AT_FIRST * shape[1] * shape[2]
    while True:  # twice at most
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
    """Return the arrivals at a layer before ``end`` [s], and the index of each one's spike.

    The index counts the spikes of all paths, path after path.
    """
    sources = [times[path.source] for path in layer.paths]
    first = np.cumsum([0] + [t.shape[2] for t in sources])
    sample = np.concatenate([t.sample for t in sources])
    time = np.concatenate([t.time + p.delay for t, p in zip(sources, layer.paths, strict=True)])
    pairs = zip(sources, first, strict=False)
    row = np.concatenate([t.neuron.astype(np.int32) + n for t, n in pairs])
    value = np.concatenate([t.value for t in sources]).astype(np.float64)
    order = np.lexsort((time, sample))
    order = order[time[order] < end]
    indptr = np.searchsorted(sample[order], np.arange(sources[0].shape[1] + 1))
    return TimedSpikes(indptr, time[order], row[order], value[order]), order


def _add_derivatives(
    graph: Graph,
    layer: Layer,
    by_row: np.ndarray,
    by_path: np.ndarray,
    weights: dict[str, np.ndarray],
    by_spike: dict[str, np.ndarray],
) -> None:
    """Add a layer's derivatives to ``weights`` and to ``by_spike`` of its sources.

    by_row: dL/drows (R N). by_path: dL/d(time) of the spikes of all paths, path after path.
    """
    row = spike = 0
    for path in layer.paths:
        size, count = graph.size(path.source), by_spike[path.source].size
        if path.dense is not None:
            part = by_row[row : row + size].T
            weights[path.dense] = weights.get(path.dense, 0) + part
        by_spike[path.source] += by_path[spike : spike + count]
        row, spike = row + size, spike + count
