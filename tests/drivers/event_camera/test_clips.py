import re
from dataclasses import replace

import numpy as np
import pytest
from clips import clip_of, random_clip
from hypothesis import given, strategies as st

from drivers.event_camera import Clip, frames, moving_bars, to_events, to_times
from neuro.base.units import Seconds
from neuro.spikes import to_raster, to_ticks

MS = Seconds(1e-3)


def slow_frames(clip: Clip, ticks: int, step: int | None, pool: int) -> np.ndarray:
    """The same as frames, event by event."""
    out = np.zeros((ticks, 2, clip.height // pool, clip.width // pool), np.float32)
    for x, y, polarity, time in zip(clip.x, clip.y, clip.polarity, clip.time, strict=True):
        since = int(time) - clip.start
        tick = since * ticks // (clip.stop - clip.start) if step is None else since // step
        if tick < ticks:
            out[tick, polarity, y // pool, x // pool] += 1
    return out


def test_an_event_is_counted_in_its_tick_polarity_row_and_column() -> None:
    found = frames(clip_of((1, 2, 1, 100), (3, 0, 0, 199), (1, 2, 1, 150)), ticks=2)
    expected = np.zeros((2, 2, 4, 4))
    expected[0, 1, 2, 1] = 1
    expected[1, 0, 0, 3] = 1
    expected[1, 1, 2, 1] = 1
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32


def test_equal_spans_hold_the_last_event_and_share_the_rest_fairly() -> None:
    clip = clip_of(*[(0, 0, 0, 7 + t) for t in range(10)])
    assert frames(clip, ticks=3).sum((1, 2, 3)).tolist() == [4, 3, 3]
    assert frames(clip, ticks=10).sum((1, 2, 3)).tolist() == [1] * 10


def test_ticks_of_dt_begin_at_the_start_of_the_clip() -> None:
    clip = clip_of((0, 0, 0, 5000), (0, 0, 0, 5999), (0, 0, 0, 6000), start=5000, stop=8001)
    assert frames(clip, dt=MS).sum((1, 2, 3)).tolist() == [2, 1, 0, 0]
    assert frames(clip, ticks=1, dt=MS).sum() == 2  # the rest is cut off
    assert frames(clip, ticks=6, dt=MS).shape == (6, 2, 4, 4)  # and here silence added


def test_pooling_sums_and_binary_frames_only_say_that_there_was_an_event() -> None:
    clip = clip_of((0, 0, 1, 0), (1, 1, 1, 0), (2, 1, 1, 0))
    assert frames(clip, ticks=1, pool=2)[0, 1].tolist() == [[2, 1], [0, 0]]
    assert frames(clip, ticks=1, pool=2, binary=True)[0, 1].tolist() == [[1, 1], [0, 0]]
    assert frames(clip, ticks=1, pool=4)[0].tolist() == [[[0]], [[3]]]


def test_ticks_of_a_clip_of_36_minutes_do_not_wrap() -> None:
    last = 36 * 60 * 10**6 - 1
    clip = clip_of((3, 0, 0, 5), (3, 0, 0, last), start=0, stop=last + 1)
    found = to_events(clip, dt=Seconds(1e-6))
    assert found.tick.tolist() == [5, last]
    assert found.shape == (last + 1, 1, 32)
    assert to_ticks(to_times(clip, Seconds(1e-6)), Seconds(1e-6)).tick.tolist() == [5, last]
    with pytest.raises(ValueError, match="equal spans of 2160000000 us exceed"):
        to_events(clip, ticks=2**33)


@given(
    seed=st.integers(0, 1000),
    events=st.integers(0, 300),
    ticks=st.integers(1, 40),
    pool=st.sampled_from([1, 2, 3]),
)
def test_frames_are_those_of_the_slow_twin(
    seed: int, events: int, ticks: int, pool: int
) -> None:
    clip = random_clip(seed, events)
    fast = frames(clip, ticks=ticks, pool=pool)
    np.testing.assert_array_equal(fast, slow_frames(clip, ticks, None, pool))
    assert fast.sum() == events
    fast = frames(clip, ticks, Seconds(3e-4), pool)
    np.testing.assert_array_equal(fast, slow_frames(clip, ticks, 300, pool))


@given(seed=st.integers(0, 1000), events=st.integers(0, 300), binary=st.booleans())
def test_events_and_frames_are_two_faces_of_one_train(
    seed: int, events: int, binary: bool
) -> None:
    clip = random_clip(seed, events)
    sparse = to_events(clip, dt=MS, pool=2, binary=binary)
    dense = frames(clip, dt=MS, pool=2, binary=binary)
    assert sparse.shape == (5, 1, 18)
    np.testing.assert_array_equal(to_raster(sparse).reshape(dense.shape), dense)


@given(seed=st.integers(0, 1000), events=st.integers(1, 300), step=st.integers(1, 999_999))
def test_times_by_tick_are_the_events(seed: int, events: int, step: int) -> None:
    clip = random_clip(seed, events, length=2_000_000)
    dt = Seconds(step * 1e-6)
    found, expected = to_ticks(to_times(clip, dt), dt), to_events(clip, dt=dt)
    assert found.shape == expected.shape
    for one, other in zip(found[:4], expected[:4], strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_event_stands_at_the_end_of_its_microsecond() -> None:
    times = to_times(clip_of((1, 0, 1, 30), (0, 0, 0, 30), (2, 0, 0, 20), start=20), MS)
    np.testing.assert_allclose(times.time, [1e-6, 11e-6, 11e-6], rtol=1e-12)
    assert times.neuron.tolist() == [2, 0, 17]
    assert times.shape == (1, 1, 32)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "set ticks, the number of equal spans of the clip, or dt"),
        ({"ticks": 0}, "ticks must be >= 1, got 0"),
        ({"dt": 0.0}, "dt must be >= 1 us, got 0.0 s"),
        ({"dt": 1.5e-6}, "not a whole number of steps of dt = 1e-06 s"),
        ({"ticks": 1, "pool": 3}, "pool=3 does not divide 4 x 4 pixels"),
        ({"ticks": 1, "pool": 0}, "pool=0 does not divide 4 x 4 pixels"),
    ],
)
def test_what_cannot_be_binned_is_told(options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        frames(clip_of((0, 0, 0, 0)), **options)


def test_a_clip_tells_all_that_is_outside_it() -> None:
    with pytest.raises(ValueError, match="a test: ") as error:
        clip_of((4, 0, 2, 10), (0, -1, 0, 5), stop=10)
    assert str(error.value) == (
        "a test: x of 0..4, expected 0..3; y of -1..0, expected 0..3; polarity of 0..2, "
        "expected 0..1; time of 5..10, expected 5..9; give the width and height of the sensor, "
        "a span that holds all events, and polarity as 0 or 1"
    )
    with pytest.raises(ValueError, match="a clip from 5 to 5 us"):
        clip_of((0, 0, 0, 5), stop=5)


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64]
)
def test_columns_of_any_whole_numbers_are_one_clip(dtype: type) -> None:
    """Six seconds at 1 kHz: 32 bits do not hold the microseconds times the ticks."""
    wide = np.int32 if np.dtype(dtype).itemsize < 4 else dtype
    clip = Clip(
        x=np.array([1, 3, 0], dtype),
        y=np.array([2, 0, 3], dtype),
        polarity=np.array([True, False, True]),
        time=np.array([100, 3_000_000, 5_999_999], wide),
        start=0,
        stop=6_000_000,
        width=4,
        height=4,
        label=0,
        source="a test",
    )
    same = clip_of((1, 2, 1, 100), (3, 0, 0, 3_000_000), (0, 3, 1, 5_999_999), start=0)
    events = to_events(clip, ticks=6000)
    assert events.tick.tolist() == [0, 3000, 5999]
    assert events.neuron.tolist() == [16 + 9, 3, 16 + 12]
    np.testing.assert_array_equal(frames(clip, ticks=6), frames(same, ticks=6))
    np.testing.assert_array_equal(to_times(clip, MS).time, to_times(same, MS).time)
    assert [c.dtype.name for c in (clip.x, clip.y, clip.polarity, clip.time)] == [
        *("int16", "int16", "uint8", "int64")
    ]


