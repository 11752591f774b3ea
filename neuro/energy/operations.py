"""The operations of a run on a chip, by chip layer, and their price.

A chip layer is an Input, a population, or the synapses of one connection between two of them.

Axes: T ticks, B samples, N neurons, K cores.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from neuro.energy.active import Active, count_charged, count_reached
from neuro.energy.chip import Barrier, Chip, Hardware, Interval, OperationEnergies
from neuro.energy.mapping import Placement
from neuro.energy.synapses import (
    Served,
    compose,
    count_synaptic_events,
    iterate_reached_cores,
    sum_by_tick,
)
from neuro.graph import Graph
from neuro.graph.paths import Route
from neuro.record import Record


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A run as any chip sees it.

    composed: the connections of the chip. served: their synaptic events. reached, charged:
    neurons that are active by either rule (:mod:`neuro.energy.active`), by population; charged
    is empty where no chip needs it. fired: spikes in T B, and by_neuron: spikes in all, by
    Input and spiking population.
    """

    ticks: int
    samples: int
    composed: tuple[Route, ...]
    served: tuple[Served, ...]
    reached: Mapping[str, Active]
    charged: Mapping[str, Active]
    fired: Mapping[str, Int[np.ndarray, "T B"]]
    by_neuron: Mapping[str, Int[np.ndarray, " _"]]

    def active(self, chip: Chip) -> Mapping[str, Active]:
        """Return the active neurons by the rule of a chip."""
        return self.charged if chip.charged_is_active else self.reached


class Traffic(NamedTuple):
    """Messages, one for each spike and core it goes to, and their hops.

    hops_x, hops_y: of all messages together. crossings: messages times chip borders.
    """

    messages: int = 0
    hops_x: int = 0
    hops_y: int = 0
    crossings: int = 0


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Operations of one chip layer in a whole run.

    shared_kernel: its synaptic events go through a convolution.
    active_least, active_most: bounds of active (:class:`neuro.energy.active.Active`).
    messages_least: if each spike went to one core only.
    sent: to the cores that hold its targets. sent_most: to every core of their layers.
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
    """Return the work of a run for any chip, and for ``chips`` with rules of their own.

    Raises:
        ValueError: the record is not one of this graph, or a chain of its linear nodes is too
            large to compose.
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
    )


def count_operations(
    graph: Graph, work: Workload, placement: Placement, chip: Chip
) -> dict[str, Operations]:
    """Return the operations of every chip layer: Inputs, then synapses before their population.

    A spike is one message to each core that holds a target, along the mesh first in x, then in
    y; tiles are numbered column by column, and chips lie in a row.
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
        operations[name] = _count_of_node(graph, name, work, placement, chip)
    return operations


