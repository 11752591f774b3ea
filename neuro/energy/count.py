"""Counts the operations of a run from its spikes alone; computes what other nodes emit.

**Synaptic event**: one non-zero value that arrives at one target. A value that a node emits at
tick t over an edge with delay d arrives at t + d, and counts if t + d < T.

- Dense and convolutions: one event per output in range of the arriving value (products with the
  padding are not events); ``synaptic_events`` leaves out events through a weight of zero.
- Sparse: one event per synapse of the arriving value's row, once its delay is over.
- AvgPool2d: one event per window that contains the value. Upsample: one per value of its block.
  Flatten, Unflatten, Concat, and nodes that a host computes (:mod:`neuro.graph.host_ops`):
  none.
- A direct edge from spikes into a population: one event per spike, counted on the population.
- A current (LI) into its population: none, because it is part of the neuron.

The values that arrive from one linear node at another (say, from a pool at a convolution) are
computed in float64, biases included, and so are the outputs of host nodes and GatedLIs. A bias
itself is not an event. The event engine counts in the same way; a chip composes the chain first
and counts by :mod:`neuro.energy.synapses`. The functions at the end count the operations of the
host beside a chip, and the values that it sends to the chip.
Axes: T ticks, B samples, N values of a node.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from neuro.graph import Concat, Connection, Edge, Graph, Host, Hosted, Node, Weighted
from neuro.graph.connections import FanOut, get_bias, get_weight
from neuro.graph.partition import chip_part, find_host_nodes
from neuro.graph.requirements import require_graph
from neuro.graph.sparse import unroll_delays
from neuro.io.graph_digest import digest_graph, list_foreign_record
from neuro.neurons import LI, is_leaky_integrator, is_neuron, run_population
from neuro.spikes import list_problems, list_problems_of_order, to_events
from neuro.spikes.record import Counts, Record, require_records


class Arrivals(NamedTuple):
    """Synaptic events over one edge: through non-zero weights, and through all weights."""

    edge: Edge
    events: Int[np.ndarray, "T B"]
    events_all: Int[np.ndarray, "T B"]


def count(graph: Graph, record: Record) -> dict[str, Counts]:
    """Return the operations of every node, summed over ticks and samples.

    ``updates`` is the number for a clocked machine: neurons x ticks x samples.

    Raises:
        ValueError: the record does not belong to this graph.
    """
    require_record(graph, record)
    arrived, counts = count_arrivals(graph, record), {}
    macs, passes = count_macs(graph), record.ticks * record.samples
    for name in graph.nodes:
        into = [a for a in arrived if a.edge.target == name]
        neurons = graph.size(name) if name in graph.populations else 0
        spikes = record.spikes[name].value if name in record.spikes else np.zeros(0)
        counts[name] = Counts(
            spikes=int((spikes != 0).sum()),
            synaptic_events=sum(int(a.events.sum()) for a in into),
            synaptic_events_all=sum(int(a.events_all.sum()) for a in into),
            updates=neurons * passes,
            macs=macs[name] * passes if isinstance(graph.nodes[name], Hosted) else 0,
        )
    return counts


def count_arrivals(graph: Graph, record: Record) -> tuple[Arrivals, ...]:
    """Return the synaptic events of every edge, in the order of ``graph.edges``.

    Raises:
        ValueError: the record does not belong to this graph.
    """
    require_record(graph, record)
    whole, (graph, origin) = graph, unroll_delays(graph)
    fans = [count_fan_out(graph, e) for e in graph.edges]
    sources = {e.source for e, fan in zip(graph.edges, fans, strict=True) if fan.every.any()}
    events_of_edges = np.zeros((len(graph.edges), 2, record.ticks, record.samples), np.int64)
    for sample, spikes in iterate_rasters(graph, record):
        emitted = compute_node_outputs(graph, sources, spikes)
        for k, (e, fan) in enumerate(zip(graph.edges, fans, strict=True)):
            if e.source in emitted:
                arrived = (delay_raster(emitted[e.source], e.delay) != 0).astype(np.float64)
                events_of_edges[k, :, :, sample] = (arrived @ np.stack(fan, 1)).T
    events = {e: np.zeros(events_of_edges.shape[1:], np.int64) for e in whole.edges}
    for e, pair in zip(graph.edges, events_of_edges, strict=True):
        if origin.get(e, e) in events:  # not an edge from a part of a Sparse to the whole
            events[origin.get(e, e)] += pair
    return tuple(Arrivals(e, *pair) for e, pair in events.items())


def count_macs(graph: Graph) -> dict[str, int]:
    """Return the multiply-accumulates of one dense pass, by connection, host node and GatedLI.

    For a connection, it is one per pair of an input value and an output in its range; for an
    AvgPool2d it is the number of additions. Host nodes and GatedLIs give their own number of
    operations.
    """
    macs = {}
    for name, node in graph.nodes.items():
        if isinstance(node, Connection):
            macs[name] = int(node.fan_out(graph.input_shape(name)).every.sum())
        elif isinstance(node, Hosted):
            macs[name] = node.macs(graph.input_shape(name))
    return macs


def count_fan_out(graph: Graph, edge: Edge) -> FanOut:
    """Return how many events each value of ``edge.source`` causes at ``edge.target``."""
    node, shape = graph.nodes[edge.target], graph.shapes[edge.source]
    if isinstance(node, Connection):
        return node.fan_out(shape)
    source = graph.nodes[edge.source]
    values = isinstance(source, Connection | Host) or (is_neuron(source) and not source.fires)
    passes_on = values or isinstance(node, Host)
    fan = np.full(graph.size(edge.source), 0 if passes_on else 1)
    return FanOut(fan, fan)


def iterate_rasters(
    graph: Graph, record: Record
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Yield (sample, float64 rasters of its Inputs and spiking populations), in order.

    Call :func:`require_record` first; the graph may have been unrolled since.
    """
    spiking = [*graph.sources, *graph.firing]
    # One search for all samples: a search per sample would go through all events each time.
    edges = np.arange(record.samples + 1, dtype=np.int32)
    bounds = {n: np.searchsorted(record.spikes[n].sample, edges) for n in spiking}
    for s in range(record.samples):
        rasters = {}
        for n in spiking:
            events, here = record.spikes[n], slice(bounds[n][s], bounds[n][s + 1])
            rasters[n] = np.zeros((record.ticks, graph.size(n)))
            rasters[n][events.tick[here], events.neuron[here]] = events.value[here]
        yield s, rasters


