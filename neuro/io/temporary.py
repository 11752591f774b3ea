"""Temporary files and folders, named after the process that makes them.

The names tell what a killed process left: a later process on this machine removes it.
"""

import os
import platform
import re
import shutil
from contextlib import suppress
from pathlib import Path

PATTERN = re.compile(r".*\.(?P<host>[^.]*)-(?P<pid>\d+)\.tmp[^.]*")


def name_own(name: str) -> str:
    """Return a temporary name of this process; a suffix may follow it, without a dot."""
    host = platform.node().replace(".", "-")
    return f".{name}.{host}-{os.getpid()}.tmp"


def remove_stale(folder: Path, name: str = "") -> None:
    """Remove the temporary files and folders of dead processes in ``folder``.

    name: only those for this name; "": all. Files of living processes and of other machines,
    which may share the folder, stay; so do files that this user may not remove.
    """
    own = PATTERN.fullmatch(name_own(""))
    with suppress(OSError):  # a folder that cannot be read
        for path in folder.glob(f".{name}*.tmp*"):
            match = PATTERN.fullmatch(path.name)
            if match and own and match["host"] == own["host"] and _is_dead(int(match["pid"])):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                    continue
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
