"""The progress of a run: a bar with the remaining time, on stderr."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from joblib._parallel_backends import ThreadingBackend
from joblib.parallel import get_active_backend

Tell = Callable[[float | int], None]  # takes what has been done since the last call


def tell_nobody(done: float | int) -> None:
    """Take what has been done."""


@contextmanager
def show_progress(shown: bool, total: float | int) -> Iterator[Tell]:
    """Yield a function that shows how much of ``total`` is done, from any thread.

    It shows nothing unless ``shown``, in a terminal only, and not from processes, whose samples
    it does not see.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not (shown and console.is_terminal and runs_in_threads()):
        yield tell_nobody
        return
    columns = (TextColumn("simulating"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("", total=total)
        yield lambda done: bars.advance(task, done)


def runs_in_threads() -> bool:
    """Say whether samples are split over threads, unless joblib is told otherwise."""
    backend, _ = get_active_backend(prefer="threads")
    return isinstance(backend, ThreadingBackend)
