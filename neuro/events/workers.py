"""Split samples over workers: threads, or the configured backend of joblib."""

from collections.abc import Callable
from numbers import Integral
from typing import TypeVar

import joblib

from neuro.arguments import make_type_error

Part = TypeVar("Part")


def run_over_samples(run: Callable[[int, int], Part], samples: int, workers: int) -> list[Part]:
    """Return ``run(start, stop)`` for about equal ranges of samples, in order.

    Threads are the default: compiled kernels release the interpreter's lock, and nothing is
    copied. ``joblib.parallel_config(backend=...)`` selects processes ("loky") or a cluster
    ("ray").
    """
    require_workers(workers)
    shares = min(workers, samples)
    if shares == 1:
        return [run(0, samples)]
    bounds = [samples * k // shares for k in range(shares + 1)]
    jobs = (joblib.delayed(run)(bounds[k], bounds[k + 1]) for k in range(shares))
    # Processes share arrays copy-on-write: Numba compiles kernels again for read-only arrays.
    parallel = joblib.Parallel(n_jobs=shares, prefer="threads", mmap_mode="c")
    parts: list[Part] = parallel(jobs)
    return parts


def require_workers(workers: int) -> None:
    """Raise a TypeError or ValueError unless a number of workers is a whole number >= 1."""
    if not isinstance(workers, Integral):
        cure = "2 splits the samples over two threads"
        raise make_type_error("workers", "a whole number", workers, cure)
    if workers < 1:
        raise ValueError(f"workers must be >= 1, got {workers}; 1 runs in this thread")
