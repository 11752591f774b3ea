"""The memory that a run needs, and an error if it is more than is free."""

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

MEMINFO = Path("/proc/meminfo")  # of Linux
LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container


def require_memory(needed: Mapping[str, int | float], cure: str) -> None:
    """Raise a ValueError, largest arrays first, unless a run fits into the free memory.

    needed: bytes by content, such as "membranes of out". cure: for the message.
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
    """Return the bytes that this process can use; infinity if the system does not say."""
    limits = []
    if MEMINFO.exists():
        kilobytes = re.findall(
            r"^(?:MemAvailable|SwapFree):\s+(\d+)", MEMINFO.read_text(), re.M
        )
        limits.append(1024 * sum(map(int, kilobytes)))
    elif "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    if LIMIT.exists() and (limit := LIMIT.read_text().strip()).isdigit():  # else "max"
        limits.append(int(limit))
    return float(min(limits, default=math.inf))


def _in_gb(size: int | float) -> str:
    return f"{size / 1e9:.3g} GB"
