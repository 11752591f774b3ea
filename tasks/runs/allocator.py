"""Settings of glibc's allocator that let a process keep the memory that it frees.

By default glibc returns large arrays to the system as soon as they are freed, and the next step
waits for new pages: up to a sixth of the time of a small network on a CPU, and up to half of
the time with activations of 32 MB and more.
"""

import ctypes
import os
import sys
from typing import Any

MMAP_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD = -4, -3, -1  # parameters of mallopt(3)
LARGEST = 32 << 20  # [bytes] largest array that is kept; the most that every glibc accepts
KEPT = 256 << 20  # [bytes] at the end of the heap
CHOICES = (
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "GLIBC_TUNABLES",
)  # variables with which users set the allocator themselves


def keep_freed_memory(*, of_any_size: bool = False) -> bool:
    """Make glibc keep the memory that this process frees; return whether this succeeded.

    Nothing happens with another C library, or if the environment has one of :data:`CHOICES`.
    Results do not change.

    of_any_size: keep arrays above :data:`LARGEST`, too. Gaps between them may raise the peak
    memory by a third; without this option the peak does not change.
    """
    mallopt = _find_c_function("mallopt")
    if mallopt is None or any(name in os.environ for name in CHOICES):
        return False
    if of_any_size:
        return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, -1))
    return bool(mallopt(MMAP_THRESHOLD, LARGEST) and mallopt(TRIM_THRESHOLD, KEPT))


def return_freed_memory() -> None:
    """Return the memory freed so far to the system, if the C library can."""
    trim = _find_c_function("malloc_trim")
    if trim is not None:
        trim(0)


def _find_c_function(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
