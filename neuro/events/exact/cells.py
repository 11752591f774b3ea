"""Cells in continuous time: what they are, where they stand, how they move between events.

    dv/dt = -rate v + push + sum_r current_r        d current_r/dt = -rate_syn_r current_r
    d adapt/dt = -rate_adapt adapt                  a spike when v >= threshold + adapt

The cells of one component of a Graph are numbered through. Axes: n cells, R currents of a cell.
Rates in 1/s, times in s since the start of the run, v and adapt in weight units.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.compiled import bare

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
