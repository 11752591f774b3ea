import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from neuro.base.units import Seconds
from neuro.spikes import (
    Events,
    Times,
    as_tick_column,
    find_quantum,
    join,
    of_sample,
    to_events,
    to_raster,
    to_ticks,
    to_times,
)

sizes = st.integers(1, 5)
small = st.sampled_from([0.0, 0.0, 1.0, -2.0, 0.5])


@st.composite
def rasters(draw: st.DrawFn, samples: st.SearchStrategy[int] = sizes) -> np.ndarray:
    shape = (draw(sizes), draw(samples), draw(sizes))
    return draw(arrays(np.float32, shape, elements=small))


def same(one: Events, other: Events) -> bool:
    """Say whether two trains are equal, dtypes included."""
    pairs = list(zip(one[:4], other[:4], strict=True))
    return one.shape == other.shape and all(
        np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs
    )


@given(raster=rasters())
def test_events_and_raster_are_two_faces_of_one_train(raster: np.ndarray) -> None:
    events = to_events(raster)
    assert events.shape == raster.shape
    np.testing.assert_array_equal(to_raster(events), raster)
    assert same(to_events(to_raster(events)), events)


@given(raster=rasters())
def test_events_are_sorted_by_sample_then_tick_then_neuron(raster: np.ndarray) -> None:
    e = to_events(raster)
    keys = list(zip(e.sample.tolist(), e.tick.tolist(), e.neuron.tolist(), strict=True))
    assert keys == sorted(keys)
    assert len(keys) == np.count_nonzero(raster)


def test_one_spike_is_one_event() -> None:
    raster = np.zeros((4, 2, 3), np.float32)
    raster[2, 1, 0] = 1
    e = to_events(raster)
    assert (e.sample.tolist(), e.tick.tolist(), e.neuron.tolist()) == ([1], [2], [0])
    assert e.value.tolist() == [1.0]
    assert e.shape == (4, 2, 3)


def test_booleans_and_halves_become_float32_integers_float64_and_others_stay() -> None:
    for given_type, kept in [
        (np.bool_, np.float32),
        (np.float16, np.float32),
        (np.int32, np.float64),
        (np.float64, np.float64),
    ]:
        assert to_events(np.ones((1, 1, 1), given_type)).value.dtype == kept


def test_silence_has_no_events_but_a_shape() -> None:
    silent = np.zeros((3, 2, 4), np.float32)
    e = to_events(silent)
    assert len(e.tick) == 0
    np.testing.assert_array_equal(to_raster(e), silent)


@given(raster=rasters())
def test_one_sample_is_its_slice_of_the_raster(raster: np.ndarray) -> None:
    events = to_events(raster)
    for b in range(raster.shape[1]):
        assert same(of_sample(events, b), to_events(raster[:, b : b + 1]))


@given(raster=rasters())
def test_joining_all_samples_gives_the_train_back(raster: np.ndarray) -> None:
    events = to_events(raster)
    assert same(join([of_sample(events, b) for b in range(raster.shape[1])]), events)


@given(raster=rasters(samples=st.integers(2, 6)), data=st.data())
def test_joining_is_concatenation_along_the_sample_axis(
    raster: np.ndarray, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, raster.shape[1] - 1))
    parts = [to_events(raster[:, :cut]), to_events(raster[:, cut:])]
    assert same(join(parts), to_events(raster))


@pytest.mark.parametrize("narrow", [np.uint8, np.int16])
def test_samples_counted_in_few_bits_are_joined_all_the_same(narrow: type) -> None:
    samples = np.iinfo(narrow).max * 3 // 4
    one = to_events(np.ones((1, samples, 1), np.float32))
    one = one._replace(sample=one.sample.astype(narrow))
    assert join([one, one]).sample.tolist() == list(range(2 * samples))


def test_trains_of_other_ticks_or_neurons_are_not_joined() -> None:
    one = to_events(np.ones((3, 1, 2), np.float32))
    for other in (np.ones((4, 1, 2), np.float32), np.ones((3, 1, 3), np.float32)):
        with pytest.raises(ValueError, match=r"one T and one N .*\(3, 1, 2\)"):
            join([one, to_events(other)])


@pytest.mark.parametrize(
    ("tick", "neuron", "said"),
    [
        ([0, 0], [1, 1], r"not in strictly rising order of \(sample, tick, neuron\)"),
        ([1, 0], [0, 0], "not in strictly rising order"),
        ([-1, 0], [0, 0], "tick -1 of event 0 is outside 0 ... 3"),
        ([0, 1], [0, 3], "neuron 3 of event 1 is outside 0 ... 2"),
        ([0, 4], [0, 0], "tick 4 of event 1 is outside 0 ... 3"),
    ],
)
def test_what_is_no_spike_train_has_no_raster(
    tick: list[int], neuron: list[int], said: str
) -> None:
    events = Events(np.zeros(2, int), np.array(tick), np.array(neuron), np.ones(2), (4, 1, 3))
    with pytest.raises(ValueError, match=rf"(?s)the events are not a spike train:.*{said}"):
        to_raster(events)


