"""``neuro export``: the trained network as Loihi integers, checked against Lava."""

from typing import Any

from lava_export.report import scaling_table

from lava_export import check, lower
from lava_export.program import save_program
from neuro.runs import Run
from neuro.store import save_graph
from tasks.verify import parity
from tasks.work import graph_of


def export(run: Run, lava_samples: int = 8) -> dict[str, Any]:
    """Write ``graph.npz``, ``program.npz`` and ``export.json``; return the latter.

    Returns:
        scaling: one row a layer, from floats to integers. reference_lava: the parity run.

    Raises:
        LowerError: the network has parts that Loihi cannot run.
        RuleBreach: the integers break limits of the chip.
    """
    graph = graph_of(run)
    save_graph(run.folder / "graph.npz", graph)
    program = lower(graph)
    check(program)
    save_program(run.folder / "program.npz", program)
    result = {
        "scaling": scaling_table(graph, program),
        "reference_lava": parity(run, graph, program, lava_samples),
    }
    run.write("export.json", result)
    return result
