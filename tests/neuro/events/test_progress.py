"""The progress of a run on the event engine."""

from itertools import pairwise

import joblib
import pytest
from exact_laws import network, on_ticks
from graphs import random_graph, stimulus

from neuro.events import Exact, Grid, Recording, progress, simulate


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_in_ticks_tells_the_share_of_its_samples_and_ticks(workers: int) -> None:
    graph = random_graph(4)
    x = stimulus(graph, 4, ticks=17, samples=3)
    shares: list[float] = []
    simulate(graph, x, Grid(stretch=5), progress=shares.append, workers=workers)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    done = [round(17 * 3 * share, 9) for share in shares]
    if workers == 1:
        assert done == [15, 30, 45, 51]  # three samples together
    steps = {round(b - a, 9) for a, b in pairwise([0, *done])}
    assert steps <= {15, 10, 6, 5, 4, 2}


@pytest.mark.parametrize("driver", ["window", "heap"])
def test_a_run_in_continuous_time_tells_each_component_to_its_end(driver: str) -> None:
    graph, shares = network("delta", 3), list[float]()
    clock = Exact(driver=driver, window=0.7 * graph.dt)
    x = {"x": on_ticks(3, ticks=16, samples=2)}
    simulate(graph, x, clock, record=Recording(states=(3,)), progress=shares.append)
    assert shares[0] == pytest.approx(4 / 16 / 2)  # the first of two samples to the state
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def test_nothing_is_told_without_a_function_or_from_processes() -> None:
    assert progress.add_up(None, 3) is progress.tell_nobody
    shares: list[float] = []
    with joblib.parallel_config(backend="multiprocessing"):
        assert progress.add_up(shares.append, 3) is progress.tell_nobody
    tell = progress.add_up(shares.append, 8)
    tell(2)
    tell(5.0)
    assert shares == [0.25, 0.875]
