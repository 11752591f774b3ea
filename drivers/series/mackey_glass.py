"""The Mackey-Glass series, a delay differential equation that is chaotic at its usual delay.

    x'(t) = beta x(t - delay) / (1 + x(t - delay)^exponent) - gamma x(t)

Mackey and Glass 1977 (Science 197, 287-289); beta 0.2, gamma 0.1, exponent 10, delay 17 as in
most benchmarks of forecasters. The Lyapunov time is about 197 time units, so two accurate
integrations diverge completely after some thousands of units.
Axes: N samples.
"""

import math

import numpy as np
from jaxtyping import Float64

BETA, GAMMA, EXPONENT, DELAY = 0.2, 0.1, 10, 17.0


def generate_mackey_glass(
    samples: int, *, past: float = 0.9, skip: int = 0, dt: float = 0.1, every: float = 1.0
) -> Float64[np.ndarray, " N"]:
    """Return the series, one sample per ``every`` time units.

    Classical Runge-Kutta of fourth order. The delayed value at the middle of a step is taken
    from the cubic Hermite polynomial through both ends and their slopes. Derivatives jump only
    at multiples of the delay, which are ends of steps.

    past: the constant value before the start. skip: samples left out at the start. dt: step.

    Raises:
        ValueError: a number is out of range, or dt does not divide the delay and ``every``.
    """
    lag, stride = _require_steps(samples, past, skip, dt, every)
    total = (skip + samples - 1) * stride
    x, slope = [past], [_find_slope(past, past)]
    for k in range(total):
        start, middle, end = _find_delayed(x, slope, k - lag, past, dt)
        now = x[k]
        k1 = _find_slope(now, start)
        k2 = _find_slope(now + dt / 2 * k1, middle)
        k3 = _find_slope(now + dt / 2 * k2, middle)
        k4 = _find_slope(now + dt * k3, end)
        x.append(now + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
        slope.append(_find_slope(x[-1], end))
    return np.array(x[skip * stride :: stride])


def _find_slope(now: float, delayed: float) -> float:
    """Return x'(t) from x(t) and x(t - delay)."""
    return BETA * delayed / (1.0 + delayed**EXPONENT) - GAMMA * now


def _find_delayed(
    x: list[float], slope: list[float], k: int, past: float, dt: float
) -> tuple[float, float, float]:
    """Return x at the start, middle and end of step k; x is constant before step 0."""
    if k < 0:
        return past, past, past
    middle = (x[k] + x[k + 1]) / 2 + dt / 8 * (slope[k] - slope[k + 1])
    return x[k], middle, x[k + 1]


def _require_steps(
    samples: int, past: float, skip: int, dt: float, every: float
) -> tuple[int, int]:
    """Return the number of steps per delay and per sample."""
    wrong = []
    if samples < 1 or skip < 0:
        wrong.append(f"samples {samples} and skip {skip}: give at least 1 and 0")
    if not 0 < past < math.inf:
        wrong.append(f"past is {past}; give a positive number, 0.9 is usual")
    if not 0 < dt <= 1:
        wrong.append(f"dt is {dt}; give a step above 0 and at most 1, 0.1 is usual")
        dt = 0.1
    lag, stride = DELAY / dt, every / dt
    if abs(lag - round(lag)) > 1e-6:
        wrong.append(f"dt is {dt}, and the delay of {DELAY:g} no multiple; 0.1 fits")
    if round(stride) < 1 or abs(stride - round(stride)) > 1e-6:
        wrong.append(f"every is {every}; give a multiple of the step, {dt}")
    if wrong:
        raise ValueError("\n".join(["the series cannot be generated:", *wrong]))
    return round(lag), round(stride)
