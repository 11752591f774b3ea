"""The synapses of a chip, one connection per path, and the cores that a spike reaches.

A chip has no pools. A chain of linear nodes is composed into one connection
(:mod:`neuro.graph.paths`), and every spike of its source costs that connection's fan-out: two
spikes in one pooling window are two sets of synaptic events, but one value for
:func:`neuro.energy.count`.
Axes: T ticks, B samples, N neurons of a source.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from neuro.graph import Graph, Sparse
from neuro.graph.connections import FanOut
from neuro.graph.paths import Route, find_routes
from neuro.graph.requirements import problems_on_a_clock
from neuro.graph.sparse import leave_out_delays
from neuro.spikes import Events
from neuro.spikes.record import Record

NO_DELAYS = "dataclasses.replace(node, delay=None)"
CHUNK = 256  # cores at a time, so that memory stays small however fine the split is


class Served(NamedTuple):
    """Synaptic events of the synapse layer ``name``, by the tick in which they arrive.

    shared_kernel: whether it is a convolution.
    events: events through non-zero weights.
    events_all: events through all weights in range.
    """

    name: str
    source: str
    target: str
    shared_kernel: bool
    events: Int[np.ndarray, "T B"]
    events_all: Int[np.ndarray, "T B"]


def compose(graph: Graph) -> tuple[Route, ...]:
    """Return the connections that a chip needs.

    Delays of single values cost nothing here, since a chip keeps them with its axons or
    synapses, and what they hold back beyond the end of a run counts.

    Raises:
        ValueError: lists, with a cure, every chain of linear nodes that is too large to
            compose, and every Sparse, current and zero-delay loop, which no chip here supports.
    """
    graph = leave_out_delays(graph)
    problems = [
        f"{name}: how a chip stores a Sparse is not known here; price it as the matrix "
        f"neuro.graph.sparse.to_dense({'node' if node.delay is None else NO_DELAYS}), "
        "zeros included"
        for name, node in graph.nodes.items()
        if isinstance(node, Sparse)
    ]
    untimely = problems_on_a_clock(graph)
    problems += untimely
    routes = [] if untimely else find_routes(graph, problems)
    if problems:
        raise ValueError(
            "\n".join(["no chip can hold the connections of this graph:", *problems])
        )
    return tuple(routes)


def count_synaptic_events(
    graph: Graph, record: Record, composed: Sequence[Route]
) -> tuple[Served, ...]:
    """Return the synaptic events of every synapse layer over a whole run.

    A layer is named after its linear nodes; source and target are added if two layers would
    have the same name. Routes that differ only in their delays are one layer.
    """
    layers: dict[tuple[str, tuple[str, ...], str], list[Route]] = {}
    for r in composed:
        layers.setdefault((r.source, r.via, r.target), []).append(r)
    taken = Counter([*graph.inputs, *graph.populations, *(g[0].name for g in layers.values())])
    served = []
    for group in layers.values():
        r = group[0]
        spikes = record.spikes[r.source]
        counts = [
            [sum_by_tick(spikes, fan, x.delay) for fan in count_route_fan_out(x)] for x in group
        ]
        events, events_all = np.sum(counts, 0)
        name = r.name if taken[r.name] == 1 else f"{r.source}->{r.name}->{r.target}"
        served.append(Served(name, r.source, r.target, r.kind == "conv", events, events_all))
    return tuple(served)


def count_route_fan_out(route: Route) -> FanOut:
    """Return how many synaptic events a spike of each source neuron causes."""
    if route.kind == "conv":
        return route.conv.fan_out(route.shape)
    if route.kind == "dense":
        outputs, inputs = route.weight.shape
        return FanOut((route.weight != 0).sum(0), np.full(inputs, outputs))
    if route.kind == "sparse":
        events = np.bincount(route.places[1], minlength=route.sizes[1])
        return FanOut(events, events)
    ones = np.ones(len(route.weight), np.int64)
    return FanOut(ones, ones)


def sum_by_tick(
    spikes: Events, per_neuron: Int[np.ndarray, " N"], delay: int = 0
) -> Int[np.ndarray, "T B"]:
    """Sum ``per_neuron`` over the spikes of each tick, ``delay`` ticks later, before T."""
    ticks, samples, _ = spikes.shape
    sums = np.zeros((ticks, samples), np.int64)
    arrival = spikes.tick.astype(np.int64) + delay
    here = (spikes.value != 0) & (arrival < ticks)
    tick, sample, neuron = (x[here] for x in (arrival, spikes.sample, spikes.neuron))
    np.add.at(sums, (tick, sample), per_neuron[neuron])
    return sums


def iterate_reached_cores(
    routes: Sequence[Route], sources: int, where: Int[np.ndarray, " M"]
) -> Iterator[tuple[int, Bool[np.ndarray, "N K"]]]:
    """Yield (first core, which of it and the next K - 1 cores each source neuron reaches).

    routes: the connections from one source of ``sources`` neurons to one target.
    where: the core of each target neuron, in C order, counted from 0; no core is empty.
    """
    for chunk in _chunk_cores(where):
        reached = np.zeros((sources, len(chunk)), bool)
        for route in routes:
            reached |= _mark_reached(route, where, chunk)
        yield chunk.start, reached


def iterate_reading_cores(
    route: Route, where: Int[np.ndarray, " M"]
) -> Iterator[tuple[int, Bool[np.ndarray, "G P K"]]]:
    """Yield (first core, which of it and the next K - 1 cores see each pixel of each group).

    route: a convolution. where: as in :func:`iterate_reached_cores`, which repeats these values
    for each channel of a group.
    """
    for chunk in _chunk_cores(where):
        yield chunk.start, _mark_pixels(route, where, chunk)


def _chunk_cores(where: Int[np.ndarray, " M"]) -> Iterator[range]:
    cores = int(where.max()) + 1
    return (range(k, min(k + CHUNK, cores)) for k in range(0, cores, CHUNK))


def count_reached_cores(
    routes: Sequence[Route], sources: int, where: Int[np.ndarray, " M"]
) -> Int[np.ndarray, " N"]:
    """Return how many of the cores in ``where`` each source neuron reaches."""
    if [r.kind for r in routes] == ["conv"]:
        (route,) = routes
        seen = sum(pixels.sum(2) for _, pixels in iterate_reading_cores(route, where))
        return np.repeat(seen, route.shape[0] // route.groups, 0).ravel()
    number = np.zeros(sources, np.int64)
    for _, reached in iterate_reached_cores(routes, sources, where):
        number += reached.sum(1)
    return number


def _mark_reached(route: Route, where: np.ndarray, cores: range) -> np.ndarray:
    """Return which of the cores each source neuron reaches; it broadcasts to (N, K)."""
    if route.kind == "dense":
        return np.ones((1, 1), bool)
    if route.kind == "sparse":
        target, source = route.places
        core = where[target] - cores.start
        here = (core >= 0) & (core < len(cores))
        reached = np.zeros((route.sizes[1], len(cores)), bool)
        reached[source[here], core[here]] = True
        return reached
    if route.kind == "identity":
        return np.asarray(where[:, None] == np.array(cores))
    pixels = _mark_pixels(route, where, cores)
    return np.repeat(pixels, route.shape[0] // route.groups, 0).reshape(-1, len(cores))


def _mark_pixels(route: Route, where: np.ndarray, cores: range) -> Bool[np.ndarray, "G P K"]:
    rows, columns = (route.conv.windows_of(axis, n) for axis, n in enumerate(route.shape[1:]))
    windows, groups = rows.shape[1:] + columns.shape[1:], route.groups
    neurons = np.flatnonzero((where >= cores.start) & (where < cores.stop))
    held = np.zeros((groups, len(cores), math.prod(windows)), np.float32)
    group, place = neurons // (len(where) // groups), neurons % held.shape[2]
    held[group, where[neurons] - cores.start, place] = 1
    seen = rows @ held.reshape(groups, -1, *windows) @ columns.T > 0
    return np.asarray(seen.reshape(groups, len(cores), -1).swapaxes(1, 2))
