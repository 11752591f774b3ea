"""A Graph in the integers of a chip, whatever the kind of chip.

A kind of chip is a class that has the methods of :class:`ChipProgram`, and a line in
:func:`lower_graph`. B samples, T ticks: a run is as long as its stimulus.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lava_export import reference
from lava_export.checks import require_run
from lava_export.graded import (
    GradedProgram,
    is_graded,
    list_graded_breaches,
    lower_graded,
    make_graded_scaling_table,
    run_graded,
    run_graded_on_lava,
    to_floats,
)
from lava_export.graded.reference import quantise_input
from lava_export.lower import LowerError, lower
from lava_export.parity import Parity
from lava_export.program import LoihiProgram
from lava_export.program_file import save_program
from lava_export.report import compare, make_scaling_table
from lava_export.rules import list_breaches
from lava_export.run import LavaFailed, LavaMissing, run
from neuro.energy import Chip
from neuro.graph import Graph
from neuro.graph.partition import chip_part
from neuro.record import Record
from neuro.spikes import Events, of_sample

GRADED_TICKS = 8  # that Lava runs of a graded program, of one sample: a process for each stage
Stimulus = Mapping[str, Events]


@runtime_checkable  # tests check types
class ChipProgram(Protocol):
    """A Graph in the integers of a chip: how it is checked, run, compared and written."""

    def require_run(self, inputs: Stimulus) -> None:
        """Raise a ValueError unless the program takes a stimulus."""

    def run(self, inputs: Stimulus) -> Record:
        """Return what the reference computes, read-outs in units of the float network."""

    def compare_with_lava(self, inputs: Stimulus) -> Parity:
        """Run a stimulus, or the beginning of it, on the reference and on Lava.

        Raises:
            LavaMissing, LavaFailed: there is no Lava, or it failed.
        """

    def list_breaches(self, chip: Chip) -> list[str]:
        """Return why the program does not fit a chip; none if it does."""

    def tabulate_rounding(self, graph: Graph) -> list[dict[str, Any]]:
        """Return a row a layer: from the floats of its graph to integers."""

    def save(self, path: Path) -> None:
        """Write the program; :func:`lava_export.load_program` reads it."""


@dataclass(frozen=True)
class BinaryChipProgram:
    """Binary spikes: a LoihiProgram as a :class:`ChipProgram`."""

    program: LoihiProgram

    def require_run(self, inputs: Stimulus) -> None:
        """Raise a ProgramError unless the program takes a stimulus."""
        require_run(self.program, inputs, _count_ticks(inputs))

    def run(self, inputs: Stimulus) -> Record:
        """Return what the reference computes, read-outs in units of the float network."""
        record = reference.run(self.program, inputs, _count_ticks(inputs))
        values = {k: reference.to_float(self.program, k, v) for k, v in record.values.items()}
        return replace(record, values=values)

    def compare_with_lava(self, inputs: Stimulus) -> Parity:
        """Run a stimulus on the reference and on Lava."""
        ticks = _count_ticks(inputs)
        lava = run(self.program, inputs, ticks)
        differences = compare(reference.run(self.program, inputs, ticks), lava, self.program)
        return _make_parity(lava, differences)

    def list_breaches(self, chip: Chip) -> list[str]:
        """Return why the program does not fit a chip."""
        return list_breaches(self.program, chip)

    def tabulate_rounding(self, graph: Graph) -> list[dict[str, Any]]:
        """Return a row a layer: from the floats of its graph to integers."""
        return make_scaling_table(graph, self.program)

    def save(self, path: Path) -> None:
        """Write the program."""
        save_program(path, self.program)


@dataclass(frozen=True)
class GradedChipProgram:
    """Graded spikes: a GradedProgram as a :class:`ChipProgram`."""

    program: GradedProgram

    def require_run(self, inputs: Stimulus) -> None:
        """Raise a ValueError unless the program takes a stimulus."""
        quantise_input(self.program, inputs)

    def run(self, inputs: Stimulus) -> Record:
        """Return what the reference computes, read-outs in units of the float network."""
        return to_floats(run_graded(self.program, inputs)[0])

    def compare_with_lava(self, inputs: Stimulus) -> Parity:
        """Run the first GRADED_TICKS of a sample on the reference and on Lava."""
        inputs = {k: _cut_ticks(of_sample(e, 0), GRADED_TICKS) for k, e in inputs.items()}
        record, _ = run_graded(self.program, inputs)  # says best which value has too many bits
        lava = run_graded_on_lava(self.program, inputs)
        return _make_parity(lava, compare(record, lava), ticks=lava.ticks)

    def list_breaches(self, chip: Chip) -> list[str]:
        """Return why the program does not fit a chip."""
        return list_graded_breaches(self.program, chip)

    def tabulate_rounding(self, graph: Graph) -> list[dict[str, Any]]:
        """Return a row a layer: from the floats of its graph to integers."""
        return make_graded_scaling_table(graph, self.program)

    def save(self, path: Path) -> None:
        """Write the program."""
        save_program(path, self.program)


def lower_graph(graph: Graph, ticks: int) -> ChipProgram:
    """Return the program of a graph for runs of so many ticks.

    A graph that counts spikes gets one of graded spikes.

    Raises:
        LowerError: lists everything that cannot go, each with its cure.
    """
    if is_graded(graph):
        return GradedChipProgram(lower_graded(graph))
    return BinaryChipProgram(lower(graph, ticks=ticks))


def list_misfits(graph: Graph, ticks: int, chips: Iterable[Chip]) -> dict[str, list[str]]:
    """Return, by chip, why it cannot run its part of a graph for so many ticks."""
    try:
        program = lower_graph(graph if is_graded(graph) else chip_part(graph), ticks)
    except LowerError as error:
        return {chip.name: error.problems for chip in chips}
    return {chip.name: program.list_breaches(chip) for chip in chips}


def check_parity(program: ChipProgram, inputs: Stimulus) -> Parity:
    """Compare a program with Lava; where Lava is missing or fails, say so in the result."""
    try:
        return program.compare_with_lava(inputs)
    except LavaMissing as missing:
        return Parity(samples=0, skipped=str(missing))
    except LavaFailed as failure:
        return Parity(samples=0, skipped=f"Lava failed: {failure}", failed=True)


def _count_ticks(inputs: Stimulus) -> int:
    return next(iter(inputs.values())).shape[0]


def _cut_ticks(e: Events, most: int) -> Events:
    """Return the first ticks of a spike train, ``most`` at most."""
    early = e.tick < most
    sample, tick, neuron, value = (column[early] for column in e[:4])
    return Events(sample, tick, neuron, value, (min(most, e.shape[0]), *e.shape[1:]))


def _make_parity(lava: Record, found: dict[str, Any], **ticks: int) -> Parity:
    """Return what :func:`lava_export.report.compare` found."""
    return Parity(
        samples=lava.samples,
        mismatches=found["mismatches"],
        layers=found["layers"],
        of_one={**ticks, "first": found["first"]},
    )
