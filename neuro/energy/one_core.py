"""A chip of one core that steps through all neurons: its clock cycles, and their price.

A network has channels, hidden neurons, and output neurons, which feed nothing. In each tick the
core looks at every channel and updates every neuron; each spike costs the steps through its
targets. The sum is that of Rockpool's cycle model, but with spikes counted per neuron instead
of by mean rate; several spikes of a neuron in one tick cost as much as one.

    core    cycles x energy of a cycle
    chip    core + idle power x the time that these cycles take
    system  chip + power of the pads x the same time

Axes: T ticks, B samples.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

from neuro.energy.chip import (
    Allowed,
    Constant,
    Hardware,
    InJoules,
    Interval,
    InWatts,
    sum_intervals,
)
from neuro.energy.chip_file import FOLDER, ChipError, ChipFileReader
from neuro.energy.latency import Latency
from neuro.energy.mapping import LayerPlacement, Placement
from neuro.energy.operations import Operations, Workload
from neuro.graph import Graph

InCycles = Annotated[Constant, Allowed("cycles")]


@dataclass(frozen=True, kw_only=True)
class OneCoreCycles:
    """Cycles of one operation.

    channel, hidden_current, hidden_neuron, output_neuron: one channel or neuron for one tick.
    channel_synapse: a channel's spike, per hidden neuron.
    hidden_synapse: a hidden neuron's spike, per hidden neuron that it reaches.
    output_synapse: a hidden neuron's spike, per output neuron.
    hidden_spike, output_spike: in addition, to make the spike and to look for outputs.
    """

    channel: InCycles
    channel_synapse: InCycles
    hidden_current: InCycles
    hidden_synapse: InCycles
    hidden_neuron: InCycles
    hidden_spike: InCycles
    output_spike: InCycles
    output_synapse: InCycles
    output_neuron: InCycles


@dataclass(frozen=True, kw_only=True)
class OneCorePower:
    """cycle: energy per cycle [J]. idle, pads: power at rest and of the pads [W]."""

    cycle: InJoules
    idle: InWatts
    pads: InWatts
    clock: Annotated[Constant, Allowed("Hz", least=1)]


@dataclass(frozen=True, kw_only=True)
class OneCoreLimits:
    """What fits. fan_out: hidden neurons that one reaches. synapses: between hidden neurons."""

    channels: Annotated[Constant, Allowed("channels", exact=True, least=1)]
    hidden: Annotated[Constant, Allowed("neurons", exact=True, least=1)]
    outputs: Annotated[Constant, Allowed("neurons", exact=True, least=1)]
    fan_out: Annotated[Constant, Allowed("synapses", exact=True, least=1)]
    synapses: Annotated[Constant, Allowed("synapses", exact=True, least=1)]


@dataclass(frozen=True, kw_only=True)
class OneCoreChip(Hardware):
    """A chip of one core, with one set of constants."""

    cycles: OneCoreCycles
    power: OneCorePower
    limits: OneCoreLimits


ONE_CORE_FOLDER = FOLDER / "one_core"
TABLES = {"cycles": OneCoreCycles, "power": OneCorePower, "limits": OneCoreLimits}
TEXTS = ("title", "description", "hardware")


class OneCorePrice(NamedTuple):
    """The cost of a run; fields as in :class:`neuro.energy.Estimate`."""

    placement: Placement
    operations: dict[str, Operations]
    parts: dict[str, dict[str, Interval]]
    latency: Latency
    core: Interval
    static: Interval
    system: Interval


def load_one_core_chips() -> Mapping[str, OneCoreChip]:
    """Return all chips of the folder ``chips/one_core/``, by name."""
    return _load_folder(ONE_CORE_FOLDER)


@cache
def _load_folder(folder: Path) -> Mapping[str, OneCoreChip]:
    chips = {p.stem: read_one_core_chip(p) for p in sorted(folder.glob("*.toml"))}
    return MappingProxyType(chips)


def read_one_core_chip(path: Path) -> OneCoreChip:
    """Return the chip that a file describes; the format is that of other chips.

    The tables are ``[cycles]``, ``[power]`` and ``[limits]``.

    Raises:
        ChipError: lists all errors, each with its cure.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not TOML, or not UTF-8
        raise ChipError(path, [f"it is not TOML: {error}; mend that place"]) from error
    reader = ChipFileReader()
    own = {k: v.strip() if isinstance(v, str) else v for k, v in content.items()}
    reader.problems += [f"{key}: is empty; write it" for key in own if own[key] == ""]
    for key in own:
        reader.check_name(key, "key", key, ("origins", *TEXTS, *TABLES))
    reader.read_origins(own.get("origins", {}))
    values: dict[str, Any] = {"name": path.stem, "base": "", "charged_is_active": False}
    values |= {k: own[k] for k in TEXTS if k in own}
    for key, kind in TABLES.items():
        table = own.get(key, {})
        values[key] = reader.read_table(key, kind, table) if isinstance(table, dict) else table
    chip: OneCoreChip | None = reader.convert(values, OneCoreChip)
    if chip is None or reader.problems:
        raise ChipError(path, reader.problems)
    return chip


