"""Subjects for the tests of the benchmarks: they are unpickled in child processes."""

import os
from functools import partial
from pathlib import Path

from tasks.bench.harness import Run, Timing


def writes(name: str, log: Path, threads: int) -> Run:
    """Log every build and run; count the threads."""

    def run() -> Timing:
        with log.open("a") as file:
            file.write(f"{name} ")
        return Timing(cpu=1.0, wall=2.0, counted=threads)

    with log.open("a") as file:
        file.write(f"build-{name} ")
    return run


def reads_environment(variable: str, _: int) -> Run:
    """Count what a variable said before anything was imported."""
    return lambda: Timing(1.0, 1.0, counted=int(os.environ[variable]))


def cannot_build(_: int) -> Run:
    """Fail at once."""
    raise ValueError("no such network")


def fails_to_run(_: int) -> Run:
    """Fail later."""

    def run() -> Timing:
        raise ValueError("too hot")

    return run


def dies(_: int) -> Run:
    """Take the process along."""
    return partial(os._exit, 7)


def prints(_: int) -> Run:
    """Print as libraries in C do."""
    os.write(1, b"NOISE")
    return lambda: Timing(1.0, 1.0, 1)
