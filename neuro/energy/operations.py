"""The operations of a run on a chip, by chip layer, and their price.

A chip layer is an Input, a population, or the synapses of one connection between two of them.

Axes: T ticks, B samples, N neurons.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Int

from neuro.energy.active import Active, count_charged, count_reached
from neuro.energy.chip import Chip, Hardware, Interval, OperationEnergies
from neuro.energy.synapses import (
    Served,
    compose,
    count_synaptic_events,
    sum_by_tick,
)
from neuro.energy.traffic import Sent, Traffic, add_traffic
from neuro.graph import Graph
from neuro.graph.paths import Route
from neuro.spikes.record import Record


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A run as any chip sees it.

    composed: the connections of the chip.
    served: their synaptic events.
    reached, charged: active neurons by each of the two rules (:mod:`neuro.energy.active`), by
        population; charged is empty if no chip needs it.
    fired: spikes per tick and sample (T B), by Input and spiking population.
    by_neuron: spikes per neuron over the run, by Input and spiking population.
    sizes: neurons of each population.
    """

    ticks: int
    samples: int
    composed: tuple[Route, ...]
    served: tuple[Served, ...]
    reached: Mapping[str, Active]
    charged: Mapping[str, Active]
    fired: Mapping[str, Int[np.ndarray, "T B"]]
    by_neuron: Mapping[str, Int[np.ndarray, " _"]]
    sizes: Mapping[str, int]

    def active(self, chip: Chip) -> Mapping[str, Active]:
        """Return the active neurons by the chip's rule."""
        return self.charged if chip.charged_is_active else self.reached


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Operations of one chip layer in a whole run.

    shared_kernel: whether its synaptic events go through a convolution.
    active_least, active_most: bounds of active (:class:`neuro.energy.active.Active`).
    messages_least: messages if each spike with a target went to one core only.
    sent: messages to the cores that have its targets.
    sent_most: messages if spikes went to every core of their target layers.
    """

    synaptic_events: int = 0
    synaptic_events_all: int = 0
    shared_kernel: bool = False
    inactive: int = 0
    active: int = 0
    active_least: int = 0
    active_most: int = 0
    spikes: int = 0
    messages_least: int = 0
    sent: Traffic = field(default_factory=Traffic)
    sent_most: Traffic = field(default_factory=Traffic)


def count_workload(graph: Graph, record: Record, chips: Sequence[Hardware] = ()) -> Workload:
    """Return the work of a run for any chip, and for ``chips`` that have their own rules.

    Raises:
        ValueError: the record does not belong to this graph, or one of its chains of linear
            nodes is too large to compose.
    """
    composed = compose(graph)
    charges = any(chip.charged_is_active for chip in chips)
    return Workload(
        ticks=record.ticks,
        samples=record.samples,
        composed=composed,
        served=count_synaptic_events(graph, record, composed),
        reached=count_reached(graph, record),
        charged=count_charged(graph, record, composed) if charges else {},
        fired={
            n: sum_by_tick(e, np.ones(graph.size(n), np.int64))
            for n, e in record.spikes.items()
        },
        by_neuron={
            n: np.bincount(e.neuron[e.value != 0], minlength=e.shape[2])
            for n, e in record.spikes.items()
        },
        sizes={n: graph.size(n) for n in graph.populations},
    )


def count_operations(
    graph: Graph,
    work: Workload,
    chip: Chip,
    sent: Mapping[tuple[str, str], Sent],
) -> dict[str, Operations]:
    """Return the operations of every chip layer: Inputs, then synapses before their population.

    sent: result of :func:`neuro.energy.traffic.count_sent` for a placement.
    """
    operations = {}
    for name in (*graph.inputs, *graph.populations):
        for s in work.served:
            if s.target == name:
                operations[s.name] = Operations(
                    synaptic_events=int(s.events.sum()),
                    synaptic_events_all=int(s.events_all.sum()),
                    shared_kernel=s.shared_kernel,
                )
        operations[name] = _count_of_node(graph, name, work, chip, sent)
    return operations


def _count_of_node(
    graph: Graph,
    name: str,
    work: Workload,
    chip: Chip,
    sent: Mapping[tuple[str, str], Sent],
) -> Operations:
    """Return the operations of an Input, which only sends, or of a population."""
    leaving = [x for (source, _), x in sent.items() if source == name]
    crossed = [x.cross_mesh(chip) for x in leaving]
    reached, most = add_traffic(a for a, _ in crossed), add_traffic(b for _, b in crossed)
    leads = Operations(
        messages_least=int(leaving[0].led.sum()) if leaving else 0,
        sent=reached,
        sent_most=most,
    )
    active = work.active(chip)
    if name not in active:
        return leads
    busy = int(active[name].neurons.sum())
    return replace(
        leads,
        active=busy,
        active_least=int(active[name].least.sum()),
        active_most=int(active[name].most.sum()),
        inactive=graph.size(name) * work.ticks * work.samples - busy,
        spikes=int(work.fired[name].sum()) if name in work.fired else 0,
    )


def price_operations(ops: Operations, energy: OperationEnergies) -> dict[str, Interval]:
    """Return the energy [J] of operations, by part.

    Low counts weights of zero as free and sends each spike to one core on its own tile; high
    counts such weights in full and sends each spike to every core of the layers it leads to.
    """
    roused = Interval(  # the effect of the bounds on active neurons
        low=(ops.active_least - ops.active) * (energy.active.low - energy.inactive.low),
        high=(ops.active_most - ops.active) * (energy.active.high - energy.inactive.high),
    )
    synapse = energy.synapse_conv if ops.shared_kernel else energy.synapse
    events = Interval(
        float(ops.synaptic_events), float(ops.synaptic_events), float(ops.synaptic_events_all)
    )
    least = Traffic(messages=ops.messages_least)
    messages, hops_x, hops_y, crossings = (
        Interval(*map(float, bounds))
        for bounds in zip(least, ops.sent, ops.sent_most, strict=True)
    )
    return {
        "synapse": events * synapse.interval,
        "inactive": energy.inactive.interval * ops.inactive,
        "active": energy.active.interval * ops.active + roused,
        "spike": energy.spike.interval * ops.spikes,
        "message": messages * energy.message.interval,
        "hop": energy.hop_x.interval * hops_x
        + energy.hop_y.interval * hops_y
        + energy.crossing.interval * crossings,
    }
