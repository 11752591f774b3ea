"""The stopwatch with which subjects time themselves."""

import math
import time
from collections.abc import Callable

from tasks.bench.harness import Run, RunTiming
from tasks.bench.memory import measure_growth

LEAST = 0.2  # [s] shortest timed run; shorter work is repeated until then


class Stopwatch:
    """CPU and wall time since the stopwatch was created.

    >>> Stopwatch().timing(3).counted
    3
    """

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def timing(self, counted: int, events: int = 0) -> RunTiming:
        """Return the timing of a run that ends now."""
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        return RunTiming(cpu, wall, counted, events)


def repeat(once: Callable[[], tuple[int, int]], before: int | None = None) -> Run:
    """Return a run that repeats work until it can be timed, and gives mean time and memory.

    once: returns (count, synaptic events). It runs once immediately, to compile. Memory of this
    first run counts, so a caller that wants to exclude the code itself runs it beforehand.
    before: memory of the process before anything that is to count.
    """
    memory = measure_growth(once, before)
    watch = Stopwatch()
    once()
    number = math.ceil(LEAST / watch.timing(0).wall)

    def run() -> RunTiming:
        watch = Stopwatch()
        for _ in range(number):
            counted, events = once()
        cpu, wall, *_ = watch.timing(0)
        return RunTiming(cpu / number, wall / number, counted, events, memory)

    return run
