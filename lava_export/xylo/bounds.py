"""Worst-case states of a XyloProgram."""

import numpy as np

from lava_export.xylo.program import LARGEST_STATE, NEURON_SPIKES, XyloPopulation, XyloProgram


def compute_head_room(program: XyloProgram, p: XyloPopulation) -> float:
    """Return the largest |i| or |v| over 2^15 - 1 if each source fires at most once per tick.

    A current is largest before it falls in its step. A shift rounds: it leaves at most
    keep (x + 1) of a positive x.
    """
    keep_i, keep_v = (1 - 2.0 ** -dash.astype(np.float64) for dash in (p.dash_syn, p.dash_mem))
    shift = program.shift if p.kind == "hidden" else program.shift_out
    weight = np.concatenate([c.weight for c in program.into(p.name)], 1) * 2.0**shift
    into = [np.maximum(sign * weight, 0).sum(1) for sign in (1, -1)]
    up, down = (
        np.where(total > 0, (total + keep_i) * _sum_powers(keep_i, program.ticks), 0)
        for total in into
    )
    if p.kind == "readout":
        return float(np.maximum(up, down).max()) / LARGEST_STATE
    rise, fall = (keep_i * (x + (x > 0)) for x in (up, down))
    rise, fall = rise + np.maximum(p.bias, 0), fall + np.maximum(-p.bias, 0)
    highest, lowest = (
        np.where(x > 0, (x + keep_v) * _sum_powers(keep_v, program.ticks), 0)
        for x in (rise, fall)
    )
    held = keep_v * (p.threshold + 1) + rise  # if spikes bring v below the threshold
    most = NEURON_SPIKES if p.kind == "hidden" else 1
    below = (rise <= p.threshold) | (held < (most + 1) * p.threshold)
    highest = np.where(below, np.minimum(held, highest), highest)
    return float(np.maximum.reduce([up, down, highest, lowest]).max()) / LARGEST_STATE


def _sum_powers(keep: np.ndarray, ticks: int | None) -> np.ndarray:
    """Return 1 + keep + keep^2 + ... with ``ticks`` terms (None: endless)."""
    return np.asarray((1 if ticks is None else 1 - keep**ticks) / (1 - keep))
