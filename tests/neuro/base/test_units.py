import re

import pytest
from hypothesis import given, strategies as st

from neuro.base.units import Seconds, ticks


def test_a_hundred_milliseconds_are_a_hundred_ticks_of_one() -> None:
    assert ticks(Seconds(0.1), dt=Seconds(0.001)) == 100


def test_no_time_is_no_tick() -> None:
    assert ticks(Seconds(0.0), dt=Seconds(0.001)) == 0


@given(n=st.integers(0, 10**6), dt=st.sampled_from([1.0, 0.1, 1e-3, 1e-4, 3e-5, 1 / 3]))
def test_n_steps_of_dt_are_n_ticks(n: int, dt: float) -> None:
    assert ticks(Seconds(n * dt), Seconds(dt)) == n


def test_half_a_step_is_refused_with_the_nearest_durations() -> None:
    with pytest.raises(ValueError, match=r"0\.0025 s is not a whole .* use 0\.002 s, or a dt"):
        ticks(Seconds(0.0025), Seconds(0.001))


@given(n=st.integers(1, 10**9), dt=st.sampled_from([1.0, 1e-3, 3e-7, 7e-9, 3e-10]))
def test_the_duration_that_is_told_is_taken(n: int, dt: float) -> None:
    with pytest.raises(ValueError, match="is not a whole number") as refused:
        ticks(Seconds((n + 0.25) * dt), Seconds(dt))
    told = re.search(r"use (\S+) s, or a dt", str(refused.value))
    assert told is not None
    assert ticks(Seconds(float(told[1])), Seconds(dt)) == n


@pytest.mark.parametrize("dt", [0.0, -1e-3, float("nan"), float("inf")])
def test_dt_must_be_positive(dt: float) -> None:
    with pytest.raises(ValueError, match="dt must be > 0 s and finite, got"):
        ticks(Seconds(1.0), Seconds(dt))


@pytest.mark.parametrize("duration", [-1e-3, float("nan"), float("inf")])
def test_a_duration_is_a_number_that_is_not_negative(duration: float) -> None:
    with pytest.raises(ValueError, match="a duration must be >= 0 s and finite, got"):
        ticks(Seconds(duration), Seconds(1e-3))


def test_more_steps_than_a_float_counts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1e\+300 s has too many steps of dt = 1e-300"):
        ticks(Seconds(1e300), Seconds(1e-300))
    assert ticks(Seconds(2.0**43), Seconds(2.0**-10)) == 2**53
    with pytest.raises(ValueError, match="too many steps"):
        ticks(Seconds(2.0**44), Seconds(2.0**-10))
