"""Forecasts that every forecaster must beat, on series with known answers."""

import numpy as np
import pytest

from tasks.forecasting.baselines import fit_ridge, list_baselines
from tasks.forecasting.data import make_series, prepare_series


def measure(series: np.ndarray, lookback: int, horizon: int) -> dict[str, float]:
    prepared = prepare_series(series, "series", 20, lookback=lookback, horizon=horizon)
    labels = prepared.windows["test"].labels
    found = list_baselines(prepared)
    assert list(found) == ["constant", "persistence", "ridge"]
    return {name: float(np.mean((answers - labels) ** 2)) for name, answers in found.items()}


def test_a_sine_is_linear_in_two_samples_and_not_in_one() -> None:
    sine = np.sin(np.arange(600) * 0.37)
    two, one = measure(sine, 2, 3), measure(sine, 1, 3)
    assert two["ridge"] < 0.12  # the variance in a bin is 1/12
    assert one["ridge"] > 10
    assert two["persistence"] == pytest.approx(one["persistence"], rel=0.02)
    # Targets of training spread over 20 bins: half the squared amplitude of ten.
    assert two["constant"] == pytest.approx(50, rel=0.1)


def test_what_hardly_changes_persists() -> None:
    found = measure(np.sin(np.arange(3000) * 0.01), 1, 2)
    assert found["persistence"] < 0.5 < found["constant"]


def test_ridge_errs_no_more_than_least_squares_where_samples_are_collinear() -> None:
    prepared = prepare_series(make_series("mackey_glass", 0, 3000), "series", 25, 8, 5)
    train, test = prepared.windows["train"], prepared.windows["test"]
    x, seen = (
        np.append(w.own.astype(float), np.ones((len(w.own), 1)), 1) for w in (train, test)
    )
    answers = seen @ np.linalg.lstsq(x, train.labels, rcond=None)[0]
    ridge = list_baselines(prepared)["ridge"]
    ours, theirs = (np.mean((found - test.labels) ** 2) for found in (ridge, answers))
    assert ours < 1.01 * theirs


def test_ridge_without_a_penalty_is_least_squares() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=50)
    assert np.allclose(fit_ridge(x, y, 0.0), np.linalg.lstsq(x, y, rcond=None)[0])
    assert abs(fit_ridge(x, y, 1e6)).max() < 1e-5
