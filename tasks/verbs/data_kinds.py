"""Kinds of data sets that can be made and checked, and what has to be installed for them."""

from collections.abc import Iterator
from contextlib import contextmanager

from drivers.nuscenes.devkit import require_devkit
from tasks.runs.names import require_one_of

KINDS = ("nuscenes",)


@contextmanager
def require_kind(kind: str) -> Iterator[None]:
    """Run a block that imports what a ``kind`` of data set needs.

    Raises:
        UnknownName: there is no such kind.
        RuntimeError: what it needs is not installed.
    """
    require_one_of(kind, KINDS, "kind of data set")
    with require_devkit():
        yield
