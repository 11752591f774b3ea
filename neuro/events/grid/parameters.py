"""The parameters of a population, as its compiled updates read them.

Axes: C channels of a place as in :mod:`neuro.events.grid.kernels`; K rows, P places or 1 (the
same at every place).
"""

from typing import NamedTuple

import numpy as np

from neuro.neurons import Coefficients

DECAY, GAIN, DECAY_SYN, THRESHOLD, DECAY_ADAPT, BETA = range(6)  # rows of Neurons.k
REST, DRIFT, REACH, LIMIT = range(4)  # rows of Neurons.silence


class Neurons(NamedTuple):
    """One population's parameters, in few arrays: each costs time at every call.

    k: DECAY to BETA of the normal form, axes 6 K C, in the precision of the run.
    silence: REST to LIMIT, what bounds a neuron without input, axes 4 K C, float64. Its current
        decays from i to ``rest`` = drive / (1 - c). What it holds beyond that adds at most
        ``reach`` = g c / (1 - c) times the excess to v, which else moves from where it is
        towards ``drift`` = g rest / (1 - a). ``limit`` is the threshold, less what the rounding
        errors of those ticks can add up to where anything pushes v at all.
    plain: there is neither a current nor adaptation nor a refractory period.
    """

    k: np.ndarray
    silence: np.ndarray
    refractory: int
    hard: bool
    plain: bool


def by_place(parameter: np.ndarray, shape: tuple[int, ...], places: int) -> np.ndarray:
    """Return a parameter of neurons of ``shape`` as K C."""
    channels = np.broadcast_to(parameter, shape).reshape(-1, places)
    same = bool((channels == channels[:, :1]).all())
    return np.ascontiguousarray((channels[:, :1] if same else channels).T)


def neurons(
    k: Coefficients, drive: np.ndarray, shape: tuple[int, ...], places: int
) -> tuple[np.ndarray, Neurons]:
    """Return (rest, parameters) of a population whose neurons get ``drive`` (N) every tick."""

    def every(p: np.ndarray) -> np.ndarray:
        return np.broadcast_to(p, shape).astype(drive.dtype)

    x, c = drive.reshape(shape), every(k.decay_syn)
    a, g, high, r, b = (every(p) for p in (k.decay, k.gain, k.threshold, k.decay_adapt, k.beta))
    columns = [by_place(p, shape, places) for p in (x, a, g, c, high, r, b)]
    columns += [by_place(p, shape, places) for p in _silence(x, a, g, c, high)]
    rows = max(len(p) for p in columns)
    rest, *columns = (np.repeat(p, rows // len(p), 0) for p in columns)
    return rest, Neurons(
        k=np.stack(columns[:6]),
        silence=np.stack(columns[6:]),
        refractory=k.refractory,
        hard=k.hard,
        plain=not (c.any() or b.any() or k.refractory),
    )


def _silence(
    drive: np.ndarray, a: np.ndarray, g: np.ndarray, c: np.ndarray, threshold: np.ndarray
) -> tuple[np.ndarray, ...]:
    eps = np.finfo(drive.dtype).eps
    x, a, g, c = (p.astype(np.float64) for p in (drive, a, g, c))
    leaks, spent = a < 1, 1 / (1 - c)
    memory = np.divide(1, 1 - a, out=np.full_like(a, np.inf), where=leaks)
    rounding = 64 * eps * (np.where(leaks, memory, 0) + spent)
    pushed = (x > 0) | (c > 0)
    drift = np.multiply(g * x * spent, memory, out=np.zeros_like(x), where=x > 0)
    limit = threshold * (1 - np.where(pushed, 1e-6 + rounding, 0))
    return x * spent, drift, g * c * spent, limit
