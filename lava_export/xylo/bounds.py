"""How large the states of a XyloProgram can become."""

import numpy as np

from lava_export.xylo.program import LARGEST_STATE, XyloPopulation, XyloProgram


def compute_head_room(program: XyloProgram, p: XyloPopulation) -> float:
    """Return the largest |i| or |v| over 2^15 - 1 if each source fires once a tick at most."""
    keep_i, keep_v = (1 - 2.0 ** -dash.astype(np.float64) for dash in (p.dash_syn, p.dash_mem))
    shift = program.shift if p.kind == "hidden" else program.shift_out
    weight = np.concatenate([c.weight for c in program.into(p.name)], 1) * 2.0**shift
    into = [np.maximum(sign * weight, 0).sum(1) for sign in (1, -1)]
    up, down = (keep_i * total * _sum_powers(keep_i, program.ticks) for total in into)
    if p.kind == "readout":
        return float(np.maximum(up, down).max()) / LARGEST_STATE
    rise, fall = up + np.maximum(p.bias, 0), down + np.maximum(-p.bias, 0)
    highest, lowest = (x * _sum_powers(keep_v, program.ticks) for x in (rise, fall))
    held = keep_v * p.threshold + rise  # a reset that one spike a tick can keep up with
    highest = np.where(rise <= p.threshold, np.minimum(held, highest), highest)
    return float(np.maximum.reduce([up, down, highest, lowest]).max()) / LARGEST_STATE


def _sum_powers(keep: np.ndarray, ticks: int | None) -> np.ndarray:
    """Return 1 + keep + keep^2 + ... over so many ticks (None: endless)."""
    return np.asarray((1 if ticks is None else 1 - keep**ticks) / (1 - keep))
