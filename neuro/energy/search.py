"""A search for a placement that needs less energy or time than that of ``place``.

``place`` splits each layer over the fewest cores, one layer after the other. The search changes
how layers are split (:mod:`neuro.energy.splits`), and which core is where on the mesh and on
which chip (:mod:`neuro.energy.mesh`). Its placements are priced like any other; if none is
better, the placement of ``place`` is kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from neuro.energy.chip import Chip
from neuro.energy.chip_file import find_chip
from neuro.energy.count import restrict_to_chip
from neuro.energy.estimate import Estimate, estimate, price_placement
from neuro.energy.mapping import Cores, Placement, place, place_as_given
from neuro.energy.mesh import choose_slots, gather_flows
from neuro.energy.operations import Workload, count_workload
from neuro.energy.splits import GOALS, Goal, SplitSearch
from neuro.energy.traffic import count_sent
from neuro.graph import Graph
from neuro.spikes.record import Record


class MappingError(ValueError):
    """A network cannot be mapped as requested; ``problems`` has each reason with its cure."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(["the network cannot be mapped like this:", *problems]))
        self.problems = tuple(problems)


@dataclass(frozen=True, kw_only=True)
class SearchedMapping:
    """The result of a search.

    goal: what was minimised.
    greedy: the estimate for the placement of ``place``.
    found: the estimate for the best placement; equal to greedy if none is better.
    cores: the core of each neuron, by population, as :func:`neuro.energy.estimate` takes it;
        None: the placement of ``place``.
    """

    goal: Goal
    greedy: Estimate
    found: Estimate
    cores: Cores | None

    @property
    def better(self) -> bool:
        """Whether a better placement than that of ``place`` was found."""
        return self.cores is not None


def search_mapping(
    graph: Graph,
    record: Record,
    chip: Chip | str,
    goal: str = "energy",
    chips: int | None = None,
    seed: int = 0,
) -> SearchedMapping:
    """Search a placement of a network that suits the activity of a run.

    goal: "energy", the nominal chip tier, or "time", the nominal time of an inference; the
        other one decides between equals.
    chips: number of chips that may be used; None: the number that ``place`` needs.
    seed: seed of the annealing. The result depends only on these arguments.

    Raises:
        TypeError, ValueError: as in :func:`neuro.energy.estimate`.
        MappingError: there is no such goal, there are too few chips or more chips than neurons,
            or a layer fits no core; lists all reasons.
    """
    own = find_chip(chip) if isinstance(chip, str) else chip
    greedy = estimate(graph, record, own)
    problems = list_problems(greedy, goal, chips)
    if problems:
        raise MappingError(problems)
    part, done = restrict_to_chip(graph, record)
    work = count_workload(part, done, [own])
    (wanted,) = (g for g in GOALS if g == goal)
    best, cores = greedy, None
    for candidate in _list_candidates(part, work, own, wanted, chips, seed):
        placement = place_as_given(part, own, candidate, work.composed)
        if placement.problems or placement.chips > (chips or greedy.placement.chips):
            continue
        found = price_placement(part, work, own, placement, greedy.convention)
        if weigh(found, wanted) < weigh(best, wanted):
            best, cores = found, candidate
    best = replace(best, host_macs=greedy.host_macs, silent=greedy.silent)
    return SearchedMapping(goal=wanted, greedy=greedy, found=best, cores=cores)


def weigh(estimate: Estimate, goal: Goal) -> tuple[float, float]:
    """Return the two quantities that a search minimises, the goal first."""
    energy, seconds = estimate.whole_chip.nominal, estimate.latency.inference.nominal
    return (energy, seconds) if goal == "energy" else (seconds, energy)


def list_problems(greedy: Estimate, goal: str, chips: int | None) -> list[str]:
    """List why nothing can be searched, each reason with its cure."""
    placement, problems = greedy.placement, list(greedy.placement.problems)
    if goal not in GOALS:
        problems.append(f"goal: there is no {goal!r}; take one of {', '.join(GOALS)}")
    if chips is not None and chips < placement.chips:
        problems.append(
            f"chips: {chips} are fewer than the {placement.chips} that the "
            f"{placement.cores} cores of the network need; ask for {placement.chips} or more"
        )
    neurons = sum(x.neurons for x in placement.layers.values() if x.cores)
    if chips is not None and chips > neurons:
        problems.append(
            f"chips: {chips} are more than the {neurons} neurons of the network, so that some "
            f"stay empty; ask for {neurons} or fewer"
        )
    return problems


def _list_candidates(
    graph: Graph, work: Workload, chip: Chip, goal: Goal, chips: int | None, seed: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the core of each neuron: searched splits in order, then the splits on new slots."""
    start = place(graph, chip, composed=work.composed)
    splits = SplitSearch(graph, work, chip, start, chips or start.chips).search(goal)
    numbered: list[dict[str, np.ndarray]] = [{}, {}]
    first = 0
    for name, split in splits.items():
        numbered[0][name] = start.layers[name].core_of
        numbered[1][name] = first + split.where
        first += split.cores
    yield numbered[1]
    for cores in numbered:
        yield arrange_cores(graph, work, chip, cores, seed)


def arrange_cores(
    graph: Graph, work: Workload, chip: Chip, cores: Mapping[str, np.ndarray], seed: int
) -> dict[str, np.ndarray]:
    """Return the same splits, with cores on the slots that the annealing chooses.

    On one chip the cores stay on the tiles in use; with several chips they may use any of them.
    """
    placement: Placement = place_as_given(graph, chip, cores, work.composed)
    number, per_chip = placement.cores, int(chip.limits.cores.value)
    tile = int(chip.limits.tile_cores.value)
    allowed = min(tile * -(-number // tile), per_chip)
    if placement.chips > 1:
        allowed = placement.chips * per_chip
    sent = count_sent(work.by_neuron, work.composed, placement)
    flows = gather_flows(sent, graph.inputs, number)
    slots = choose_slots(flows, np.arange(number), allowed, chip, seed)
    return {name: slots[core_of] for name, core_of in cores.items()}
