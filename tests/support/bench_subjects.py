"""Subjects for the tests of the benchmarks: they are unpickled in child processes."""

import importlib
import os
import time
from functools import partial
from pathlib import Path

from tasks.bench.harness import Run, RunTiming


def writes(name: str, log: Path, threads: int) -> Run:
    """Log every build and run; count the threads."""

    def run() -> RunTiming:
        with log.open("a") as file:
            file.write(f"{name} ")
        return RunTiming(cpu=1.0, wall=2.0, counted=threads)

    with log.open("a") as file:
        file.write(f"build-{name} ")
    return run


def reads_environment(variable: str, _: int) -> Run:
    """Count what a variable said before anything was imported."""
    return lambda: RunTiming(1.0, 1.0, counted=int(os.environ[variable]))


def cannot_build(_: int) -> Run:
    """Fail at once."""
    raise ValueError("no such network")


def fails_to_run(_: int) -> Run:
    """Fail later."""

    def run() -> RunTiming:
        raise ValueError("too hot")

    return run


def fails_the_second_time(_: int) -> Run:
    """Run once, then fail."""
    left = [RunTiming(1.0, 1.0, 1)]
    return left.pop


def dies(_: int) -> Run:
    """Take the process along."""
    os.write(2, b"first words\nlast words\n")
    return partial(os._exit, 7)


def never_ends(_: int) -> Run:
    """Run for a day."""
    return partial(time.sleep, 86_400)  # type: ignore[return-value, arg-type]


def lacks_a_package(_: int) -> Run:
    """Need what nobody has."""
    return importlib.import_module("no_such_simulator").run  # type: ignore[no-any-return]


def prints(_: int) -> Run:
    """Print as libraries in C do."""
    os.write(1, b"NOISE")
    return lambda: RunTiming(1.0, 1.0, 1)


def takes(seconds: float, spikes: int, _: int) -> Run:
    """Tell a time, of spikes that have ten synaptic events each."""
    return lambda: RunTiming(seconds, 2 * seconds, spikes, 10 * spikes)


def needs(seconds: float, grown: int | None, _: int) -> Run:
    """Tell a time, and what memory it needed."""
    return lambda: RunTiming(seconds, seconds, 1, grown=grown)
