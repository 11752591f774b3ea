"""A traffic light at one instant."""

from dataclasses import dataclass
from typing import Literal

Colour = Literal["red", "yellow", "green"]


@dataclass(frozen=True, kw_only=True)
class Light:
    """One set of lamps and what it shows.

    x, y, z: the middle of the lamps, in the global frame [m]. yaw: the direction in which they
    shine, [rad]: against the driving direction of those who obey. lanes: tokens of the lanes
    whose drivers obey it, at the ends of which (``Lane.stop_line``) they wait.
    """

    x: float
    y: float
    z: float
    yaw: float
    colour: Colour
    lanes: tuple[str, ...]
