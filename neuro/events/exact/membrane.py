"""One neuron in continuous time: its membrane, its next crossing, its spikes.

    dv/dt = -rate v + drive + sum_r i_r        di_r/dt = -rate_syn_r i_r
    da/dt = -rate_adapt a                      spike where v >= threshold + a

At a spike v = reset_to (hard reset) or v - (reset_by + a) (soft), a rises by beta, and v is
held for ``refractory`` ticks; currents and a continue. Time is measured in ticks.

Every instant (an arrival, a spike, the end of a refractory period) is a multiple of a quantum:
a power of 2 whose multiples within a run are exact in float64. Crossings are rounded to it. So
sums of instants and delays are exact, and equal sums are the same instant. The quantum is much
longer than the rounding error of a crossing, and much shorter than any time of interest.

The next crossing has a closed form for the drive alone, and for one current with tau = tau_syn
or 2 tau_syn (Brette 2007, Göltz et al. 2021). Otherwise a search finds it, which cannot step
over a
crossing: each step is the distance to the threshold divided by an upper bound of the slope.

Axes: n neurons of a component, R currents. A neuron is a record and a row of currents: kernels
take ``neuron``, ``current``, ``rate_syn`` (see :class:`NeuronTable`) and the place j.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.ops.jit import bare

OF_MEMBRANE = ("rate", "drive", "threshold", "margin", "reset_to", "reset_by")
PARAMETERS = (*OF_MEMBRANE, "beta", "rate_adapt", "refractory")
VARIABLES = ("v", "adapt", "time", "free_at", "next_check")
NUMBERS = [(name, np.float64) for name in PARAMETERS + VARIABLES]
NEURON = np.dtype([*NUMBERS, ("hard", np.bool_)], align=True)

# Spikes of one block of neurons in one window or instant. ``neuron`` of record 0 holds their
# number; the spikes start at record 1. The number keeps counting when the array is full, so the
# caller compares it with the size.
SPIKE = np.dtype([("time", np.float64), ("neuron", np.int64)])

NEVER = math.inf

# Where the search ends, in units of the fastest time constant: the last step is shorter than
# STEP_TOLERANCE, and its slope bound holds for SPAN_TOLERANCE at most. The distance to the
# crossing is then less than their product.
STEP_TOLERANCE, SPAN_TOLERANCE = 1e-9, 1e-6

# The most that rounding leaves a sum below the threshold, as a fraction of |threshold| +
# |rest|, or of |threshold| + |drive| / LEAST_RATE if that is smaller.
MARGIN = 1e-14

# [1/tick]: with a slower leak, a membrane stays far from its rest, drive / rate, and
# differences from it lose digits.
LEAST_RATE = 1e-4

SERIES_BELOW = 1e-3  # below this |x|, exp(-a) - exp(-a - x) loses digits, and a series is used


class NeuronTable(NamedTuple):
    """n neurons.

    neuron: n records of type NEURON, as np.recarray. Parameters: ``threshold``, ``reset_to``
        and ``reset_by`` in units of v, ``drive`` in units of v per tick, rates in 1/tick,
        ``refractory`` in ticks, ``margin``, see :func:`settle_sum`.
        State: v and adapt at ``time``, the end ``free_at`` of the refractory period, and
        ``next_check``, the time before which the neuron cannot fire without input.
    current, rate_syn: n R, in units of v per tick, and 1/tick.
    """

    neuron: np.ndarray
    current: np.ndarray
    rate_syn: np.ndarray


@bare
def round_instant(t: float, quantum: float) -> float:
    """Return time t, rounded to a multiple of the quantum."""
    return np.rint(t / quantum) * quantum


@bare
def compute_response(decay: float, decay_syn: float, difference: float, h: float) -> float:
    """Return the effect on v of a current of 1 in h ticks: (decay - decay_syn) / difference.

    decay, decay_syn: exp(-rate h) and exp(-rate_syn h).
    difference: rate_syn - rate [1/tick].
    """
    x = difference * h
    if abs(x) < SERIES_BELOW:
        return decay * h * (1.0 - x / 2.0 * (1.0 - x / 3.0 * (1.0 - x / 4.0 * (1.0 - x / 5.0))))
    return (decay - decay_syn) / difference


@bare
def integrate_free(
    neuron: np.ndarray, current: np.ndarray, rate_syn: np.ndarray, j: int, h: float
) -> None:
    """Move neuron ``j``, which is not refractory, by ``h`` ticks without input or spike."""
    cell = neuron[j]
    decay = math.exp(-cell.rate * h)
    v = cell.v * decay
    if cell.drive != 0.0:  # the drive is a current that never decays
        v += cell.drive * compute_response(1.0, decay, cell.rate, h)
    for r in range(current.shape[1]):
        i = current[j, r]
        if i != 0.0:
            decay_syn = math.exp(-rate_syn[j, r] * h)
            v += i * compute_response(decay, decay_syn, rate_syn[j, r] - cell.rate, h)
            current[j, r] = i * decay_syn
    cell.v = v
    if cell.adapt != 0.0:
        cell.adapt *= math.exp(-cell.rate_adapt * h)


@bare
def integrate_refractory(
    neuron: np.ndarray, current: np.ndarray, rate_syn: np.ndarray, j: int, h: float
) -> None:
    """Move neuron ``j`` by ``h`` ticks of its refractory period: v is held."""
    cell = neuron[j]
    for r in range(current.shape[1]):
        if current[j, r] != 0.0:
            current[j, r] *= math.exp(-rate_syn[j, r] * h)
    if cell.adapt != 0.0:
        cell.adapt *= math.exp(-cell.rate_adapt * h)


@bare
def fire_neuron(neuron: np.ndarray, j: int, t: float, out: np.ndarray) -> None:
    """Write a spike of neuron ``j`` at time t to ``out`` (SPIKE), and reset the neuron."""
    cell = neuron[j]
    out[0].neuron += 1
    k = out[0].neuron
    if k < out.size:
        out[k].time, out[k].neuron = t, j
    cell.v = cell.reset_to if cell.hard else cell.v - (cell.reset_by + cell.adapt)
    cell.adapt += cell.beta
    cell.free_at = t + cell.refractory
    if not cell.hard:  # v may have been a sum of the threshold and resets
        settle_sum(neuron, j)


@bare
def settle_sum(neuron: np.ndarray, j: int) -> None:
    """Set v to the threshold if only rounding keeps it below."""
    cell = neuron[j]
    high = cell.threshold + cell.adapt
    if high - cell.margin <= cell.v < high:
        cell.v = high


@bare
def check_threshold(neuron: np.ndarray, j: int, t: float, out: np.ndarray) -> None:
    """Let neuron ``j`` fire at time t while above threshold; v includes all input at t."""
    cell = neuron[j]
    while cell.free_at <= t and cell.v >= cell.threshold + cell.adapt:
        fire_neuron(neuron, j, t, out)
        if out[0].neuron >= out.size:
            break


@bare
def advance_neuron(
    neuron: np.ndarray,
    current: np.ndarray,
    rate_syn: np.ndarray,
    j: int,
    t: float,
    quantum: float,
    out: np.ndarray,
) -> None:
    """Bring neuron ``j`` to time t, with its spikes before t.

    If it crosses its threshold at t, it stays at the threshold. It stops when ``out`` is full.
    """
    cell = neuron[j]
    while cell.time < t and out[0].neuron < out.size:
        before = cell.time
        if cell.free_at > before:
            cell.time = min(cell.free_at, t)
            integrate_refractory(neuron, current, rate_syn, j, cell.time - before)
            if cell.time < t:
                check_threshold(neuron, j, cell.time, out)
            continue
        moved, fires = integrate_to_crossing(neuron, current, rate_syn, j, t - before)
        if not fires:
            cell.time = t
            gap = cell.threshold + cell.adapt - cell.v
            if gap <= 0.5 * quantum * bound_slope(neuron, current, rate_syn, j, 0.0):
                cell.v = cell.threshold + cell.adapt  # it crosses within half a quantum
            continue
        cell.time = place_crossing(before, moved, quantum)
        # v keeps the threshold's value; the other variables move on to the rounded instant.
        integrate_refractory(neuron, current, rate_syn, j, cell.time - before - moved)
        cell.v = cell.threshold + cell.adapt
        if cell.time < t:
            check_threshold(neuron, j, cell.time, out)


@bare
def place_crossing(before: float, moved: float, quantum: float) -> float:
    """Return the instant of a crossing ``moved`` ticks after ``before``, >= 1 quantum later."""
    return max(round_instant(before + moved, quantum), before + quantum)


@bare
def add_input(neuron: np.ndarray, current: np.ndarray, j: int, port: int, x: float) -> None:
    """Add x to a current of neuron ``j``, or for port -1 to v unless the neuron is refractory.

    The neuron must be at the time of the input.
    """
    if port >= 0:
        current[j, port] += x
    elif neuron[j].free_at <= neuron[j].time:
        neuron[j].v += x


@bare
def integrate_to_crossing(
    neuron: np.ndarray, current: np.ndarray, rate_syn: np.ndarray, j: int, horizon: float
) -> tuple[float, bool]:
    """Move neuron ``j`` to its first crossing, or by ``horizon`` [ticks].

    The neuron is not refractory and is below its threshold. Returns how far it moved [ticks],
    and whether it is now at its threshold.
    """
    t, number = math.nan, current.shape[1]
    if neuron[j].adapt == 0.0:
        if number == 0:
            t = solve_drive(neuron, j)
        elif number == 1 and neuron[j].drive == 0.0:
            t = solve_one_current(neuron, current, rate_syn, j)
    if math.isnan(t):
        return search_crossing(neuron, current, rate_syn, j, horizon)
    fires = t <= horizon
    integrate_free(neuron, current, rate_syn, j, t if fires else horizon)
    return (t, True) if fires else (horizon, False)


@bare
def search_crossing(
    neuron: np.ndarray, current: np.ndarray, rate_syn: np.ndarray, j: int, horizon: float
) -> tuple[float, bool]:
    """Move a neuron as :func:`integrate_to_crossing` does, for any currents and thresholds."""
    cell, fastest = neuron[j], max(neuron[j].rate, 1e-300)
    for r in range(current.shape[1]):
        fastest = max(fastest, rate_syn[j, r])
    if cell.adapt != 0.0:
        fastest = max(fastest, cell.rate_adapt)
    elapsed, span = 0.0, horizon
    while True:
        slope = bound_slope(neuron, current, rate_syn, j, span)
        gap = cell.threshold + cell.adapt - cell.v
        if gap <= 0.0:
            return elapsed, True
        if not slope * span >= gap:  # a slope that is not a number ends a search too
            integrate_free(neuron, current, rate_syn, j, span)
            elapsed += span
            if elapsed >= horizon:
                return horizon, False
            span = min(4.0 * span, horizon - elapsed)
            continue
        step = gap / slope
        integrate_free(neuron, current, rate_syn, j, step)
        elapsed += step
        if step * fastest < STEP_TOLERANCE and span * fastest < SPAN_TOLERANCE:
            return elapsed, True
        span = min(max(2.0 * step, STEP_TOLERANCE / fastest), horizon - elapsed)


@bare
def bound_slope(
    neuron: np.ndarray, current: np.ndarray, rate_syn: np.ndarray, j: int, span: float
) -> float:
    """Return an upper bound of d(v - threshold)/dt up to a crossing within ``span`` ticks.

    Consider the last time before the crossing at which v has its current value; after it v is
    higher. So the slope is at most drive - rate v + each current, with positive currents at
    their start value and negative ones at their end value; and the threshold falls at most as
    fast as now. A falling threshold can also meet a membrane that falls more slowly. In that
    case the slope of v rises from its current value towards 0, by a factor exp(-rate span) at
    most, and by the amount that negative currents lose.
    """
    cell = neuron[j]
    slope, lost = cell.drive - cell.rate * cell.v, 0.0
    for r in range(current.shape[1]):
        i = current[j, r]
        slope += i
        if i < 0.0:
            lost += i * math.expm1(-rate_syn[j, r] * span)
    if cell.adapt == 0.0:
        return slope + lost
    if slope < 0.0:
        slope *= math.exp(-cell.rate * span)
    return slope + lost + cell.adapt * cell.rate_adapt


@bare
def solve_drive(neuron: np.ndarray, j: int) -> float:
    """Return the ticks until the drive alone carries v to the threshold, or NEVER."""
    cell = neuron[j]
    if cell.drive <= cell.rate * cell.threshold:
        return NEVER
    gap = cell.threshold - cell.v
    if cell.rate == 0.0:
        return gap / cell.drive
    return -math.log1p(-cell.rate * gap / (cell.drive - cell.rate * cell.v)) / cell.rate


@bare
def solve_one_current(
    neuron: np.ndarray, current: np.ndarray, rate_syn: np.ndarray, j: int
) -> float:
    """Return the ticks until a single current fires a neuron; NaN without a closed form."""
    rate, own_rate = neuron[j].rate, rate_syn[j, 0]
    if rate < LEAST_RATE:
        return math.nan  # the closed forms give time / tau, of which too few digits are left
    v, i = neuron[j].v, current[j, 0] / rate
    threshold = neuron[j].threshold
    if own_rate == rate:
        return solve_equal_rates(v, i, threshold) / rate
    if own_rate == 2.0 * rate:
        return solve_double_rate(v, i, threshold) / rate
    return math.nan


@bare
def solve_double_rate(v: float, i: float, threshold: float) -> float:
    """Return t / tau when v reaches the threshold, for tau = 2 tau_syn and i = tau current.

    With x = exp(-t / tau): v(t) = (v + i) x - i x^2, a parabola.
    """
    if i <= 0.0:
        return NEVER
    half = 0.5 * (v + i)
    root = half * half - i * threshold
    if root < 0.0 or not 0.0 < half < i:
        return NEVER
    x = (half + math.sqrt(root)) / i
    return -math.log(x) if x < 1.0 else 0.0


@bare
def solve_equal_rates(v: float, i: float, threshold: float) -> float:
    """Return t / tau when v reaches the threshold, for tau = tau_syn and i = tau current.

    v(t) = (v + i t) exp(-t); the principal branch of Lambert's W solves it.
    """
    if i <= 0.0 or v >= i:
        return NEVER
    c = v / i
    w = lambert_w(-(threshold / i) * math.exp(-c))
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
