"""The kinds of data sets that can be made and checked, and the packages they need."""

from collections.abc import Iterator
from contextlib import contextmanager

from drivers.nuscenes.devkit import require_devkit
from tasks.runs.names import require_one_of

KINDS = ("nuscenes",)


@contextmanager
def require_kind(kind: str) -> Iterator[None]:
    """Run a block that imports the packages of a ``kind`` of data set.

    Raises:
        UnknownName: there is no such kind.
        RuntimeError: a package is not installed.
    """
    require_one_of(kind, KINDS, "kind of data set")
    with require_devkit():
        yield
