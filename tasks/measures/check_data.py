"""Checks a data set and summarises its problems in a few lines."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.nuscenes.devkit import require_devkit
from tasks.runs.names import require_one_of

if TYPE_CHECKING:
    from drivers.nuscenes.problem import Problem

KINDS = ("nuscenes",)  # kinds of data sets that can be made and checked
ALIKE = 5  # most problems with the same table, field and cure that are listed one by one


def check_data_set(kind: str, path: Path, version: str = "") -> tuple["Problem", ...]:
    """Return all problems of a data set of a ``kind``.

    Raises:
        UnknownName: there is no such kind.
        FileNotFoundError: there is no data set at ``path``.
        RuntimeError: a package that the check needs is not installed.
    """
    require_one_of(kind, KINDS, "kind of data set")
    with require_devkit():
        from drivers.nuscenes.check import check_nuscenes
    return check_nuscenes(path, version)


def shorten_problems(problems: Sequence["Problem"]) -> Iterator[str]:
    """Yield one line per problem; of many similar problems only the first ones are listed."""
    alike = defaultdict(list)
    for problem in problems:
        alike[problem.table, problem.field, problem.cure].append(problem)
    for (table, field, _), some in alike.items():
        yield from map(str, some[:ALIKE])
        if len(some) > ALIKE:
            yield f"{table} {field}: {len(some) - ALIKE} more like these"
    if problems:
        yield f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
