"""A Graph in integers, of either kind: binary spikes (LoihiProgram) or graded ones.

The verbs call these and need not know which; a graph that counts spikes is a graded one.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lava_export import list_breaches, lower, make_scaling_table, reference, save_program
from lava_export.checks import require_run
from lava_export.graded import (
    GradedProgram,
    is_graded,
    list_graded_breaches,
    lower_graded,
    make_graded_scaling_table,
    run_graded,
    run_graded_on_lava,
    save_graded_program,
    to_floats,
)
from lava_export.program import LoihiProgram
from lava_export.report import compare
from lava_export.run import run as run_lava
from neuro.energy import Chip
from neuro.graph import Graph
from neuro.record import Record
from neuro.spikes import Events
from tasks.runs.samples import Samples

Program = LoihiProgram | GradedProgram
GRADED_TICKS = 8  # that Lava runs of a graded program, of one sample: a process for each stage


def lower_graph(graph: Graph, ticks: int) -> Program:
    """Return the program of a graph for runs of so many ticks.

    Raises:
        LowerError: lists everything that cannot go, each with its cure.
    """
    return lower_graded(graph) if is_graded(graph) else lower(graph, ticks=ticks)


def require_stimulus(program: Program, some: Samples) -> None:
    """Raise a ProgramError unless a program takes the stimulus of some samples."""
    if isinstance(program, LoihiProgram):
        require_run(program, some.inputs, some.ticks)


def run_integers(program: Program, some: Samples) -> Record:
    """Return what the reference computes, read-outs in units of the float network."""
    if isinstance(program, GradedProgram):
        return to_floats(run_graded(program, some.inputs)[0])
    record = reference.run(program, some.inputs, some.ticks)
    values = {k: reference.to_float(program, k, v) for k, v in record.values.items()}
    return replace(record, values=values)


def compare_with_lava(program: Program, some: Samples) -> dict[str, Any]:
    """Run samples on the reference and on Lava; return samples, ticks and every difference.

    Of a graded program one sample, and its first GRADED_TICKS.

    Raises:
        LavaMissing, LavaFailed: there is no Lava, or it failed.
    """
    if isinstance(program, LoihiProgram):
        inputs, ticks = some.inputs, some.ticks
        lava = run_lava(program, inputs, ticks)
        found = compare(reference.run(program, inputs, ticks), lava, program)
        return {"samples": some.n, **found}
    inputs = cut_ticks(some.take(1).inputs, GRADED_TICKS)
    record, _ = run_graded(program, inputs)  # first: it tells best what has too many bits
    found = compare(record, run_graded_on_lava(program, inputs))
    return {"samples": 1, "ticks": record.ticks, **found}


def cut_ticks(inputs: Mapping[str, Events], most: int) -> dict[str, Events]:
    """Return the first ticks of spike trains, ``most`` at most."""
    out = {}
    for name, e in inputs.items():
        kept, shape = np.flatnonzero(e.tick < most), (min(most, e.shape[0]), *e.shape[1:])
        sample, tick, neuron, value = (column[kept] for column in e[:4])
        out[name] = Events(sample, tick, neuron, value, shape)
    return out


def list_program_breaches(program: Program, chip: Chip) -> list[str]:
    """Return why a program does not fit a chip; none if it does."""
    if isinstance(program, GradedProgram):
        return list_graded_breaches(program, chip)
    return list_breaches(program, chip)


def tabulate_rounding(graph: Graph, program: Program) -> list[dict[str, Any]]:
    """Return a row a layer: from floats to integers."""
    if isinstance(program, GradedProgram):
        return make_graded_scaling_table(graph, program)
    return make_scaling_table(graph, program)


def save_any_program(path: Path, program: Program) -> None:
    """Write a program."""
    if isinstance(program, GradedProgram):
        save_graded_program(path, program)
    else:
        save_program(path, program)
