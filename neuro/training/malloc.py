"""Settings of glibc's allocator: whether freed memory stays with the process.

The C library of Linux (glibc) returns arrays of 32 MB and more to the system when they are
freed. A training step may allocate and free many of them, and then spends time on pages that
the system has to clear and map again: ``neuro bench mechanisms --only kept`` measures how much.
"""

import ctypes
import sys
from typing import Any

MMAP_MAX, TRIM_THRESHOLD = -4, -1  # of mallopt(3)


def keep_freed_memory() -> bool:
    """Make this process keep the memory it frees; return whether its C library can.

    Peak memory may be somewhat higher, as gaps between arrays stay. Results do not change.
    """
    mallopt = _find_c_function("mallopt")
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, -1))


def return_freed_memory() -> None:
    """Return the memory freed so far to the system, where the C library can."""
    trim = _find_c_function("malloc_trim")
    if trim is not None:
        trim(0)


def _find_c_function(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
