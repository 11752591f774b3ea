"""The process of one subject: builds it, runs it on request, and answers through a pipe."""

import os
import pickle
import sys
import time
from typing import Any, BinaryIO

from tasks.bench.harness import Failure, Run
from tasks.bench.memory import measure_peak
from tasks.runs.allocator import keep_freed_memory


def main() -> None:
    """Serve requests until the pipe is closed; print statements of libraries go to stderr.

    The process keeps freed memory, as all commands do, for our subjects and for peers.
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
        except Exception as error:  # for example, a package is not installed
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
    """Return an error as one line, with the cure if a package is missing."""
    if isinstance(error, ModuleNotFoundError):
        from neuro.base.extras import (
            describe_cure,  # imports torch, which few subjects need
        )

        return f"{error.name} is not installed; {describe_cure('peers')}"
    return f"{type(error).__name__}: {error}".splitlines()[0]


if __name__ == "__main__":
    main()
