"""``neuro energy``: joules per inference, from the operations of the test split."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lava_export import LowerError
from lava_export.graded import is_graded
from neuro.energy import (
    Chip,
    as_json,
    count_macs,
    estimate_chips,
    find_chip,
    find_chips,
    load_chips,
)
from neuro.events import simulate
from neuro.graph import Graph, Weighted
from neuro.graph.partition import chip_part
from neuro.record import concatenate
from tasks.runs.provenance import (
    describe_chip,
    describe_samples,
    digest_stimuli,
    write_result,
)
from tasks.runs.results import KEY
from tasks.runs.samples import Samples, iterate_batches
from tasks.runs.task import TaskRun
from tasks.runs.trained_run import open_trained_run
from tasks.verbs.integers import list_program_breaches, lower_graph
from tasks.verbs.join_parts import Priced, join_energies


def estimate_energy(run: TaskRun, chip: str | None = None) -> dict[str, Any]:
    """Estimate joules per inference from the test split's spikes; write ``energy.json``.

    What a host computes before or behind the chip is counted in MACs, as the task says. What
    keeps the network off a chip is told beside its figures, as ``misfits``.

    chip: the file of one more than those of the folder ``neuro/energy/chips``, or the name of
        one of them. The result says of which constants in that file it is.
    """
    trained, chips = open_trained_run(run), dict(load_chips())
    measured_on, chip_file = dict(trained.measured_on), {}
    if chip is not None and (own := find_chip(chip)).name not in chips:
        chips[own.name], measured_on["chip_file"] = own, describe_chip(own)
        chip_file = {"chip_file": {"path": str(Path(chip).resolve())}}
    deployment, model = run.definition.deployment, trained.model
    parts = {}
    for name, net in trained.networks.items():
        host = None if name else deployment.host(run.config, model)
        samples, passes = net.iterate_samples(), net.ann_passes
        estimate = estimate_samples(net.graph, samples, chips.values(), host, passes)
        parts[name] = Priced(estimate, net.runs, count_synapses(net.graph))
    result = join_energies(parts, chips.values()) if len(parts) > 1 else parts[""].found
    if deployment.step:
        ticks = next(chip["ticks"] for chip in result.values() if "ticks" in chip)
        result["sequence"] = {"step": deployment.step, "steps": ticks}
    result |= chip_file
    if tables := deployment.prices(run.config, model, result):
        result["tables"] = [asdict(table) for table in tables]
    write_result(run, "energy", result, measured_on)
    return result


def count_synapses(graph: Graph) -> int:
    """Return the synapses of all nodes with weights, as the 45 nm convention counts them."""
    return sum(
        n for name, n in count_macs(graph).items() if isinstance(graph.nodes[name], Weighted)
    )


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
    asked, batches = find_chips(chips), iterate_batches(graph, samples)
    record = concatenate([simulate(graph, some.inputs)[0] for some in batches])
    estimates = estimate_chips(graph, record, asked, ann_passes=ann_passes)
    result = as_json(*estimates, beside=beside)
    for name, misfits in list_misfits(graph, record.ticks, asked).items():
        result[name]["misfits"] = misfits
    stimuli = digest_stimuli({name: record.spikes[name] for name in graph.inputs})
    return {**result, KEY: describe_samples(graph, stimuli)}


def list_misfits(graph: Graph, ticks: int, chips: Iterable[Chip]) -> dict[str, list[str]]:
    """Return, by chip, why it cannot run its part of a graph for so many ticks."""
    try:
        program = lower_graph(graph if is_graded(graph) else chip_part(graph), ticks)
    except LowerError as error:
        return {chip.name: error.problems for chip in chips}
    return {chip.name: list_program_breaches(program, chip) for chip in chips}
