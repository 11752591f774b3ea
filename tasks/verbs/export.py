"""``neuro export``: the trained network as Loihi integers, checked against Lava."""

from typing import Any

from lava_export import LowerError, RuleBreach, lower_graph
from lava_export.chip_program import check_parity
from lava_export.parity import ExportReport, join_exports
from neuro.energy import load_chips
from neuro.graph import Graph
from neuro.io.graph_file import save_graph
from neuro.io.run_folder import Run
from neuro.networks import name_layer
from tasks.runs.provenance import describe_provenance, write_result
from tasks.runs.trained_run import (
    Stimuli,
    iterate_samples,
    load_other_networks,
    load_run_graph,
    load_trained_model,
)


def export_run(run: Run, lava_samples: int = 8) -> dict[str, Any]:
    """Write the graph, its program and ``export.json``; return the latter.

    Their files are ``graph.safetensors`` and ``program.safetensors``.
    Further networks of the chip stand in files of their own, ``graph-NAME.safetensors``.

    Returns:
        fits: by chip, the rules that the program breaks; none where it fits. scaling: one row a
        layer, from floats to integers. reference_lava: the parity run.

    Raises:
        LowerError: the network has parts that Loihi cannot run.
        RuleBreach: the program fits none of the chips.
    """
    measured_on = describe_provenance(run)
    networks: dict[str, tuple[Graph, Stimuli | None]] = {"": (load_run_graph(run), None)}
    others = load_other_networks(run, load_trained_model(run))
    networks |= {name: (other.graph, other.stimuli) for name, other in others.items()}
    first = {
        name: next(iterate_samples(run, graph, most=lava_samples or 1, stimuli=stimuli))
        for name, (graph, stimuli) in networks.items()
    }
    programs, problems = {}, []
    for name, (graph, _) in networks.items():
        save_graph(run.folder / name_file("graph", name), graph)
        try:
            programs[name] = lower_graph(graph, first[name].ticks)
        except LowerError as error:
            problems += [name_layer(name, problem) for problem in error.problems]
    if problems:
        raise LowerError(problems)
    reports, chips = {}, [chip for chip in load_chips().values() if not chip.base]
    for name, (graph, _) in networks.items():
        program = programs[name]
        fits = {chip.name: program.list_breaches(chip) for chip in chips}
        if all(fits.values()):
            raise RuleBreach(chips[-1], fits[chips[-1].name])
        program.save(run.folder / name_file("program", name))
        reports[name] = ExportReport(
            fits=fits,
            scaling=program.tabulate_rounding(graph),
            parity=check_parity(program, first[name].inputs),
        )
    result = join_exports(reports).as_json()
    write_result(run, "export", result, measured_on)
    return result


def name_file(kind: str, part: str) -> str:
    """Return the file of a part's graph or program; the first part adds nothing."""
    return f"{kind}-{part}.safetensors" if part else f"{kind}.safetensors"
