"""A Graph in the integers of a chip, whatever the kind of chip, and its file.

A kind of chip is a class that extends :class:`ChipProgram`, and a line in :func:`lower_graph`.
A file holds the integers as arrays, all else as JSON. B samples, T ticks: a run is as long as
its stimulus.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from lava_export import reference
from lava_export.checks import require_run
from lava_export.graded import (
    GradedProgram,
    NeuronGroup,
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
from lava_export.program import LoihiProgram, as_int32, name_array, take_apart
from lava_export.report import compare, make_scaling_table
from lava_export.rules import list_breaches
from lava_export.run import LavaFailed, LavaMissing, run
from neuro.arguments import make_type_error
from neuro.energy import Chip
from neuro.graph import Graph
from neuro.graph.partition import chip_part
from neuro.io.schema import convert
from neuro.io.store import Arrays, load_value, save_arrays
from neuro.record import Record
from neuro.spikes import Events, of_sample

GRADED_TICKS = 8  # that Lava runs of a graded program, of one sample: a process for each stage
Stimulus = Mapping[str, Events]
Integers = LoihiProgram | GradedProgram


@dataclass(frozen=True)
class ChipProgram(ABC):
    """A Graph in the integers of a chip: how it is checked, run, compared and written.

    program: the integers themselves.
    """

    program: Integers

    @abstractmethod
    def require_run(self, inputs: Stimulus) -> None:
        """Raise a ValueError unless the program takes a stimulus."""

    @abstractmethod
    def run(self, inputs: Stimulus) -> Record:
        """Return what the reference computes, read-outs in units of the float network."""

    @abstractmethod
    def compare_with_lava(self, inputs: Stimulus) -> Parity:
        """Run a stimulus, or the beginning of it, on the reference and on Lava.

        Raises:
            LavaMissing, LavaFailed: there is no Lava, or it failed.
        """

    @abstractmethod
    def list_breaches(self, chip: Chip) -> list[str]:
        """Return why the program does not fit a chip; none if it does."""

    @abstractmethod
    def tabulate_rounding(self, graph: Graph) -> list[dict[str, Any]]:
        """Return a row a layer: from the floats of its graph to integers."""

    def save(self, path: Path) -> None:
        """Write the program; :func:`load_program` reads it."""
        save_program(path, self)


@dataclass(frozen=True)
class BinaryChipProgram(ChipProgram):
    """Binary spikes: a LoihiProgram."""

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


@dataclass(frozen=True)
class GradedChipProgram(ChipProgram):
    """Graded spikes: a GradedProgram."""

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


def save_program(path: str | Path, program: ChipProgram | Integers) -> None:
    """Write a program, or its integers; :func:`load_program` returns them bit for bit.

    Raises:
        TypeError: it is no program.
        StoreError: the file cannot be written.
    """
    integers = program.program if isinstance(program, ChipProgram) else program
    if not isinstance(integers, Integers):
        wanted = "a ChipProgram, a LoihiProgram or a GradedProgram"
        cure = "lower_graph(graph, ticks) makes a ChipProgram of a Graph"
        raise make_type_error("program", wanted, program, cure)
    kind = "graded_program" if isinstance(integers, GradedProgram) else "program"
    save_arrays(path, kind, *take_apart(integers))


def load_program(path: str | Path) -> ChipProgram:
    """Read a program of either kind.

    Raises:
        StoreError: the file is damaged, of another kind or version, lacks a field or has one
            too many, or holds no program that holds together.
    """
    integers = load_value(path, "program", _decode, take_apart)
    if isinstance(integers, GradedProgram):
        return GradedChipProgram(integers)
    return BinaryChipProgram(integers)


def _decode(arrays: Arrays, plain: Any) -> Integers:
    """Return the integers of a program.

    Raises:
        SchemaError: lists the fields in JSON that are missing, unknown or of another type.
        KeyError: an array is missing.
    """
    values = dict(convert(plain, dict[str, Any]))
    kind = GradedProgram if "groups" in values else LoihiProgram
    for key, hint in get_type_hints(kind).items():
        if get_origin(hint) is tuple:
            part = get_args(hint)[0]
            values[key] = [
                _decode_part(part, f"{key[0]}{i}", item, arrays)
                for i, item in enumerate(convert(values.get(key), list[dict[str, Any]], key))
            ]
    program: Integers = convert(values, kind)
    return program


def _decode_part(part: Any, where: str, plain: dict[str, Any], arrays: Arrays) -> Any:
    """Return a population, a connection or a group."""
    hints = get_type_hints(part).items()
    held = {f: arrays[name_array(where, f)] for f, hint in hints if hint is np.ndarray}
    optional = {f: name_array(where, f) for f, hint in hints if hint == np.ndarray | None}
    held |= {f: arrays[name] for f, name in optional.items() if name in arrays}
    if part is not NeuronGroup:  # whose arrays have a type of their own
        held = {field: as_int32(array) for field, array in held.items()}
    return convert({**dict.fromkeys(optional), **plain, **held}, part, where)
