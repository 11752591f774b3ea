import pickle
import signal
from dataclasses import replace

import joblib
import numpy as np
import pytest
from graphs import random_graph, stimulus
from written_graphs import read_edges

from neuro.base.units import Seconds
from neuro.events import Exact, Grid, Recording, Runaway, engine, simulate
from neuro.events.exact import heap_driver, run as exact_run
from neuro.events.exact.heap_driver import run_to_pause
from neuro.events.resources import run_over_samples
from neuro.graph import Dense, Graph, Input
from neuro.neurons import LIF
from neuro.spikes import to_events
from neuro.spikes.record import Record

NODES = {
    "x": Input(shape=(2,)),
    "in": Dense(weight=np.eye(2)),
    "calm": LIF(tau=0.01, threshold=100.0),
    "out": Dense(weight=np.eye(2)),
    "wild": LIF(tau=0.01, threshold=1.0),
    "back": Dense(weight=np.eye(2) * 2),
}
EDGES = read_edges("x>in in>calm x>out out>wild wild>back:1 back>wild")
LOOP = Graph(nodes=NODES, edges=EDGES, dt=Seconds(1e-3))


def spark(samples: int = 1) -> dict:
    """Return one spike a sample for both neurons, in the first of 40 ticks."""
    raster = np.zeros((40, samples, 2), np.float32)
    raster[0] = 1
    return {"x": to_events(raster)}


def test_a_runaway_is_stopped_and_named_and_what_it_did_can_be_read() -> None:
    with pytest.raises(Runaway, match="more than 31 spikes by tick 16: wild") as error:
        simulate(LOOP, spark(), Grid(stretch=4, budget=31))
    message, record = str(error.value), error.value.record
    assert "32 spikes, or 1000 Hz per neuron" in message
    assert record.ticks == 16
    assert record.spikes["wild"].tick.tolist() == [t for t in range(16) for _ in range(2)]
    assert record.spikes["wild"].shape == (16, 1, 2)
    assert record.spikes["x"].neuron.tolist() == [0, 1]


def test_as_many_spikes_as_the_budget_are_allowed() -> None:
    record, _ = simulate(LOOP, spark(), Grid(budget=80))
    assert record.counts["wild"].spikes == 80
    with pytest.raises(Runaway):
        simulate(LOOP, spark(), Grid(budget=79))


@pytest.mark.parametrize("workers", [1, 3])
def test_the_budget_is_that_of_all_samples_together(workers: int) -> None:
    with pytest.raises(Runaway, match="more than 239 spikes"):
        simulate(LOOP, spark(3), Grid(budget=239), workers=workers)
    record, _ = simulate(LOOP, spark(3), Grid(budget=240), workers=workers)
    assert record.counts["wild"].spikes == 240


def test_a_runaway_survives_the_way_from_a_process() -> None:
    with pytest.raises(Runaway) as error:
        simulate(LOOP, spark(), Grid(budget=5))
    back = pickle.loads(pickle.dumps(error.value))
    assert str(back) == str(error.value)
    assert back.record.counts == error.value.record.counts


def same(one: Record, other: Record) -> None:
    assert one.counts == other.counts
    assert one.samples == other.samples
    np.testing.assert_equal(one.spikes, other.spikes)
    np.testing.assert_equal(one.values, other.values)
    np.testing.assert_equal(one.states, other.states)


@pytest.mark.parametrize("seed", range(3))
def test_no_number_of_workers_changes_anything(seed: int) -> None:
    graph = random_graph(seed)
    x = stimulus(graph, seed, samples=5)
    record = Recording(states=(4,))
    _, middle = simulate(graph, x)
    want, end = simulate(graph, x, state=middle, record=record)
    for workers in (2, 5, 8):
        have, state = simulate(graph, x, state=middle, record=record, workers=workers)
        same(have, want)
        np.testing.assert_equal(state.neurons, end.neurons)
        assert state.pending.keys() == end.pending.keys()


def test_joblib_can_be_told_to_use_processes() -> None:
    graph = random_graph(1)
    x = stimulus(graph, 1, samples=3)
    with joblib.parallel_config(backend="multiprocessing"):
        have, _ = simulate(graph, x, workers=2)
    same(have, simulate(graph, x)[0])


def test_samples_are_shared_about_equally_and_stay_in_order() -> None:
    assert run_over_samples(lambda a, b: (a, b), 7, 3) == [(0, 2), (2, 4), (4, 7)]
    assert run_over_samples(lambda a, b: (a, b), 2, 9) == [(0, 1), (1, 2)]
    with pytest.raises(ValueError, match="workers must be >= 1, got 0"):
        run_over_samples(lambda a, b: (a, b), 2, 0)


def test_a_program_is_compiled_once_a_graph() -> None:
    kind = np.dtype(np.float64)
    assert engine.compile_graph(LOOP, kind) is engine.compile_graph(LOOP, kind)


def test_the_budget_of_the_heap_is_that_of_all_stretches_between_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raster = np.zeros((300, 1, 2), np.float32)
    raster[0] = 1
    x = {"x": to_events(raster)}
    pauses = []

    def counted(*args: object) -> object:
        result, paused, *place = run_to_pause(*args)
        pauses.append(paused)
        return result, paused, *place

    monkeypatch.setattr(exact_run, "WORK_PER_PAUSE", 1)
    monkeypatch.setattr(heap_driver, "run_to_pause", counted)
    once = replace(LOOP, nodes={**NODES, "back": Dense(weight=np.eye(2))})
    record, _ = simulate(once, x, Exact(driver="heap", budget=600))
    assert record.counts["wild"].spikes == 600
    assert sum(pauses) > 3
    with pytest.raises(Runaway, match="more than 301 spikes") as error:
        simulate(once, x, Exact(driver="heap", budget=301))
    assert error.value.record.counts["wild"].spikes == 302  # stopped at once, not at the end


def test_ctrl_c_in_the_heap_is_heard_behind_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside, where Numba makes the result, it would end the process."""
    returned = []

    def interrupted(*args: object) -> object:
        result = run_to_pause(*args)
        signal.raise_signal(signal.SIGINT)
        returned.append(True)
        return result

    monkeypatch.setattr(heap_driver, "run_to_pause", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate(LOOP, spark(), Exact(driver="heap"))
    assert returned == [True]
