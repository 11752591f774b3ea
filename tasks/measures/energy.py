"""``neuro energy``: estimates joules per inference from the operations of the test split."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from lava_export.chip_program import list_misfits
from neuro.energy import (
    Chip,
    Estimate,
    Goal,
    Hardware,
    MappingError,
    NetworkRuns,
    add_host_macs,
    as_json,
    compare_mappings,
    estimate_chips,
    find_chips,
    find_hardware,
    join_estimates,
    load_chips,
    search_mapping,
)
from neuro.energy.networks import join_layers
from neuro.events import simulate
from neuro.graph import Graph
from neuro.spikes.record import Record, concatenate
from tasks.runs.provenance import (
    describe_chip,
    describe_samples,
    digest_stimuli,
    write_result,
)
from tasks.runs.results import KEY
from tasks.runs.samples import Samples, iterate_batches
from tasks.runs.share import report_share, track
from tasks.runs.task import TaskRun
from tasks.runs.trained_run import open_trained_run


def estimate_energy(
    run: TaskRun, chip: str | None = None, goal: Goal | None = None
) -> dict[str, Any]:
    """Estimate joules per inference from the test split's spikes; write ``energy.json``.

    Host operations before or behind the chip are counted in MACs, as the task declares them.
    ``misfits`` of a chip lists why the network does not fit it.

    chip: name of a chip in the folder ``neuro/energy/chips``, or the file of another chip. The
    result holds a digest of the constants in such a file.
    goal: search for a placement with less "energy" or "time" on each chip, and use it for the
    estimate; ``mapping.searched`` of the chip holds the savings.
    """
    trained = open_trained_run(run)
    chips: dict[str, Hardware] = {**load_chips()}
    measured_on, chip_file = dict(trained.measured_on), {}
    if chip is not None and (own := find_hardware([chip])[0]).name not in chips:
        chips[own.name] = own
        if chip != own.name:  # a file of the user
            measured_on["chip_file"] = describe_chip(own)
            chip_file = {"chip_file": {"path": str(Path(chip).resolve())}}
    deployment, model = run.definition.deployment, trained.model
    networks: list[dict[str, NetworkRuns]] = [{} for _ in chips]  # by chip
    greedy: list[dict[str, NetworkRuns]] = [{} for _ in chips]
    kept: list[list[str]] = [[] for _ in chips]
    for name, net in track("samples", trained.networks.items()):
        host = {} if name else deployment.host(run.config, model)
        priced = price_samples(
            net.graph,
            track("samples", [*net.iterate_samples()]),
            chips.values(),
            host,
            net.ann_passes,
        )
        for k, estimate in enumerate(priced.estimates):
            greedy[k][name] = networks[k][name] = NetworkRuns(estimate, net.runs)
            if goal is not None:
                found, why = search_placement(net.graph, priced.record, estimate, goal)
                networks[k][name] = NetworkRuns(found, net.runs)
                kept[k] += [": ".join(filter(None, (name, line))) for line in why]
    joined = [join_estimates(of_chip) for of_chip in networks]
    result = as_json(*joined)
    _name_kinds(result, {name: net.graph for name, net in trained.networks.items()})
    if goal is not None:
        for best, before, why in zip(joined, map(join_estimates, greedy), kept, strict=True):
            mapping = result[best.chip.name]["mapping"]
            mapping["searched"] = compare_mappings(best, before, goal, why)
    if deployment.step:
        ticks = next(chip["ticks"] for chip in result.values() if "ticks" in chip)
        steps = ticks // trained.network.runs  # each run takes the steps of the sequence
        result["sequence"] = {"step": deployment.step, "steps": steps}
    result |= chip_file
    if tables := deployment.prices(run.config, model, result):
        result["tables"] = [asdict(table) for table in tables]
    write_result(run, "energy", result, measured_on)
    return result


def estimate_samples(
    graph: Graph,
    samples: Samples | Iterable[Samples],
    chips: Iterable[Hardware | str] | None = None,
    beside: Mapping[str, int] | None = None,
    ann_passes: int | None = None,
) -> dict[str, Any]:
    """Estimate joules per inference from the spikes of samples on the event engine.

    chips: chips or their names; None: all chips.
    beside: MACs per inference of host operations before or behind the graph, by name.
    ann_passes: see :func:`neuro.energy.estimate`; for a sequence, its number of steps.

    Returns:
        JSON values, see :func:`neuro.energy.as_json`; misfits: why a chip cannot run the graph;
        measured_on: the result of :func:`describe_samples`.

    Raises:
        TypeError, ValueError: samples or chips have the wrong type, or do not fit the graph;
            the message holds the cure.
    """
    priced = price_samples(graph, samples, chips, beside or {}, ann_passes)
    result = as_json(*priced.estimates)
    _name_kinds(result, {"": graph})
    return {**result, KEY: priced.digests}


def _name_kinds(result: Mapping[str, Any], networks: Mapping[str, Graph]) -> None:
    """Add the class of each host node to a result; work beside a graph has none."""
    nodes = join_layers({name: graph.nodes for name, graph in networks.items()})
    for part in result.get("host", ()):
        if part["node"] in nodes:
            part["kind"] = type(nodes[part["node"]]).__name__


class PricedSamples(NamedTuple):
    """The estimates by chip, with the record of the samples and their digests."""

    estimates: list[Estimate]
    record: Record
    digests: dict[str, str]


def price_samples(
    graph: Graph,
    samples: Samples | Iterable[Samples],
    chips: Iterable[Hardware | str] | None,
    beside: Mapping[str, int],
    ann_passes: int | None,
) -> PricedSamples:
    """Return the estimates of :func:`estimate_samples` before conversion to JSON."""
    all_chips = find_chips() if chips is None else find_hardware(chips)
    batches = iterate_batches(graph, samples)
    tell = partial(report_share, "samples")
    record = concatenate([simulate(graph, some.inputs, progress=tell)[0] for some in batches])
    estimates = estimate_chips(graph, record, all_chips, ann_passes=ann_passes)
    inputs = {name: record.spikes[name] for name in graph.inputs}
    misfits = list_misfits(graph, record.ticks, all_chips, inputs)
    stimuli = digest_stimuli(inputs)
    priced = [
        replace(add_host_macs(estimate, beside), misfits=misfits[estimate.chip.name])
        for estimate in estimates
    ]
    return PricedSamples(priced, record, describe_samples(graph, stimuli))


def search_placement(
    graph: Graph, record: Record, greedy: Estimate, goal: Goal
) -> tuple[Estimate, Sequence[str]]:
    """Return the estimate of a searched placement, and reasons if ``place``'s was kept."""
    if not isinstance(greedy.chip, Chip):
        return greedy, [f"{greedy.chip.hardware} has no mesh of cores"]
    try:
        searched = search_mapping(graph, record, greedy.chip, goal)
    except MappingError as error:  # a layer does not fit any core
        return greedy, error.problems
    if not searched.better:
        return greedy, [f"no other placement takes less {goal}"]
    found, kept = searched.found, ("convention", "host_macs", "silent", "misfits")
    return replace(found, **{name: getattr(greedy, name) for name in kept}), ()
