"""Programs for chips in several kinds of integers: lowered from a Graph, saved and loaded.

To add a kind of integers, extend :class:`lava_export.contract.ChipProgram` and add the class to
:data:`PROGRAMS`; to add a kind of chip, add its lowering to :data:`LOWERINGS`.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lava_export.binary import BinaryChipProgram
from lava_export.calibration import measure_bounds
from lava_export.contract import ChipProgram, Stimulus
from lava_export.graded import is_graded, lower_graded
from lava_export.graded.chip import GradedChipProgram
from lava_export.lower import LowerError, lower
from lava_export.openformat import is_open, read_program
from lava_export.parity import Parity
from lava_export.program import take_apart
from lava_export.run import LavaFailed, LavaMissing
from lava_export.xylo import lower_to_xylo
from lava_export.xylo.chip import XyloChipProgram
from neuro.base.arguments import make_type_error
from neuro.energy import Chip, Hardware, OneCoreChip
from neuro.graph import Graph
from neuro.graph.partition import chip_part
from neuro.io.schema import convert
from neuro.io.store import Arrays, load_value, recognize

NO_STIMULUS: Stimulus = {}
# Class of program by the class of its integers.
PROGRAMS: Mapping[type, type[ChipProgram]] = {
    kind.integers: kind for kind in (BinaryChipProgram, GradedChipProgram, XyloChipProgram)
}


def _lower_to_loihi(graph: Graph, ticks: int, inputs: Stimulus) -> ChipProgram:
    """Return a graph's program in Loihi's integers, with graded spikes if it counts spikes."""
    if is_graded(graph):
        return GradedChipProgram(lower_graded(graph))
    return BinaryChipProgram(lower(graph, ticks=ticks, bounds=measure_bounds(graph, inputs)))


# Lowering by the class of a chip.
LOWERINGS: Mapping[type[Hardware], Callable[[Graph, int, Stimulus], ChipProgram]] = {
    Chip: _lower_to_loihi,
    OneCoreChip: lambda graph, ticks, _: XyloChipProgram(lower_to_xylo(graph, ticks=ticks)),
}


def lower_graph(
    graph: Graph,
    ticks: int,
    kind: type[Hardware] = Chip,
    inputs: Stimulus = NO_STIMULUS,
) -> ChipProgram:
    """Return the program of a graph for runs of ``ticks`` ticks on chips of a kind.

    inputs: samples on which the range of membranes without a leak is measured; with none, or
        with part of the inputs, weights leave room for the worst case.

    Raises:
        LowerError: lists everything that cannot be lowered, each with its cure.
    """
    return LOWERINGS[kind](graph, ticks, inputs)


def list_misfits(
    graph: Graph, ticks: int, chips: Iterable[Hardware], inputs: Stimulus | None = None
) -> dict[str, list[str]]:
    """Return, by chip, why it cannot run its part of a graph for ``ticks`` ticks.

    inputs: spikes of the graph's inputs, which a chip may refuse, too.
    """
    chips = list(chips)
    part = graph if is_graded(graph) else chip_part(graph)
    found: dict[str, list[str]] = {}
    for kind in {type(chip) for chip in chips}:
        own = [chip for chip in chips if type(chip) is kind]
        try:
            program = lower_graph(part, ticks, kind, inputs or NO_STIMULUS)
        except LowerError as error:
            found |= {chip.name: error.problems for chip in own}
        else:
            unfit = list_unfit_inputs(program, part, inputs or {})
            found |= {chip.name: program.list_breaches(chip) + unfit for chip in own}
    return found


def list_unfit_inputs(program: ChipProgram, part: Graph, inputs: Stimulus) -> list[str]:
    """Return why a program does not take a stimulus.

    part: the graph of the program. Where a host drives it, ``inputs`` are those of the host,
    and nothing is said.
    """
    if not {*part.inputs} <= {*inputs}:
        return []
    try:
        program.require_run({name: inputs[name] for name in part.inputs})
    except ValueError as error:
        _, *problems = str(error).splitlines()
        return problems
    return []


def check_parity(program: ChipProgram, inputs: Stimulus) -> Parity:
    """Compare a program with Lava; if Lava is missing or fails, the result states it."""
    try:
        return program.compare_with_lava(inputs)
    except LavaMissing as missing:
        return Parity(samples=0, skipped=str(missing))
    except LavaFailed as failure:
        return Parity(samples=0, skipped=f"Lava failed: {failure}", failed=True)


def save_program(path: str | Path, program: Any) -> None:
    """Write a program or its integers to a file; :func:`load_program` reads them bit for bit.

    Raises:
        TypeError: the value is no program.
        StoreError: the file cannot be written.
    """
    wrap = PROGRAMS.get(type(program))
    held = wrap(program) if wrap else program
    if not isinstance(held, ChipProgram):
        wanted = f"a ChipProgram, or {' or '.join(f'a {kind.__name__}' for kind in PROGRAMS)}"
        cure = "lower_graph(graph, ticks) makes a ChipProgram of a Graph"
        raise make_type_error("program", wanted, program, cure)
    held.save(path)


def load_program(path: str | Path) -> ChipProgram:
    """Return a program of any kind from a file of neuro's, or of ``docs/program_format.md``.

    Raises:
        StoreError: the file is damaged, has another kind or version, lacks a field, has an
            unknown one, or describes an inconsistent program.
    """
    if is_open(path):
        return BinaryChipProgram(read_program(path))
    kinds = {program.kind: program for program in PROGRAMS.values()}
    found = recognize(Path(path)) if Path(path).is_file() else None
    of_file = kinds.get(found or "", BinaryChipProgram)

    def decode(arrays: Arrays, plain: Any) -> ChipProgram:
        return of_file.decode(arrays, dict(convert(plain, dict[str, Any])))

    return load_value(path, of_file.kind, decode, lambda held: take_apart(held.program))
