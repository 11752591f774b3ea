"""Numbers with the digits that the files hold."""

from math import cos, sin


def round_metres(*values: float) -> list[float]:
    """Return lengths [m] rounded to millimetres."""
    return [round(float(v), 3) for v in values]


def to_quaternion(yaw: float) -> list[float]:
    """Return (w, x, y, z) of a rotation about the z axis."""
    return [round(cos(yaw / 2), 6), 0.0, 0.0, round(sin(yaw / 2), 6)]
