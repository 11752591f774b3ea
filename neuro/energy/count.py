"""How many operations a run needed, from its spikes alone.

**Synaptic event**: one non-zero value that arrives at one target. A value that a node emits at
tick t over an edge of delay d arrives at t + d, and counts if t + d < T.

- Dense and convolutions: one event for every output in range of the arriving value (products
  with the padding are none); ``synaptic_events`` leaves out those through a weight of zero.
- Sparse: one event for every synapse of the arriving value's row, once its delay is over.
- AvgPool2d: one event for every window that contains the value. Upsample: one for every value
  of its block. Flatten, Unflatten, Concat, and what a host computes
  (:mod:`neuro.graph.host_ops`): none.
- A direct edge from spikes into a population: one event a spike, counted on the population.
- A current (LI) into its population: none; it is part of the neuron.

Between two linear nodes (say, a pool and a convolution) the values that arrive are computed in
float64, biases included, as is what host nodes and GatedLIs put out. A bias itself is no event.
This is the count of the event engine; a chip composes the chain first and counts by
:mod:`neuro.energy.synapses`.
Axes: T ticks, B samples, N values of a node.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from neuro.energy.node_outputs import delayed, outputs, support
from neuro.graph import (
    AvgPool2d,
    Concat,
    Connection,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Edge,
    Graph,
    Host,
    Hosted,
    Reshaping,
    Sparse,
    Upsample,
)
from neuro.graph.sparse import unrolled
from neuro.neurons import is_neuron
from neuro.record import Counts, Record


class Arrivals(NamedTuple):
    """Synaptic events over one edge: through weights that are not zero, and through all."""

    edge: Edge
    events: Int[np.ndarray, "T B"]
    events_all: Int[np.ndarray, "T B"]


def count(graph: Graph, record: Record) -> dict[str, Counts]:
    """Return the operations of every node, summed over ticks and samples.

    ``updates`` are those of a clocked machine: neurons x ticks x samples.

    Raises:
        ValueError: the record is not one of this graph.
    """
    arrived, counts = arrivals(graph, record), {}
    each, ran = macs(graph), record.ticks * record.samples
    for name in graph.nodes:
        into = [a for a in arrived if a.edge.target == name]
        neurons = graph.size(name) if name in graph.populations else 0
        spikes = record.spikes[name].value if name in record.spikes else np.zeros(0)
        counts[name] = Counts(
            spikes=int((spikes != 0).sum()),
            synaptic_events=sum(int(a.events.sum()) for a in into),
            synaptic_events_all=sum(int(a.events_all.sum()) for a in into),
            updates=neurons * ran,
            macs=each[name] * ran if isinstance(graph.nodes[name], Hosted) else 0,
        )
    return counts


def arrivals(graph: Graph, record: Record) -> tuple[Arrivals, ...]:
    """Return the synaptic events of every edge, in the order of ``graph.edges``."""
    whole, (graph, origin) = graph, unrolled(graph)
    fans = [fan_out(graph, e) for e in graph.edges]
    sources = {e.source for e, (_, every) in zip(graph.edges, fans, strict=True) if every.any()}
    found = np.zeros((len(graph.edges), 2, record.ticks, record.samples), np.int64)
    for sample, spikes in rasters(graph, record):
        emitted = outputs(graph, sources, spikes)
        for k, (e, fan) in enumerate(zip(graph.edges, fans, strict=True)):
            if e.source in emitted:
                arrived = (delayed(emitted[e.source], e.delay) != 0).astype(np.float64)
                found[k, :, :, sample] = (arrived @ np.stack(fan, 1)).T
    events = {e: np.zeros(found.shape[1:], np.int64) for e in whole.edges}
    for e, pair in zip(graph.edges, found, strict=True):
        if origin.get(e, e) in events:  # not one from a part of a Sparse to the whole
            events[origin.get(e, e)] += pair
    return tuple(Arrivals(e, *pair) for e, pair in events.items())


def active(graph: Graph, record: Record) -> dict[str, Int[np.ndarray, "T B"]]:
    """Return how many neurons of each population were active, by tick and sample.

    Active: something reached the neuron in that tick, through weights that are not zero or from
    a bias, even where it sums to zero; or the neuron fired. A host node and a GatedLI put out a
    value every tick; a GatedLI is always active.
    """
    graph = unrolled(graph).graph
    reach = support(graph)
    found = {
        n: np.full((record.ticks, record.samples), graph.size(n)) for n in graph.populations
    }
    always = {
        n: np.ones((record.ticks, graph.size(n)), np.float32)
        for n, node in graph.nodes.items()
        if isinstance(node, Hosted)
    }
    for sample, spikes in rasters(graph, record):
        present = {n: (x != 0).astype(np.float32) for n, x in spikes.items()}
        emitted = outputs(reach, {e.source for e in graph.edges}, {**always, **present})
        for name, counted in found.items():
            if name in always:
                continue
            busy = sum(delayed(emitted[e.source], e.delay) for e in graph.into(name))
            counted[:, sample] = (busy + present.get(name, 0) > 0).sum(1)
    return found


def macs(graph: Graph) -> dict[str, int]:
    """Return the multiply-accumulates of one dense pass, by connection, host node and GatedLI.

    Of a connection, one for every pair of an input value and an output in its range. An
    AvgPool2d only adds: its number is that of additions. Of the others, their operations.
    """
    found = {}
    for name, node in graph.nodes.items():
        if isinstance(node, Connection):
            found[name] = int(fan_out(graph, graph.into(name)[0])[1].sum())
        elif isinstance(node, Hosted):
            found[name] = node.macs(graph.shapes[graph.into(name)[0].source])
    return found


def fan_out(graph: Graph, edge: Edge) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """Return, for each value of ``edge.source``, its events at ``edge.target``.

    The first leaves out weights of zero, the second does not.
    """
    node, shape = graph.nodes[edge.target], graph.shapes[edge.source]
    if isinstance(node, Dense):
        return through_matrix(node.weight)
    if isinstance(node, Sparse):
        used = np.bincount(node.source, node.weight != 0, node.at.size - 1)
        return used.astype(np.int64), np.diff(node.at)
    if isinstance(node, Conv2d):
        return through_kernel(node.weight, shape, node.stride, node.padding)
    if isinstance(node, Conv1d):
        row, stride, padding = (shape[0], 1, shape[1]), (1, node.stride), (0, node.padding)
        return through_kernel(node.weight[:, :, None], row, stride, padding)
    if isinstance(node, ConvTranspose2d):
        return _through_transposed(node, shape, graph.shapes[edge.target])
    if isinstance(node, AvgPool2d):
        kernels = np.ones((shape[0], *node.kernel), np.int64)
        fan = _in_windows(kernels, shape, node.stride, (0, 0))
        return fan, fan
    if isinstance(node, Upsample):
        fan = np.full(graph.size(edge.source), node.scale[0] * node.scale[1])
        return fan, fan
    source = graph.nodes[edge.source]
    values = isinstance(source, Connection | Host) or (is_neuron(source) and not source.fires)
    passes_on = values or isinstance(node, Reshaping | Concat | Host)
    fan = np.full(graph.size(edge.source), 0 if passes_on else 1)
    return fan, fan


def through_matrix(
    weight: Float[np.ndarray, "out N"],
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """Return the :func:`fan_out` of a matrix."""
    n_out, n_in = weight.shape
    return (weight != 0).sum(0), np.full(n_in, n_out)


def through_kernel(
    weight: Float[np.ndarray, "C_out C_in kH kW"],
    shape: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """Return the :func:`fan_out` of a convolution of images of ``shape`` (C_in, H, W)."""
    kernels = (weight != 0).sum(0)
    every = np.full_like(kernels, len(weight))
    return (
        _in_windows(kernels, shape, stride, padding),
        _in_windows(every, shape, stride, padding),
    )


def _through_transposed(
    node: ConvTranspose2d, shape: tuple[int, ...], out: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the :func:`fan_out` of a transposed convolution from ``shape`` to ``out``."""
    kernels = (node.weight != 0).sum(1)
    rows, columns = (
        _painted(shape[k], kernels.shape[k], out[k], node.stride[k - 1], node.padding[k - 1])
        for k in (1, 2)
    )
    every = np.full_like(kernels, node.weight.shape[1])
    useful, ranged = (
        np.einsum("ckl,hk,wl->chw", x, rows, columns).ravel() for x in (kernels, every)
    )
    return useful, ranged


