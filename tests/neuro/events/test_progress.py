"""The progress of a run on the event engine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import joblib
import pytest
from exact_laws import network, on_ticks
from graphs import random_graph, stimulus
from rich.console import Console
from rich.progress import Progress

from neuro.events import Exact, Grid, Recording, engine, progress, simulate
from neuro.events.exact import run as exact_run
from neuro.events.exact.compile import compile_exactly


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list to which every run appends its total with a minus, and what it tells."""
    every: list[float] = []

    @contextmanager
    def note(shown: bool, total: float | int) -> Iterator[Callable[[float], None]]:
        assert shown
        every.append(-total)
        yield every.append

    monkeypatch.setattr(engine, "show_progress", note)
    monkeypatch.setattr(exact_run, "show_progress", note)
    return every


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_run_in_ticks_tells_adds_up_to_all_ticks_of_all_samples(
    told: list[float], workers: int
) -> None:
    graph = random_graph(4)
    x = stimulus(graph, 4, ticks=17, samples=3)
    simulate(graph, x, Grid(stretch=5), progress=True, workers=workers)
    assert told[0] == -17 * 3
    assert sum(told) == 0
    assert len(told) > 4


@pytest.mark.parametrize("driver", ["window", "heap"])
def test_a_run_in_continuous_time_tells_each_component_to_its_end(
    told: list[float], driver: str
) -> None:
    graph = network("delta", 3)
    clock = Exact(driver=driver, window=0.7 * graph.dt)
    x = {"x": on_ticks(3, ticks=16, samples=2)}
    simulate(graph, x, clock, record=Recording(states=(3,)), progress=True)
    assert told[0] == -16 * 2 * len(compile_exactly(graph, 1).components)
    assert sum(told) == pytest.approx(0, abs=1e-9)


def test_the_bar_is_on_stderr_of_a_terminal_and_only_in_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[tuple[float, float]] = []

    def note(bars: Progress, task: int, done: float) -> None:
        assert bars.console.stderr
        shown.append((bars.tasks[task].total or 0.0, done))

    monkeypatch.setattr(Progress, "advance", note)
    with progress.show_progress(True, 6.0) as tell:
        tell(5.0)
    monkeypatch.setattr(Console, "is_terminal", True)
    with progress.show_progress(True, 8.0) as tell:
        tell(3.0)
    with progress.show_progress(False, 9.0) as tell:
        tell(2.0)
    with (
        joblib.parallel_config(backend="multiprocessing"),
        progress.show_progress(True, 7.0) as tell,
    ):
        tell(1.0)
    assert shown == [(8.0, 3.0)]
