"""The parameters of a population as arrays for the compiled updates.

Axes: C channels of a place as in :mod:`neuro.events.grid.kernels`; K rows, P places or 1 (the
same at every place).
"""

from typing import NamedTuple

import numpy as np

from neuro.neurons import Coefficients

DECAY, GAIN, DECAY_SYN, THRESHOLD, DECAY_ADAPT, BETA = range(6)  # rows of Neurons.k
REST, DRIFT, REACH, LIMIT = range(4)  # rows of Neurons.bounds

# LIMIT lies below the threshold by a part of it: a fixed margin, and for rounding this many
# units of the last place per tick of memory. A large margin only costs needless updates.
MARGIN = 1e-6
ROUNDING_ERRORS = 64


class Neurons(NamedTuple):
    """The parameters of one population, in few arrays: each array adds to the time of a call.

    k: rows DECAY to BETA: a, g, c, threshold, r and b of the normal form
        (:class:`neuro.neurons.Coefficients`), axes 6 K C, in the precision of the run.
    bounds: rows REST to LIMIT, axes 4 K C, float64: an upper bound on v of a neuron without
        further input. Without input the current i approaches REST = drive / (1 - c), and v
        approaches g REST / (1 - a) monotonically: DRIFT is that value if drive > 0, otherwise
        0. The excess i - REST > 0 raises v by at most REACH = g c / (1 - c) times the excess.
        The neuron cannot fire while max(v, DRIFT) + REACH max(i - REST, 0) < LIMIT: the
        threshold, lowered by the rounding errors of these ticks if drive or current act on v.
    refractory: [ticks]. hard: the reset sets v to 0; otherwise it subtracts the threshold.
    plain: no current, no adaptation and no refractory period.
    """

    k: np.ndarray
    bounds: np.ndarray
    refractory: int
    hard: bool
    plain: bool


def arrange_by_place(parameter: np.ndarray, shape: tuple[int, ...], places: int) -> np.ndarray:
    """Return a parameter of neurons of ``shape`` as K C: for each place, or for all (K = 1)."""
    channels = np.broadcast_to(parameter, shape).reshape(-1, places)
    same = bool((channels == channels[:, :1]).all())
    return np.ascontiguousarray((channels[:, :1] if same else channels).T)


def make_parameters(
    k: Coefficients, drive: np.ndarray, shape: tuple[int, ...], places: int
) -> tuple[np.ndarray, Neurons]:
    """Return the input of a tick without spikes (K C) and the parameters of a population.

    k: its coefficients. drive: constant input of each neuron in every tick (N). shape: of the
    population. places: P of its layout.
    """

    def every(p: np.ndarray) -> np.ndarray:
        return np.broadcast_to(p, shape).astype(drive.dtype)

    x, c = drive.reshape(shape), every(k.decay_syn)
    a, g, high, r, b = (every(p) for p in (k.decay, k.gain, k.threshold, k.decay_adapt, k.beta))
    columns = [arrange_by_place(p, shape, places) for p in (x, a, g, c, high, r, b)]
    columns += [arrange_by_place(p, shape, places) for p in _compute_bounds(x, a, g, c, high)]
    rows = max(len(p) for p in columns)
    rest, *columns = (np.repeat(p, rows // len(p), 0) for p in columns)
    return rest, Neurons(
        k=np.stack(columns[:6]),
        bounds=np.stack(columns[6:]),
        refractory=k.refractory,
        hard=k.hard,
        plain=not (c.any() or b.any() or k.refractory),
    )


def _compute_bounds(
    drive: np.ndarray, a: np.ndarray, g: np.ndarray, c: np.ndarray, threshold: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Return the rows REST to LIMIT of ``Neurons.bounds``, each with a parameter's shape."""
    eps = np.finfo(drive.dtype).eps
    x, a, g, c = (p.astype(np.float64) for p in (drive, a, g, c))
    leaks, spent = a < 1, 1 / (1 - c)
    memory = np.divide(1, 1 - a, out=np.full_like(a, np.inf), where=leaks)
    rounding = ROUNDING_ERRORS * eps * (np.where(leaks, memory, 0) + spent)
    pushed = (x > 0) | (c > 0)
    drift = np.multiply(g * x * spent, memory, out=np.zeros_like(x), where=x > 0)
    limit = threshold * (1 - np.where(pushed, MARGIN + rounding, 0))
    return x * spent, drift, g * c * spent, limit
