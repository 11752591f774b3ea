"""Cuts of a network over several chips, and the spikes that cross from chip to chip.

A population is on one chip, together with the synapses that end at it; an Input enters at the
first chip. What crosses is a node's output, the spikes of all its neurons: once per chip that
has a target of the node (multicast), and in full even if that target reads a part of it. A
residual connection counts like any other: if it jumps over a cut, its source crosses that cut.

Chips hold contiguous parts of the order in which populations compute. The populations of a loop
are one unit, which no cut divides.
Axes: T ticks, N neurons of a node.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from neuro.base.arguments import require_ticks
from neuro.base.units import Ticks
from neuro.energy.chip import Chip
from neuro.energy.count import require_record, restrict_to_chip
from neuro.energy.estimate import find_chips
from neuro.energy.mapping import place
from neuro.energy.synapses import compose, count_synaptic_events
from neuro.graph import GradedInput, Graph
from neuro.graph.partition import chip_part
from neuro.graph.paths import Route
from neuro.spikes.record import Record

Load = Literal["cores", "events"]
Names = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LinkCode:
    """How a link between chips encodes a node's output per inference.

    bitmap  T N                            one bit per neuron and tick
    aer     spikes (ceil(log2 N) + bits)   an address per spike, with a header of ``bits``
    values  T N bits                       a number of ``bits`` bits per neuron and tick

    Address events of a single neuron need no address; without a header each still takes one
    bit.
    """

    kind: Literal["bitmap", "aer", "values"] = "bitmap"
    bits: int = 0

    def __post_init__(self) -> None:
        least = int(self.kind == "values")
        if self.bits < least or (self.kind == "bitmap" and self.bits):
            raise ValueError(
                f"a link of {self.kind} cannot have bits={self.bits}; give the bits of a "
                "value, those of a header >= 0, and none for a bitmap"
            )

    def count_bits(self, neurons: int, ticks: int, spikes: float | None) -> float:
        """Return the number of bits per inference.

        spikes: number of spikes of all neurons per inference; None: unknown.

        Raises:
            ValueError: the code needs the number of spikes, which is unknown.
        """
        if self.kind == "bitmap":
            return float(ticks * neurons)
        if self.kind == "values":
            return float(ticks * neurons * self.bits)
        if spikes is None:
            raise ValueError(
                "address events are counted from spikes: give a record, or take a bitmap"
            )
        return spikes * max(1, (neurons - 1).bit_length() + self.bits)


BITMAP = LinkCode()
AER = LinkCode(kind="aer")


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """What a population or Input sends from its own chip to another, per inference.

    spikes: mean number of spikes; None if there is no record.
    """

    source: str
    from_chip: int
    to_chip: int
    neurons: int
    ticks: int
    spikes: float | None

    def count_bits(self, code: LinkCode = BITMAP) -> float:
        """Return the number of bits in this code."""
        return code.count_bits(self.neurons, self.ticks, self.spikes)


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A network on several chips.

    chips: populations of each chip, in the order in which they compute.
    crossings: everything that crosses from chip to chip.
    loads: cores, or synaptic events per inference, of each chip.
    bits: number of bits of all crossings per inference.
    cost: ``weight * bits + max(loads)``.
    """

    chips: tuple[Names, ...]
    crossings: tuple[Crossing, ...]
    loads: tuple[float, ...]
    bits: float
    cost: float


