"""Numbers as the files hold them: no more digits than they mean."""

from math import cos, sin


def round_metres(*values: float) -> list[float]:
    """Return lengths to the millimetre."""
    return [round(float(v), 3) for v in values]


def to_quaternion(yaw: float) -> list[float]:
    """Return (w, x, y, z) of a turn about the z axis."""
    return [round(cos(yaw / 2), 6), 0.0, 0.0, round(sin(yaw / 2), 6)]
