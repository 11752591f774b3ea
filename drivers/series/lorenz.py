"""The Lorenz system of 1963, three coupled equations that are chaotic at rho = 28.

    x' = sigma (y - x),   y' = x (rho - z) - y,   z' = x y - beta z

Lorenz 1963 (Journal of the Atmospheric Sciences 20, 130-141), with sigma 10 and beta 8/3. The
Lyapunov time is about 1.1 time units. Axes: N samples.
"""

import numpy as np
from jaxtyping import Float64

SIGMA, BETA = 10.0, 8.0 / 3.0


def generate_lorenz(
    samples: int,
    *,
    rho: float = 28.0,
    start: tuple[float, float, float] = (1.0, 1.0, 1.0),
    skip: int = 0,
    every: float = 0.02,
    steps: int = 4,
) -> Float64[np.ndarray, "N 3"]:
    """Return x, y and z, one sample per ``every`` time units.

    Classical Runge-Kutta of fourth order, with ``steps`` steps per sample. skip: samples left
    out at the start, before the state is on the attractor.

    Raises:
        ValueError: a number is out of range.
    """
    wrong = []
    if samples < 1 or skip < 0 or steps < 1:
        wrong.append(
            f"samples {samples}, skip {skip} and steps {steps}: give at least 1, 0, and 1"
        )
    if not 0 < every <= 0.2:
        wrong.append(f"every is {every}; give a time above 0 and at most 0.2, 0.02 is usual")
    if not np.isfinite((rho, *start)).all():
        wrong.append(f"rho {rho} and start {start}: give finite numbers")
    if wrong:
        raise ValueError("\n".join(["the series cannot be generated:", *wrong]))
    dt = every / steps
    state, out = start, [start]
    for _ in range(skip + samples - 1):
        for _ in range(steps):
            k1 = _find_slope(state, rho)
            k2 = _find_slope(_move(state, k1, dt / 2), rho)
            k3 = _find_slope(_move(state, k2, dt / 2), rho)
            k4 = _find_slope(_move(state, k3, dt), rho)
            x, y, z = (a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
            state = _move(state, (x, y, z), dt / 6)
        out.append(state)
    return np.array(out[skip:])


Point = tuple[float, float, float]


def _find_slope(at: Point, rho: float) -> Point:
    x, y, z = at
    return SIGMA * (y - x), x * (rho - z) - y, x * y - BETA * z


def _move(at: Point, slope: Point, dt: float) -> Point:
    x, y, z = at
    a, b, c = slope
    return x + dt * a, y + dt * b, z + dt * c
