"""Joules per inference on a chip, in three nested tiers.

    core    synaptic events, neuron updates, spikes, messages and hops of the run
    chip    core + static power of the chips x time of an inference
    system  chip + power of the host x the same time; it has no nominal value if no nominal host
            power is published

The low end counts weights of zero as free, the cheapest traffic, and static power for the used
cores only; nominal and high count whole chips.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, NamedTuple

from neuro.base.arguments import make_type_error, require_ticks
from neuro.base.units import Joules, Seconds
from neuro.energy.chip import Bounds, Chip, Constant, Hardware, Interval, sum_intervals
from neuro.energy.chip_file import find_chip, load_chips
from neuro.energy.conventions import (
    ConventionalEnergy,
    SynapticOperations,
    price_by_convention,
)
from neuro.energy.count import count_arrivals, count_host_macs, require_record, restrict_to_chip
from neuro.energy.latency import STATES, CoreLoad, Latency, estimate_latency, measure_loads
from neuro.energy.mapping import Cores, Placement, place, place_as_given
from neuro.energy.networks import join_layers, join_messages, name_layer
from neuro.energy.one_core import OneCoreChip, load_one_core_chips, price_one_core
from neuro.energy.operations import (
    Operations,
    Workload,
    count_operations,
    count_workload,
    price_operations,
)
from neuro.energy.traffic import count_sent
from neuro.graph import Graph
from neuro.graph.requirements import require_graph
from neuro.spikes.record import Record, require_records


class NetworkRuns(NamedTuple):
    """A network's estimate, and how often an inference runs the network."""

    estimate: "Estimate"
    runs: int


@dataclass(frozen=True, kw_only=True)
class EnergyTiers:
    """The cost of an inference on one chip; energies in joules.

    static: the leakage in the chip tier.
    convention: the 45 nm convention, whatever the chip.
    host_macs: operations per inference that the host does instead of the chip (see
        :mod:`neuro.graph.partition`), by node. Their energy is in no tier.
    loads: how busy each core is; empty for a chip of one core.
    silent: Inputs and populations without a spike in the record; what they feed costs nothing
        here.
    misfits: why the chip cannot run the network, if the network's integers were checked.
    """

    chip: Hardware
    ticks: int
    samples: int
    core: Interval
    static: Interval
    system: Interval | Bounds
    placement: Placement
    latency: Latency
    loads: tuple[CoreLoad, ...]
    convention: ConventionalEnergy
    host_macs: Mapping[str, int]
    silent: tuple[str, ...] = ()
    misfits: Sequence[str] | None = None

    @property
    def whole_chip(self) -> Interval:
        """The chip tier."""
        return self.core + self.static

    @property
    def static_share(self) -> float:
        """The static share of the nominal chip tier."""
        return self.static.nominal / self.whole_chip.nominal


@dataclass(frozen=True, kw_only=True)
class Estimate(EnergyTiers):
    """One network on one chip, per inference.

    parts: the core tier by chip layer and part.
    operations: operations of the whole run by chip layer.
    A chip layer is an Input, a population, or the synapses between two of them: a chain of
    linear nodes is one chip layer, "pool1+conv2".
    """

    parts: Mapping[str, Mapping[str, Interval]]
    operations: Mapping[str, Operations]

    @property
    def networks(self) -> Mapping[str, NetworkRuns]:
        """The network itself, which runs once."""
        return {"": NetworkRuns(self, 1)}

    def layer(self, name: str) -> Interval:
        """Return the core tier of one chip layer."""
        return sum_intervals(list(self.parts[name].values()))


def estimate(
    graph: Graph,
    record: Record,
    chip: Hardware | str,
    run_time: Seconds | None = None,
    ann_passes: int | None = None,
    cores: Cores | None = None,
) -> Estimate:
    """Return the cost of the run in ``record`` on ``chip``.

    graph: the network.
    record: with the spikes of every Input and firing population. Records of the torch clock and
        of the event engine under ``Grid()`` give the same estimate; a record of the integers
        gives that of the lowered network. A record of the exact clock is accepted if no neuron
        fires twice in a tick.
    chip: the chip, or the name or file that :func:`neuro.energy.find_hardware` takes.
    run_time: measured time of one inference [s], used instead of the estimated time; a host
        that sends spikes slowly makes it longer, and static energy with it.
    ann_passes: how often the ANN of the same shape, to which the 45 nm convention compares the
        run, computes its layers per inference: the number of steps of a sequence. None: once,
        or once per tick if the graph has a loop.
    cores: the core of each neuron, by population and in C order, instead of the placement of
        :func:`neuro.energy.place`: for the placement of a simulator or a compiler.

    Raises:
        TypeError: an argument has a wrong type.
        ValueError: there is no such chip; the record does not belong to this graph, or has no
            tick or sample; run_time is negative or not finite; ann_passes < 1; cores do not fit
            the graph; the graph has chains of linear nodes that no chip can hold (lists all
            with a cure); or a host computes all of it.
    """
    return next(iter(estimate_chips(graph, record, (chip,), run_time, ann_passes, cores)))


