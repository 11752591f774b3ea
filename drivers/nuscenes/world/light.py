"""A traffic light at one instant."""

from dataclasses import dataclass
from typing import Literal

Colour = Literal["red", "yellow", "green"]


@dataclass(frozen=True, kw_only=True)
class Light:
    """One set of lamps and its colour.

    x, y, z: the middle of the lamps, in the global frame [m]. yaw: the direction in which they
    shine [rad], against the driving direction of the lanes. lanes: tokens of the lanes whose
    drivers obey it and wait at ``Lane.stop_line``.
    """

    x: float
    y: float
    z: float
    yaw: float
    colour: Colour
    lanes: tuple[str, ...]
