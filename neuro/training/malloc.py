"""Freed memory: it may stay with the process, for the next array of its size.

The C library of Linux (glibc) gives arrays of 32 MB and more back to the system when they are
freed. A step of training makes and frees many of them, and spends a third of its time on pages
that the system has to empty and map anew.
"""

import ctypes
import sys
from typing import Any

MMAP_MAX, TRIM_THRESHOLD = -4, -1  # of mallopt(3)


def keep_freed_memory() -> bool:
    """Have this process keep what it frees, from now on; say whether its C library can.

    It may take somewhat more memory at its peak, as holes between arrays stay. Nothing changes
    in what is computed.
    """
    mallopt = _of_c_library("mallopt")
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, -1))


def give_freed_memory_back() -> None:
    """Have this process give the system what it has freed so far, where its C library can."""
    trim = _of_c_library("malloc_trim")
    if trim is not None:
        trim(0)


def _of_c_library(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
