"""The first time at which a membrane without further input reaches its threshold.

Closed forms where they exist (drive alone; one current with tau = tau_syn or 2 tau_syn: Brette
2007, Göltz et al. 2021), else a search that cannot step over a crossing: from where it stands
it steps by the distance to the threshold over an upper bound of the slope.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.ops.jit import bare

PARAMETERS = ("rate", "push", "threshold", "beta", "rate_adapt", "refractory")
VARIABLES = ("v", "adapt", "since", "free", "alarm")
NUMBERS = [(name, np.float64) for name in PARAMETERS + VARIABLES]
CELL = np.dtype([*NUMBERS, ("hard", np.bool_)], align=True)


class Cells(NamedTuple):
    """n cells.

    cell: n records of type CELL, as np.recarray: the parameters above (push and threshold with
        their units, refractory in s, hard reset or soft), and the state: v and adapt at time
        ``since``, the end of the refractory period ``free``, and the time ``alarm`` before
        which the cell cannot fire by itself.
    current, rate_syn: n R.
    """

    cell: np.ndarray
    current: np.ndarray
    rate_syn: np.ndarray


@bare
def passed(left: float, other: float, gap: float, h: float) -> float:
    """Return what a current of 1 adds to v in h seconds: (left - other) / gap.

    left, other: what is left of membrane and current, exp(-rate h) and exp(-(rate + gap) h).
    """
    x = gap * h
    if abs(x) < 1e-3:  # the difference would have lost digits
        return left * h * (1.0 - x / 2.0 * (1.0 - x / 3.0 * (1.0 - x / 4.0 * (1.0 - x / 5.0))))
    return (left - other) / gap


@bare
def flow(cell: np.ndarray, current: np.ndarray, rate_syn: np.ndarray, j: int, h: float) -> None:
    """Move cell ``j`` by ``h`` seconds without input or spike, its membrane free."""
    one = cell[j]
    left = math.exp(-one.rate * h)
    v = one.v * left
    if one.push != 0.0:  # a current that never decays
        v += one.push * passed(1.0, left, one.rate, h)
    for r in range(current.shape[1]):
        i = current[j, r]
        if i != 0.0:
            other = math.exp(-rate_syn[j, r] * h)
            v += i * passed(left, other, rate_syn[j, r] - one.rate, h)
            current[j, r] = i * other
    one.v = v
    if one.adapt != 0.0:
        one.adapt *= math.exp(-one.rate_adapt * h)


@bare
def wait(cell: np.ndarray, current: np.ndarray, rate_syn: np.ndarray, j: int, h: float) -> None:
    """Move cell ``j`` by ``h`` seconds of its refractory period: its membrane stands still."""
    one = cell[j]
    for r in range(current.shape[1]):
        if current[j, r] != 0.0:
            current[j, r] *= math.exp(-rate_syn[j, r] * h)
    if one.adapt != 0.0:
        one.adapt *= math.exp(-one.rate_adapt * h)


NEVER = math.inf

# In time constants: how small the last step of a search is, and how short the span for which
# the slope of that step holds. What is left then is less than their product.
NEAR, SHORT = 1e-9, 1e-6


@bare
def move(
    cell: np.ndarray, current: np.ndarray, rate_syn: np.ndarray, j: int, horizon: float
) -> tuple[float, bool]:
    """Move cell ``j`` (free, below threshold) to its first crossing, or by ``horizon`` [s].

    Returns how far it moved, and whether it now stands at its threshold.
    """
    t, number = math.nan, current.shape[1]
    if cell[j].adapt == 0.0:
        if number == 0:
            t = of_drive(cell, j)
        elif number == 1 and cell[j].push == 0.0:
            t = of_one_current(cell, current, rate_syn, j)
    if math.isnan(t):
        return search(cell, current, rate_syn, j, horizon)
    fires = t <= horizon
    flow(cell, current, rate_syn, j, t if fires else horizon)
    return (t, True) if fires else (horizon, False)


@bare
def search(
    cell: np.ndarray, current: np.ndarray, rate_syn: np.ndarray, j: int, horizon: float
) -> tuple[float, bool]:
    """Do as :func:`move`, for any number of currents and a decaying threshold."""
    one, fastest = cell[j], max(cell[j].rate, 1e-300)
    for r in range(current.shape[1]):
        fastest = max(fastest, rate_syn[j, r])
    if one.adapt != 0.0:
        fastest = max(fastest, one.rate_adapt)
    done, span = 0.0, horizon
    while True:
        slope = steepest(cell, current, rate_syn, j, span)
        gap = one.threshold + one.adapt - one.v
        if gap <= 0.0:
            return done, True
        if slope * span < gap:
            flow(cell, current, rate_syn, j, span)
            done += span
            if done >= horizon:
                return horizon, False
            span = min(4.0 * span, horizon - done)
            continue
        step = gap / slope
        flow(cell, current, rate_syn, j, step)
        done += step
        if step * fastest < NEAR and span * fastest < SHORT:
            return done, True
        span = min(max(2.0 * step, NEAR / fastest), horizon - done)


@bare
def steepest(
    cell: np.ndarray, current: np.ndarray, rate_syn: np.ndarray, j: int, span: float
) -> float:
    """Return how fast v can come closer to the threshold in the next ``span`` seconds.

    Up to the first crossing v has last been where it now stands, and is higher since; so its
    slope is at most push - rate v + each current, at its start if it is positive, at its end if
    negative, and the threshold falls at most as fast as now.
    """
    one = cell[j]
    slope = one.push - one.rate * one.v
    for r in range(current.shape[1]):
        i = current[j, r]
        slope += i if i >= 0.0 else i * math.exp(-rate_syn[j, r] * span)
    if one.adapt != 0.0:
        slope += one.adapt * one.rate_adapt
    return slope


@bare
def of_drive(cell: np.ndarray, j: int) -> float:
    """Return when the drive alone carries v to the threshold: a logarithm."""
    one = cell[j]
    if one.push <= one.rate * one.threshold:
        return NEVER
    gap = one.threshold - one.v
    if one.rate == 0.0:
        return gap / one.push
    return -math.log1p(-one.rate * gap / (one.push - one.rate * one.v)) / one.rate


@bare
def of_one_current(
    cell: np.ndarray, current: np.ndarray, rate_syn: np.ndarray, j: int
) -> float:
    """Return when a membrane with one current fires, NaN where no closed form exists."""
    rate, fall = cell[j].rate, rate_syn[j, 0]
    if rate == 0.0:
        return math.nan
    v, i = cell[j].v, current[j, 0] / rate
    high = cell[j].threshold
    if fall == rate:
        return of_equal(v, i, high) / rate
    if fall == 2.0 * rate:
        return of_double(v, i, high) / rate
    return math.nan


@bare
def of_double(v: float, i: float, high: float) -> float:
    """Return t / tau at which v reaches ``high`` for tau = 2 tau_syn; i = tau current.

    With x = exp(-t / tau): v(t) = (v + i) x - i x^2, a parabola.
    """
    if i <= 0.0:
        return NEVER
    half = 0.5 * (v + i)
    root = half * half - i * high
    if root < 0.0 or not 0.0 < half < i:
        return NEVER
    x = (half + math.sqrt(root)) / i
    return -math.log(x) if x < 1.0 else 0.0


@bare
def of_equal(v: float, i: float, high: float) -> float:
    """Return t / tau at which v reaches ``high`` for tau = tau_syn; i = tau current.

    v(t) = (v + i t) exp(-t): solved by the principal branch of Lambert's W.
    """
    if i <= 0.0 or v >= i:
        return NEVER
    c = v / i
    w = lambert_w(-(high / i) * math.exp(-c))
    return -c - w if w >= -1.0 else NEVER


@bare
def lambert_w(x: float) -> float:
    """Return W0(x) for x in [-1/e, 0], or -2 below that range (Halley's iteration)."""
    e = math.exp(1.0)
    if x * e < -1.0:
        return -2.0
    p = math.sqrt(2.0 * (e * x + 1.0))
    w = -1.0 + p - p * p / 3.0 + 11.0 / 72.0 * p * p * p
    if x > -0.1:
        w = x * (1.0 - x)
    for _ in range(20):
        exp_w = math.exp(w)
        f = w * exp_w - x
        down = exp_w * (w + 1.0)
        if down == 0.0:
            break
        down -= (w + 2.0) * f / (2.0 * (w + 1.0))
        step = f / down
        w -= step
        if abs(step) <= 1e-16 * (1.0 + abs(w)):
            break
    return w