class CutError(ValueError):
    """A network cannot be cut as requested; ``problems`` lists each reason with its cure."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(["the network cannot be cut like this:", *problems]))
        self.problems = tuple(problems)


@dataclass(frozen=True, kw_only=True)
class Division:
    """How partitions are compared.

    code: code of all links.
    load: what fills a chip: "cores", by :func:`neuro.energy.place`, or "events", synaptic
        events per inference, which need a record.
    weight: load that costs as much as one bit per inference.
    """

    code: LinkCode = BITMAP
    load: Load = "cores"
    weight: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise ValueError(
                f"weight must be >= 0 and finite, got {self.weight}; 1e-3 is usual"
            )


def choose_cuts(  # noqa: PLR0913 - a network, its chips, and what is asked of them
    graph: Graph,
    record: Record | None,
    chip: Chip | str,
    chips: int,
    division: Division | None = None,
    together: Sequence[Sequence[str]] = (),
    ticks: Ticks = Ticks(1),
) -> Partition:
    """Return the cheapest contiguous partition of a network over exactly ``chips`` chips.

    graph: the network.
    record: activity from which spikes and synaptic events are counted; None: unknown.
    chip: the chip, or what :func:`neuro.energy.find_chip` takes.
    division: how partitions are compared; None: the defaults.
    together: groups of populations that no cut may divide, such as the blocks of a network.
    ticks: ticks per inference, used if there is no record.

    Raises:
        TypeError, ValueError: there is no such chip, the record does not belong to this graph,
            or no chip can hold its connections.
        CutError: there are too few populations or too many chips, or nothing fits the cores;
            lists all reasons.
    """
    network = _measure(graph, record, chip, division or Division(), together, ticks)
    problems = network.list_problems(chips)
    if problems:
        raise CutError(problems)
    return network.describe(network.search(chips))


def price_partition(
    graph: Graph,
    record: Record | None,
    chip: Chip | str,
    parts: Sequence[Sequence[str]],
    division: Division | None = None,
    ticks: Ticks = Ticks(1),
) -> Partition:
    """Return the cost of a partition that is given as the populations of each chip.

    chip: the chip, or what :func:`neuro.energy.find_chip` takes.

    Raises:
        TypeError, ValueError: there is no such chip, the record does not belong to this graph,
            or no chip can hold its connections.
        CutError: lists unknown, missing and repeated populations, chips without populations,
            divided loops, connections that lead to an earlier chip, and chips that are too
            full.
    """
    network = _measure(graph, record, chip, division or Division(), (), ticks)
    problems = network.list_problems_of_parts(parts)
    if problems:
        raise CutError(problems)
    return network.describe([set(part) for part in parts])


def list_units(graph: Graph, together: Sequence[Sequence[str]] = ()) -> tuple[Names, ...]:
    """Return the groups of populations that must share a chip, in the order of computing.

    A loop is one group, and so is each entry of ``together``, with all populations between its
    members.
    """
    part = chip_part(graph)
    return _group(part, compose(part), together)


def _group(
    graph: Graph, composed: Sequence[Route], together: Sequence[Sequence[str]]
) -> tuple[Names, ...]:
    import networkx as nx

    place_of = {name: k for k, name in enumerate(graph.populations)}
    unknown = [name for group in together for name in group if name not in place_of]
    if unknown:
        raise CutError(
            [
                f"{name}: no population of the chip's part; there are {', '.join(place_of)}"
                for name in unknown
            ]
        )
    directed = nx.DiGraph()
    directed.add_nodes_from(place_of)
    directed.add_edges_from((r.source, r.target) for r in composed if r.source in place_of)
    for group in together:  # edges in a ring make a group strongly connected
        directed.add_edges_from(pairwise([*group, group[0]]))
    condensed = nx.condensation(directed)
    members = {
        k: tuple(sorted(condensed.nodes[k]["members"], key=place_of.__getitem__))
        for k in condensed
    }
    order = nx.lexicographical_topological_sort(
        condensed, key=lambda k: place_of[members[k][0]]
    )
    return tuple(members[k] for k in order)


class _Candidate(NamedTuple):
    """The first chips of a partition: bits so far, largest load, and where each chip ends."""

    bits: float
    load: float
    ends: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class _Network:
    """A network as the search sees it.

    units: populations that stay together, in order.
    targets: targets of each Input and population.
    cores, loads: by population.
    spikes: by source, per inference; empty if unknown.
    graded: sources whose spikes have values.
    """

    graph: Graph
    chip: Chip
    division: Division
    units: tuple[Names, ...]
    loops: tuple[Names, ...]
    targets: Mapping[str, tuple[str, ...]]
    cores: Mapping[str, int]
    loads: Mapping[str, float]
    misfits: tuple[str, ...]
    spikes: Mapping[str, float]
    graded: tuple[str, ...]
    ticks: int

    def count_bits(self, source: str) -> float:
        """Return the number of bits that a source sends to one chip."""
        size = self.graph.size(source)
        return self.division.code.count_bits(size, self.ticks, self.spikes.get(source))

    def list_misfits(self, first: Collection[str]) -> list[str]:
        """List the problems that the network has however it is divided.

        first: populations of the first chip. An Input arrives there, and crosses no link if
        only they read it.
        """
        graded = (
            name
            for name in self.graded
            if self.division.code.kind == "bitmap"
            if name not in self.graph.inputs or not set(self.targets[name]) <= set(first)
        )
        return [
            *self.misfits,
            *(
                f"{name}: sends values, which one bit a neuron cannot hold; take a LinkCode of "
                "values, or of address events with the bits of a value"
                for name in graded
            ),
        ]

    @property
    def most_cores(self) -> float:
        """Number of cores of a chip."""
        return self.chip.limits.cores.value

    def list_problems(self, chips: int) -> list[str]:
        """List why no partition over ``chips`` chips is possible."""
        problems = self.list_misfits(self.units[0])
        if chips < 2:
            problems.append(f"chips: {chips} leaves nothing to cut; ask for 2 or more")
        if chips > len(self.units):
            loops = f" ({', '.join(map(_name_loop, self.loops))})" if self.loops else ""
            problems.append(
                f"chips: {chips} are more than the {len(self.units)} parts that can lie apart"
                f"{loops}; ask for {len(self.units)} or fewer, or divide the network finer"
            )
        problems += [
            f"{', '.join(unit)}: needs {cores} cores, a {self.chip.name} has "
            f"{self.most_cores:g}; make it smaller, or allow a cut inside"
            for unit in self.units
            if (cores := sum(self.cores[n] for n in unit)) > self.most_cores
        ]
        if not problems and not self.search(chips):
            problems.append(
                f"chips: the {sum(self.cores.values())} cores of the network do not fit "
                f"{chips} chips of {self.most_cores:g} cores in the order of computing; ask "
                f"for {self.find_least_chips()} or more"
            )
        return problems

    def find_least_chips(self) -> int:
        """Return how many chips the units need if filled in order; each unit fits one chip."""
        chips, used = 1, 0
        for unit in self.units:
            cores = sum(self.cores[n] for n in unit)
            if used + cores > self.most_cores:
                chips, used = chips + 1, 0
            used += cores
        return chips

    def list_problems_of_parts(self, parts: Sequence[Sequence[str]]) -> list[str]:
        """List why the network cannot be divided into these parts."""
        named = [name for part in parts for name in part]
        populations = self.graph.populations
        problems = self.list_misfits(parts[0] if parts else ())
        if len(parts) < 2:
            problems.append(f"parts: {len(parts)} leaves nothing to cut; give 2 or more")
        problems += [
            f"chip {k}: has no population; give it one" for k, p in enumerate(parts) if not p
        ]
        problems += [
            f"{name}: no population of the chip's part; there are {', '.join(populations)}"
            for name in dict.fromkeys(named)
            if name not in populations
        ]
        problems += [
            f"{name}: lies on {named.count(name)} chips; name it once"
            for name in populations
            if named.count(name) != 1
        ]
        if problems:
            return problems
        chip_of = {name: k for k, part in enumerate(parts) for name in part}
        divided = [loop for loop in self.loops if len({chip_of[n] for n in loop}) > 1]
        problems += [
            f"{_name_loop(loop)} is cut; put all of it on one chip" for loop in divided
        ]
        problems += [
            f"{source} -> {target}: leads back to chip {chip_of[target]} from "
            f"{chip_of[source]}; number the chips in the order of computing"
            for source, targets in self.targets.items()
            for target in targets
            if source in chip_of and chip_of[source] > chip_of[target]
            if not any(source in loop and target in loop for loop in divided)
        ]
        problems += [
            f"chip {k}: needs {cores} cores of {self.most_cores:g}; give it fewer populations"
            for k, part in enumerate(parts)
            if (cores := sum(self.cores[n] for n in part)) > self.most_cores
        ]
        return problems

    def search(self, chips: int) -> list[set[str]]:
        """Return the populations of each chip in the cheapest partition; [] if none fits.

        This is dynamic programming over the ends of the chips. What enters a chip depends only
        on where the chip begins and ends, so bits add up. Candidates are kept unless another
        one has both fewer bits and a smaller largest load, so the result is exact.
        """
        last = len(self.units)
        parts = self._measure_parts()
        fronts: dict[int, list[_Candidate]] = {0: [_Candidate(0.0, 0.0, ())]}
        for left in reversed(range(chips)):
            grown: dict[int, list[_Candidate]] = {}
            for first, front in fronts.items():
                for end in range(first + 1, last - left + 1):
                    if (first, end) in parts and (left or end == last):
                        bits, load = parts[first, end]
                        grown.setdefault(end, []).extend(
                            _Candidate(c.bits + bits, max(c.load, load), (*c.ends, end))
                            for c in front
                        )
            fronts = {end: _keep_best(front) for end, front in grown.items()}
        weight = self.division.weight
        found = min(
            fronts.get(last, []), key=lambda c: (weight * c.bits + c.load, *c), default=None
        )
        if found is None:
            return []
        return [
            {name for unit in self.units[first:end] for name in unit}
            for first, end in pairwise((0, *found.ends))
        ]

    def _measure_parts(self) -> dict[tuple[int, int], tuple[float, float]]:
        """Return (bits that enter, load) of each range of units that fits a chip."""
        unit_of = {name: k for k, unit in enumerate(self.units) for name in unit}
        cost = {s: self.count_bits(s) for s, targets in self.targets.items() if targets}
        feeds: list[set[str]] = [set() for _ in self.units]
        for source, targets in self.targets.items():
            for target in targets:
                feeds[unit_of[target]].add(source)
        parts = {}
        for first in range(len(self.units)):
            cores, load, bits, entered = 0, 0.0, 0.0, set[str]()
            for end, unit in enumerate(self.units[first:], first + 1):
                cores += sum(self.cores[n] for n in unit)
                load += sum(self.loads[n] for n in unit)
                if cores > self.most_cores:
                    break
                if first:  # an Input is on the first chip, which nothing enters
                    new = {s for s in feeds[end - 1] if unit_of.get(s, -1) < first} - entered
                    entered |= new
                    bits += sum(cost[source] for source in new)
                parts[first, end] = bits, load
        return parts

    def describe(self, parts: Sequence[set[str]]) -> Partition:
        """Return a partition with its crossings and its cost."""
        chip_of = {name: k for k, part in enumerate(parts) for name in part}
        crossings = tuple(self._list_crossings(chip_of))
        loads = tuple(float(sum(self.loads[n] for n in part)) for part in parts)
        bits = float(sum(self.count_bits(c.source) for c in crossings))
        order = [name for unit in self.units for name in unit]
        return Partition(
            chips=tuple(tuple(n for n in order if n in part) for part in parts),
            crossings=crossings,
            loads=loads,
            bits=bits,
            cost=self.division.weight * bits + max(loads),
        )

    def _list_crossings(self, chip_of: Mapping[str, int]) -> Iterator[Crossing]:
        for source, targets in self.targets.items():
            home = chip_of.get(source, 0)
            for chip in sorted({chip_of[t] for t in targets} - {home}):
                yield Crossing(
                    source=source,
                    from_chip=home,
                    to_chip=chip,
                    neurons=self.graph.size(source),
                    ticks=self.ticks,
                    spikes=self.spikes.get(source),
                )


def _keep_best(front: list[_Candidate]) -> list[_Candidate]:
    """Return the candidates that no other candidate beats in both bits and load."""
    kept: list[_Candidate] = []
    for candidate in sorted(front):
        if not kept or candidate.load < kept[-1].load:
            kept.append(candidate)
    return kept


def _name_loop(loop: Sequence[str]) -> str:
    return f"the loop {' -> '.join([*loop, loop[0]])}"


def _measure(
    graph: Graph,
    record: Record | None,
    chip: Chip | str,
    division: Division,
    together: Sequence[Sequence[str]],
    ticks: Ticks,
) -> _Network:
    """Return a network with its loads and traffic.

    Raises:
        TypeError, ValueError: there is no such chip, the record does not belong to this graph,
            or the activity that is needed is unknown.
    """
    (chip,) = find_chips([chip])
    if record is None:
        if division.load == "events":
            raise ValueError(
                "synaptic events are counted from spikes: give a record, or load='cores'"
            )
        require_ticks("ticks", ticks, "1 is one pass")
        part = chip_part(graph)
    else:
        require_record(graph, record)
        part, record = restrict_to_chip(graph, record)
        ticks = Ticks(record.ticks)
    composed = compose(part)
    placement = place(part, chip, composed=composed)
    cores = {name: placement.layers[name].cores for name in part.populations}
    loads: dict[str, float] = {name: float(n) for name, n in cores.items()}
    spikes = {}
    graded = {n for n in part.inputs if n not in graph.inputs}  # a host makes their values
    if record is not None:
        graded = {n for n, e in record.spikes.items() if not np.isin(e.value, (0, 1)).all()}
        each = 1 / record.samples
        spikes = {n: np.count_nonzero(e.value) * each for n, e in record.spikes.items()}
        if division.load == "events":
            loads = dict.fromkeys(part.populations, 0.0)
            for served in count_synaptic_events(part, record, composed):
                loads[served.target] += float(served.events.sum()) * each
    graded |= {n for n in part.inputs if isinstance(part.nodes[n], GradedInput)}
    units = _group(part, composed, together)
    populations = set(part.populations)
    return _Network(
        graph=part,
        chip=chip,
        division=division,
        units=units,
        loops=tuple(
            loop
            for group in part.components
            if len(loop := tuple(n for n in group if n in populations)) > 1
        ),
        targets=placement.destinations,
        cores=cores,
        loads=loads,
        misfits=placement.problems,
        spikes=spikes,
        graded=tuple(n for n in placement.destinations if n in graded),
        ticks=int(ticks),
    )
