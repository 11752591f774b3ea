"""Forecasts without a trained network, which every forecaster must beat.

    constant      the mean bin of training
    persistence   the last value of the window
    ridge         a linear function of the window, its penalty chosen on validation

All answer in units of bins, where the middle of bin k is at k. Axes: N windows, L samples.
"""

import numpy as np
from jaxtyping import Float32, Float64

from tasks.forecasting.windows import PreparedSeries

PENALTIES = tuple(10.0**k for k in range(-14, 3))  # samples of a smooth series are collinear


def list_baselines(prepared: PreparedSeries) -> dict[str, Float64[np.ndarray, " N"]]:
    """Return the answers of each to the test, by name."""
    part = prepared.windows["test"]
    mean = float(prepared.windows["train"].labels.mean())
    last = part.own[:, -1].astype(np.float64) * prepared.sd + prepared.mean
    return {
        "constant": np.full(len(part.labels), mean),
        "persistence": prepared.bins.place(last),
        "ridge": predict_ridge(prepared),
    }


def predict_ridge(prepared: PreparedSeries) -> Float64[np.ndarray, " N"]:
    """Return what a linear function of the window answers to the test."""
    inputs = {k: _add_one(part.own) for k, part in prepared.windows.items()}
    labels = {k: part.labels.astype(np.float64) for k, part in prepared.windows.items()}
    fits = [fit_ridge(inputs["train"], labels["train"], penalty) for penalty in PENALTIES]
    errors = [float(np.mean((inputs["val"] @ w - labels["val"]) ** 2)) for w in fits]
    return np.asarray(inputs["test"] @ fits[int(np.argmin(errors))])


def fit_ridge(
    x: Float64[np.ndarray, "N F"], y: Float64[np.ndarray, " N"], penalty: float
) -> Float64[np.ndarray, " F"]:
    """Return the weights of least mean squared error plus the penalty times their squares."""
    gram = x.T @ x / len(x) + penalty * np.eye(x.shape[1])
    return np.asarray(np.linalg.solve(gram, x.T @ y / len(x)))


def _add_one(own: Float32[np.ndarray, "N L"]) -> Float64[np.ndarray, "N F"]:
    return np.concatenate([own.astype(np.float64), np.ones((len(own), 1))], 1)
