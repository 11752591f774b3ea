"""How subjects time themselves."""

import math
import time
from collections.abc import Callable

from tasks.bench.harness import Run, RunTiming
from tasks.bench.memory import measure_growth

LEAST = 0.2  # s that a timed run lasts: what is shorter is repeated until then


class Stopwatch:
    """CPU and wall time since it was made.

    >>> Stopwatch().timing(3).counted
    3
    """

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def timing(self, counted: int, events: int = 0) -> RunTiming:
        """Return what a run took that ends now."""
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        return RunTiming(cpu, wall, counted, events)


def repeat(once: Callable[[], tuple[int, int]], before: int | None = None) -> Run:
    """Return a run that lasts long enough to be timed, and tells the mean, and its memory.

    once: returns what it counted, and its synaptic events. Runs at once, to compile; what this
    takes of memory counts, so who wants to leave the code itself out has run some of it before.
    before: what the process took when there was nothing yet that is to count.
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
