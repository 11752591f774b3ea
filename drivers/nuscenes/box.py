"""A box: a road user or a thing at an instant."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Box:
    """An upright box around a road user, in a flat frame, global or ego.

    instance: the same for a road user in all frames. category: nuScenes' name, such as
    "vehicle.car" or "human.pedestrian.adult". x, y, z: the middle [m]. yaw: heading [rad].
    width, length, height: [m]. vx, vy: velocity [m/s], NaN if unknown.
    visibility: 1 (0-40 % seen) to 4 (80-100 %). attribute: such as "vehicle.parked", or "".
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
        """Whether this is a vehicle in the sense of SAD and ST-P3, which includes cycles."""
        return self.category.startswith("vehicle.")

    @property
    def is_pedestrian(self) -> bool:
        """Whether this is a person on foot."""
        return self.category.startswith("human.")
