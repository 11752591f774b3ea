"""Open loop: drive a path through a recorded scene, and score it as a drive of 4 s.

The car follows the path as in the closed loop (:mod:`drivers.nuscenes.world.tracker`). All
others follow their recording, interpolated between keyframes, whatever the car does. A path
that ends before 4 s continues at its last speed and turn. Progress is measured along the line
of the recorded drive and relative to its progress. nuScenes has no routes: here the route
consists of the lanes along the recorded drive, the lanes beside these, and their successors.
A file stores the scores scene by scene.
Axes: K keyframes, F frames, 0.5 s apart; T instants, 0.1 s apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import groupby, pairwise
from math import atan2, cos, hypot, sin
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from jaxtyping import Float, Float64
from shapely.geometry import LineString, Point

from drivers.nuscenes.box import Box
from drivers.nuscenes.geometry import enter_frame, turn, wrap_angle
from drivers.nuscenes.road_map import Lane, RoadMap
from drivers.nuscenes.window import FRAME
from drivers.nuscenes.windows import Windows, WindowSpan
from drivers.nuscenes.world.drive import STEPS
from drivers.nuscenes.world.instant import EGO_MIDDLE, STEP, Ego
from drivers.nuscenes.world.tracker import TIGHTEST, follow_trajectory, make_trajectory
from tasks.bench.results import complete_results
from tasks.driving.bench.entrants import Entrant
from tasks.driving.bench.window_results import WindowResults, describe_data
from tasks.driving.closed_loop import SEGMENT
from tasks.driving.config import DrivingConfig
from tasks.driving.data import find_split, make_settings
from tasks.driving.score import Drive, Score, measure_progress, score_drive

FRAMES = SEGMENT // STEPS  # scored keyframes after the present: 4 s
NEAR = 150.0  # [m] around the car, enough for 4 s at 30 m/s
BESIDE = 4.0  # [m] largest distance of a lane of the route from the recorded drive
SAME_WAY = np.pi / 4  # [rad] largest angle between the car and a lane of its direction
FURTHER = 2  # successive lanes that the route adds after the recorded drive
SLOW = 1.0  # [m/s] least speed by which the yaw rate is divided
LEAST = 0.5  # [m] least length of a step with a direction
FILE = "driving-scores.jsonl"  # scores, in the folder of the figures
RECORDED = "recorded drive"  # a planner that follows the recording
Scored = tuple[str, str, int]  # scene, planner and its seed
Scores = dict[str, dict[int, list[Score]]]  # by planner and its seed; a list over windows


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedDrive:
    """The recording that follows the present frame of a window.

    ego: present state of the car.
    path: poses of the recorded car at each of 8 keyframes, in the present ego frame.
    boxes: boxes of all others at each instant.
    route, line: as in :class:`tasks.driving.score.Drive`.
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
        """The progress [m] of the recorded path, driven like all other paths."""
        return measure_progress(_make_drive(self, self.path))


def open_recordings(config: DrivingConfig) -> Windows:
    """Return the test windows with 4 s of future, which are fewer than those with 3 s."""
    settings = replace(make_settings(config), future=FRAMES, looks=False)
    return find_split(config.source, settings, "test")


def read_recording(windows: Windows, number: int) -> RecordedDrive:
    """Read the recording of a window with 8 future frames."""
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
    """Return the state of the car in the present frame of a window."""
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
    """Return the part of a map that lies within :data:`NEAR` of a place."""
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
    """Return the lanes along the recorded drive and their next two successors.

    A lane is along the drive if it lies within 4 m of a pose, and the direction of its
    centreline there differs from the heading by at most 45 degrees.
    """
    route = {
        token
        for token, lane in road_map.lanes.items()
        if any(_goes_along(lane, pose) for pose in poses)
    }
    reached = route
    for _ in range(FURTHER):
        reached = {n for k in reached for n in road_map.lanes[k].outgoing} & set(road_map.lanes)
        route = route | reached
    return frozenset(route)


def _goes_along(lane: Lane, pose: Float64[np.ndarray, "3"]) -> bool:
    if not len(lane.centreline) or lane.polygon.distance(Point(pose[:2])) > BESIDE:
        return False
    away = np.linalg.norm(lane.centreline[:, :2] - pose[:2], axis=1)
    heading = float(lane.centreline[away.argmin(), 2])
    return abs(wrap_angle(heading - float(pose[2]))) <= SAME_WAY


