"""A LoihiProgram in a file: its integers as arrays, all else as JSON."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np

from lava_export.program import (
    Connection,
    LoihiProgram,
    Population,
    as_int32,
    require_program,
    take_apart,
)
from neuro.io.schema import SchemaError, convert
from neuro.io.store import Arrays, load_value, save_arrays

Part = TypeVar("Part", Population, Connection)


@dataclass(frozen=True)
class Meta:
    """What a file says of a program in JSON: of all, and what of each part is no array."""

    ticks: int | None
    digest: str
    populations: list[dict[str, Any]]
    connections: list[dict[str, Any]]


def save_program(path: str | Path, program: LoihiProgram) -> None:
    """Write a program; :func:`load_program` returns it bit for bit.

    Raises:
        TypeError: it is no LoihiProgram.
        StoreError: the file cannot be written.
    """
    require_program(program)
    save_arrays(path, "program", *_encode(program))


def load_program(path: str | Path) -> LoihiProgram:
    """Read a program.

    Raises:
        StoreError: the file is damaged, of another kind or version, lacks a field or has one
            too many, or holds no program that holds together.
    """
    return load_value(path, "program", _decode, _encode)


def _encode(program: LoihiProgram) -> tuple[Arrays, Any]:
    arrays, meta = take_apart(program)
    return arrays, asdict(Meta(**meta))


def _decode(arrays: Arrays, plain: Any) -> LoihiProgram:
    meta: Meta = convert(plain, Meta)
    return LoihiProgram(
        ticks=meta.ticks,
        digest=meta.digest,
        populations=tuple(
            _decode_part(Population, f"p{i}", given, arrays)
            for i, given in enumerate(meta.populations)
        ),
        connections=tuple(
            _decode_part(Connection, f"c{i}", given, arrays)
            for i, given in enumerate(meta.connections)
        ),
    )


def _decode_part(kind: type[Part], where: str, given: dict[str, Any], arrays: Arrays) -> Part:
    """Return a population or a connection.

    Raises:
        SchemaError: lists its fields in JSON that are missing, unknown or of another type.
        KeyError: one of its arrays is missing.
    """
    hints, values, problems = get_type_hints(kind), {}, []
    plain = [f.name for f in fields(kind) if hints[f.name] is not np.ndarray]
    problems += [f"{where}.{k} has no meaning" for k in given if k not in plain]
    problems += [f"{where}.{k} is missing" for k in plain if k not in given]
    for name in (name for name in plain if name in given):
        try:
            values[name] = convert(given[name], hints[name], f"{where}.{name}")
        except SchemaError as error:
            problems.append(str(error))
    if problems:
        raise SchemaError("; ".join(problems))
    for f in fields(kind):
        if f.name not in plain:
            values[f.name] = as_int32(arrays[f"{where}.{f.name}"])
    return kind(**values)
