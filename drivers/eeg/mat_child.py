"""Read MATLAB 5 files with scipy in a separate program, because damaged files crash scipy.

The arguments are the memory limit [bytes] and the files. The fields of file k go to standard
output as an .npz, named k_FIELD; an error goes to standard error.
"""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

MOST = 2**32  # memory limit [bytes], many times what a segment needs
NUMBERS = (*("data", "data_length_sec", "sampling_frequency", "freq", "sequence", "latency"),)
FIELDS = (*NUMBERS, "channels")


def read_fields(path: Path) -> dict[str, np.ndarray]:
    """Return the numbers and channel names of a file, or of the struct that is all it holds."""
    own = {k: v for k, v in loadmat(str(path)).items() if not k.startswith("__")}
    structs = [v for v in own.values() if getattr(v, "dtype", None) and v.dtype.names]
    if len(own) == 1 and structs and structs[0].size == 1:
        own = {name: structs[0].flat[0][name] for name in structs[0].dtype.names}
    found = {k: np.asarray(own[k]) for k in NUMBERS if k in own}
    found = {k: v for k, v in found.items() if v.dtype.kind in "iuf"}
    if "channels" in own:
        found["channels"] = np.array(_list_names(own["channels"]), np.str_)
    return found


def _list_names(value: Any) -> list[str]:
    """Return the names in a cell array, or the field names of a struct."""
    if value.dtype.names:
        return list(value.dtype.names)
    return [str(np.asarray(v).flat[0]) for v in value.flat if np.asarray(v).size]


if __name__ == "__main__":
    with suppress(ImportError, ValueError, OSError):  # not every system limits memory
        import resource

        for what, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, int(sys.argv[1]))):
            resource.setrlimit(what, (most, most))
    try:
        found = [read_fields(Path(name)) for name in sys.argv[2:]]
        every = {f"{k}_{name}": own[name] for k, own in enumerate(found) for name in own}
        np.savez(sys.stdout.buffer, **every)  # type: ignore[arg-type]
    except Exception as error:  # scipy raises a dozen kinds
        sys.exit(f"{type(error).__name__}: {error}")
