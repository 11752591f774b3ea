"""Compiled neuron updates, in the order and the precision of the torch models.

A neuron is computed in a tick only if something reached it or if it is awake: it might cross
its threshold by itself. The ticks slept through are made up for by the same multiply-adds one
after the other, never by a power: so each result is bit for bit that of stepping every tick.

Axes: L ticks of a stretch, S samples, N neurons.
"""

from typing import NamedTuple

import numpy as np

from neuro.events.kernels import Train, kernel
from neuro.neurons import Coefficients


class Silence(NamedTuple):
    """What bounds a neuron without further input (N each, float64).

    Its current decays from i to ``rest`` = drive / (1 - c). What it holds beyond that adds at
    most ``reach`` = g c / (1 - c) times the excess to v, which else moves from where it is
    towards ``drift`` = g rest / (1 - a). ``limit`` is the threshold, less what the rounding
    errors of those ticks can add up to where anything pushes v at all.
    """

    rest: np.ndarray
    drift: np.ndarray
    reach: np.ndarray
    limit: np.ndarray


class Neurons(NamedTuple):
    """One population's parameters by neuron (N each), in the precision of the run."""

    decay: np.ndarray
    gain: np.ndarray
    decay_syn: np.ndarray
    threshold: np.ndarray
    beta: np.ndarray
    decay_adapt: np.ndarray
    hard: bool
    silence: Silence


def neurons(k: Coefficients, drive: np.ndarray, shape: tuple[int, ...]) -> Neurons:
    """Return the parameters of a population whose neurons get ``drive`` (N) every tick."""

    def every(p: np.ndarray) -> np.ndarray:
        return np.broadcast_to(p, shape).ravel().astype(drive.dtype)

    decay, gain, decay_syn = every(k.decay), every(k.gain), every(k.decay_syn)
    threshold = every(k.threshold)
    a, g, c, x = (p.astype(np.float64) for p in (decay, gain, decay_syn, drive))
    leaks, spent = a < 1, 1 / (1 - c)
    memory = np.divide(1, 1 - a, out=np.full_like(a, np.inf), where=leaks)
    rounding = 64 * np.finfo(drive.dtype).eps * (np.where(leaks, memory, 0) + spent)
    pushed = (x > 0) | (c > 0)
    silence = Silence(
        rest=x * spent,
        drift=np.multiply(g * x * spent, memory, out=np.zeros_like(x), where=x > 0),
        reach=g * c * spent,
        limit=threshold * (1 - np.where(pushed, 1e-6 + rounding, 0)),
    )
    return Neurons(
        decay=decay,
        gain=gain,
        decay_syn=decay_syn,
        threshold=threshold,
        beta=every(k.beta),
        decay_adapt=every(k.decay_adapt),
        hard=k.hard,
        silence=silence,
    )


@kernel
def awake(v: float, excess: float, drift: float, reach: float, limit: float) -> bool:
    """Say whether a neuron might cross its threshold without further input.

    excess: of its current over rest. "Yes" is always right; "no" must be certain.
    """
    return not max(v, drift) + reach * max(excess, 0.0) < limit


@kernel
def watch(state: np.ndarray, silence: Silence) -> np.ndarray:
    """Return which neurons of a state (3 S N) are awake (S N)."""
    rest, drift, reach, limit = silence
    v, i = state[0], state[1]
    out = np.empty(v.shape, np.bool_)
    for s in range(v.shape[0]):
        for n in range(v.shape[1]):
            out[s, n] = awake(v[s, n], i[s, n] - rest[n], drift[n], reach[n], limit[n])
    return out


@kernel
def catch_up(
    x: np.ndarray, since: np.ndarray, stop: int, state: np.ndarray, p: Neurons
) -> None:
    """Advance each neuron from its row ``since`` (S N) to row ``stop``; none of them fires."""
    v, i, adapt = state[0], state[1], state[2]
    decay, gain, decay_syn, decay_adapt = p.decay, p.gain, p.decay_syn, p.decay_adapt
    for s in range(since.shape[0]):
        for n in range(since.shape[1]):
            v_n, i_n, adapt_n = v[s, n], i[s, n], adapt[s, n]
            for t in range(since[s, n], stop):
                i_n = decay_syn[n] * i_n + x[t, s, n]
                v_n = decay[n] * v_n + gain[n] * i_n
                adapt_n = decay_adapt[n] * adapt_n
            v[s, n], i[s, n], adapt[s, n] = v_n, i_n, adapt_n


@kernel
def fire(
    x: np.ndarray, hit: np.ndarray, rows: tuple[int, int], state: np.ndarray, p: Neurons
) -> tuple[Train, int]:
    """Advance a firing population over ``rows`` (start, stop).

    x: input (L S N); where nothing ``hit`` (L S N), it holds what comes every tick.
    state: membrane, current and adaptation (3 S N), which change in place.
    Returns the spikes and the number of updates computed.
    """
    start, stop = rows
    v, i, adapt = state[0], state[1], state[2]
    decay, gain, decay_syn, threshold, beta, decay_adapt, hard, silence = p
    rest, drift, reach, limit = silence
    zero = x.dtype.type(0)  # a plain 0.0 would make all the arithmetic float64
    at = np.zeros(stop - start + 1, np.int64)
    sample = np.empty((stop - start) * v.size, np.int32)
    neuron = np.empty(sample.size, np.int32)
    since = np.full(v.shape, start)
    restless = watch(state, silence)
    fired, updates = 0, 0
    for t in range(start, stop):
        for s in range(v.shape[0]):
            for n in range(v.shape[1]):
                if not (restless[s, n] or hit[t, s, n]):
                    continue
                updates += 1
                v_n, i_n, adapt_n = v[s, n], i[s, n], adapt[s, n]
                for k in range(since[s, n], t + 1):
                    i_n = decay_syn[n] * i_n + x[k, s, n]
                    v_n = decay[n] * v_n + gain[n] * i_n
                    adapt_n = decay_adapt[n] * adapt_n
                since[s, n] = t + 1
                high = threshold[n] + adapt_n
                if v_n >= high:
                    v_n = zero if hard else v_n - high
                    adapt_n += beta[n]
                    sample[fired], neuron[fired] = s, n
                    fired += 1
                v[s, n], i[s, n], adapt[s, n] = v_n, i_n, adapt_n
                restless[s, n] = awake(v_n, i_n - rest[n], drift[n], reach[n], limit[n])
        at[t - start + 1] = fired
    catch_up(x, since, stop, state, p)
    value = np.ones(fired, x.dtype)
    return Train(at, sample[:fired].copy(), neuron[:fired].copy(), value), updates


@kernel
def integrate(
    x: np.ndarray, rows: tuple[int, int], state: np.ndarray, p: Neurons, out: np.ndarray
) -> None:
    """Advance a read-out over ``rows`` (start, stop); write its membrane to ``out`` (L S N)."""
    v, decay, gain = state[0], p.decay, p.gain
    for t in range(rows[0], rows[1]):
        for s in range(v.shape[0]):
            for n in range(v.shape[1]):
                v[s, n] = decay[n] * v[s, n] + gain[n] * x[t, s, n]
                out[t, s, n] = v[s, n]
