"""Score a drive: the sub-scores of the predictive driver model score (PDMS).

The rules come from NAVSIM (Dauner et al. 2024, arXiv 2406.15349, and its published scorer),
which takes them from nuPlan. Lane keeping, and direction as a factor, come from the second
version of NAVSIM (Cao et al. 2025, arXiv 2506.04218). NAVSIM scores 4 s, which is also the
length of the smoothing for comfort. Two rules are missing: traffic lights (nuScenes has none)
and comfort across two plans.
Axes: T instants, 0.1 s apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import atan2, cos, hypot, pi, sin
from typing import Literal

import numpy as np
import shapely
from jaxtyping import Bool, Float64
from scipy.signal import savgol_filter
from shapely.geometry import LineString, Point, Polygon

from drivers.nuscenes.box import Box
from drivers.nuscenes.geometry import box_footprint, outline_box, wrap_angle
from drivers.nuscenes.road_map import RoadMap
from drivers.nuscenes.world.instant import EGO_LENGTH, EGO_WIDTH, STEP, Ego

Kind = Literal["stopped_ego", "stopped_track", "rear", "front", "lateral"]
STOPPED = 0.05  # [m/s] highest speed of a standing car
AHEAD, BEHIND = pi / 6, 5 * pi / 6  # largest angle of "ahead", least angle of "behind"
FORESIGHT = (0, 3, 6, 9)  # instants ahead at which a collision is tested
HORIZON = 10  # instants over which distance off the route is summed
AGAINST = (2.0, 6.0)  # [m] off the route that cost half of the score, and all of it
ASIDE, LONG_ASIDE = 0.5, 20  # [m] from a lane's middle, for this many instants: lane not kept
WINDOW = 41  # instants in 4 s
SHORT_WINDOW, TURN_WINDOW = 8, 5  # instants to smooth accelerations before jerk, and angles
SHORT = 5.0  # [m] least progress for a score of progress
WEIGHTS = {"time_to_collision": 5, "progress": 5, "lane_keeping": 2, "comfort": 2}
FIXED = ("static_object.", "movable_object.")  # categories of things, not road users


@dataclass(frozen=True, kw_only=True, eq=False)
class Drive:
    """A drive to score.

    ego, boxes: the car and all other road users and things, per instant, in the global frame.
    route: tokens of the lanes of the route, and of parallel lanes in the same direction.
    line: line along which progress is measured, in the global frame.

    Raises:
        ValueError: there are fewer than two instants, ego and boxes differ in length, or the
            map lacks a lane of the route.
    """

    ego: Sequence[Ego]
    boxes: Sequence[Sequence[Box]]
    road_map: RoadMap
    route: frozenset[str]
    line: LineString

    def __post_init__(self) -> None:
        if len(self.ego) != len(self.boxes) or len(self.ego) < 2:
            raise ValueError(
                f"Drive: {len(self.ego)} instants of the ego, {len(self.boxes)} of the others; "
                f"both need the same instants, {STEP} s apart, at least two"
            )
        unknown = sorted(self.route - set(self.road_map.lanes))
        if unknown:
            raise ValueError(
                f"Drive: the map of {self.road_map.location} has no lanes "
                f"{', '.join(unknown[:5])} of the route; use route and map of one data set"
            )

    @cached_property
    def outlines(self) -> Sequence[Polygon]:
        """The car's rectangle at each instant."""
        return [outline_box(e.box) for e in self.ego]

    @cached_property
    def corners(self) -> Float64[np.ndarray, "T 4 2"]:
        """The front left, rear left, rear right and front right corners of the car [m]."""
        return np.array([box_footprint(e.box) for e in self.ego])

    @cached_property
    def middles(self) -> Float64[np.ndarray, "T 2"]:
        """The middle of the car [m]."""
        return np.asarray(self.corners.mean(1))

    @cached_property
    def off_road(self) -> Bool[np.ndarray, " T"]:
        """Whether a corner of the car lies outside the drivable area."""
        return np.asarray(~_contain(self.road_map.drivable, self.corners).any(0).all(-1))

    @cached_property
    def violation(self) -> Float64[np.ndarray, " T"]:
        """The largest distance [m] of a corner from the drivable area; 0 if all are on it."""
        areas = np.array(self.road_map.drivable)[:, None]
        away = np.zeros(len(self.corners))
        for t in np.flatnonzero(self.off_road):
            points = shapely.points(self.corners[t])
            away[t] = shapely.distance(areas, points).min(0).max()
        return away

    @cached_property
    def between_lanes(self) -> Bool[np.ndarray, " T"]:
        """Whether the corners lie in several lanes, and no lane contains all four."""
        inside = _contain([lane.polygon for lane in self.road_map.lanes.values()], self.corners)
        held = inside.sum(-1)
        return np.asarray(((held > 0).sum(0) > 1) & ~(held == 4).any(0))


@dataclass(frozen=True)
class Collision:
    """A contact between the car and a box.

    instant: number of the instant at which it starts. kind: nuPlan's name of the kind.
    at_fault: whether the car is to blame. fixed: whether the box is a thing, not a road user.
    """

    instant: int
    instance: str
    kind: Kind
    at_fault: bool
    fixed: bool


