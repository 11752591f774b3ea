"""What a process takes of memory at most while it does something; only Linux tells."""

import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from tasks.runs.allocator import return_freed_memory

OWN = Path("/proc/self")


def measure_growth(do: Callable[[], object], before: int | None = None) -> int | None:
    """Return by how many bytes this process is larger at its peak than before it did this.

    before: what it took at an earlier time, by :func:`measure_resident`; None: now.
    None: this system does not tell, or does not let its peak be forgotten.
    """
    now = measure_resident()
    try:
        (OWN / "clear_refs").write_text("5")  # from now on the peak is that of this moment
    except OSError:
        return None
    do()
    return _status("VmHWM") - (now if before is None else before)


def measure_resident() -> int:
    """Return the bytes that this process takes, without freed ones; 0: they are unknown."""
    gc.collect()
    return_freed_memory()
    try:
        return _status("VmRSS")
    except OSError:
        return 0


def measure_peak() -> int:
    """Return the bytes that this process has taken at most since it began its program.

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
