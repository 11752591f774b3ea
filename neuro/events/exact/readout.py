"""Leaky integrators that never fire, sampled at the ends of ticks."""

import math

import numpy as np

from neuro.compiled import kernel
from neuro.events.exact.wiring import Arrivals, Wiring


@kernel
def sample_values(
    state: np.ndarray,
    rate: np.ndarray,
    push: np.ndarray,
    wiring: Wiring,
    arrivals: Arrivals,
    grid: tuple[int, float],
) -> np.ndarray:
    """Return v at the ends of ``grid`` = (T, dt [s]) ticks (T N); ``state`` (N) moves."""
    ticks, dt = grid
    n, k = state.size, 0
    out = np.empty((ticks, n))
    alike = n > 0 and np.all(rate == rate[0])
    keep, gain = np.exp(-rate * dt), np.empty(n)
    for j in range(n):
        gain[j] = push[j] * (dt if rate[j] == 0.0 else -math.expm1(-rate[j] * dt) / rate[j])
    for tick in range(ticks):
        stop = (tick + 1.0) * dt
        for j in range(n):
            state[j] = keep[j] * state[j] + gain[j]
        while k < arrivals.time.size and arrivals.time[k] <= stop + 1e-9 * dt:
            g, h = arrivals.group[k], max(stop - arrivals.time[k], 0.0)
            shift = wiring.first[g] - wiring.bounds[g, 0]
            left = math.exp(-rate[0] * h)
            for s in range(wiring.bounds[g, 0], wiring.bounds[g, 1]):
                j = s + shift if wiring.first[g] >= 0 else wiring.target[s]
                if not alike:
                    left = math.exp(-rate[j] * h)
                state[j] += wiring.weight[s] * arrivals.value[k] * left
            k += 1
        out[tick] = state
    return out
