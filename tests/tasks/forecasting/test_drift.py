"""The Page-Hinkley test: by hand, on a step, and its thresholds from validation."""

import math

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from tasks.forecasting.online import PageHinkley, begin_test, fit_test, observe


def run(test: PageHinkley, errors: Tensor) -> list[list[bool]]:
    state, alarms = begin_test(len(errors)), []
    for k in range(errors.shape[1]):
        alarm, state = observe(test, state, errors[:, k])
        alarms.append(alarm.tolist())
    return alarms


def make_test(delta: float, threshold: float) -> PageHinkley:
    one = torch.ones(1, dtype=torch.float64)
    return PageHinkley(delta=delta * one, threshold=threshold * one)


def test_three_errors_by_hand() -> None:
    test, state = make_test(0.5, 2.0), begin_test(1)
    heights, means = [], []
    for error in (1.0, 3.0, 5.0):
        alarm, state = observe(test, state, torch.tensor([error]))
        heights.append(float(state.height))
        means.append(float(state.mean))
    # 1: 0 - .5 -> 0.  3: mean 2, 3 - 2 - .5 = .5.  5: mean 3, .5 + 5 - 3 - .5 = 2: not above.
    assert heights == [0.0, 0.5, 2.0]
    assert means == [1.0, 2.0, 3.0]
    assert not alarm
    alarm, state = observe(test, state, torch.tensor([4.0]))
    assert bool(alarm)
    assert [float(v) for v in state] == [0.0, 0.0, 0.0]  # it begins anew


@given(st.lists(st.floats(0, 9), min_size=2, max_size=40))
def test_it_is_the_rise_above_the_least_sum(errors: list[float]) -> None:
    """The common form: the sum of errors above their mean, less its least value."""
    delta, state = 0.3, begin_test(1)
    total = least = 0.0
    for k, error in enumerate(errors, 1):
        _, state = observe(
            make_test(delta, math.inf), state, torch.tensor([error], dtype=torch.float64)
        )
        total += error - sum(errors[:k]) / k - delta
        least = min(least, total)
        assert float(state.height) == pytest.approx(total - least, abs=1e-9)


def test_no_alarm_on_validation_and_one_behind_a_step() -> None:
    rng = torch.Generator().manual_seed(0)
    val = torch.rand(2, 400, generator=rng)
    test = fit_test(val)
    assert not any(a for pair in run(test, val) for a in pair)
    risen = torch.cat([val, val[:1] + torch.tensor([[2.0], [0.0]])], 1)
    first, second = ([pair[k] for pair in run(test, risen)] for k in (0, 1))
    assert 400 <= first.index(True) < 420
    assert first[:400] == second[:400] == [False] * 400


def test_a_test_needs_errors() -> None:
    for errors in (torch.zeros(2, 1), torch.full((1, 5), math.nan)):
        with pytest.raises(ValueError, match="errors of validation; give at least two"):
            fit_test(errors)