def require_record(graph: Graph, record: Record) -> None:
    """Raise one ValueError that lists why a record's operations cannot be counted."""
    require_record_of(graph, record)
    problems = [
        f"{name}: a neuron fires more than once in a tick; record with clock=Grid(), or a "
        "smaller dt"
        for name in (*graph.sources, *graph.firing)
        if name in record.times and record.times[name].time.size > record.spikes[name].tick.size
    ]
    if problems:
        head = "operations are counted by tick, and those of this record (exact clock) are not:"
        raise ValueError("\n".join([head, *problems]))


def require_record_of(graph: Graph, record: Record) -> None:
    """Raise an error unless a record belongs to a graph.

    Raises:
        TypeError: the arguments are not a Graph and a Record.
        ValueError: lists every difference.
    """
    require_graph(graph)
    require_records(record=record)
    problems = []
    for name in (*graph.sources, *graph.firing):
        expected = (record.ticks, record.samples, graph.size(name))
        if name not in record.spikes:
            problems.append(
                f"{name}: the record has no spikes of it; record every spiking node"
            )
        elif tuple(record.spikes[name].shape) != expected:
            shape = tuple(record.spikes[name].shape)
            problems.append(
                f"{name}: spikes of shape {shape}, the graph needs {expected} (T, B, N)"
            )
    if not problems and not record.digest:  # made by hand: nobody has checked it
        problems = [
            f"{name}: {problem}"
            for name in (*graph.sources, *graph.firing)
            for train in [record.spikes[name]]
            for problem in list_problems(train, graph.dt) or list_problems_of_order(train)
        ]
    if problems := problems or list_foreign_record(graph, record):
        raise ValueError("\n".join(["the record does not belong to this graph:", *problems]))


