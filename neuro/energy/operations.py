"""What a run asks of a chip: operations by chip layer, and their price.

A chip layer is an Input, a population, or the synapses of one way between two of them.

Axes: T ticks, B samples, N neurons.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from neuro.energy.chips import Chip, Energy
from neuro.energy.constants import Interval
from neuro.energy.count import active
from neuro.energy.mapping import Placement
from neuro.energy.synapses import Served, by_tick, compose, served
from neuro.graph import Graph
from neuro.record import Record
from neuro.routes import Route
from neuro.spikes import Events


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A run as any chip sees it.

    composed: the connections of the chip. served: their synaptic events. active: active
    neurons, by population. fired: spikes in T B, and by_neuron: spikes in all, by Input and
    spiking population.
    """

    ticks: int
    samples: int
    composed: tuple[Route, ...]
    served: tuple[Served, ...]
    active: Mapping[str, Int[np.ndarray, "T B"]]
    fired: Mapping[str, Int[np.ndarray, "T B"]]
    by_neuron: Mapping[str, Int[np.ndarray, " _"]]


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Operations of one chip layer in a whole run.

    shared_kernel: its synaptic events go through a convolution.
    messages_least: if each spike went to one core only.
    hops_x, hops_y: of all messages together. crossings: messages times chip borders.
    """

    synaptic_events: int = 0
    synaptic_events_all: int = 0
    shared_kernel: bool = False
    inactive: int = 0
    active: int = 0
    spikes: int = 0
    messages_least: int = 0
    messages: int = 0
    hops_x: int = 0
    hops_y: int = 0
    crossings: int = 0


def workload(graph: Graph, record: Record) -> Workload:
    """Return what a run asks of any chip.

    Raises:
        ValueError: the record is not one of this graph, or a chain of its linear nodes is too
            large to compose.
    """
    composed = compose(graph)
    busy = active(graph, record)
    return Workload(
        ticks=record.ticks,
        samples=record.samples,
        composed=composed,
        served=served(graph, record, composed),
        active=busy,
        fired={
            n: by_tick(e, np.ones(graph.size(n), np.int64)) for n, e in record.spikes.items()
        },
        by_neuron={n: _by_neuron(e) for n, e in record.spikes.items()},
    )


def operations(
    graph: Graph, work: Workload, placement: Placement, chip: Chip
) -> dict[str, Operations]:
    """Return the operations of every chip layer: Inputs, then synapses before their population.

    A spike is one message to each core of each layer it leads to, along the mesh first in x,
    then in y; tiles are numbered column by column, and chips lie in a row.
    """
    found = {}
    for name in (*graph.inputs, *graph.populations):
        for s in work.served:
            if s.target == name:
                found[s.name] = Operations(
                    synaptic_events=int(s.events.sum()),
                    synaptic_events_all=int(s.events_all.sum()),
                    shared_kernel=s.shared_kernel,
                )
        found[name] = _of_neurons(graph, name, work, placement, chip)
    return found


def _of_neurons(
    graph: Graph, name: str, work: Workload, placement: Placement, chip: Chip
) -> Operations:
    """Return the operations of an Input, which only sends, or of a population."""
    least, messages, hops_x, hops_y, crossings = _traffic(name, work, placement, chip)
    sent = Operations(
        messages_least=least,
        messages=messages,
        hops_x=hops_x,
        hops_y=hops_y,
        crossings=crossings,
    )
    if name not in work.active:
        return sent
    busy = int(work.active[name].sum())
    return replace(
        sent,
        active=busy,
        inactive=graph.size(name) * work.ticks * work.samples - busy,
        spikes=int(work.fired[name].sum()) if name in work.fired else 0,
    )


def price(ops: Operations, energy: Energy) -> dict[str, Interval]:
    """Return the energy [J] of operations, by part.

    Low counts weights of zero as free and sends each spike to one core of its own tile; high
    counts them in full.
    """
    each = energy.synapse_conv if ops.shared_kernel else energy.synapse
    events = Interval(
        float(ops.synaptic_events), float(ops.synaptic_events), float(ops.synaptic_events_all)
    )
    messages = Interval(float(ops.messages_least), float(ops.messages), float(ops.messages))
    transport = (
        energy.hop_x.interval * ops.hops_x
        + energy.hop_y.interval * ops.hops_y
        + energy.crossing.interval * ops.crossings
    )
    return {
        "synapse": events * each.interval,
        "inactive": energy.inactive.interval * ops.inactive,
        "active": energy.active.interval * ops.active,
        "spike": energy.spike.interval * ops.spikes,
        "message": messages * energy.message.interval,
        "hop": replace(transport, low=0.0),
    }


def _traffic(
    name: str, work: Workload, placement: Placement, chip: Chip
) -> tuple[int, int, int, int, int]:
    """Return (least messages, messages, hops in x, hops in y, crossings) of one node."""
    if name not in work.by_neuron:
        return 0, 0, 0, 0, 0
    layers = [placement.layers[t] for t in placement.destinations[name]]
    to = [c for x in layers for c in range(x.first_core, x.first_core + x.cores)]
    spikes = placement.layers[name].spread(work.by_neuron[name])
    sent = np.array(list(spikes.values()))
    here, there = _positions(list(spikes), chip), _positions(to, chip)
    hops_x, hops_y, crossings = sent @ np.abs(here[:, None] - there).sum(1)
    total_sent = int(sent.sum())
    least = total_sent if to else 0
    return least, total_sent * len(to), int(hops_x), int(hops_y), int(crossings)


def _positions(cores: list[int], chip: Chip) -> np.ndarray:
    """Return (x of its tile, y of its tile, chip) of every core."""
    core = np.array(cores, np.int64)
    rows = int(chip.limits.tile_rows.value)
    tile = core // int(chip.limits.tile_cores.value)
    return np.stack([tile // rows, tile % rows, core // int(chip.limits.cores.value)], 1)


def _by_neuron(events: Events) -> np.ndarray:
    return np.bincount(events.neuron[events.value != 0], minlength=events.shape[2])
