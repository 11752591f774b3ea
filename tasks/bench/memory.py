"""Measures the peak memory of a process during an action; only on Linux."""

import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from tasks.runs.allocator import return_freed_memory

OWN = Path("/proc/self")


def measure_growth(do: Callable[[], object], before: int | None = None) -> int | None:
    """Return the peak memory of this process during ``do``, minus the memory before [bytes].

    before: an earlier result of :func:`measure_resident`; None: measure now.
    Returns None if this system does not report or cannot reset the peak.
    """
    now = measure_resident()
    try:
        (OWN / "clear_refs").write_text("5")  # resets the peak to the present value
    except OSError:
        return None
    do()
    return _status("VmHWM") - (now if before is None else before)


def measure_resident() -> int:
    """Return the resident memory of this process, without freed memory [bytes]; 0: unknown."""
    gc.collect()
    return_freed_memory()
    try:
        return _status("VmRSS")
    except OSError:
        return 0


def measure_peak() -> int:
    """Return the peak resident memory of this process [bytes], since it began its program.

    On Linux ``ru_maxrss`` does not answer this: a process inherits the peak of its parent.
    """
    try:
        return _status("VmHWM")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(name: str) -> int:
    lines = (OWN / "status").read_text().splitlines()
    (entry,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(entry.split()[1]) * 1024
