from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from neuro.record import Counts, Record, concatenate
from neuro.spikes import to_events, to_raster


def record(raster: np.ndarray, executor: str = "torch", **counts: Counts) -> Record:
    return Record(
        executor=executor,
        ticks=raster.shape[0],
        samples=raster.shape[1],
        spikes={"a": to_events(raster)},
        values={"out": raster * 0.5},
        counts=counts,
    )


@settings(deadline=None)
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


def test_records_of_two_executors_or_lengths_are_not_joined() -> None:
    raster = np.zeros((3, 1, 2), np.float32)
    silent = replace(record(raster), spikes={})
    for other in (record(raster, executor="events"), record(raster[:2]), silent):
        with pytest.raises(ValueError, match="one executor, network and number of ticks"):
            concatenate([record(raster), other])