def count_host_macs(graph: Graph) -> dict[str, int]:
    """Return the operations per tick and sample of each node that a host computes.

    For a connection that leads to a host node these are its :func:`neuro.energy.count_macs`.
    """
    macs = count_macs(graph)
    return {name: macs[name] for name in find_host_nodes(graph)}


def restrict_to_chip(graph: Graph, record: Record) -> tuple[Graph, Record]:
    """Return the part of a graph that a chip runs, and the record of that part.

    A host sends each non-zero value as a graded spike, every tick.

    Raises:
        ValueError: the record does not belong to this graph, or nothing runs on a chip.
    """
    require_record(graph, record)
    part = chip_part(graph)
    entering = [n for n in part.inputs if n not in graph.inputs]
    sent = {
        n: np.zeros((record.ticks, record.samples, part.size(n)), np.float64) for n in entering
    }
    if entering:
        whole = unroll_delays(graph).graph
        for sample, spikes in iterate_rasters(graph, record):
            emitted = compute_node_outputs(whole, entering, spikes)
            for name, values in sent.items():
                values[:, sample] = emitted[name]
    kept = {n: e for n, e in record.spikes.items() if n in part.nodes}
    driven = kept | {n: to_events(v) for n, v in sent.items()}
    return part, replace(record, spikes=driven, digest=digest_graph(part))


def compute_node_outputs(
    graph: Graph, names: Iterable[str], spikes: Mapping[str, Float[np.ndarray, "T _"]]
) -> dict[str, Float[np.ndarray, "T _"]]:
    """Return what each of the nodes ``names`` emits, including delays and biases.

    spikes: one sample's raster of every Input and spiking population; its dtype is used for the
        arithmetic.
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
    """Return ``x`` shifted by ``delay`` ticks; values that would arrive after T are dropped."""
    y = np.zeros_like(x)
    y[delay:] = x[: max(len(x) - delay, 0)]
    return y


def mark_nonzero_weights(graph: Graph) -> Graph:
    """Return the same graph with 1 for every non-zero weight and bias.

    If it gets zeros and ones, its linear nodes emit values > 0 exactly where something arrived,
    and its LIs, which forget within a tick, pass that on.
    """
    nodes: dict[str, Node] = {}
    for name, node in graph.nodes.items():
        nodes[name] = LI(tau=graph.dt / 1000) if is_leaky_integrator(node) else node
        if isinstance(node, Weighted):
            bias = None if node.bias is None else node.bias != 0
            nodes[name] = node.with_weight(node.weight != 0, bias)
    return replace(graph, nodes=nodes)


def mark_all_weights(graph: Graph) -> Graph:
    """Return the same graph as mark_nonzero_weights, but with 1 for weights of zero too."""
    nodes = {
        n: node.with_weight(np.ones_like(node.weight), node.bias)
        if isinstance(node, Weighted)
        else node
        for n, node in graph.nodes.items()
    }
    return mark_nonzero_weights(replace(graph, nodes=nodes))


@torch.no_grad()
def _apply(graph: Graph, name: str, x: np.ndarray) -> np.ndarray:
    """Return a node's output for the values of all ticks (T, *shape)."""
    node, cases = graph.nodes[name], torch.from_numpy(x)
    if isinstance(node, Host):
        return np.asarray(node.run(cases))
    if is_neuron(node) and not node.fires:
        return np.asarray(run_population(node, cases[:, None], graph.dt)[0][:, 0])
    if not isinstance(node, Connection):
        raise TypeError(f"{name} spikes: its raster is needed")
    weight, bias = get_weight(node, cases.dtype), get_bias(node, cases.dtype)
    return np.asarray(node.apply(cases, weight, bias))
