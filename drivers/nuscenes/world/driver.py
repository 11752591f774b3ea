"""The acceleration of drivers: the intelligent driver model.

Intelligent driver model (Treiber, Hennecke, Helbing 2000, Phys. Rev. E 62, 1805):
    a = A (1 - (v / v0)^4 - (s* / s)^2),  s* = S0 + max(0, v T + v (v - v_lead) / (2 sqrt(A B)))
Drivers above their desired speed v0 brake by B at most.
"""

import numpy as np
from jaxtyping import Float64

A, B = 1.8, 2.5  # [m/s^2]: comfortable acceleration and braking
S0, T = 2.2, 1.2  # [m], [s]: gap to the car ahead
HARDEST = 8.0  # [m/s^2] of braking


def follow(
    speed: Float64[np.ndarray, " *V"],
    wanted: Float64[np.ndarray, " *V"],
    gap: Float64[np.ndarray, " *V"],
    lead: Float64[np.ndarray, " *V"],
) -> Float64[np.ndarray, " *V"]:
    """Return the acceleration [m/s^2] of drivers with an obstacle ``gap`` metres ahead.

    speed, wanted: present and desired speed [m/s]. lead: speed of the obstacle [m/s]. An
    infinite gap means a free road.
    """
    keep = S0 + np.maximum(0, speed * T + speed * (speed - lead) / (2 * np.sqrt(A * B)))
    free = np.maximum(A * (1 - (speed / np.maximum(wanted, 0.1)) ** 4), -B)
    out: Float64[np.ndarray, " *V"] = np.clip(
        free - A * (keep / np.maximum(gap, 0.1)) ** 2, -HARDEST, A
    )
    return out
