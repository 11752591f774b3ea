"""A box: a road user or a thing at an instant."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import cos, sin

MOVING = 0.2  # [m/s]: slower road users count as standing
LARGEST_SIDE = 60.0  # [m]: longest allowed side of a box


@dataclass(frozen=True, kw_only=True)
class Box:
    """An upright box around a road user, in a flat frame, global or ego.

    instance: name of the road user, the same in all frames.
    category: nuScenes' name, such as "vehicle.car" or "human.pedestrian.adult".
    x, y, z: middle [m]. yaw: heading [rad]. width, length, height: [m].
    vx, vy: velocity [m/s], NaN if unknown.
    visibility: 1 (0-40 % visible) to 4 (80-100 %).
    attribute: a name such as "vehicle.parked", or "".
    """

    instance: str
    category: str
    x: float
    y: float
    z: float
    yaw: float
    width: float
    length: float
    height: float
    vx: float = float("nan")
    vy: float = float("nan")
    visibility: int = 4
    attribute: str = ""
    lidar_points: int = 1

    @property
    def is_vehicle(self) -> bool:
        """Whether the box is a vehicle as SAD and ST-P3 define it, which includes cycles."""
        return self.category.startswith("vehicle.")

    @property
    def is_pedestrian(self) -> bool:
        """Whether the box is a person on foot."""
        return self.category.startswith("human.")


def is_size(sides: Sequence[float | int]) -> bool:
    """Return whether a box may have these sides [m]."""
    return min(sides) > 0 and max(sides) <= LARGEST_SIDE


def make_box(
    instance: str,
    category: str,
    pose: Iterable[float],
    size: Iterable[float],
    speed: float = 0.0,
    parked: bool = False,
) -> Box:
    """Return a box that stands on the ground and moves along its heading.

    pose: x, y [m] and yaw [rad] of the middle. size: length, width, height [m]. speed: [m/s].
    parked: whether the vehicle is parked, without a driver.
    """
    x, y, yaw = (float(value) for value in pose)
    length, width, height = (float(value) for value in size)
    return Box(
        instance=instance,
        category=category,
        x=x,
        y=y,
        z=height / 2,
        yaw=yaw,
        width=width,
        length=length,
        height=height,
        vx=speed * cos(yaw),
        vy=speed * sin(yaw),
        attribute=name_attribute(category, speed > MOVING, parked),
    )


def name_attribute(category: str, moves: bool, parked: bool = False) -> str:
    """Return nuScenes' attribute of a road user, or "" for a thing."""
    if category in ("vehicle.bicycle", "vehicle.motorcycle"):
        return "cycle.with_rider"
    if category.startswith("human."):
        return "pedestrian.moving" if moves else "pedestrian.standing"
    if category.startswith("vehicle."):
        return "vehicle.parked" if parked else "vehicle.moving" if moves else "vehicle.stopped"
    return ""