def estimate_chips(
    graph: Graph,
    record: Record,
    chips: Iterable[Hardware | str] | None = None,
    run_time: Seconds | None = None,
    ann_passes: int | None = None,
    cores: Cores | None = None,
) -> tuple[Estimate, ...]:
    """Return :func:`estimate` for several chips (None: all chips); counts the run only once."""
    require_graph(graph)
    require_records(record=record)
    if not (record.ticks and record.samples):
        raise ValueError("the record is empty (no tick or no sample); run at least one sample")
    if run_time is not None and not isinstance(run_time, Real):
        raise make_type_error("run_time", "a number of seconds", run_time, "1 ms is 1e-3")
    if run_time is not None and not 0 <= run_time < math.inf:
        raise ValueError(f"run_time must be finite and >= 0 s, got {run_time}; measure it anew")
    if ann_passes is not None:
        require_ticks("ann_passes", ann_passes, "1 is one pass for an inference")
    chosen = find_chips() if chips is None else find_hardware(chips)
    require_record(graph, record)
    foreign = [name for name in record.spikes if name not in graph.nodes]
    if foreign:
        raise ValueError(
            f"the record does not belong to this graph: it has no {', '.join(foreign)}; run "
            "this graph"
        )
    part, done = restrict_to_chip(graph, record)
    work = count_workload(part, done, chosen)
    arrived = count_arrivals(graph, record)
    at_45nm = price_by_convention(graph, record, arrived, ann_passes=ann_passes)
    host = {name: macs * record.ticks for name, macs in count_host_macs(graph).items() if macs}
    nodes = (*graph.sources, *graph.firing)
    silent = tuple(name for name in nodes if not record.spikes[name].value.any())
    return tuple(
        replace(
            ESTIMATORS[type(chip)](part, work, chip, run_time, at_45nm, cores),
            host_macs=host,
            silent=silent,
        )
        for chip in chosen
    )


def _place(graph: Graph, work: Workload, chip: Chip, cores: Cores | None) -> Placement:
    if cores is None:
        return place(graph, chip, composed=work.composed)
    return place_as_given(graph, chip, cores, work.composed)


def find_chips(
    chips: Iterable[Chip | str] | None = None, more: Iterable[str] = ()
) -> tuple[Chip, ...]:
    """Return chips, which may be given by the name or file that ``find_chip`` takes; None: all.

    more: names of other chips that the caller takes, for the messages.

    Raises:
        TypeError: the argument is a single chip, or contains something other than chips.
        ValueError: there is no such chip, or the argument is empty.
    """
    if chips is None:
        return tuple(load_chips().values())
    if isinstance(chips, str) or not isinstance(chips, Iterable):
        cure = 'for example ["loihi1"], or None for all there are'
        raise make_type_error("chips", "several chips, or their names", chips, cure)
    chosen = []
    for chip in chips:
        if not isinstance(chip, Chip | str):
            raise make_type_error("a chip", "a Chip or its name", chip, 'for example "loihi1"')
        chosen.append(find_chip(chip, more) if isinstance(chip, str) else chip)
    if not chosen:
        raise ValueError("no chips; name one at least, or give None for all there are")
    return tuple(chosen)


def find_hardware(chips: Iterable[Hardware | str]) -> tuple[Hardware, ...]:
    """Return chips of any kind, which may be given by name or file as for :func:`find_chips`.

    Chips of one core (:func:`neuro.energy.load_one_core_chips`) are found by name only.
    """
    one_core = load_one_core_chips()
    if isinstance(chips, str) or not isinstance(chips, Iterable):
        return find_chips(chips)  # says what is wrong
    named = [one_core.get(c, c) if isinstance(c, str) else c for c in chips]
    others: list[Any] = [c for c in named if not isinstance(c, OneCoreChip)]
    found = iter(find_chips(others, one_core) if others or not named else ())
    return tuple(c if isinstance(c, OneCoreChip) else next(found) for c in named)