def price_one_core(
    graph: Graph, work: Workload, chip: OneCoreChip, run_time: float | None
) -> OneCorePrice:
    """Return the cost per inference of a run on a chip of one core.

    run_time: measured time of one inference [s], instead of the time of its cycles.
    """
    each = count_cycles(graph, work, chip)
    names = [
        name
        for node in (*graph.inputs, *graph.populations)
        for name in [*(s.name for s in work.served if s.target == node), node]
    ]
    price = chip.power.cycle.interval * (1 / work.samples)
    parts = {name: {part: x * price for part, x in each[name].items()} for name in names}
    totals = {name: sum_intervals(list(each[name].values())) for name in names}
    cycles = sum_intervals(list(totals.values())) * (1 / work.samples)
    clock = chip.power.clock
    seconds = cycles * Interval(1 / clock.high, 1 / clock.value, 1 / clock.low)
    spent = {"memory": 0.0, "compute": 0.0, "traffic": 0.0, "barrier": 0.0}
    for layer in each.values():
        spent["memory"] += layer["synapses"].nominal
        spent["compute"] += layer["neurons"].nominal + layer["spikes"].nominal
    total = sum(spent.values())  # one core does everything in turn
    latency = Latency(
        inference=seconds,
        tick=seconds * (1 / work.ticks),
        bottleneck=max(totals, key=lambda name: totals[name].nominal),
        states={state: seconds.nominal * x / total for state, x in spent.items()},
    )
    if run_time is not None:
        seconds = Interval.exact(run_time)
    core = sum_intervals([x for of_layer in parts.values() for x in of_layer.values()])
    static = chip.power.idle.interval * seconds
    return OneCorePrice(
        placement=_place(graph, work, chip),
        operations=_count_operations(graph, work, names),
        parts=parts,
        latency=latency,
        core=core,
        static=static,
        system=core + static + chip.power.pads.interval * seconds,
    )


def count_cycles(
    graph: Graph, work: Workload, chip: OneCoreChip
) -> dict[str, dict[str, Interval]]:
    """Return the cycles of a whole run by chip layer and part.

    Every spike of a channel steps through all hidden neurons, and every spike of a hidden
    neuron through all output neurons; steps to targets without a connection are counted at the
    source.
    """
    cost = {f.name: getattr(chip.cycles, f.name).interval for f in fields(chip.cycles)}
    outputs = _find_outputs(graph, work)
    hidden = [n for n in graph.populations if n not in outputs]
    passes = work.ticks * work.samples
    cycles = {
        name: {"neurons": Interval(), "spikes": Interval(), "synapses": Interval()}
        for name in (*graph.inputs, *graph.populations, *(s.name for s in work.served))
    }
    for name in graph.inputs:
        cycles[name]["neurons"] = cost["channel"] * (graph.size(name) * passes)
    for name in hidden:
        each = cost["hidden_current"] + cost["hidden_neuron"]
        cycles[name]["neurons"] = each * (graph.size(name) * passes)
        per_spike = cost["hidden_spike"] + cost["output_spike"]
        cycles[name]["spikes"] = per_spike * _count_spikes(work, name)
    for name in outputs:
        cycles[name]["neurons"] = cost["output_neuron"] * (graph.size(name) * passes)
    for sources, targets, step in (
        (graph.inputs, hidden, "channel_synapse"),
        (hidden, outputs, "output_synapse"),
    ):
        for source in sources:
            for target in targets:
                taken = [
                    s.name for s in work.served if (s.source, s.target) == (source, target)
                ]
                here = taken[0] if taken else source
                steps = _count_spikes(work, source) * graph.size(target)
                cycles[here]["synapses"] += cost[step] * steps
    for s in work.served:
        if s.source in hidden and s.target in hidden:
            cycles[s.name]["synapses"] = cost["hidden_synapse"] * int(s.events.sum())
    return cycles


def _find_outputs(graph: Graph, work: Workload) -> list[str]:
    """Return the populations that feed no other."""
    feeding = {s.source for s in work.served}
    return [n for n in graph.populations if n not in feeding]


def _count_spikes(work: Workload, name: str) -> int:
    """Count a node's spikes: pairs of neuron, tick and sample in which it fired."""
    return int(work.by_neuron[name].sum()) if name in work.by_neuron else 0


def _place(graph: Graph, work: Workload, chip: OneCoreChip) -> Placement:
    """Place all populations on one core, with their share of its neurons.

    If there are more neurons of a kind than the core has, the largest population says so.
    """
    outputs = _find_outputs(graph, work)
    hidden = [n for n in graph.populations if n not in outputs]
    layers = {}
    for limit, names, what in (
        ("channels", graph.inputs, "input channels"),
        ("hidden", hidden, "hidden neurons"),
        ("outputs", outputs, "output neurons"),
    ):
        most = getattr(chip.limits, limit).value
        needed = sum(graph.size(name) for name in names)
        for name in names:
            size = graph.size(name)
            problem = ""
            if needed > most and name == max(names, key=graph.size):
                problem = (
                    f"{chip.hardware} has {most:g} {what}, the network needs {needed:,}; make "
                    "this layer smaller"
                )
            layers[name] = LayerPlacement(
                neurons=size,
                cores=int(limit != "channels"),  # Inputs take none
                per_core=size if limit != "channels" else 0,
                use={limit: size / most} if limit != "channels" else {},
                problem=problem,
            )
    targets = {
        n: tuple(dict.fromkeys(s.target for s in work.served if s.source == n)) for n in layers
    }
    return Placement(layers=layers, destinations=targets, cores=1, chips=1)


def _count_operations(
    graph: Graph, work: Workload, names: Iterable[str]
) -> dict[str, Operations]:
    """Return the operations of each chip layer in the whole run."""
    served = {s.name: s for s in work.served}
    operations = {}
    for name in names:
        if name in served:
            events, every = served[name].events, served[name].events_all
            operations[name] = Operations(
                synaptic_events=int(events.sum()), synaptic_events_all=int(every.sum())
            )
            continue
        neurons = graph.size(name) if name in graph.populations else 0
        spikes = _count_spikes(work, name) if name in graph.populations else 0
        passes = neurons * work.ticks * work.samples
        operations[name] = Operations(active=passes, spikes=spikes)
    return operations
