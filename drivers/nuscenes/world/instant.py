"""The world at one instant: the ego car, boxes and lights."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, sin

from drivers.nuscenes.box import Box, make_box
from drivers.nuscenes.road_map import RoadMap
from drivers.nuscenes.world.signals import Light

STEP = 0.1  # [s] between instants
KEYFRAME_STEPS = 5  # instants from one keyframe to the next
# The car that recorded nuScenes, a Renault Zoe [m]; ST-P3 and SAD judge the same rectangle.
EGO_LENGTH, EGO_WIDTH, EGO_HEIGHT = 4.084, 1.85, 1.56
WHEELBASE = 2.588
EGO_MIDDLE = 1.44  # from the rear axle to the middle: 0.94 m to LIDAR_TOP, 0.5 m to the middle


@dataclass(frozen=True, kw_only=True)
class Ego:
    """The ego car. x, y, yaw: of its flat frame (middle of the rear axle), global [m, rad].

    speed: forward [m/s]. acceleration: forward [m/s^2]. curvature: of the way of the rear axle
    [1/m], positive to the left; the front wheels stand at atan(WHEELBASE * curvature).
    """

    x: float
    y: float
    yaw: float
    speed: float
    acceleration: float = 0.0
    curvature: float = 0.0

    @property
    def yaw_rate(self) -> float:
        """[rad/s]."""
        return self.speed * self.curvature

    @property
    def box(self) -> Box:
        """The car's box in the global frame."""
        x, y = self.x + EGO_MIDDLE * cos(self.yaw), self.y + EGO_MIDDLE * sin(self.yaw)
        size = (EGO_LENGTH, EGO_WIDTH, EGO_HEIGHT)
        return make_box("ego", "vehicle.car", (x, y, self.yaw), size, self.speed)


@dataclass(frozen=True, kw_only=True, eq=False)
class WorldInstant:
    """One instant. time: [s] since the start. boxes: all but the ego, in the global frame.

    braking: instances with bright brake lights. lights: traffic lights and their colours.
    """

    time: float
    ego: Ego
    boxes: Sequence[Box]
    braking: frozenset[str]
    lights: Sequence[Light]


@dataclass(frozen=True, kw_only=True, eq=False)
class WorldScene:
    """A drive: instants :data:`STEP` apart on one map; every fifth is a keyframe (2 Hz)."""

    road_map: RoadMap
    instants: Sequence[WorldInstant]
    description: str
