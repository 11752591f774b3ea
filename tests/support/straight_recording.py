"""A recorded drive along the straight road, to be driven through."""

import numpy as np
from shapely.geometry import LineString
from straight_road import make_straight_road

from drivers.nuscenes.box import Box
from drivers.nuscenes.world.instant import EGO_MIDDLE, Ego
from tasks.driving.bench.recorded_scenes import (
    FRAMES,
    RecordedDrive,
    find_route,
    interpolate_boxes,
)

ROAD = make_straight_road()
LANE = 98.25  # y of the inner lane along x; the outer one lies 3.5 m to the right of it


def make_path(speed: float, frames: int = FRAMES, aside: float = 0.0) -> np.ndarray:
    x = 0.5 * speed * np.arange(1, frames + 1)
    return np.stack([x, np.full(frames, aside), 0 * x], 1)


def make_recording(boxes: list[list[Box]], speed: float = 8.0) -> RecordedDrive:
    ego = Ego(x=20.0, y=LANE, yaw=0.0, speed=speed)
    poses = np.array([[20 + 0.5 * speed * k, LANE, 0] for k in range(FRAMES + 1)])
    return RecordedDrive(
        token="t",
        scene="s",
        ego=ego,
        path=make_path(speed),
        boxes=interpolate_boxes(boxes),
        road_map=ROAD,
        route=find_route(ROAD, poses),
        line=LineString(poses[:, :2] + [EGO_MIDDLE, 0]),
    )
