"""Forecasts without a trained network, which every forecaster must beat.

    constant      the mean bin of the training windows
    persistence   the last value of the window
    ridge         a linear function of the window, its penalty chosen on validation

All answers are in units of bins, where the middle of bin k is at k. Axes: N windows, L samples.

An echo state network: a fixed random recurrent network with a linear read-out.

    s[t] = (1 - leak) s[t-1] + leak tanh(A (1, u[t]) + W s[t-1]),   u[t+1] = R (1, u[t], s[t])

A and W are random, R is fitted by ridge regression (Jaeger 2001). After the training samples
the network reads its own answers. Sizes as in NeuroBench for the Mackey-Glass series (Yik et
al. 2025, Nature Communications 16, 1545). Axes: N samples, S neurons.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from drivers.series import generate_mackey_glass
from tasks.forecasting.windows import PreparedSeries

PENALTIES = tuple(10.0**k for k in range(-14, 3))  # samples of a smooth series are collinear


def list_baselines(prepared: PreparedSeries) -> dict[str, Float64[np.ndarray, " N"]]:
    """Return the answers of each baseline to the test windows, by name."""
    part = prepared.windows["test"]
    mean = float(prepared.windows["train"].labels.mean())
    last = part.own[:, -1].astype(np.float64) * prepared.sd + prepared.mean
    return {
        "constant": np.full(len(part.labels), mean),
        "persistence": prepared.bins.place(last),
        "ridge": predict_ridge(prepared),
    }


def predict_ridge(prepared: PreparedSeries) -> Float64[np.ndarray, " N"]:
    """Return the answers of ridge regression to the test windows."""
    inputs = {k: _add_one(part.own) for k, part in prepared.windows.items()}
    labels = {k: part.labels.astype(np.float64) for k, part in prepared.windows.items()}
    fits = [fit_ridge(inputs["train"], labels["train"], penalty) for penalty in PENALTIES]
    errors = [float(np.mean((inputs["val"] @ w - labels["val"]) ** 2)) for w in fits]
    return np.asarray(inputs["test"] @ fits[int(np.argmin(errors))])


def fit_ridge(
    x: Float64[np.ndarray, "N F"], y: Float64[np.ndarray, " N"], penalty: float
) -> Float64[np.ndarray, " F"]:
    """Return the weights that minimise mean squared error plus penalty times their squares."""
    gram = x.T @ x / len(x) + penalty * np.eye(x.shape[1])
    return np.asarray(np.linalg.solve(gram, x.T @ y / len(x)))


def _add_one(own: Float32[np.ndarray, "N L"]) -> Float64[np.ndarray, "N F"]:
    return np.concatenate([own.astype(np.float64), np.ones((len(own), 1))], 1)


EVERY = 2.6  # time units per sample: 76 samples in a Lyapunov time of 197
TRAINED, TOLD = 750, 750  # samples: to fit, and to forecast freely
WASHED = 100  # samples after which the state has forgotten its start


@dataclass(frozen=True, kw_only=True)
class EchoState:
    """An echo state network, by its sizes.

    radius: largest modulus of an eigenvalue of W. share: share of weights that are not 0.
    scale: of the input weights; the input has standard deviation 1. penalty: of the read-out.
    """

    neurons: int = 966
    radius: float = 1.19
    leak: float = 0.69
    share: float = 0.11
    scale: float = 0.5
    penalty: float = 1e-7

    def forecast(
        self, series: Float64[np.ndarray, " N"], steps: int, seed: int
    ) -> Float64[np.ndarray, " steps"]:
        """Return the ``steps`` samples after a series, each from the network's own answers."""
        rng = np.random.default_rng(seed)
        inner = rng.uniform(-1, 1, (self.neurons, self.neurons))
        inner *= rng.random(inner.shape) < self.share
        inner *= self.radius / abs(np.linalg.eigvals(inner)).max()
        outer = self.scale * rng.uniform(-1, 1, (self.neurons, 2))
        mean, sd = series.mean(), series.std()
        u, state = (series - mean) / sd, np.zeros(self.neurons)
        seen = np.empty((len(u), self.neurons + 2))
        for t, value in enumerate(u):
            state = self._step(state, float(value), inner, outer)
            seen[t] = 1, value, *state
        read = fit_ridge(seen[WASHED:-1], u[WASHED + 1 :], self.penalty)
        told = np.empty(steps)
        told[0] = seen[-1] @ read
        for k in range(1, steps):
            state = self._step(state, told[k - 1], inner, outer)
            told[k] = read[0] + read[1] * told[k - 1] + state @ read[2:]
        return np.asarray(told * sd + mean)

    def _step(
        self, state: np.ndarray, value: float, inner: np.ndarray, outer: np.ndarray
    ) -> Float64[np.ndarray, " S"]:
        driven = np.tanh(outer[:, 0] + outer[:, 1] * value + inner @ state)
        return np.asarray((1 - self.leak) * state + self.leak * driven)


def measure_smape(
    truth: Float64[np.ndarray, " N"], answers: Float64[np.ndarray, " N"]
) -> float:
    """Return the symmetric mean absolute percentage error, 0 to 200."""
    return float(200 * np.mean(abs(truth - answers) / (abs(truth) + abs(answers))))


def measure_free_runs(network: EchoState, offsets: int) -> list[float]:
    """Return the errors [%] of free runs from ``offsets`` places of the series."""
    apart = TRAINED // 10
    series = generate_mackey_glass(TRAINED + TOLD + apart * offsets, every=EVERY, skip=200)
    errors = []
    for k in range(offsets):
        own = series[apart * k :]
        answers = network.forecast(own[:TRAINED], TOLD, seed=k)
        errors.append(measure_smape(own[TRAINED : TRAINED + TOLD], answers))
    return errors
