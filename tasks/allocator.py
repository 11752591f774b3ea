"""Memory that one step of a training frees is kept for the next one.

glibc hands large arrays back to the system as soon as they are freed, and the next step waits
for pages anew: up to a sixth of the time of a small network on a CPU.
"""

import ctypes
import os
import sys

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # parameters of mallopt(3)
LARGEST = 32 << 20  # [bytes] of an array that is kept; the most that every glibc takes
KEPT = 256 << 20  # [bytes] at the end of the heap
CHOSEN = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Tell glibc to keep what this process frees; return whether it will.

    Nothing is changed where the user has chosen (:data:`CHOSEN` in the environment), and where
    the C library is another one. Results are the same, and so is the peak of memory.
    """
    if sys.platform != "linux" or any(name in os.environ for name in CHOSEN):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST) and mallopt(TRIM_THRESHOLD, KEPT))
