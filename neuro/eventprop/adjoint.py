"""The activity of a network in continuous time, and the derivatives of a loss on it.

Nothing is kept from the forward run but its spikes: memory grows with them, not with time.

Where V only grazes the threshold its slope at the spike goes to 0 and the gradient to infinity.
Training may bound it: slopes below ``least`` thresholds per time constant (1 / tau + 1 /
tau_syn) are raised to that, and every result says how many. A neuron that never fires has no
gradient.
Axes: T ticks, B samples, N neurons, E spikes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from neuro.eventprop.layers import EventPropError, Layer, layers
from neuro.eventprop.readout import back_means, means
from neuro.eventprop.spiking import Cell, Room, Train, back, currents, fire
from neuro.graph import Graph
from neuro.graph.inputs import require_inputs
from neuro.neurons import LI
from neuro.spikes import Times

BUDGET = 10**8  # spikes of one layer in one run


@dataclass(frozen=True, kw_only=True)
class Activity:
    """What a network did in continuous time.

    times: the spikes of every Input and LIF. means: the membrane of every read-out (LI),
    averaged over each tick.
    """

    times: Mapping[str, Times]
    means: Mapping[str, Float[np.ndarray, "T B _"]]


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """Derivatives of a loss, summed over samples.

    weights: by the weight of each Dense (out, in). times: by the times of each Input's spikes.
    spikes: of all LIFs. raised: those whose slope was raised because it grazed.
    """

    weights: Mapping[str, Float[np.ndarray, "_ _"]]
    times: Mapping[str, Float[np.ndarray, " _"]]
    spikes: int
    raised: int


def activity(graph: Graph, inputs: Mapping[str, Times]) -> Activity:
    """Run a network for training: the spikes that the engine's ``Exact()`` clock finds.

    Args:
        graph: the network.
        inputs: spikes of every Input, all with the same T and B.

    Raises:
        ValueError: the inputs do not fit the network; lists every problem by node.
        EventPropError: the network has parts without exact gradients (lists all), or a layer
            runs away.
    """
    require_inputs(graph, inputs)
    times, read = dict(inputs), {}
    ticks, samples, _ = next(iter(inputs.values())).shape
    end = ticks * graph.dt
    for layer in layers(graph):
        train, _ = _arrivals(layer, times, end)
        if layer.cell is None:
            rows = layer.gain * layer.rows
            read[layer.name] = means(layer.leak, rows, train, ticks, graph.dt)
        else:
            shape = (ticks, samples, graph.size(layer.name))
            times[layer.name] = _fired(layer, layer.cell, train, shape, end)
    return Activity(times=times, means=read)


def gradients(
    graph: Graph,
    times: Mapping[str, Times],
    *,
    by_time: Mapping[str, Float[np.ndarray, " _"]] | None = None,
    by_mean: Mapping[str, Float[np.ndarray, "T B _"]] | None = None,
    least: float = 0.0,
) -> Gradients:
    """Carry the derivative of a loss back to the weights.

    Args:
        graph: the network.
        times: its spikes: ``Record.times`` of the engine, or of :func:`activity`.
        by_time: dL/d(time of each spike) of any LIF [1/s], in the order of ``times``.
        by_mean: dL/d(mean membrane in each tick) of any read-out.
        least: slopes at spikes are raised to it [threshold * (1 / tau + 1 / tau_syn)]; 0, the
            default, leaves the gradient exact.

    Raises:
        ValueError: a derivative is asked by what is not there.
        EventPropError: the network has parts without exact gradients; lists all.
    """
    by_time, by_mean = by_time or {}, by_mean or {}
    _require(graph, times, by_time, by_mean)
    end = next(iter(times.values())).shape[0] * graph.dt
    pull = {name: np.zeros(t.time.size) for name, t in times.items()}
    for name, given in by_time.items():
        pull[name] += given
    weights: dict[str, np.ndarray] = {}
    spikes = raised = 0
    for layer in reversed(layers(graph)):
        train, order = _arrivals(layer, times, end)
        if layer.cell is None:
            if layer.name not in by_mean:
                continue
            rows = layer.gain * layer.rows
            asked = np.ascontiguousarray(by_mean[layer.name], np.float64)
            by_row, by_arrival = back_means(layer.leak, rows, train, asked, graph.dt)
            by_row *= layer.gain
        else:
            own = _train(times[layer.name])
            own = own._replace(value=currents(layer.cell, layer.rows, train, own))
            by_row, by_arrival, few = back(
                layer.cell, layer.rows, train, own, pull[layer.name], least
            )
            spikes, raised = spikes + own.time.size, raised + few
        by_path = np.zeros(sum(pull[path.source].size for path in layer.paths))
        by_path[order] = by_arrival
        _hand_back(graph, layer, by_row, by_path, weights, pull)
    by_input = {name: pull[name] for name in graph.inputs}
    return Gradients(weights=weights, times=by_input, spikes=spikes, raised=raised)


def _require(
    graph: Graph,
    times: Mapping[str, Times],
    by_time: Mapping[str, np.ndarray],
    by_mean: Mapping[str, np.ndarray],
) -> None:
    """Raise one ValueError that lists every derivative that does not fit."""
    ticks, samples, _ = next(iter(times.values())).shape
    problems = []
    for name, given in by_time.items():
        if name not in times or given.shape != times[name].time.shape:
            problems.append(
                f"by_time {name}: needs one value for each spike of an Input or LIF"
            )
    for name, given in by_mean.items():
        read = name in graph.nodes and isinstance(graph.nodes[name], LI)
        if not read or given.shape != (ticks, samples, graph.size(name)):
            problems.append(f"by_mean {name}: needs axes T B N of a read-out (LI)")
    if problems:
        raise ValueError("\n".join(["there is no gradient of that loss:", *problems]))


def _fired(
    layer: Layer, cell: Cell, train: Train, shape: tuple[int, int, int], end: float
) -> Times:
    """Return the spikes of a layer until ``end``."""
    size = 4 * shape[1] * shape[2]
    while True:  # twice at most
        room = Room(np.empty(size), np.empty(size, np.int32), np.zeros(1, np.int64))
        at = fire(cell, layer.rows, train, end, room)
        many = int(at[-1])
        if many <= size:
            break
        if many > BUDGET:
            raise EventPropError(
                [f"{layer.name}: runs away, {many:,} spikes in one run; lower its weights"]
            )
        size = many
    sample = np.repeat(np.arange(shape[1], dtype=np.int32), np.diff(at))
    return Times(sample, room.time[:many], room.neuron[:many], np.ones(many), shape)


def _arrivals(layer: Layer, times: Mapping[str, Times], end: float) -> tuple[Train, np.ndarray]:
    """Return what reaches a layer before ``end``, and which spike of its paths each one is."""
    heard = [times[path.source] for path in layer.paths]
    first = np.cumsum([0] + [t.shape[2] for t in heard])
    sample = np.concatenate([t.sample for t in heard])
    time = np.concatenate([t.time + p.delay for t, p in zip(heard, layer.paths, strict=True)])
    row = np.concatenate([t.neuron + n for t, n in zip(heard, first, strict=False)])
    value = np.concatenate([t.value for t in heard]).astype(np.float64)
    order = np.lexsort((time, sample))
    order = order[time[order] < end]
    at = np.searchsorted(sample[order], np.arange(heard[0].shape[1] + 1))
    return Train(at, time[order], row[order], value[order]), order


def _train(times: Times) -> Train:
    at = np.searchsorted(times.sample, np.arange(times.shape[1] + 1))
    return Train(at, times.time, times.neuron, times.value)


def _hand_back(
    graph: Graph,
    layer: Layer,
    by_row: np.ndarray,
    by_path: np.ndarray,
    weights: dict[str, np.ndarray],
    pull: dict[str, np.ndarray],
) -> None:
    """Add a layer's derivatives to those of its weights and of its sources' spike times."""
    row = spike = 0
    for path in layer.paths:
        size, many = graph.size(path.source), pull[path.source].size
        if path.dense is not None:
            part = by_row[row : row + size].T
            weights[path.dense] = weights.get(path.dense, 0) + part
        pull[path.source] += by_path[spike : spike + many]
        row, spike = row + size, spike + many