@dataclass(frozen=True, kw_only=True)
class Score:
    """Sub-scores, each from 0 (bad) to 1.

    no_collision: 1 without a collision at fault, 1/2 if all such collisions were with things.
    drivable: 1 if the car never left the road.
    direction: 1 if the car was (almost) always on lanes of the route.
    progress: share of the reference's progress.
    """

    no_collision: float
    drivable: float
    direction: float
    time_to_collision: float
    progress: float
    lane_keeping: float
    comfort: float

    @property
    def pdms(self) -> float:
        """NAVSIM's first score: NC * DAC * (5 TTC + 5 EP + 2 C) / 12."""
        weighted = 5 * self.time_to_collision + 5 * self.progress + 2 * self.comfort
        return self.no_collision * self.drivable * weighted / 12

    @property
    def driving_score(self) -> float:
        """The weighted mean of the rest, times no_collision, drivable and direction."""
        factor = self.no_collision * self.drivable * self.direction
        weighted: float = sum(w * getattr(self, name) for name, w in WEIGHTS.items())
        return factor * weighted / sum(WEIGHTS.values())


def score_drive(drive: Drive, reference: float) -> Score:
    """Return the scores of a drive.

    Args:
        drive: drive of the car.
        reference: progress [m] of a good driver in the same place and time, such as
            :func:`measure_progress` of the recorded drive.
    """
    at_fault = [c for c in find_collisions(drive) if c.at_fault]
    no_collision = min((0.5 if c.fixed else 0.0 for c in at_fault), default=1.0)
    drivable = float(not drive.off_road.any())
    return Score(
        no_collision=no_collision,
        drivable=drivable,
        direction=score_direction(drive),
        time_to_collision=float(find_short_time(drive) is None),
        progress=score_progress(drive, reference, no_collision * drivable),
        lane_keeping=score_lane_keeping(drive),
        comfort=float(all(list_comfort(drive.ego).values())),
    )


def find_collisions(drive: Drive) -> list[Collision]:
    """Return the first contact with each box, except boxes touched at the first instant."""
    collisions: dict[str, Collision] = {}
    touched = {b.instance for b in _find_touching(drive.outlines[0], drive.boxes[0])}
    for t, (ego, boxes) in enumerate(zip(drive.ego, drive.boxes, strict=True)):
        for box in _find_touching(drive.outlines[t], boxes):
            if box.instance not in touched | set(collisions):
                collisions[box.instance] = _classify(drive, t, ego, box)
    return list(collisions.values())


def _classify(drive: Drive, t: int, ego: Ego, box: Box) -> Collision:
    kind: Kind
    front = LineString(drive.corners[t][[0, 3]])
    if abs(ego.speed) <= STOPPED:
        kind = "stopped_ego"
    elif not hypot(box.vx, box.vy) > STOPPED:  # an unknown speed (NaN) counts as standing
        kind = "stopped_track"
    elif find_angle(ego, box) > BEHIND:
        kind = "rear"
    elif front.intersects(outline_box(box)):
        kind = "front"
    else:
        kind = "lateral"
    astray = bool(drive.off_road[t] or drive.between_lanes[t])
    at_fault = kind in ("stopped_track", "front") or (kind == "lateral" and astray)
    return Collision(t, box.instance, kind, at_fault, box.category.startswith(FIXED))


def find_short_time(drive: Drive) -> int | None:
    """Return the first instant at which a collision within 0.9 s is foreseeable, or None.

    The forecast moves the car on at its speed and heading; others move as in the drive. Boxes
    beside the car count only if it is between lanes, off the road or in an intersection; boxes
    behind it never count. The forecast stops at the end of the drive.
    """
    aside = drive.off_road | drive.between_lanes
    axle = np.array([[e.x, e.y] for e in drive.ego])
    aside = aside | _contain(drive.road_map.intersections, axle[:, None])[..., 0].any(0)
    ignored = {b.instance for b in _find_touching(drive.outlines[0], drive.boxes[0])}
    for t, ego in enumerate(drive.ego):
        if abs(ego.speed) < 0.005:
            continue
        for later in FORESIGHT:
            if t + later >= len(drive.ego):
                break
            way = ego.speed * later * STEP * np.array([cos(ego.yaw), sin(ego.yaw)])
            moved = Polygon(drive.corners[t] + way)
            for box in _find_touching(moved, drive.boxes[t + later]):
                angle = find_angle(ego, box)
                if box.instance in ignored:
                    continue
                if angle < AHEAD or (aside[t] and angle <= BEHIND):
                    return t
                ignored.add(box.instance)
    return None


