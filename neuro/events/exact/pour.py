"""Scaled weights onto scaled membranes, as far as these stay below a line."""

import numpy as np

from neuro.compiled import bare
from neuro.events.exact.wiring import Row

SIDE = 64  # targets side by side that are looked at together


@bare
def pour(
    u: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    row: Row,
    s: int,
    what: tuple[float, float],
) -> int:
    """Add weights times a factor to the targets of a row from synapse s on.

    what: the factor, and a line. Stops at a target that is above the line or would be; returns
    its synapse, or the end of the row.
    """
    factor, line = what
    if row.beside:
        return pour_beside(u, weight, (s, row.stop, row.shift), factor, line)
    if row.common == row.common:  # not NaN
        return pour_alike(u, target, (s, row.stop), row.common * factor, line)
    return pour_listed(u, target, weight, (s, row.stop), what)


@bare
def pour_listed(
    u: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    part: tuple[int, int],
    what: tuple[float, float],
) -> int:
    """Do as :func:`pour` with synapses ``part`` = (from, to) of any target and weight."""
    (s, end), (factor, line) = part, what
    while s < end:
        j = target[s]
        old = u[j]
        new = old + weight[s] * factor
        if max(old, new) >= line:
            break
        u[j] = new
        s += 1
    return s


@bare
def pour_alike(
    u: np.ndarray, target: np.ndarray, part: tuple[int, int], step: float, line: float
) -> int:
    """Do as :func:`pour` with one step for all."""
    s, end = part
    while s < end:
        j = target[s]
        old = u[j]
        new = old + step
        if max(old, new) >= line:
            break
        u[j] = new
        s += 1
    return s


@bare
def pour_beside(
    u: np.ndarray, weight: np.ndarray, part: tuple[int, int, int], factor: float, line: float
) -> int:
    """Do as :func:`pour` with targets side by side, ``part`` = (from, to, target - synapse)."""
    s, end, shift = part
    while s < end:
        stop, hits = min(s + SIDE, end), 0
        row, more = u[s + shift : stop + shift], weight[s:stop]
        for k in range(row.size):
            hits += max(row[k], row[k] + more[k] * factor) >= line
        if hits > 0:
            k = 0
            while max(row[k], row[k] + more[k] * factor) < line:
                row[k] += more[k] * factor
                k += 1
            return s + k
        add_beside(row, more, factor)
        s = stop
    return end


@bare
def add_beside(row: np.ndarray, weight: np.ndarray, factor: float) -> None:
    """Add to all targets side by side."""
    for k in range(row.size):
        row[k] += weight[k] * factor