def times(time: float, neuron: int = 0, sample: int = 0, value: float = 1.0) -> Times:
    """Return one spike of 2 samples, 6 neurons and 10 ticks."""
    columns = (np.array([k], np.int32) for k in (sample, neuron))
    which, cell = columns
    return Times(which, np.array([time]), cell, np.array([value]), (10, 2, 6))


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (times(0.005, neuron=9), r"neuron 9 of event 0 is outside 0 \.\.\. 5"),
        (times(0.005, neuron=-1), r"neuron -1 of event 0 is outside"),
        (times(0.005, sample=2), r"sample 2 of event 0 is outside 0 \.\.\. 1"),
        (times(-0.001), r"time -0.001 s of event 0 is not in 0 < time <= 0.01 s"),
        (times(0.0), r"time 0.0 s of event 0 is not in 0 < time"),
        (times(0.0101), r"time 0.0101 s of event 0 is not in"),
        (times(np.nan), r"time nan s of event 0 is not in"),
        (times(np.inf), r"time inf s of event 0 is not in"),
        (times(0.005, value=np.nan), r"value nan of event 0 is not finite"),
    ],
)
def test_times_outside_of_their_shape_have_no_ticks(train: Times, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        to_ticks(train, Seconds(1e-3))


def test_all_that_is_wrong_with_times_is_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"(?s)^the times .*time.*neuron 7"):
        to_ticks(times(np.nan, neuron=7), Seconds(1e-3))
    short = times(0.005)._replace(value=np.ones(2))
    with pytest.raises(ValueError, match=r"columns of different length: .* \[1, 1, 1, 2\]"):
        to_ticks(short, Seconds(1e-3))


@pytest.mark.parametrize(
    ("time", "tick"),
    [
        *((1e-9, 0), (0.001, 0), (0.0010000005, 0), (0.0010000015, 1), (0.0011, 1)),
        *((0.0019999995, 1), (0.01, 9)),
    ],
)
def test_a_time_near_the_end_of_a_tick_lies_at_it(time: float, tick: int) -> None:
    assert to_ticks(times(time), Seconds(1e-3)).tick.tolist() == [tick]
    assert to_ticks(times(0.010000000001), Seconds(1e-3)).tick.tolist() == [9]


@given(raster=rasters(), dt=st.sampled_from([1e-3, 1e-4, 0.1, 2**-10]))
def test_ticks_of_the_times_of_ticks_are_those_ticks(raster: np.ndarray, dt: float) -> None:
    events = to_events(raster)
    assert same(to_ticks(to_times(events, Seconds(dt)), Seconds(dt)), events)


@pytest.mark.parametrize(
    ("time", "dt", "tick"),
    [
        (3e6, 1e-3, 2_999_999_999),  # 35 days in ms
        (36 * 60.0, 1e-6, 2_159_999_999),  # 36 minutes in us
        (2**31 * 2**-10, 2**-10, 2**31 - 1),
        ((2**31 + 1) * 2**-10, 2**-10, 2**31),
    ],
)
def test_ticks_beyond_32_bits_are_those_of_their_times(
    time: float, dt: float, tick: int
) -> None:
    train = times(time)._replace(shape=(tick + 1, 2, 6))
    events = to_ticks(train, Seconds(dt))
    assert events.tick.tolist() == [tick]
    assert events.tick.dtype == (np.int32 if tick < 2**31 else np.int64)
    assert to_times(events, Seconds(dt)).time == pytest.approx([time], rel=1e-15)


@given(tick=st.integers(0, 2**51), more=st.integers(1, 2**51), neuron=st.integers(0, 499))
def test_a_tick_of_a_run_of_any_length_survives_the_way_to_times_and_back(
    tick: int, more: int, neuron: int
) -> None:
    column = as_tick_column(np.array([tick]), tick + more)
    index = (np.zeros(1, np.int32), column, np.array([neuron], np.int32))
    events = Events(*index, np.ones(1), (tick + more, 1, 500))
    assert same(to_ticks(to_times(events, Seconds(1.0)), Seconds(1.0)), events)


@pytest.mark.parametrize("shape", [(2**53, 2, 6), (2**52, 2**10, 6), (2**40, 2, 2**23)])
def test_more_places_than_can_be_counted_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="too many ticks and neurons to count"):
        to_ticks(times(0.005)._replace(shape=shape), Seconds(1e-3))


def test_times_of_ticks_in_few_bits_are_float64() -> None:
    narrow = Events(*np.array([[0], [127], [0]], np.int8), np.ones(1), (128, 1, 1))
    found = to_times(narrow, Seconds(1e-3)).time
    assert found.dtype == np.float64
    assert found.tolist() == [0.128]


def test_a_quantum_is_a_power_of_two_that_leaves_all_instants_of_a_run_exact() -> None:
    assert find_quantum(100.0) == 2**-40
    assert find_quantum(8191.0) == 2**-40
    assert find_quantum(8192.0) == 2**-39
    long = find_quantum(1e7)
    assert 1e7 + long > 1e7
    assert (1e7 + long) - 1e7 == long