def _estimate_one_core(
    graph: Graph,
    work: Workload,
    chip: OneCoreChip,
    run_time: float | None,
    at_45nm: ConventionalEnergy,
    cores: Cores | None,
) -> Estimate:
    """Return the estimate for a graph that a chip of one core runs completely."""
    if cores is not None:
        raise ValueError(f"cores are given, and {chip.hardware} has one; leave them out")
    return Estimate(
        chip=chip,
        ticks=work.ticks,
        samples=work.samples,
        convention=at_45nm,
        host_macs={},
        loads=(),
        **price_one_core(graph, work, chip, run_time)._asdict(),
    )


def _estimate_on_mesh(
    graph: Graph,
    work: Workload,
    chip: Chip,
    run_time: float | None,
    at_45nm: ConventionalEnergy,
    cores: Cores | None,
) -> Estimate:
    """Return the estimate for a graph that a chip with a mesh of cores runs completely."""
    placement = _place(graph, work, chip, cores)
    return price_placement(graph, work, chip, placement, at_45nm, run_time)


def price_placement(
    graph: Graph,
    work: Workload,
    chip: Chip,
    placement: Placement,
    convention: ConventionalEnergy,
    run_time: float | None = None,
) -> Estimate:
    """Return the estimate for a graph that the chip runs completely, with this placement."""
    sent = count_sent(work.by_neuron, work.composed, placement)
    ops = count_operations(graph, work, chip, sent)
    priced = {name: price_operations(o, chip.energy) for name, o in ops.items()}
    parts = {
        name: {part: x * (1 / work.samples) for part, x in of_layer.items()}
        for name, of_layer in priced.items()
    }
    core = sum_intervals([x for part in parts.values() for x in part.values()])
    timing = estimate_latency(graph, work, placement, chip, sent)
    seconds = timing.inference if run_time is None else Interval.exact(run_time)
    used = placement.cores / chip.limits.cores.value
    powered = replace(Interval.exact(placement.chips), low=used)
    static = chip.power.static.interval * powered * seconds
    host, tier, powered = chip.power.host, core + static, powered * seconds
    system: Interval | Bounds = Bounds(
        tier.low + host.low * powered.low, tier.high + host.high * powered.high
    )
    if isinstance(host, Constant):
        system = tier + host.interval * powered
    return Estimate(
        chip=chip,
        ticks=work.ticks,
        samples=work.samples,
        core=core,
        static=static,
        system=system,
        parts=parts,
        operations=ops,
        placement=placement,
        latency=timing,
        loads=measure_loads(graph, work, placement, chip, sent),
        convention=convention,
        host_macs={},
    )


# By class of chip.
ESTIMATORS: Mapping[type[Hardware], Callable[..., Estimate]] = {
    Chip: _estimate_on_mesh,
    OneCoreChip: _estimate_one_core,
}


@dataclass(frozen=True, kw_only=True)
class JoinedEstimate(EnergyTiers):
    """Several networks on one chip, per inference.

    Layers are named by :func:`neuro.energy.networks.name_layer`.

    runs: by network.
    samples: number of samples of the first network.
    """

    runs: Mapping[str, NetworkRuns]

    @property
    def networks(self) -> Mapping[str, NetworkRuns]:
        """The estimates of the networks."""
        return self.runs


def join_estimates(networks: Mapping[str, NetworkRuns]) -> Estimate | JoinedEstimate:
    """Return one estimate for all networks together, which must be for the same chip."""
    (first, runs), *others = networks.values()
    if not others and runs == 1:
        return first
    placement = _join_placements(networks)
    static, host = Interval(), Interval()
    for estimate, runs in networks.values():
        share = replace(
            Interval.exact(runs * placement.chips / estimate.placement.chips),
            low=runs * placement.cores / estimate.placement.cores,
        )
        static += share * _subtract(estimate.whole_chip, estimate.core)
        host += share * _subtract(estimate.system, estimate.whole_chip)
    core = sum_intervals([estimate.core * runs for estimate, runs in networks.values()])
    system: Interval | Bounds = core + static + host
    if isinstance(first.system, Bounds):  # as for all: the host belongs to the chip
        system = Bounds(system.low, system.high)
    ticks = sum(runs * estimate.ticks for estimate, runs in networks.values())
    return JoinedEstimate(
        chip=first.chip,
        ticks=ticks,
        samples=first.samples,
        core=core,
        static=static,
        system=system,
        placement=placement,
        latency=_join_latencies(networks, ticks),
        loads=_join_loads(networks),
        convention=_join_conventions(networks),
        host_macs=join_layers(
            {
                name: {node: runs * macs for node, macs in estimate.host_macs.items()}
                for name, (estimate, runs) in networks.items()
            }
        ),
        silent=tuple(join_messages({name: x.silent for name, (x, _) in networks.items()})),
        misfits=join_messages({name: x.misfits or () for name, (x, _) in networks.items()}),
        runs=networks,
    )


