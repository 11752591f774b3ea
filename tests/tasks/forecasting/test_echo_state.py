"""The echo state network goes on alone with what it has learnt."""

import numpy as np
import pytest

from tasks.forecasting.baselines import EchoState, measure_free_runs, measure_smape


def test_it_goes_on_with_a_sine() -> None:
    sine = 2 + np.sin(np.arange(460) * 0.2)
    told = EchoState(neurons=60, radius=0.9).forecast(sine[:400], 60, seed=0)
    assert abs(told - sine[400:]).max() < 0.05


def test_the_mackey_glass_series_is_followed_for_a_lyapunov_time() -> None:
    small = EchoState(neurons=150)
    assert measure_free_runs(small, 2) == measure_free_runs(small, 2)
    assert max(measure_free_runs(small, 2)) < 40  # a constant errs by 22 %, another run by 28


def test_the_error_of_percentages_by_hand() -> None:
    assert measure_smape(np.array([1.0, 3.0]), np.array([1.0, 1.0])) == pytest.approx(50.0)
    assert measure_smape(np.array([1.0]), np.array([-1.0])) == 200.0
