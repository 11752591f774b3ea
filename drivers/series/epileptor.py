"""The Epileptor: six equations whose bursts begin and end like epileptic seizures.

    x1' = y1 - z + 3.1 + h x1             h = (3 - x1) x1 if x1 < 0, else 0.6 (z - 4)^2 - x2
    y1' = 1 - 5 x1^2 - y1
    z'  = r (4 (x1 - x0) - z - 0.1 z^7 [z < 0])                                r = 0.00035
    x2' = -y2 + x2 - x2^3 + 0.45 + 2 g - 0.3 (z - 3.5)
    y2' = (-y2 + 6 (x2 + 0.25) [x2 >= -0.25]) / 10
    g'  = -0.01 (g - 0.1 x1)

Jirsa et al. 2014 (Brain 137, 2210-2230), with the signs of The Virtual Brain. The signal is
x2 - x1. The slow variable z starts a seizure at one value and ends it at another. The
excitability x0 says how close a patient is to a seizure; here x0 is an Ornstein-Uhlenbeck
process, so that seizures are irregular. Time has no unit: the equations are not fitted to
seconds. Axes: N samples, one per unit of time; P patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from drivers.series.events import EventTable, find_events
from neuro.ops.jit import kernel

RATE = 0.00035  # r
START = (-1.6, -11.8, 3.6, -1.0, 0.0, -0.16)  # near the state at rest
SKIPPED = 2000  # samples dropped before a recording, while z settles
BEGIN, END = -0.5, -1.2  # x1 where a seizure begins and ends; x1 rests below, bursts above
LEAST, MOST = -2.0, -1.75  # range of the patients' mean x0


@dataclass(frozen=True, kw_only=True, eq=False)
class EpileptorSeries:
    """One column per patient. signal: x2 - x1. x1: variable that bursts. z: slow variable."""

    signal: Float64[np.ndarray, "N P"]
    x1: Float64[np.ndarray, "N P"]
    z: Float64[np.ndarray, "N P"]


@dataclass(frozen=True, kw_only=True, eq=False)
class EpileptorPatient:
    """A recording. signal: with measurement noise. z: slow variable, which is not measured."""

    signal: Float64[np.ndarray, " N"]
    z: Float64[np.ndarray, " N"]
    seizures: EventTable


def generate_patient(samples: int, seed: int, noise: float = 0.0) -> EpileptorPatient:
    """Return a recording, one sample per unit of time, with the times of its seizures.

    seed: selects the patient, whose mean x0 is drawn between -2.0 and -1.75.
    noise: standard deviation of white measurement noise, added to the integrated signal.

    Raises:
        ValueError: a number is out of range.
    """
    if samples < 1 or not 0 <= noise < np.inf:
        raise ValueError(
            f"{samples} samples with noise of {noise}: give at least 1 sample, and a standard "
            "deviation of 0 or more"
        )
    mean = float(np.random.default_rng([seed, 0]).uniform(LEAST, MOST))
    x0 = draw_excitability(SKIPPED + samples, mean, [seed, 1])
    series = integrate_epileptor(x0[:, None])
    signal, x1, z = (v[SKIPPED:, 0] for v in (series.signal, series.x1, series.z))
    added = noise * np.random.default_rng([seed, 2]).standard_normal(samples)
    return EpileptorPatient(signal=signal + added, z=z, seizures=find_events(x1, BEGIN, END))


def draw_excitability(
    samples: int, mean: float, seed: Sequence[int], sd: float = 0.25, time: float = 500.0
) -> Float64[np.ndarray, " N"]:
    """Return x0 of a patient: an Ornstein-Uhlenbeck process, exact at whole units of time.

    sd: deviation of its stationary distribution, in which it starts. time: correlation time.
    """
    rng = np.random.default_rng(seed)
    keep = np.exp(-1 / time)
    kicks = rng.standard_normal(samples)
    kicks[1:] *= np.sqrt(1 - keep**2)
    return np.asarray(mean + sd * _filter(kicks, keep))


def integrate_epileptor(
    excitability: Float64[np.ndarray, "N P"], dt: float = 0.05
) -> EpileptorSeries:
    """Return one sample per unit of time; x0 is constant within each unit.

    Uses the classical Runge-Kutta method of order 4: Euler's method, with the same step of
    0.05, makes seizures 5 to 9 % too long at a constant x0 of -2.0 to -1.75.

    Raises:
        ValueError: dt is above 0.1 or does not divide 1, or x0 is not finite.
    """
    steps = round(1 / dt) if 0 < dt <= 0.1 else 0
    wrong = []
    if steps < 1 or abs(steps * dt - 1) > 1e-9:
        wrong.append(f"dt is {dt}; give a step of at most 0.1 that divides 1, 0.05 is usual")
    if not np.isfinite(excitability).all():
        wrong.append("x0 holds what is no finite number; -2.0 to -1.75 is usual")
    if wrong:
        raise ValueError("\n".join(["the recording cannot be generated:", *wrong]))
    out = np.empty((3, *excitability.shape))
    _integrate(np.ascontiguousarray(excitability), dt, steps, np.array(START), out)
    return EpileptorSeries(signal=out[0], x1=out[1], z=out[2])


@kernel
def _filter(kicks: np.ndarray, keep: float) -> np.ndarray:
    out, now = np.empty(len(kicks)), 0.0
    for k in range(len(kicks)):
        now = keep * now + kicks[k]
        out[k] = now
    return out


@kernel
def _slope(state: np.ndarray, x0: float) -> np.ndarray:
    x1, y1, z, x2, y2, g = state
    h = (3.0 - x1) * x1 if x1 < 0 else 0.6 * (z - 4.0) ** 2 - x2
    pull = -0.1 * z**7 if z < 0 else 0.0
    drive = 6.0 * (x2 + 0.25) if x2 >= -0.25 else 0.0
    return np.array(
        [
            y1 - z + 3.1 + h * x1,
            1.0 - 5.0 * x1 * x1 - y1,
            RATE * (4.0 * (x1 - x0) - z + pull),
            -y2 + x2 - x2 * x2 * x2 + 0.45 + 2.0 * g - 0.3 * (z - 3.5),
            (drive - y2) / 10.0,
            -0.01 * (g - 0.1 * x1),
        ]
    )


@kernel
def _integrate(
    x0: np.ndarray, dt: float, steps: int, start: np.ndarray, out: np.ndarray
) -> None:
    samples, patients = x0.shape
    for p in range(patients):
        state = start
        for k in range(samples):
            out[0, k, p], out[1, k, p], out[2, k, p] = state[3] - state[0], state[0], state[2]
            for _ in range(steps):
                first = _slope(state, x0[k, p])
                second = _slope(state + dt / 2 * first, x0[k, p])
                third = _slope(state + dt / 2 * second, x0[k, p])
                fourth = _slope(state + dt * third, x0[k, p])
                state = state + dt / 6 * (first + 2 * second + 2 * third + fourth)