def _subtract(tier: Interval | Bounds, below: Interval) -> Interval:
    """Return what a tier adds to the one below; 0 if no nominal value is published."""
    nominal = 0.0 if tier.nominal is None else tier.nominal - below.nominal
    return Interval(tier.low - below.low, nominal, tier.high - below.high)


def _join_placements(networks: Mapping[str, NetworkRuns]) -> Placement:
    """Return the placement of all networks, one after the other."""
    layers, destinations, cores, first = {}, {}, 0, 0
    for network, (estimate, _) in networks.items():
        placement = estimate.placement
        layers[network] = {
            name: replace(
                layer,
                first_core=layer.first_core + first,
                given=tuple(core + first for core in layer.given),
            )
            if layer.cores  # Inputs take none and enter at core 0
            else layer
            for name, layer in placement.layers.items()
        }
        destinations[network] = {
            name: tuple(name_layer(network, target) for target in targets)
            for name, targets in placement.destinations.items()
        }
        cores += placement.cores
        first += _count_slots(estimate)
    any_network, _ = next(iter(networks.values()))
    return Placement(
        layers=join_layers(layers),
        destinations=join_layers(destinations),
        cores=cores,
        chips=max(1, math.ceil(first / any_network.chip.cores_per_chip)),
    )


def _count_slots(estimate: Estimate) -> int:
    """Return the number of cores of a network, including cores left free between used ones."""
    placed = [x.core_of for x in estimate.placement.layers.values() if x.cores]
    return max(estimate.placement.cores, *(1 + int(core_of.max()) for core_of in placed))


def _join_latencies(networks: Mapping[str, NetworkRuns], ticks: int) -> Latency:
    seconds = {k: estimate.latency.inference * runs for k, (estimate, runs) in networks.items()}
    total = sum_intervals(list(seconds.values()))
    slowest = max(seconds, key=lambda network: seconds[network].nominal)
    return Latency(
        inference=total,
        tick=Interval(total.low / ticks, total.nominal / ticks, total.high / ticks),
        bottleneck=name_layer(slowest, networks[slowest].estimate.latency.bottleneck),
        states={
            state: sum(runs * e.latency.states[state] for e, runs in networks.values())
            for state in STATES
        },
    )


def _join_loads(networks: Mapping[str, NetworkRuns]) -> tuple[CoreLoad, ...]:
    """Return the loads of all networks, whose cores follow each other."""
    loads, first = list[CoreLoad](), 0
    for network, (estimate, runs) in networks.items():
        loads += [
            CoreLoad(
                core=load.core + first,
                layer=name_layer(network, load.layer),
                memory=runs * load.memory,
                compute=runs * load.compute,
                sending=runs * load.sending,
                arriving=runs * load.arriving,
            )
            for load in estimate.loads
        ]
        first += _count_slots(estimate)
    return tuple(loads)


def _join_conventions(networks: Mapping[str, NetworkRuns]) -> ConventionalEnergy:
    """Return the 45 nm figures; figures per synapse refer to the synapses of all networks."""
    each = [(estimate.convention, runs) for estimate, runs in networks.values()]
    synapses = sum(c.synapses for c, _ in each)
    ticks = sum(runs * e.convention.synapses * e.ticks for e, runs in networks.values())
    spikes = sum(runs * c.spikes_per_synapse * c.synapses for c, runs in each)
    even = sum(runs * c.break_even_spikes_per_synapse * c.synapses for c, runs in each)
    break_even = even / synapses if synapses else 0.0
    return ConventionalEnergy(
        snn=Joules(sum(runs * c.snn for c, runs in each)),
        ann=Joules(sum(runs * c.ann for c, runs in each)),
        ann_passes=sum(runs * c.ann_passes for c, runs in each),
        host=Joules(sum(runs * c.host for c, runs in each)),
        synapses=synapses,
        spikes_per_synapse=spikes / synapses if synapses else 0.0,
        break_even_spikes_per_synapse=break_even,
        break_even_rate=break_even * synapses / ticks if ticks else 0.0,
        operations=SynapticOperations(
            acs=sum(runs * c.operations.acs for c, runs in each),
            macs=sum(runs * c.operations.macs for c, runs in each),
            dense=sum(runs * c.operations.dense for c, runs in each),
        ),
    )
