import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st
from written_graphs import chain

from neuro.base.units import Seconds
from neuro.events import Exact, simulate
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.events.grid.oracle import simulate_slowly
from neuro.graph import Dense, Input
from neuro.io.graph_digest import digest_graph
from neuro.neurons import LIF
from neuro.nn import replay
from neuro.spikes import to_events, to_raster, to_times
from neuro.spikes.record import Counts, Record, concatenate


def record(raster: np.ndarray, executor: str = "torch", **counts: Counts) -> Record:
    return Record(
        executor=executor,
        ticks=raster.shape[0],
        samples=raster.shape[1],
        spikes={"a": to_events(raster)},
        values={"out": raster * 0.5},
        counts=counts,
    )


@given(sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4), seed=st.integers(0, 999))
def test_records_of_parts_make_the_record_of_the_whole(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    raster = (rng.random((5, sum(sizes), 4)) < 0.3).astype(np.float32)
    parts = np.split(raster, np.cumsum(sizes)[:-1], axis=1)
    whole = concatenate([record(part) for part in parts])
    assert (whole.ticks, whole.samples, whole.executor) == (5, sum(sizes), "torch")
    np.testing.assert_array_equal(to_raster(whole.spikes["a"]), raster)
    np.testing.assert_array_equal(whole.values["out"], raster * 0.5)


def test_counts_add_up() -> None:
    raster = np.zeros((1, 1, 1), np.float32)
    one = Counts(spikes=1, synaptic_events=20, synaptic_events_all=300, updates=4000)
    two = Counts(spikes=2, synaptic_events=30, synaptic_events_all=400, updates=5000)
    whole = concatenate([record(raster, a=one), record(raster, a=two)])
    assert whole.counts == {
        "a": Counts(spikes=3, synaptic_events=50, synaptic_events_all=700, updates=9000)
    }


def test_counts_are_zero_unless_an_executor_counted() -> None:
    assert Counts() == Counts(spikes=0, synaptic_events=0, synaptic_events_all=0, updates=0)
    assert record(np.zeros((1, 1, 1), np.float32)).counts == {}


RASTER = np.zeros((3, 1, 2), np.float32)
FIRST = record(RASTER)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (record(RASTER, executor="events"), "is of events, the first of torch; keep them"),
        (record(RASTER[:2]), "has 2 ticks, the first 3; "),
        (replace(FIRST, spikes={}), r"has spikes of \[\], the first of \['a'\]"),
        (replace(FIRST, digest="0"), "is of another network; .* run all on one Graph"),
    ],
)
def test_records_that_cannot_be_joined_are_told_with_the_cure(other: Record, told: str) -> None:
    with pytest.raises(ValueError, match="one executor, network and number of ticks:") as e:
        concatenate([FIRST, FIRST, other])
    _head, *found = str(e.value).splitlines()
    assert len(found) == 1
    assert re.match(f"record 2: {told}", found[0])


def test_every_executor_says_which_graph_it_ran() -> None:
    graph = chain(
        x=Input(shape=(2,)),
        fc=Dense(weight=np.full((3, 2), 0.7)),
        out=LIF(tau=0.02, reset="soft"),
    )
    inputs = {"x": to_events(np.ones((4, 2, 2), np.float32))}
    records = [
        replay(graph, inputs),
        simulate(graph, inputs)[0],
        simulate(graph, inputs, Exact())[0],
        simulate(graph, inputs, Exact(), state=simulate(graph, inputs, Exact())[1])[0],
        simulate_slowly(graph, inputs),
        simulate_exactly_slowly(graph, inputs)[0],
    ]
    assert {r.digest for r in records} == {digest_graph(graph)}
    assert concatenate(records[1:2] * 3).digest == digest_graph(graph)


def test_a_record_is_told_in_a_line_and_not_in_arrays() -> None:
    assert repr(record(RASTER + 1)) == (
        "Record(torch, 3 ticks, 1 samples; spikes: a 6; values: out float32[3, 1, 2])"
    )
    assert repr(record(RASTER, "events", a=Counts())) == (
        "Record(events, 3 ticks, 1 samples; spikes: a 0; values: out float32[3, 1, 2]; counts)"
    )
    events = to_events(RASTER + 1)
    assert repr(events) == "Events(6 spikes, shape (T, B, N) = (3, 1, 2))"
    times = to_times(events, Seconds(1e-3))
    assert repr(times) == "Times(6 spikes, shape (T, B, N) = (3, 1, 2))"
