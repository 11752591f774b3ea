"""A program in a file: its integers as arrays, all else as JSON."""

from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from lava_export.graded.program import GradedProgram, NeuronGroup
from lava_export.program import LoihiProgram, as_int32, name_array, take_apart
from neuro.arguments import make_type_error
from neuro.io.schema import convert
from neuro.io.store import Arrays, load_value, recognize, save_arrays

ProgramData = LoihiProgram | GradedProgram
KINDS: dict[str, type[ProgramData]] = {"program": LoihiProgram, "graded_program": GradedProgram}


def save_program(path: str | Path, program: ProgramData) -> None:
    """Write a program; :func:`load_program` returns it bit for bit.

    Raises:
        TypeError: it is no program.
        StoreError: the file cannot be written.
    """
    for kind, of_kind in KINDS.items():
        if isinstance(program, of_kind):
            save_arrays(path, kind, *take_apart(program))
            return
    cure = "lower_graph(graph, ticks) makes a ChipProgram of a Graph, whose .program is one"
    raise make_type_error("program", "a LoihiProgram or a GradedProgram", program, cure)


def load_program(path: str | Path) -> ProgramData:
    """Read a program of either kind.

    Raises:
        StoreError: the file is damaged, of another kind or version, lacks a field or has one
            too many, or holds no program that holds together.
    """
    kind = recognize(Path(path))
    kind = kind if kind in KINDS else "program"
    program: ProgramData = load_value(path, kind, partial(_decode, KINDS[kind]), take_apart)
    return program


def _decode(kind: type[ProgramData], arrays: Arrays, plain: Any) -> ProgramData:
    """Return a program.

    Raises:
        SchemaError: lists the fields in JSON that are missing, unknown or of another type.
        KeyError: an array is missing.
    """
    values = dict(convert(plain, dict[str, Any]))
    for key, hint in get_type_hints(kind).items():
        if get_origin(hint) is tuple:
            part = get_args(hint)[0]
            values[key] = [
                _decode_part(part, f"{key[0]}{i}", item, arrays)
                for i, item in enumerate(convert(values.get(key), list[dict[str, Any]], key))
            ]
    program: ProgramData = convert(values, kind)
    return program


def _decode_part(part: Any, where: str, plain: dict[str, Any], arrays: Arrays) -> Any:
    """Return a population, a connection or a group."""
    held = {
        field: arrays[name_array(where, field)]
        for field, hint in get_type_hints(part).items()
        if hint is np.ndarray
    }
    if part is not NeuronGroup:  # whose arrays have a type of their own
        held = {field: as_int32(array) for field, array in held.items()}
    return convert({**plain, **held}, part, where)
