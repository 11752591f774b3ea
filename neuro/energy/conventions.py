"""The 45 nm convention: one accumulate or multiply-accumulate per synaptic event, nothing else.

It leaves out memory, addressing, neurons, network and leakage, which dominate on real chips.
neuro prints it because papers do, with the activity below which a spiking network saves energy
in this convention.
"""

from dataclasses import dataclass

import numpy as np

from neuro.base.units import Joules
from neuro.energy.chip import Constant
from neuro.energy.count import Arrivals, count_macs
from neuro.graph import Concat, Connection, Exceeds, Graph, Hosted, Reshaping, Weighted
from neuro.spikes.record import Record


@dataclass(frozen=True, kw_only=True)
class ArithmeticEnergies:
    """Energy of arithmetic on numbers of one kind [J]. mac: multiply and add. ac: add."""

    mac: Constant
    ac: Constant


@dataclass(frozen=True, kw_only=True)
class PublishedBreakEven:
    """A paper's figure for when a spiking network needs less energy than its ANN."""

    statement: str
    low: float
    high: float
    unit: str
    source: str


@dataclass(frozen=True, kw_only=True)
class SynapticOperations:
    """Operations per inference as NeuroBench 2.3 counts them, for comparison with its tables.

    In connections with weights, products of a non-zero arriving value and a non-zero weight
    count as acs ("Effective_ACs") if all arriving values are -1, 0 or 1, else as macs
    ("Effective_MACs"). dense ("Dense") counts all pairs in each tick, including zeros. Biases,
    pools and norms count nothing. NeuroBench decides between acs and macs at each call of a
    layer, this count once for a whole run.
    """

    acs: float
    macs: float
    dense: float


@dataclass(frozen=True, kw_only=True)
class ConventionalEnergy:
    """Joules per inference by the 45 nm convention.

    snn: energy of the run.
    ann: energy of ``ann_passes`` dense passes of a network with the same shape.
    host: the share of snn that host nodes and GatedLIs take; each pass of ann contains it too.
    synapses: number of synapses of all nodes with weights.
    spikes_per_synapse: events through weights, including zeros, per synapse and inference.
    break_even_spikes_per_synapse: number at which accumulates cost as much as the ANN's
        multiply-accumulates.
    break_even_rate: the same number per tick.
    operations: the operations that NeuroBench counts.
    """

    snn: Joules
    ann: Joules
    ann_passes: int
    host: Joules
    synapses: int
    spikes_per_synapse: float
    break_even_spikes_per_synapse: float
    break_even_rate: float
    operations: SynapticOperations


PUBLISHED_BREAK_EVENS = (
    PublishedBreakEven(
        statement="digital hardware with memory and addressing, depending on model and size",
        low=0.15,
        high=1.38,
        unit="spikes per synapse per inference",
        source="Dampfhoffer et al. 2023, IEEE TETCI 7(3)",
    ),
    PublishedBreakEven(
        statement="against a quantised ANN of log2(T+1) bits, T in 5..10 (v4 of 2026: 0.057)",
        low=0.0,
        high=0.064,
        unit="spikes per neuron per tick",
        source="Yan, Bai, Wong 2024, arXiv 2409.08290v3",
    ),
)


NUMBERS = {  # multiply and add [pJ]
    "float32": (3.7, 0.9),
    "int8": (0.2, 0.03),
}


def horowitz45(numbers: str = "float32") -> ArithmeticEnergies:
    """Return the energies of arithmetic on "float32" or "int8" numbers at 45 nm."""
    multiply, add = NUMBERS[numbers]
    mac, ac = (
        Constant(
            value=picojoules * 1e-12,
            low=picojoules * 1e-12,
            high=picojoules * 1e-12,
            unit="J",
            process="45 nm",
            condition=f"0.9 V, {numbers}, arithmetic only",
            source=f"Horowitz 2014, ISSCC: multiply {multiply} pJ, add {add} pJ",
            confidence="source",
        )
        for picojoules in (multiply + add, add)
    )
    return ArithmeticEnergies(mac=mac, ac=ac)


def price_by_convention(
    graph: Graph,
    record: Record,
    arrived: tuple[Arrivals, ...],
    ann_passes: int | None = None,
) -> ConventionalEnergy:
    """Return the figures of a run, given its :func:`neuro.energy.count.count_arrivals`.

    An event is an accumulate. It is a multiply-accumulate in a node with weights whose source
    emits values other than -1, 0 and 1 anywhere in the record (analog input, or the output of a
    pool or a host node). An operation of a host is a multiply-accumulate.

    ann_passes: how often the ANN computes its layers per inference. None: once, as for an image
        that is shown for all ticks; if the graph has a loop, once per tick, as a recurrent ANN
        does along a sequence.
    """
    if ann_passes is None:
        group = {name: members for members in graph.components for name in members}
        has_loop = any(group[e.source] == group[e.target] for e in graph.edges)
        ann_passes = record.ticks if has_loop else 1
    cost = horowitz45()
    real = {n for n in graph.nodes if emits_real_values(graph, record, n)}
    weighted = {n for n, x in graph.nodes.items() if isinstance(x, Weighted)}
    accumulates, multiplied, weighted_events, unweighted = 0, 0, 0, 0
    for edge, events, events_all in arrived:
        if edge.target in weighted and edge.source in real:
            multiplied += int(events.sum())
        else:
            accumulates += int(events.sum())
            unweighted += int(events.sum()) * (edge.target not in weighted)
        weighted_events += int(events_all.sum()) * (edge.target in weighted)
    dense = count_macs(graph)
    synapses = sum(x for n, x in dense.items() if n in weighted)
    hosted = sum(x for n, x in dense.items() if isinstance(graph.nodes[n], Hosted))
    host = record.ticks * hosted * cost.mac.value
    additions, ratio = _count_additions(graph), cost.mac.value / cost.ac.value
    return ConventionalEnergy(
        snn=Joules(
            (accumulates * cost.ac.value + multiplied * cost.mac.value) / record.samples + host
        ),
        ann=Joules(
            ann_passes * ((synapses + hosted) * cost.mac.value + additions * cost.ac.value)
        ),
        ann_passes=ann_passes,
        host=Joules(host),
        synapses=synapses,
        spikes_per_synapse=weighted_events / (synapses * record.samples) if synapses else 0.0,
        break_even_spikes_per_synapse=ratio * ann_passes,
        break_even_rate=ratio * ann_passes / record.ticks,
        operations=SynapticOperations(
            acs=(accumulates - unweighted) / record.samples,
            macs=multiplied / record.samples,
            dense=float(synapses * record.ticks),
        ),
    )


def emits_real_values(graph: Graph, record: Record, name: str) -> bool:
    """Return whether a node outputs values other than -1, 0 and 1 anywhere in a run."""
    node = graph.nodes[name]
    if name in record.spikes:
        return bool((~np.isin(record.spikes[name].value, (-1, 0, 1))).any())
    if isinstance(node, Reshaping | Concat):
        return any(emits_real_values(graph, record, e.source) for e in graph.into(name))
    return isinstance(node, Connection | Hosted) and not isinstance(node, Exceeds)


def _count_additions(graph: Graph) -> int:
    """Count the additions of one dense pass: pools, and direct edges into populations."""
    pools = sum(
        x
        for n, x in count_macs(graph).items()
        if isinstance(graph.nodes[n], Connection) and not isinstance(graph.nodes[n], Weighted)
    )
    direct = sum(
        graph.size(e.source)
        for e in graph.edges
        if e.target in graph.populations and not isinstance(graph.nodes[e.source], Connection)
    )
    return pools + direct