def interpolate_boxes(frames: Sequence[Sequence[Box]]) -> list[list[Box]]:
    """Interpolate the boxes of keyframes to all instants.

    Instants between two keyframes have the boxes that both keyframes contain. Their velocity is
    the displacement between these keyframes over time.
    """
    instants: list[list[Box]] = []
    for before, after in pairwise(frames):
        then = {b.instance: b for b in after}
        both = [(b, then[b.instance]) for b in before if b.instance in then]
        alone = [b for b in before if b.instance not in then]
        for step in range(STEPS):
            moved = [_move(first, last, step / STEPS) for first, last in both]
            instants.append(moved if step else [*moved, *alone])
    return [*instants, list(frames[-1])]


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
    """Cut or extend a path to a number of frames.

    An extension repeats the last step, and turns it each time by the last change of direction.
    Steps below 0.5 m have no direction.
    """
    points = [np.zeros(2), *np.asarray(path, np.float64)[:, :2]][: frames + 1]
    steps = np.diff(points, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    angle, heading = 0.0, 0.0
    if lengths[-1] >= LEAST:
        heading = atan2(steps[-1, 1], steps[-1, 0])
        before = atan2(steps[-2, 1], steps[-2, 0]) if len(steps) > 1 else 0.0
        known = len(steps) == 1 or lengths[-2] >= LEAST
        angle = float(wrap_angle(heading - before)) if known else 0.0
    step = steps[-1]
    while len(points) <= frames:
        step = turn(angle) @ step
        points.append(points[-1] + step)
    yaw = np.zeros(frames)
    yaw[: len(path)] = np.asarray(path)[:frames, 2]
    yaw[len(path) :] = heading + angle * np.arange(1, max(0, frames - len(path)) + 1)
    return np.column_stack([np.array(points[1:]), yaw])


def drive_path(ego: Ego, path: Float64[np.ndarray, "F 3"]) -> list[Ego]:
    """Return the car at each instant while it follows a path given in its present frame."""
    trajectory = make_trajectory(ego, path)
    egos = [ego]
    for step in range(STEPS * len(path)):
        egos.append(follow_trajectory(egos[-1], trajectory, step * STEP))
    return egos


def score_path(recording: RecordedDrive, path: Float[np.ndarray, "F 3"]) -> Score:
    """Return the scores of a path, relative to the progress of the recorded path."""
    return score_drive(_make_drive(recording, extend_path(path, FRAMES)), recording.reference)


def _make_drive(recording: RecordedDrive, path: Float64[np.ndarray, "F 3"]) -> Drive:
    return Drive(
        ego=drive_path(recording.ego, path),
        boxes=recording.boxes,
        road_map=recording.road_map,
        route=recording.route,
        line=recording.line,
    )


def score_all(
    entrants: Sequence[Entrant],
    observed: Mapping[str, Mapping[int, WindowResults]],
    config: DrivingConfig,
    folder: Path,
) -> tuple[list[str], Scores]:
    """Return (scene of each window, scores) for the windows with 4 s of future.

    The scores include the recorded drive as an additional planner.
    """
    windows = open_recordings(config)
    first = next(iter(next(iter(observed.values())).values()))
    place = {token: k for k, token in enumerate(first.token)}
    spans: dict[str, list[int]] = {}
    for number, span in enumerate(windows.spans):
        if span.tokens[config.past - 1] in place:
            spans.setdefault(span.scene, []).append(number)
    recorded = {"planner": RECORDED, "seed": 0, "digest": RECORDED}
    common = describe_data(config)
    about = {
        (scene, who["planner"], who["seed"]): {**who, "scene": scene, **common}
        for scene in spans
        for who in (recorded, *(e.identity for e in entrants))
    }

    def score(missing: list[Scored]) -> Iterator[tuple[Scored, Any]]:
        for scene, of_scene in groupby(missing, itemgetter(0)):
            recordings = [read_recording(windows, number) for number in spans[scene]]
            for _, name, seed in of_scene:
                paths = (
                    r.path
                    if name == RECORDED
                    else np.array(observed[name][seed].path[place[r.token]])
                    for r in recordings
                )
                scores = map(score_path, recordings, paths)
                yield (scene, name, seed), [asdict(s) for s in scores]

    scores: Scores = {}
    found = complete_results(folder / FILE, about, list[Score], score)
    for (_, name, seed), of_scene in found.items():
        scores.setdefault(name, {}).setdefault(seed, []).extend(of_scene)
    return [scene for scene, numbers in spans.items() for _ in numbers], scores
