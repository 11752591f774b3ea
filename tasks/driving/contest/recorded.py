"""Open loop: a path is driven through a recorded scene, and scored as a drive of 4 s.

The car follows the path as in the closed loop (:mod:`drivers.nuscenes.world.tracker`); all
others move as they were recorded, whatever the car does, in between keyframes evenly. A path
that ends before 4 s goes on at its last speed and turn. The recorded drive is the reference of
progress; its way is the line along which progress is measured. nuScenes does not know a route:
lanes count that go where the car was recorded to go, those beside them, and what these lead to.
Axes: K keyframes, F frames, 0.5 s apart; T instants, 0.1 s apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import atan2, cos, hypot, sin

import numpy as np
import shapely
from jaxtyping import Float, Float64
from shapely.geometry import LineString, Point

from drivers.nuscenes.box import Box
from drivers.nuscenes.geometry import enter_frame, turn, wrap_angle
from drivers.nuscenes.road_map import Lane, RoadMap
from drivers.nuscenes.spans import WindowSpan
from drivers.nuscenes.window import FRAME
from drivers.nuscenes.windows import Windows
from drivers.nuscenes.world.drive import STEPS
from drivers.nuscenes.world.instant import EGO_MIDDLE, STEP, Ego
from drivers.nuscenes.world.tracker import TIGHTEST, follow_trajectory, make_trajectory
from tasks.driving.closed_loop import SEGMENT
from tasks.driving.config import DrivingConfig
from tasks.driving.data import find_split, make_settings
from tasks.driving.score import Drive, Score, measure_progress, score_drive

FRAMES = SEGMENT // STEPS  # keyframes after the present one that are scored: 4 s
NEAR = 150.0  # [m] around the car, of all that may matter within 4 s, at 30 m/s too
BESIDE = 4.0  # [m] from the recorded way to a lane beside it
SAME_WAY = np.pi / 4  # [rad] between the car and a lane that goes its way
FURTHER = 2  # lanes one after the other that are reached behind the recorded way
SLOW = 1.0  # [m/s] below which a yaw rate tells no curvature
LEAST = 0.5  # [m] of a step that has a direction


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedDrive:
    """What was recorded from the present of a window on, to be driven in.

    path: of the recorded car at each of 8 keyframes, in the present ego frame. boxes: of all
    others at each instant. route, line: as of :class:`tasks.driving.score.Drive`.
    """

    token: str
    scene: str
    ego: Ego
    path: Float64[np.ndarray, "F 3"]
    boxes: Sequence[Sequence[Box]]
    road_map: RoadMap
    route: frozenset[str]
    line: LineString

    @cached_property
    def reference(self) -> float:
        """Progress of the recorded car, driven along its path as others are [m]."""
        return measure_progress(_make_drive(self, self.path))


def open_recordings(config: DrivingConfig) -> Windows:
    """Return the test windows that have 4 s of future: fewer than those of 3 s."""
    settings = replace(make_settings(config), future=FRAMES, looks=False)
    return find_split(config.source, settings, "test")


def read_recording(windows: Windows, number: int) -> RecordedDrive:
    """Return the recording of a window with 8 future frames."""
    span, past = windows.spans[number], windows.settings.past
    poses = span.poses[past - 1 :]
    frames = [windows.tables.read_boxes(token) for token in span.tokens[past - 1 :]]
    x, y = poses[0, :2]
    near = [[b for b in boxes if hypot(b.x - x, b.y - y) < NEAR] for boxes in frames]
    road_map = cut_map(windows.maps[span.location], Point(x, y))
    return RecordedDrive(
        token=span.tokens[past - 1],
        scene=span.scene,
        ego=find_ego(span, past),
        path=enter_frame(poses[1:], poses[0]),
        boxes=interpolate_boxes(near),
        road_map=road_map,
        route=find_route(road_map, poses),
        line=LineString(
            [(x + EGO_MIDDLE * cos(yaw), y + EGO_MIDDLE * sin(yaw)) for x, y, yaw in poses]
        ),
    )


def find_ego(span: WindowSpan, past: int) -> Ego:
    """Return the car as it was in the present of a window."""
    now = past - 1
    speed = max(0.0, float(span.speed[now]))
    before = float(span.speed[now - 1]) if now else speed
    curvature = float(span.yaw_rate[now]) / max(speed, SLOW)
    x, y, yaw = span.poses[now].tolist()
    return Ego(
        x=x,
        y=y,
        yaw=yaw,
        speed=speed,
        acceleration=(speed - before) / FRAME,
        curvature=float(np.clip(curvature, -TIGHTEST, TIGHTEST)),
    )


def cut_map(road_map: RoadMap, here: Point) -> RoadMap:
    """Return what of a map lies around a place."""
    around = here.buffer(NEAR)

    def near(shapes: Sequence[shapely.Geometry]) -> list[shapely.Geometry]:
        return [shape for shape in shapes if around.intersects(shape)]

    lanes = {k: lane for k, lane in road_map.lanes.items() if around.intersects(lane.polygon)}
    return replace(
        road_map,
        lanes=lanes,
        drivable=near(road_map.drivable),
        intersections=near(road_map.intersections),
    )


def find_route(road_map: RoadMap, poses: Float64[np.ndarray, "K 3"]) -> frozenset[str]:
    """Return the lanes that go where the car was recorded to go, and the next two behind them.

    A lane goes that way where it lies within 4 m of a pose, and its middle there heads no more
    than 45 degrees off.
    """
    found = {
        token
        for token, lane in road_map.lanes.items()
        if any(_goes_along(lane, pose) for pose in poses)
    }
    reached = found
    for _ in range(FURTHER):
        reached = {n for k in reached for n in road_map.lanes[k].outgoing} & set(road_map.lanes)
        found = found | reached
    return frozenset(found)


def _goes_along(lane: Lane, pose: Float64[np.ndarray, "3"]) -> bool:
    if not len(lane.centreline) or lane.polygon.distance(Point(pose[:2])) > BESIDE:
        return False
    away = np.linalg.norm(lane.centreline[:, :2] - pose[:2], axis=1)
    heading = float(lane.centreline[away.argmin(), 2])
    return abs(wrap_angle(heading - float(pose[2]))) <= SAME_WAY


def interpolate_boxes(frames: Sequence[Sequence[Box]]) -> list[list[Box]]:
    """Return boxes at each instant from those of keyframes.

    One is there from its first keyframe to its last; where it is missing from a keyframe, not
    up to the next one that holds it. Velocities are those of the way between keyframes.
    """
    found: list[list[Box]] = []
    for before, after in pairwise(frames):
        then = {b.instance: b for b in after}
        both = [(b, then[b.instance]) for b in before if b.instance in then]
        alone = [b for b in before if b.instance not in then]
        for step in range(STEPS):
            moved = [_move(first, last, step / STEPS) for first, last in both]
            found.append(moved if step else [*moved, *alone])
    return [*found, list(frames[-1])]


def _move(first: Box, last: Box, share: float) -> Box:
    dx, dy = last.x - first.x, last.y - first.y
    return replace(
        first,
        x=first.x + share * dx,
        y=first.y + share * dy,
        yaw=first.yaw + share * wrap_angle(last.yaw - first.yaw),
        vx=dx / FRAME,
        vy=dy / FRAME,
    )


def extend_path(path: Float[np.ndarray, "F 3"], frames: int) -> Float64[np.ndarray, "F2 3"]:
    """Return a path of so many frames, the first of a longer one.

    A shorter one goes on with its last step, turned each time by as much as that was against
    the one before; steps below 0.5 m have no direction to turn from.
    """
    points = [np.zeros(2), *np.asarray(path, np.float64)[:, :2]][: frames + 1]
    steps = np.diff(points, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    angle, heading = 0.0, 0.0
    if lengths[-1] >= LEAST:
        heading = atan2(steps[-1, 1], steps[-1, 0])
        before = atan2(steps[-2, 1], steps[-2, 0]) if len(steps) > 1 else 0.0
        sure = len(steps) == 1 or lengths[-2] >= LEAST
        angle = float(wrap_angle(heading - before)) if sure else 0.0
    step = steps[-1]
    while len(points) <= frames:
        step = turn(angle) @ step
        points.append(points[-1] + step)
    yaw = np.zeros(frames)
    yaw[: len(path)] = np.asarray(path)[:frames, 2]
    yaw[len(path) :] = heading + angle * np.arange(1, max(0, frames - len(path)) + 1)
    return np.column_stack([np.array(points[1:]), yaw])


def drive_path(ego: Ego, path: Float64[np.ndarray, "F 3"]) -> list[Ego]:
    """Return the car at each instant while it follows a path of its present frame."""
    trajectory = make_trajectory(ego, path)
    egos = [ego]
    for step in range(STEPS * len(path)):
        egos.append(follow_trajectory(egos[-1], trajectory, step * STEP))
    return egos


def score_path(recording: RecordedDrive, path: Float[np.ndarray, "F 3"]) -> Score:
    """Return the scores of a path; the recorded one's progress is what could be reached."""
    return score_drive(_make_drive(recording, extend_path(path, FRAMES)), recording.reference)


def _make_drive(recording: RecordedDrive, path: Float64[np.ndarray, "F 3"]) -> Drive:
    return Drive(
        ego=drive_path(recording.ego, path),
        boxes=recording.boxes,
        road_map=recording.road_map,
        route=recording.route,
        line=recording.line,
    )