def score_direction(drive: Drive) -> float:
    """Return 1, 1/2 or 0, by the largest distance driven off the route's lanes within 1 s."""
    lanes = [drive.road_map.lanes[token].polygon for token in sorted(drive.route)]
    on_route = _contain(lanes, drive.middles[:, None])[..., 0].any(0)
    way = np.zeros(len(drive.ego))
    way[1:] = np.linalg.norm(np.diff(drive.middles, axis=0), axis=1)
    way[on_route] = 0
    total = np.concatenate([[0], np.cumsum(way)])
    longest = max(total[t + 1] - total[max(0, t - HORIZON)] for t in range(len(way)))
    return 1.0 if longest < AGAINST[0] else 0.5 if longest < AGAINST[1] else 0.0


def measure_progress(drive: Drive) -> float:
    """Return the progress of the car along the line of the route [m]."""
    with np.errstate(invalid="ignore"):  # GEOS raises it for line segments without length
        first, last = (drive.line.project(Point(drive.middles[t])) for t in (0, -1))
    return max(0.0, float(last - first))


def score_progress(drive: Drive, reference: float, factor: float) -> float:
    """Return the car's scaled progress, divided by the larger of this and ``reference``.

    factor: product of other sub-scores that scales the car's progress. If neither progress
    exceeds 5 m, the score is 1, or 0 if the factor is 0.
    """
    own = factor * measure_progress(drive)
    best = max(own, reference)
    if best <= SHORT:
        return float(factor > 0)
    return own / best


def score_lane_keeping(drive: Drive) -> float:
    """Return 0 if the car was more than 0.5 m from the middle of every lane for 2 s, else 1.

    Only lanes of the route count. Instants inside an intersection are dropped, so the instants
    before and after it are treated as consecutive.
    """
    lanes = [drive.road_map.lanes[token] for token in sorted(drive.route)]
    points = shapely.points(drive.middles)
    lines = [LineString(lane.centreline[:, :2]) for lane in lanes if not lane.connector]
    distance = np.min([shapely.distance(line, points) for line in lines], 0, initial=np.inf)
    inside = _contain(drive.road_map.intersections, drive.middles[:, None])[..., 0].any(0)
    run = 0
    for aside in distance[~inside] > ASIDE:
        run = run + 1 if aside else 0
        if run >= LONG_ASIDE:
            return 0.0
    return 1.0


def list_comfort(ego: Sequence[Ego]) -> dict[str, bool]:
    """Return whether each quantity of the ride stays within nuPlan's bounds.

    Smoothing is as published: Savitzky-Golay filters over windows of 4 s, or of five instants
    for angles.
    """
    window, turning = min(len(ego), WINDOW), min(len(ego), TURN_WINDOW)
    along = np.array([e.acceleration for e in ego])
    across = np.array([e.speed**2 * e.curvature for e in ego])
    yaw = np.unwrap([e.yaw for e in ego])
    short = min(SHORT_WINDOW, window)
    jerks = [
        _smooth(_smooth(values, short), window, slope=1)
        for values in (along, np.hypot(along, across))
    ]
    bounds = {
        "acceleration": (_smooth(along, window), -4.05, 2.40),  # [m/s^2]
        "lateral_acceleration": (_smooth(across, window), -4.89, 4.89),
        "longitudinal_jerk": (jerks[0], -4.13, 4.13),  # [m/s^3]
        "jerk": (jerks[1], -8.37, 8.37),
        "yaw_rate": (_smooth(yaw, turning, slope=1), -0.95, 0.95),  # [rad/s]
        "yaw_acceleration": (_smooth(yaw, turning, slope=2), -1.93, 1.93),  # [rad/s^2]
    }
    return {k: bool(((v > low) & (v < high)).all()) for k, (v, low, high) in bounds.items()}


def _smooth(
    values: Float64[np.ndarray, " T"], window: int, slope: int = 0
) -> Float64[np.ndarray, " T"]:
    """Smooth values, or their first (slope 1) or second (slope 2) derivative by time."""
    degree = min(3 if slope == 2 else 2, window - 1)
    if slope > degree:
        return np.zeros_like(values)
    return np.asarray(savgol_filter(values, window, degree, deriv=slope, delta=STEP))


def find_angle(ego: Ego, box: Box) -> float:
    """Return the angle [rad] between the car's heading and the direction from axle to box."""
    way = atan2(box.y - ego.y, box.x - ego.x) - ego.yaw
    return abs(wrap_angle(way))


def _find_touching(area: Polygon, boxes: Sequence[Box]) -> list[Box]:
    x, y = area.centroid.coords[0]
    reach = (EGO_LENGTH + EGO_WIDTH) / 2
    near = [b for b in boxes if hypot(b.x - x, b.y - y) < reach + (b.length + b.width) / 2]
    return [b for b in near if area.intersects(outline_box(b))]


def _contain(
    areas: Sequence[Polygon], points: Float64[np.ndarray, "T P 2"]
) -> Bool[np.ndarray, "A T P"]:
    """Return for each area and point whether the area contains the point."""
    inside = np.zeros((len(areas), *points.shape[:2]), bool)
    for i, area in enumerate(areas):
        x0, y0, x1, y1 = area.bounds
        x, y = points[..., 0], points[..., 1]
        near = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
        inside[i][near] = shapely.intersects_xy(area, x[near], y[near])
    return inside
