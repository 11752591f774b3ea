"""``neuro export --chip``: compares a network in the integers of one chip with its floats."""

from collections.abc import Iterable
from itertools import chain
from typing import Any

from lava_export import LowerError, RuleBreach, lower_graph
from lava_export.contract import ChipProgram
from lava_export.excess import Excess, add_excess, describe_excess
from neuro.energy import Hardware
from neuro.events import simulate
from neuro.graph import Graph
from tasks.measures.verify import IntegerGap
from tasks.runs.provenance import write_result
from tasks.runs.results import name_result
from tasks.runs.samples import (
    CLASSIFIER,
    Judge,
    Samples,
    estimate_errors,
    iterate_batches,
    join_batches,
    measure_answers,
    read_answers,
    read_targets,
)
from tasks.runs.task import TaskRun, Tree
from tasks.runs.trained_run import open_trained_run

PAIR = ("floats", "integers")


def export_run_to(run: TaskRun, chip: Hardware) -> dict[str, Any]:
    """Write ``program-CHIP.safetensors`` and ``export-CHIP.json``; return the latter.

    Returns:
        The result of :func:`export_samples_to` on the whole test split.

    Raises:
        LowerError: the chip cannot run the network, or the run has several.
        RuleBreach: the network is too large for the chip.
    """
    trained = open_trained_run(run)
    if len(trained.networks) > 1:
        names = ", ".join(name or "the first" for name in trained.networks)
        raise LowerError(
            [f"the run has several networks ({names}), a chip of one core runs one"],
            chip.hardware,
        )
    net = trained.networks[""]
    program, result = export_samples_to(net.graph, net.iterate_samples(), chip, net.judge)
    program.save(run.folder / f"program-{chip.name}.safetensors")
    write_result(run, name_result(chip.name), result, trained.measured_on)
    return result


def export_samples_to(
    graph: Graph,
    samples: Samples | Iterable[Samples],
    chip: Hardware,
    judge: Judge = CLASSIFIER,
) -> tuple[ChipProgram, dict[str, Any]]:
    """Lower a network to the integers of a chip, and run them beside the floats.

    Ranges of integers are chosen on the stimuli of the first batch, without its targets.

    Returns:
        The program, and JSON values.
        scaling: one row per layer.
        layers: {name: spikes of floats and of integers, and the share of ticks x neurons in
            which they differ}; for a read-out the RMS of the difference over the RMS of its
            values.
        metrics: of the answers of both. errors: standard errors of their differences.
        n, drawn, ticks: of the samples.
        excess: one line per way in which the integers left the rules of the float network.

    Raises:
        LowerError: the chip cannot run the network.
        RuleBreach: the network is too large for the chip.
        TypeError, ValueError: the samples do not fit the graph or the chip; with the cure.
    """
    batches = iterate_batches(graph, samples)
    first = next(batches)
    program = lower_graph(graph, first.ticks, type(chip)).calibrate(graph, first.inputs)
    if breaches := program.list_breaches(chip):
        raise RuleBreach(chip, breaches)
    gap = IntegerGap()
    answers: dict[str, list[Tree]] = {who: [] for who in PAIR}
    targets, excess, n = [], dict[str, Excess](), 0
    for some in chain([first], batches):
        program.require_run(some.inputs)
        integers, found = program.run_with_excess(some.inputs)
        excess = add_excess(excess, found)
        records = simulate(graph, some.inputs)[0], integers
        for who, record in zip(PAIR, records, strict=True):
            answers[who].append(read_answers(judge, graph, record))
        gap.add(graph, *records)
        targets.append(read_targets(some))
        n += some.n
    known = join_batches(targets)
    joined = {who: join_batches(answers[who]) for who in PAIR}
    measured = {who: measure_answers(judge, own, known) for who, own in joined.items()}
    return program, {
        "chip": chip.title,
        "scaling": program.tabulate_rounding(graph),
        "layers": {
            name: {k: sums[k] for k in ("spikes", "integers") if k in sums}
            | {"differ": gap.share(name)}
            for name, sums in gap.sums.items()
        },
        "metrics": {
            name: {who: by_name[name] for who, by_name in measured.items()}
            for name in measured[PAIR[0]]
        },
        "errors": estimate_errors(judge, joined["integers"], joined["floats"], known),
        "excess": describe_excess(excess),
        "n": n,
        "drawn": first.drawn,
        "ticks": first.ticks,
    }
