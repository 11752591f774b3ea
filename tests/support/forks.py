"""Processes forked from a test's script."""

import os
from collections.abc import Callable


def in_a_fork(do: Callable[[], None]) -> int:
    """Return how a process ended that did something: its status, or minus the signal."""
    pid = os.fork()
    if pid == 0:
        try:
            do()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
