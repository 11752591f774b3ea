"""``neuro check``: finds the parts of a network that each target cannot run, before it runs.

A target lists the same problems, in the same words, as when it refuses a run.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rich.table import Table

from lava_export import LowerError, lower_graph
from lava_export.chip_program import list_unfit_inputs
from neuro.energy import load_chips, load_one_core_chips
from neuro.energy.networks import join_messages
from neuro.events.exact.compile import compile_exactly
from neuro.graph import Graph, GraphError
from neuro.graph.requirements import (
    problems_of_neurons,
    problems_on_a_clock,
    require_continuous,
)
from neuro.interop import nest_plan, nir
from neuro.spikes import Events, Times
from tasks.imported.source import open_source
from tasks.report.tables import make_table
from tasks.runs.find import open_folder
from tasks.runs.names import require_one_of
from tasks.runs.trained_run import open_trained_run

Inputs = Mapping[str, Events]  # a sample of the stimulus by input; empty: unknown
Problems = Callable[[Graph, int, Inputs], list[str]]  # graph, ticks per run, inputs -> problems


def check_exact(graph: Graph, _: int, __: Inputs) -> list[str]:
    """Return the parts that cannot run in continuous time."""
    try:
        require_continuous(graph)
        compile_exactly(graph, 1)
    except GraphError as error:
        return list(error.problems)
    return []


def check_lava(graph: Graph, ticks: int, inputs: Inputs) -> list[str]:
    """Return the parts that have no integer form that Lava runs."""
    try:
        return list_unfit_inputs(lower_graph(graph, ticks, inputs=inputs), graph, inputs)
    except LowerError as error:
        return list(error.problems)


def check_chip(chip: str, graph: Graph, ticks: int, inputs: Inputs) -> list[str]:
    """Return the parts that a chip cannot run, and the limits of the chip that they exceed."""
    own = {**load_chips(), **load_one_core_chips()}[chip]
    try:
        program = lower_graph(graph, ticks, type(own), inputs)
    except LowerError as error:
        return list(error.problems)
    return program.list_breaches(own) + list_unfit_inputs(program, graph, inputs)


def check_netx(graph: Graph, ticks: int, inputs: Inputs) -> list[str]:
    """Return the parts that have no integer form, or none that a ``.net`` file can store."""
    problems = check_lava(graph, ticks, inputs)
    return problems or lower_graph(graph, ticks, inputs=inputs).list_net_problems()


def check_nest(graph: Graph, ticks: int, _: Inputs) -> list[str]:
    """Return the parts that NEST cannot run with exact spike times."""
    none = np.zeros(0, np.int32)
    silent = {
        name: Times(none, np.zeros(0), none, np.zeros(0), (ticks, 1, graph.size(name)))
        for name in graph.inputs
    }
    try:
        nest_plan.plan(graph, silent, {}, ticks=ticks)
    except nest_plan.NestError as error:
        return error.problems
    return []


def check_nir(graph: Graph, _: int, __: Inputs) -> list[str]:
    """Return the parts that a NIR file cannot express."""
    try:
        nir.to_nir(graph)
    except nir.NirError as error:
        return list(error.problems)
    except RuntimeError as error:  # the package is not installed
        return [str(error)]
    return []


MOST_TICKS = 2**31  # ticks of events are int32


TARGETS: dict[str, Problems] = {
    "torch": lambda graph, *_: problems_on_a_clock(graph),
    "events": lambda graph, *_: [
        *problems_on_a_clock(graph),
        *problems_of_neurons(graph, "the event engine"),
    ],
    "exact": check_exact,
    **{chip: partial(check_chip, chip) for chip in (*load_chips(), *load_one_core_chips())},
    "lava": check_lava,
    "netx": check_netx,
    "nir": check_nir,
    "nest": check_nest,
}


def read_targets(text: str) -> list[str]:
    """Return the targets in a comma-separated list; "all" selects every target.

    Raises:
        UnknownName: there is no such target.
    """
    names = [name.strip() for name in text.split(",")]
    if names == ["all"]:
        return list(TARGETS)
    known = (*TARGETS, "all")
    return list(dict.fromkeys(require_one_of(n, known, "target", listed=True) for n in names))


def check_network(
    network: Path,
    targets: Sequence[str],
    shape: tuple[int, ...] | None = None,
    ticks: int = 100,
    choices: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
    """Return the problems by target; a target that can run the network has none.

    network: a run folder, all of whose networks are checked, or a source as ``neuro import``
    takes it. shape, choices: see :func:`tasks.imported.source.open_source`.

    Raises:
        RunError: the run is not trained, or its task has no Graph.
        ValueError: the source cannot be read; lists every reason with its cure.
    """
    if not 1 <= ticks < MOST_TICKS:
        raise ValueError(f"--ticks must be >= 1 and < 2^31, got {ticks}; 100 is usual")
    if network.is_dir():
        graphs = {}
        for name, part in open_trained_run(open_folder(network)).networks.items():
            some = next(part.iterate_samples(1))
            graphs[name] = part.graph, some.ticks, some.inputs
    else:
        graphs = {"": (open_source(str(network), shape, choices).network.graph, ticks, {})}
    return {
        target: join_messages({k: TARGETS[target](*graph) for k, graph in graphs.items()})
        for target in targets
    }


def tabulate_check(checked: Mapping[str, Sequence[str]]) -> Table:
    """Return a table with one row per target."""
    rows = [
        [
            target,
            f"refuses, {len(found)} reason{'s' * (len(found) > 1)}" if found else "takes it",
        ]
        for target, found in checked.items()
    ]
    table = make_table(
        title := "Which targets take the network?", "target", "result", rows=rows
    )
    table.min_width = len(title)
    return table


def list_problems(checked: Mapping[str, Sequence[str]]) -> list[str]:
    """Return one line per problem; a problem of several targets is listed once."""
    targets: dict[str, list[str]] = {}
    for target, found in checked.items():
        for problem in found:
            targets.setdefault(problem, []).append(target)
    return [f"{', '.join(names)}: {problem}" for problem, names in targets.items()]
