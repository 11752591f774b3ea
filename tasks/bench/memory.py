"""What a process takes of memory at most while it does something; only Linux tells."""

import gc
from collections.abc import Callable
from pathlib import Path

OWN = Path("/proc/self")


def measure_growth(do: Callable[[], object]) -> int | None:
    """Return by how many bytes this process is larger at its peak than before it did this.

    What the process has freed is given back before: else it would take that for nothing.
    None: this system does not tell, or does not let its peak be forgotten.
    """
    from neuro.training.malloc import return_freed_memory  # late: it brings Fabric along

    gc.collect()
    return_freed_memory()
    try:
        (OWN / "clear_refs").write_text("5")  # from now on the peak is that of this moment
    except OSError:
        return None
    before = _status("VmRSS")
    do()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = (OWN / "status").read_text().splitlines()
    (told,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(told.split()[1]) * 1024