def _count_of_node(
    graph: Graph, name: str, work: Workload, placement: Placement, chip: Chip
) -> Operations:
    """Return the operations of an Input, which only sends, or of a population."""
    sent, most = _count_traffic(name, work, placement, chip)
    spikes = int(work.by_neuron[name].sum()) if name in work.by_neuron else 0
    leads = Operations(
        messages_least=spikes if placement.destinations[name] else 0, sent=sent, sent_most=most
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

    Low counts weights of zero as free and sends each spike to one core of its own tile; high
    counts them in full, and sends each spike to every core of the layers it leads to.
    """
    roused = Interval(  # what the bounds of active neurons change
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


def _count_traffic(
    name: str, work: Workload, placement: Placement, chip: Chip
) -> tuple[Traffic, Traffic]:
    """Return what a node sends: to the cores that it reaches, and if it were to all of them."""
    sent, most = np.zeros(4, np.int64), np.zeros(4, np.int64)
    targets = placement.destinations[name] if name in work.by_neuron else ()
    home = placement.layers[name].core_of
    order = np.argsort(home, kind="stable")
    together = np.split(order, np.flatnonzero(np.diff(home[order])) + 1)  # neurons of a core
    here = locate_cores(np.unique(home), chip)
    for target in targets:
        spikes = work.by_neuron[name]
        cores, where = np.unique(placement.layers[target].core_of, return_inverse=True)
        routes = [r for r in work.composed if (r.source, r.target) == (name, target)]
        for first, reached in iterate_reached_cores(routes, len(spikes), where):
            destinations = locate_cores(cores[first : first + reached.shape[1]], chip)
            hops = np.abs(here[:, None] - destinations)
            steps = np.insert(hops, 0, 1, axis=2)  # the message itself, then its hops
            spikes_sent = np.array([spikes[neurons] @ reached[neurons] for neurons in together])
            total = np.array([spikes[neurons].sum() for neurons in together])
            sent += np.einsum("st,stx->x", spikes_sent, steps)
            most += np.einsum("s,stx->x", total, steps)
    return Traffic(*map(int, sent)), Traffic(*map(int, most))


def locate_cores(cores: Int[np.ndarray, " K"], chip: Chip) -> Int[np.ndarray, "K 3"]:
    """Return (x of its tile, y of its tile, chip) of every core.

    A chip begins a column of its own, also behind one whose last column is not full.
    """
    limits = chip.limits
    rows, per_chip = int(limits.tile_rows.value), int(limits.cores.value)
    columns = math.ceil(per_chip / (int(limits.tile_cores.value) * rows))
    which, core = np.divmod(cores, per_chip)
    tile = core // int(limits.tile_cores.value)
    return np.stack([which * columns + tile // rows, tile % rows, which], 1)


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Time [s] of one inference, and of its average tick. bottleneck: the slowest layer."""

    inference: Interval
    tick: Interval
    bottleneck: str


def estimate_latency(graph: Graph, work: Workload, placement: Placement, chip: Chip) -> Latency:
    """Return the time of one inference: the sum over its ticks, averaged over samples.

    Spikes of the host that arrive late, or results that it fetches late, are not in it: a
    measured run can be far slower (keyword spotting on Loihi 1: 0.3 ms a tick).
    """
    low, nominal, high = (
        {n: _time_fullest_core(n, work, placement, chip, bound) for n in graph.populations}
        for bound in ("low", "value", "high")
    )
    used = np.concatenate([placement.layers[n].core_of for n in graph.populations])
    tiles = len(np.unique(locate_cores(np.unique(used), chip), axis=0))
    sync = replace(chip.time.sync.interval, nominal=_interpolate_barrier(chip.barrier, tiles))
    seconds = Interval(
        *(
            float(np.max(list(layers.values()), axis=0).sum(0).mean())
            for layers in (low, nominal, high)
        )
    ) + sync * float(work.ticks)
    slowest = max(nominal, key=lambda n: float(nominal[n].sum()))
    return Latency(inference=seconds, tick=seconds * (1 / work.ticks), bottleneck=slowest)


def _interpolate_barrier(barriers: Sequence[Barrier], tiles: int) -> float:
    """Return the nominal seconds of the barrier among so many tiles."""
    seconds = [b.time.value for b in barriers]
    return float(np.interp(tiles, [b.tiles for b in barriers], seconds))


def _time_fullest_core(
    name: str, work: Workload, placement: Placement, chip: Chip, bound: str
) -> np.ndarray:
    """Return the seconds (T, B) of the fullest core of a population."""
    cost = {k: getattr(v, bound) for k, v in vars(chip.time).items()}
    layer, into = placement.layers[name], [s for s in work.served if s.target == name]
    active, fired = work.active(chip)[name], work.fired.get(name, 0)
    busy = {"low": active.least, "value": active.neurons, "high": active.most}[bound]
    update = busy * cost["active"] + (layer.neurons - busy) * cost["inactive"]
    served = sum(
        (s.events_all if bound == "high" else s.events)
        * cost["synapse_conv" if s.shared_kernel else "synapse"]
        for s in into
    )
    messages = sum(work.fired[n] for n in sorted({s.source for s in into}))
    share = layer.per_core / layer.neurons
    neurons = share * (update + fired * cost["spike"])
    return np.asarray(np.maximum(neurons, share * served + messages * cost["message"]))