def test_times_in_seconds_are_no_clip() -> None:
    """Their events would all lie in the first tick."""
    clip, seconds = clip_of((0, 0, 0, 0)), np.array([0.5])
    with pytest.raises(TypeError) as error:
        replace(clip, time=seconds, y=np.array(["1"]))
    assert str(error.value) == (
        "a test: y of <U1; time of float64; columns hold whole numbers: pixels, polarity 0 or "
        "1, time in us (of seconds np.round(1e6 * t).astype(np.int64))"
    )


def test_a_sensor_has_at_most_32768_columns_and_rows() -> None:
    clip = clip_of((2**15 - 1, 2**15 - 1, 0, 0), side=2**16)
    assert (clip.x.tolist(), clip.y.tolist()) == ([2**15 - 1], [2**15 - 1])
    outside = "{0} of 32768..32768, expected 0..32767"
    with pytest.raises(ValueError, match=re.escape("; ".join(map(outside.format, ("x", "y"))))):
        replace(clip, x=np.array([2**15]), y=np.array([2**15]))


def test_clips_are_read_by_number_from_both_ends() -> None:
    bars = moving_bars.generate("test", 8, 3)
    assert bars[-1].label == bars[29].label == 2
    assert len(list(bars)) == len(bars) == 30
    for index in (30, -31):
        with pytest.raises(IndexError, match=f"clip {index} of 30: moving bars, test part"):
            bars[index]
