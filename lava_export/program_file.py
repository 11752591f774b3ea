"""A LoihiProgram in a file: its integers as arrays, all else as JSON."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from lava_export.program import (
    Connection,
    LoihiProgram,
    Population,
    as_int32,
    require_program,
    take_apart,
)
from neuro.io.schema import convert
from neuro.io.store import Arrays, load_value, save_arrays


@dataclass(frozen=True)
class ProgramMeta:
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
    return arrays, asdict(ProgramMeta(**meta))


def _decode(arrays: Arrays, plain: Any) -> LoihiProgram:
    meta: ProgramMeta = convert(plain, ProgramMeta)

    def decode_parts(kind: Any, letter: str, parts: list[dict[str, Any]]) -> tuple[Any, ...]:
        hints = get_type_hints(kind)
        names = [f.name for f in fields(kind) if hints[f.name] is np.ndarray]
        return tuple(
            convert(
                {**part, **{k: as_int32(arrays[f"{letter}{i}.{k}"]) for k in names}},
                kind,
                f"{letter}{i}",
            )
            for i, part in enumerate(parts)
        )

    return LoihiProgram(
        ticks=meta.ticks,
        digest=meta.digest,
        populations=decode_parts(Population, "p", meta.populations),
        connections=decode_parts(Connection, "c", meta.connections),
    )
