"""The resources of a run: memory, and the workers among which its samples are split."""

import math
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from pathlib import Path
from typing import TypeVar

import joblib

from neuro.base.arguments import make_type_error
from neuro.events.progress import runs_in_threads

MEMINFO = Path("/proc/meminfo")  # exists on Linux
LIMIT = Path("/sys/fs/cgroup/memory.max")  # memory limit of a container


def require_memory(needed: Mapping[str, int | float], cure: str) -> None:
    """Raise a ValueError that lists the largest arrays first if a run does not fit into memory.

    needed: bytes by content, such as "membranes of out".
    cure: the end of the message.
    """
    total, free = sum(needed.values()), find_free_memory()
    if total <= free:
        return
    parts = sorted(needed.items(), key=lambda part: -part[1])
    listed = ", ".join(f"{what} {_in_gb(size)}" for what, size in parts)
    raise ValueError(
        f"the run needs {_in_gb(total)} of memory, and {_in_gb(free)} are free: "
        f"{listed}; {cure}"
    )


def find_free_memory() -> float:
    """Return how many bytes this process can use; infinity if the system does not say."""
    limits = []
    if MEMINFO.exists():
        kilobytes = re.findall(
            r"^(?:MemAvailable|SwapFree):\s+(\d+)", MEMINFO.read_text(), re.M
        )
        limits.append(1024 * sum(map(int, kilobytes)))
    elif "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    if LIMIT.exists() and (limit := LIMIT.read_text().strip()).isdigit():  # otherwise "max"
        limits.append(int(limit))
    return float(min(limits, default=math.inf))


def _in_gb(size: int | float) -> str:
    return f"{size / 1e9:.3g} GB"


Part = TypeVar("Part")


def run_over_samples(run: Callable[[int, int], Part], samples: int, workers: int) -> list[Part]:
    """Return ``run(start, stop)`` for about equal ranges of samples, in order.

    Threads are the default: compiled kernels release the interpreter's lock, and nothing is
    copied. These are Python's threads, because joblib's take milliseconds to start.
    ``joblib.parallel_config(backend=...)`` selects processes ("loky") or a cluster ("ray").
    """
    require_workers(workers)
    shares = min(workers, samples)
    if shares == 1:
        return [run(0, samples)]
    bounds = [samples * k // shares for k in range(shares + 1)]
    if runs_in_threads():
        with ThreadPoolExecutor(shares) as pool:
            return list(pool.map(run, bounds[:-1], bounds[1:]))
    jobs = (joblib.delayed(run)(bounds[k], bounds[k + 1]) for k in range(shares))
    # Arrays shared with processes are copy-on-write: Numba would compile kernels again for
    # read-only ones.
    parallel = joblib.Parallel(n_jobs=shares, prefer="threads", mmap_mode="c")
    parts: list[Part] = parallel(jobs)
    return parts


def require_workers(workers: int) -> None:
    """Raise a TypeError or ValueError unless the number of workers is a whole number >= 1."""
    if not isinstance(workers, Integral):
        cure = "2 splits the samples over two threads"
        raise make_type_error("workers", "a whole number", workers, cure)
    if workers < 1:
        raise ValueError(f"workers must be >= 1, got {workers}; 1 runs in this thread")
