"""The process of one subject: it builds, runs when told to, and answers by a pipe."""

import os
import pickle
import sys
import time
from typing import Any, BinaryIO

from tasks.bench.harness import Failure, Run
from tasks.bench.memory import measure_peak
from tasks.runs.allocator import keep_freed_memory


def main() -> None:
    """Serve until the pipe is closed; what others print goes to stderr instead.

    Freed memory is kept, as in all commands, by ours and by the others.
    """
    keep_freed_memory()
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        try:
            build, threads = pickle.load(sys.stdin.buffer)
            start = time.perf_counter()
            run: Run = build(threads)
            _answer(out, (time.perf_counter() - start, measure_peak()))
            while _next():
                _answer(out, (run(), measure_peak()))
        except Exception as error:  # such as an import of what is not there
            _answer(out, Failure(told(error)))


def _next() -> bool:
    try:
        pickle.load(sys.stdin.buffer)
    except EOFError:
        return False
    return True


def _answer(out: BinaryIO, answer: Any) -> None:
    pickle.dump(answer, out)
    out.flush()


def told(error: Exception) -> str:
    """Return an error in a line, with the cure where a package is missing."""
    if isinstance(error, ModuleNotFoundError):
        from neuro.base.extras import (
            describe_cure,  # and with it torch, which few subjects need
        )

        return f"{error.name} is not installed; {describe_cure('peers')}"
    return f"{type(error).__name__}: {error}".splitlines()[0]


if __name__ == "__main__":
    main()
