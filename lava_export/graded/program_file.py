"""A GradedProgram in a file: its weights and gains as arrays, all else as JSON."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lava_export.graded.program import GradedProgram, Group, Kind, require_graded_program
from neuro.io.schema import convert
from neuro.io.store import Arrays, load_value, save_arrays


@dataclass(frozen=True)
class GroupMeta:
    """What of a group is no array."""

    name: str
    kind: Kind
    size: int
    sources: list[str]
    lag: int
    numbers: dict[str, int]


@dataclass(frozen=True)
class GradedMeta:
    """What a file says of a program in JSON."""

    digest: str
    groups: list[dict[str, Any]]


def save_graded_program(path: str | Path, program: GradedProgram) -> None:
    """Write a program; :func:`load_graded_program` returns it bit for bit.

    Raises:
        TypeError: it is no GradedProgram.
        StoreError: the file cannot be written.
    """
    require_graded_program(program)
    save_arrays(path, "graded_program", *take_apart(program))


def load_graded_program(path: str | Path) -> GradedProgram:
    """Read a program.

    Raises:
        StoreError: the file is damaged, of another kind or version, lacks a field or has one
            too many, or holds no program that holds together.
    """
    return load_value(path, "graded_program", _decode, take_apart)


def take_apart(program: GradedProgram) -> tuple[Arrays, Any]:
    """Return the program as arrays, g0, g1 ..., and the rest as JSON values."""
    groups = [
        asdict(GroupMeta(g.name, g.kind, g.size, list(g.sources), g.lag, dict(g.numbers)))
        for g in program.groups
    ]
    arrays = {f"g{i}": g.array for i, g in enumerate(program.groups)}
    return arrays, asdict(GradedMeta(program.digest, groups))


def _decode(arrays: Arrays, plain: Any) -> GradedProgram:
    meta: GradedMeta = convert(plain, GradedMeta)
    groups = []
    for i, given in enumerate(meta.groups):
        held: GroupMeta = convert(given, GroupMeta, f"g{i}")
        values: dict[str, Any] = {**asdict(held), "sources": tuple(held.sources)}
        groups.append(Group(**values, array=arrays[f"g{i}"]))
    return GradedProgram(groups=tuple(groups), digest=meta.digest)