def _painted(size: int, kernel: int, out: int, stride: int, padding: int) -> np.ndarray:
    """Return (size, kernel): 1 where input i paints kernel position k inside the output."""
    place = np.arange(size)[:, None] * stride - padding + np.arange(kernel)
    return np.asarray((place >= 0) & (place < out), np.int64)


def _in_windows(
    kernels: np.ndarray,
    shape: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> np.ndarray:
    """Return, for each input position (C, H, W), ``kernels`` summed over the windows it is in.

    kernels: (C, kH, kW), what one kernel position contributes.
    """
    rows, columns = (
        _meets(shape[1 + a], kernels.shape[1 + a], stride[a], padding[a]) for a in (0, 1)
    )
    fan: np.ndarray = np.einsum("ckl,hk,wl->chw", kernels, rows, columns)
    return fan.ravel()


def _meets(size: int, kernel: int, stride: int, padding: int) -> np.ndarray:
    """Return (size, kernel): 1 where input i meets kernel position k in some window, else 0."""
    out = (size + 2 * padding - kernel) // stride + 1
    start = np.arange(size)[:, None] + padding - np.arange(kernel)
    met = (start >= 0) & (start % stride == 0) & (start // stride < out)
    return np.asarray(met, np.int64)


def rasters(graph: Graph, record: Record) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Yield (sample, the float64 rasters of its Inputs and spiking populations), in order.

    Raises:
        ValueError: the record is not one of this graph.
    """
    spiking = [*graph.inputs, *graph.firing]
    _check(graph, record, spiking)
    # One search for all samples: a search each would walk over all events each time.
    edges = np.arange(record.samples + 1, dtype=np.int32)
    bounds = {n: np.searchsorted(record.spikes[n].sample, edges) for n in spiking}
    for s in range(record.samples):
        found = {}
        for n in spiking:
            events, here = record.spikes[n], slice(bounds[n][s], bounds[n][s + 1])
            found[n] = np.zeros((record.ticks, graph.size(n)))
            found[n][events.tick[here], events.neuron[here]] = events.value[here]
        yield s, found


def _check(graph: Graph, record: Record, spiking: list[str]) -> None:
    found = []
    for name in spiking:
        expected = (record.ticks, record.samples, graph.size(name))
        if name not in record.spikes:
            found.append(f"{name}: the record has no spikes of it; record every spiking node")
        elif tuple(record.spikes[name].shape) != expected:
            shape = tuple(record.spikes[name].shape)
            found.append(
                f"{name}: spikes of shape {shape}, the graph needs {expected} (T, B, N)"
            )
    if found:
        raise ValueError("\n".join(["the record does not belong to this graph:", *found]))
