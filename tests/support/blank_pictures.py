"""Pictures that stay blank, for tests of what stands beside them: drawing takes seconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import pytest
from matplotlib.figure import Figure


def save_nothing(_: Figure, file: IO[Any], *, format: str, **__: object) -> None:
    """Write an empty picture, as ``Figure.savefig`` writes that of a figure."""
    file.write("<svg></svg>" if format == "svg" else b"")


@contextmanager
def leave_blank() -> Iterator[None]:
    """Let all pictures be blank inside the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_nothing)
        yield
