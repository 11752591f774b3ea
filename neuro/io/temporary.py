"""Temporary files and folders, named after the process that makes them.

What a killed process left is known by that name: a later process on this machine removes it.
"""

import os
import platform
import re
import shutil
from contextlib import suppress
from pathlib import Path

PATTERN = re.compile(r".*\.(?P<host>[^.]*)-(?P<pid>\d+)\.tmp[^.]*")


def name_own(name: str) -> str:
    """Return a temporary name of this process; what follows it holds no dot."""
    host = platform.node().replace(".", "-")
    return f".{name}.{host}-{os.getpid()}.tmp"


def remove_stale(folder: Path, name: str = "") -> None:
    """Remove the temporary files and folders in ``folder`` whose processes are no more.

    name: only those made for this name; "": all. Those of other machines, which may share the
    folder, and of living processes stay; so does what this user may not remove.
    """
    own = PATTERN.fullmatch(name_own(""))
    with suppress(OSError):  # a folder that cannot be read
        for path in folder.glob(f".{name}*.tmp*"):
            found = PATTERN.fullmatch(path.name)
            if found and own and found["host"] == own["host"] and _is_dead(int(found["pid"])):
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink()


def _is_dead(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # it lives, and is another user's
        return False
    return False
