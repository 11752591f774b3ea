"""``neuro energy``: joules per inference, from the operations of the test split."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lava_export.chip_program import list_misfits
from neuro.energy import (
    Chip,
    Estimate,
    NetworkRuns,
    add_host_macs,
    as_json,
    estimate_chips,
    find_chip,
    find_chips,
    join_estimates,
    load_chips,
)
from neuro.events import simulate
from neuro.graph import Graph
from neuro.io.run_folder import Run
from neuro.record import concatenate
from tasks.runs.find import find_task_of
from tasks.runs.provenance import (
    describe_chip,
    describe_provenance,
    describe_samples,
    digest_stimuli,
    write_result,
)
from tasks.runs.results import KEY
from tasks.runs.samples import Samples, iterate_batches
from tasks.runs.trained_run import (
    iterate_samples,
    load_other_networks,
    load_run_graph,
    load_trained_model,
)


def estimate_energy(run: Run, chip: str | None = None) -> dict[str, Any]:
    """Estimate joules per inference from the test split's spikes; write ``energy.json``.

    What a host computes before or behind the chip is counted in MACs, as the task says. What
    keeps the network off a chip is told beside its figures, as ``misfits``.

    chip: the file of one more than those of the folder ``neuro/energy/chips``, or the name of
        one of them. The result says of which constants in that file it is.
    """
    chips, measured_on, asked = dict(load_chips()), describe_provenance(run), {}
    if chip is not None and (own := find_chip(chip)).name not in chips:
        chips[own.name], measured_on["chip_file"] = own, describe_chip(own)
        asked = {"chip_file": {"path": str(Path(chip).resolve())}}
    graph = load_run_graph(run)
    deployment = find_task_of(run).deployment
    model = load_trained_model(run)
    beside = deployment.host(run.config, model)
    passes = deployment.ann_passes and deployment.ann_passes(run.config)
    samples = iterate_samples(run, graph)
    estimates, digests = price_samples(graph, samples, chips.values(), beside, passes)
    networks = [{"": NetworkRuns(estimate, 1)} for estimate in estimates]  # by chip
    for name, other in load_other_networks(run, model).items():
        samples = iterate_samples(run, other.graph, stimuli=other.stimuli)
        passes = other.ann_passes
        estimates, _ = price_samples(other.graph, samples, chips.values(), {}, passes)
        for of_chip, estimate in zip(networks, estimates, strict=True):
            of_chip[name] = NetworkRuns(estimate, other.runs)
    result = {**as_json(*map(join_estimates, networks)), KEY: digests}
    if deployment.step:
        ticks = next(chip["ticks"] for chip in result.values() if "ticks" in chip)
        result["sequence"] = {"step": deployment.step, "steps": ticks}
    result |= asked
    if tables := deployment.prices(run.config, model, result):
        result["tables"] = [asdict(table) for table in tables]
    write_result(run, "energy", result, measured_on)
    return result


def estimate_samples(
    graph: Graph,
    samples: Samples | Iterable[Samples],
    chips: Iterable[Chip | str] | None = None,
    beside: Mapping[str, int] | None = None,
    ann_passes: int | None = None,
) -> dict[str, Any]:
    """Estimate joules per inference from the spikes of samples on the event engine.

    chips: as they are, or by name; None: all there are. beside: multiply-accumulates per
    inference that a host does before or behind the graph, by name. ann_passes: as of
    :func:`neuro.energy.estimate`; for a sequence give its steps.

    Returns:
        Plain values, see :func:`neuro.energy.as_json`; misfits: why a chip cannot run it;
        measured_on: of :func:`describe_samples`.

    Raises:
        TypeError, ValueError: samples or chips are none, or do not fit the graph; says the
            cure.
    """
    estimates, digests = price_samples(graph, samples, chips, beside or {}, ann_passes)
    return {**as_json(*estimates), KEY: digests}


def price_samples(
    graph: Graph,
    samples: Samples | Iterable[Samples],
    chips: Iterable[Chip | str] | None,
    beside: Mapping[str, int],
    ann_passes: int | None,
) -> tuple[list[Estimate], dict[str, str]]:
    """Return (estimates by chip, digests) of :func:`estimate_samples`, before they are JSON."""
    all_chips, batches = find_chips(chips), iterate_batches(graph, samples)
    record = concatenate([simulate(graph, some.inputs)[0] for some in batches])
    estimates = estimate_chips(graph, record, all_chips, ann_passes=ann_passes)
    misfits = list_misfits(graph, record.ticks, all_chips)
    stimuli = digest_stimuli({name: record.spikes[name] for name in graph.inputs})
    return [
        replace(add_host_macs(estimate, beside), misfits=misfits[estimate.chip.name])
        for estimate in estimates
    ], describe_samples(graph, stimuli)
