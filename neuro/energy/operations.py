"""What a run asks of a chip: operations by node, and their price.

Axes: T ticks, B samples, N neurons.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from neuro.energy.chips import Chip, Energy
from neuro.energy.constants import Interval
from neuro.energy.count import Arrivals, active, arrivals, total
from neuro.energy.mapping import Placement
from neuro.graph import AvgPool2d, Conv2d, Graph
from neuro.record import Counts, Record
from neuro.spikes import Events


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A run as any chip sees it.

    arrivals: by edge. active: active neurons, by population. fired: spikes in T B, and
    by_neuron: spikes in all, by Input and spiking population. counts: by node.
    """

    ticks: int
    samples: int
    arrivals: tuple[Arrivals, ...]
    active: Mapping[str, Int[np.ndarray, "T B"]]
    fired: Mapping[str, Int[np.ndarray, "T B"]]
    by_neuron: Mapping[str, Int[np.ndarray, " _"]]
    counts: Mapping[str, Counts]


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Operations of one node in a whole run.

    shared_kernel: its synaptic events go through a convolution or a pool.
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
        ValueError: the record is not one of this graph.
    """
    arrived = arrivals(graph, record)
    return Workload(
        ticks=record.ticks,
        samples=record.samples,
        arrivals=arrived,
        active=active(graph, record),
        fired={n: _by_tick(e) for n, e in record.spikes.items()},
        by_neuron={n: _by_neuron(e) for n, e in record.spikes.items()},
        counts=total(graph, record, arrived),
    )


def operations(
    graph: Graph, work: Workload, placement: Placement, chip: Chip
) -> dict[str, Operations]:
    """Return the operations of every node.

    A spike is one message to each core of each layer it leads to, along the mesh first in x,
    then in y; tiles are numbered column by column, and chips lie in a row.
    """
    found = {}
    for name, node in graph.nodes.items():
        counts = work.counts[name]
        busy = int(work.active[name].sum()) if name in work.active else 0
        least, messages, hops_x, hops_y, crossings = _traffic(name, work, placement, chip)
        found[name] = Operations(
            synaptic_events=counts.synaptic_events,
            synaptic_events_all=counts.synaptic_events_all,
            shared_kernel=isinstance(node, (Conv2d, AvgPool2d)),
            inactive=counts.updates - busy,
            active=busy,
            spikes=counts.spikes if name in graph.populations else 0,
            messages_least=least,
            messages=messages,
            hops_x=hops_x,
            hops_y=hops_y,
            crossings=crossings,
        )
    return found


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


def _by_tick(events: Events) -> np.ndarray:
    ticks, samples, _ = events.shape
    found = np.zeros((ticks, samples), np.int64)
    np.add.at(found, (events.tick, events.sample), events.value != 0)
    return found


def _by_neuron(events: Events) -> np.ndarray:
    return np.bincount(events.neuron[events.value != 0], minlength=events.shape[2])
