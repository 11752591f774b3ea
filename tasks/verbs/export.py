"""``neuro export``: the trained network as Loihi integers, checked against Lava."""

from typing import Any

from lava_export import check, list_breaches, lower, make_scaling_table, save_program
from neuro.energy import load_chips
from neuro.io.graph_file import save_graph
from neuro.io.run_folder import Run
from tasks.provenance import describe_provenance, write_result
from tasks.verbs.trained_run import count_ticks, load_run_graph
from tasks.verbs.verify import compare_with_lava


def export_run(run: Run, lava_samples: int = 8) -> dict[str, Any]:
    """Write ``graph.npz``, ``program.npz`` and ``export.json``; return the latter.

    Returns:
        fits: by chip, the rules that the program breaks; none where it fits. scaling: one row a
        layer, from floats to integers. reference_lava: the parity run.

    Raises:
        LowerError: the network has parts that Loihi cannot run.
        RuleBreach: the program fits none of the chips.
    """
    measured_on = describe_provenance(run)
    graph = load_run_graph(run)
    save_graph(run.folder / "graph.npz", graph)
    program = lower(graph, ticks=count_ticks(run, graph))
    chips = [chip for chip in load_chips().values() if not chip.base]
    fits = {chip.name: list_breaches(program, chip) for chip in chips}
    if all(fits.values()):
        check(program, chips[-1])  # raises
    save_program(run.folder / "program.npz", program)
    result = {
        "fits": fits,
        "scaling": make_scaling_table(graph, program),
        "reference_lava": compare_with_lava(run, graph, program, lava_samples),
    }
    write_result(run, "export", result, measured_on)
    return result
