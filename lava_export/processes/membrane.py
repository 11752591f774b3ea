"""The integer membrane that our processes share: the equation of ``lava_export.program``.

NumPy alone; Lava's child imports this file by its name.
"""

from typing import Any

import numpy as np

LIMIT = 2**23


def charge(process: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return u and v of a process after the sums of weights x of a step, before any spike."""
    u = decay_state(process.u, process.du + 1) + (x << 6)
    u = np.where(u > LIMIT, u - 2 * LIMIT, np.where(u <= -LIMIT, u + 2 * LIMIT, u))
    bias = process.bias_mant << process.bias_exp
    bias = bias * (process.time_step > process.bias_after)
    v = decay_state(process.v, process.dv) + u + bias
    return u, np.clip(v, 1 - LIMIT, LIMIT - 1)


def decay_state(state: np.ndarray, decay: np.ndarray) -> np.ndarray:
    """Return state (4096 - decay) / 4096, rounded towards zero."""
    product = state.astype(np.int64) * (4096 - decay)
    return np.asarray(np.sign(product) * (np.abs(product) >> 12))
