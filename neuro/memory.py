"""Freed memory that stays with the process, for the next array of its size.

The C library of Linux (glibc) gives arrays of 32 MB and more back to the system when they are
freed. A step of training makes and frees many of them, and spends a third of its time on pages
that the system has to empty and map anew.
"""

import ctypes
import sys

MMAP_MAX, TRIM_THRESHOLD = -4, -1  # of mallopt(3)


def keep_freed_memory() -> bool:
    """Have this process keep what it frees, from now on; say whether its C library can.

    It may take somewhat more memory at its peak, as holes between arrays stay. Nothing changes
    in what is computed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, -1))
