"""The progress of a run, told to a function."""

from collections.abc import Callable
from threading import Lock

from joblib._parallel_backends import ThreadingBackend
from joblib.parallel import get_active_backend

from neuro.base.arguments import make_type_error

Tell = Callable[[float | int], None]  # takes what has been done since the last call


def tell_nobody(done: float | int) -> None:
    """Take what has been done."""


def add_up(progress: Callable[[float], object] | None, total: float | int) -> Tell:
    """Return a function for parts of ``total``, from any thread; ``progress`` gets their share.

    It does nothing in processes, which do not know of each other.

    Raises:
        TypeError: ``progress`` is no function.
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
    """Say whether samples are split over threads, unless joblib is told otherwise."""
    backend, _ = get_active_backend(prefer="threads")
    return isinstance(backend, ThreadingBackend)
