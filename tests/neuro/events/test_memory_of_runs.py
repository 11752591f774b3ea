"""What a run would take of memory is told before it starts."""

import re
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from written_graphs import chain, wire

from neuro.base.units import Seconds, Ticks
from neuro.events import Exact, Grid, Recording, engine, resources, simulate
from neuro.graph import Dense, Edge, Graph, Input
from neuro.neurons import LI, LIF
from neuro.spikes import Events, Times

LAYERS = wire(
    "x>in in>hidden hidden>out out>read",
    {
        "x": Input(shape=(3,)),
        "in": Dense(weight=np.ones((5, 3))),
        "hidden": LIF(tau=0.01),
        "out": Dense(weight=np.ones((2, 5))),
        "read": LI(tau=0.01),
    },
)
LOOP = wire(
    "x>cells cells>back:2 back>cells",
    {"x": Input(shape=(5,)), "cells": LIF(tau=0.01), "back": Dense(weight=np.eye(5))},
)


def one_spike(ticks: int, neurons: int, samples: int = 1) -> Events:
    zero = np.zeros(1, np.int32)
    return Events(zero, zero, zero, np.ones(1), (ticks, samples, neurons))


def told(
    monkeypatch: pytest.MonkeyPatch, graph: Graph, train: Events, **settings: object
) -> dict[str, int]:
    """Return what a run asks for [bytes], without running it."""
    asked = {}

    def note(needed: dict[str, int], cure: str) -> None:
        asked.update(needed)
        raise ValueError(cure)

    monkeypatch.setattr(engine, "require_memory", note)
    with pytest.raises(ValueError, match="simulate_to_disk"):
        simulate(graph, {"x": train}, **settings)
    return asked


def test_1e9_ticks_are_refused_with_what_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "find_free_memory", lambda: 20e9)
    with pytest.raises(ValueError, match="needs") as error:
        simulate(LAYERS, {"x": one_spike(10**9, 3)})
    assert re.fullmatch(
        r"the run needs 47\.7 GB of memory, and 20 GB are free: the ticks of "
        r"hidden 23\.7 GB, values of read 16 GB, the ticks of x 8 GB; cut the stimulus into "
        r"pieces with neuro\.events\.to_disk\.simulate_to_disk, run fewer samples at a time "
        r"or record less",
        str(error.value),
    )


def test_times_are_refused_as_events_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "find_free_memory", lambda: 20e9)
    zero = np.zeros(1, np.int32)
    train = Times(zero, np.ones(1), zero, np.ones(1), (10**9, 1, 3))
    with pytest.raises(ValueError, match=r"needs 47\.7 GB of memory"):
        simulate(LAYERS, {"x": train})


def test_what_a_run_keeps_of_each_node_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = 8  # of 1,000 ticks in stretches of 128
    assert told(monkeypatch, LAYERS, one_spike(1000, 3, samples=4)) == {
        "the ticks of x": 8 * 4 * 1001,
        "the ticks of hidden": 8 * 4 * (1000 + batches) + 2000 * batches,
        "values of read": 1000 * 4 * 2 * 8,
    }
    record = Recording(spikes=("x",), values=(), states=(3, 7))
    single = Grid(dtype=np.float32)
    asked = told(
        monkeypatch, LAYERS, one_spike(1000, 3, samples=4), clock=single, record=record
    )
    assert asked == {
        "the ticks of x": 8 * 4 * 1001,
        "states of hidden": 2 * 4 * 4 * 5 * 4,
        "states of read": 2 * 4 * 4 * 2 * 4,
    }


def test_a_loop_has_slots_for_its_delays_and_a_batch_for_each_stretch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = told(monkeypatch, LOOP, one_spike(1001, 5, samples=3))
    assert asked["the ticks of cells"] == 8 * 3 * (1001 + 8) + 2000 * 8
    assert asked["delay slots of cells"] == 3 * 2 * 5 * 8


def test_in_a_loop_node_by_node_every_window_has_a_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edges = (*LOOP.edges, Edge("cells", "cells", Ticks(3)))
    asked = told(monkeypatch, replace(LOOP, edges=edges), one_spike(1001, 5))
    assert asked["the ticks of cells"] == 8 * (1001 + 501) + 2000 * 501


def test_samples_that_do_not_run_together_are_held_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "MAX_BUFFER_VALUES", 5 * 128 * 3)  # three samples together
    asked = told(monkeypatch, LAYERS, one_spike(1000, 3, samples=4))
    assert asked["values of read"] == 2 * 1000 * 4 * 2 * 8
    assert asked["the ticks of hidden"] == 8 * 3 * (1000 + 8) + 2000 * 8
    asked = told(monkeypatch, LAYERS, one_spike(1000, 3, samples=3))
    assert asked["values of read"] == 1000 * 3 * 2 * 8


@pytest.mark.parametrize(
    ("graph", "samples", "ticks"),
    [(LAYERS, 1, 40_000), (LAYERS, 3, 20_000), (LOOP, 1, 1000), (LOOP, 3, 1000)],
)
def test_a_run_takes_what_it_says_and_little_more(
    monkeypatch: pytest.MonkeyPatch, graph: Graph, samples: int, ticks: int
) -> None:
    train = one_spike(ticks, graph.size("x"), samples)
    simulate(graph, {"x": train._replace(shape=(300, *train.shape[1:]))})  # compiles
    with monkeypatch.context() as patch:
        said = sum(told(patch, graph, train).values())
    tracemalloc.start()
    try:
        simulate(graph, {"x": train})
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.8 * said < taken < 1.3 * said + 2**18


@pytest.mark.parametrize("make", [Events, Times])
def test_more_ticks_than_an_int32_counts_are_refused_in_ticks(
    monkeypatch: pytest.MonkeyPatch, make: Callable[..., Events | Times]
) -> None:
    monkeypatch.setattr(resources, "find_free_memory", lambda: 1e30)
    zero = np.zeros(1, np.int32)
    when = np.array([2.2e6]) if make is Times else np.array([2**31 - 1])
    train = make(zero, when, zero, np.ones(1), (2**31, 1, 3))
    if make is Times:
        train = train._replace(shape=(2_200_000_000, 1, 3))
    with pytest.raises(ValueError, match="must have <= 2147483647 ticks"):
        simulate(LAYERS, {"x": train})


def test_the_exact_clock_records_ticks_beyond_32_bits() -> None:
    us = chain(x=Input(shape=(1,)), cell=LIF(tau=0.01), dt=Seconds(1e-6))
    zero, ticks = np.zeros(1, np.int32), 36 * 60 * 10**6
    train = Times(zero, np.array([36 * 60.0]), zero, np.ones(1), (ticks, 1, 1))
    record, _ = simulate(us, {"x": train}, Exact(driver="heap"))
    assert record.spikes["cell"].tick.tolist() == [ticks - 1]
    assert record.times["cell"].time.tolist() == [36 * 60.0]


def test_samples_numbered_in_few_bits_lose_no_spike() -> None:
    one = chain(x=Input(shape=(1,)), cell=LIF(tau=0.01))
    for samples in (128, 300):
        every = np.arange(128, dtype=np.int8)
        none = np.zeros(128, np.int32)
        train = Events(every, none, none, np.ones(128), (2, samples, 1))
        for clock in (Exact(), Grid()):
            record, _ = simulate(one, {"x": train}, clock)
            assert record.spikes["cell"].sample.tolist() == list(range(128))
