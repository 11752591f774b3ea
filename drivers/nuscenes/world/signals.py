"""Traffic lights: their colours follow fixed plans, which depend on time alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import cos, pi, sin
from typing import Literal

import numpy as np

from drivers.nuscenes.road_map import Lane

YELLOW = 2.5  # [s]
ALL_RED = 1.5  # [s] for a junction to empty
GREEN = (7.0, 11.0)  # [s]
# [m]: distance of the lamps behind the end of their lane, and their height. They stay visible
# to waiting cars in the models' images, whose upper parts are cut off.
BEHIND, ABOVE = 12.0, 3.4

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


@dataclass(frozen=True, kw_only=True)
class Signal:
    """A light and its plan. x, y, z, yaw, lanes: as of a :class:`Light`.

    period: of the plan [s]. start: of green, from the start of a period [s]. green: its
    duration [s], before 2.5 s of yellow and then red.
    """

    x: float
    y: float
    z: float
    yaw: float
    lanes: tuple[str, ...]
    period: float
    start: float
    green: float

    def colour_at(self, time: float) -> Colour:
        """Return the colour at a time [s]."""
        since = (time - self.start) % self.period
        if since < self.green:
            return "green"
        return "yellow" if since < self.green + YELLOW else "red"

    def light_at(self, time: float) -> Light:
        """Return the light at a time [s]."""
        return Light(
            x=self.x,
            y=self.y,
            z=self.z,
            yaw=self.yaw,
            colour=self.colour_at(time),
            lanes=self.lanes,
        )


def plan_signals(
    rng: np.random.Generator, angles: Sequence[float], entering: Sequence[Sequence[Lane]]
) -> list[Signal]:
    """Return the lights of a junction, one for each lane; opposite arms have green together.

    angles: of the arms, counter-clockwise [rad]. entering: the incoming lanes of each arm.
    """
    n = len(angles)
    first = min(
        combinations(range(n), 2),
        key=lambda p: abs((angles[p[1]] - angles[p[0]]) % (2 * pi) - pi),
    )
    greens = rng.uniform(*GREEN, 2)
    lengths = greens + YELLOW + ALL_RED
    shift = float(rng.uniform(0, lengths.sum()))
    signals = []
    for arm, lanes in enumerate(entering):
        group = int(arm not in first)
        for lane in lanes:
            x, y, yaw = (float(value) for value in lane.centreline[-1])
            signals.append(
                Signal(
                    x=x + BEHIND * cos(yaw),
                    y=y + BEHIND * sin(yaw),
                    z=ABOVE,
                    yaw=yaw + pi,
                    lanes=(lane.token,),
                    period=float(lengths.sum()),
                    start=shift + group * float(lengths[0]),
                    green=float(greens[group]),
                )
            )
    return signals
