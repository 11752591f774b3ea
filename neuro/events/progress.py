"""Reports the progress of a run to a user's function."""

from collections.abc import Callable
from threading import Lock

from joblib._parallel_backends import ThreadingBackend
from joblib.parallel import get_active_backend

from neuro.base.arguments import make_type_error

Tell = Callable[[float | int], None]  # takes the amount of work done since the last call


def tell_nobody(done: float | int) -> None:
    """Ignore a report."""


def add_up(progress: Callable[[float], object] | None, total: float | int) -> Tell:
    """Return a function that takes parts of ``total`` and calls ``progress`` with their share.

    Any thread may call it. In processes it does nothing, because they do not know of each
    other.

    Raises:
        TypeError: ``progress`` is not a function.
    """
    if progress is None or not runs_in_threads():
        return tell_nobody
    if not callable(progress):
        need = "a function of the share that is done"
        cure = "for example progress=lambda share: print(f'{share:.0%}')"
        raise make_type_error("progress", need, progress, cure)
    lock, sums = Lock(), [0.0]

    def tell(done: float | int) -> None:
        with lock:
            sums[0] += done
            progress(min(1.0, sums[0] / total))

    return tell


def runs_in_threads() -> bool:
    """Say whether samples are split among threads, joblib's default for this engine."""
    backend, _ = get_active_backend(prefer="threads")
    return isinstance(backend, ThreadingBackend)
