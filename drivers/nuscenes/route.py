"""The route ahead of a recorded drive, on the centre-lines of the map's lanes.

A navigation system knows where a drive goes, but not when. :func:`find_route` therefore takes
from the recording only the lanes on which the car drives. The map matching is a Viterbi search
for the cheapest sequence of lanes (Newson and Krumm 2009, "Hidden Markov map matching through
noise and sparseness"), with costs in m^2.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import cos, sin
from typing import NamedTuple

import numpy as np
import shapely
from jaxtyping import Float32, Float64, Int64

from drivers.nuscenes.geometry import enter_frame, wrap_angle
from drivers.nuscenes.lane_graph import NONE, LaneGraph
from drivers.nuscenes.window import ROUTE_LENGTH, ROUTE_STEP

MOVED = 1.0  # [m] least distance between used positions: a standing car's pose jitters
HOLE = 30.0  # [m] between positions after which a recording counts as ended
BEYOND = 30.0  # [m] of the driven way that are matched beyond the end of the route
SAMPLE = 1.0  # [m] between matched places of the driven way
REACH = 3.0  # [m], about the width of a lane: the car drives on no lane farther away
SAME_WAY = np.radians(45)  # largest angle between a lane and the driven way on it
TURNED = 3.0  # [m] of distance that equal one radian between lane and driven way
OFF = REACH**2  # cost of a place without a lane
CHANGE = 10.0  # cost of a step to a lane that does not continue the last one
TRANSITION = 4.0  # [m] along two such lanes that a straight line replaces
MOST = 100  # largest number of parts, which ends circles of lanes of almost no length


class _Stretch(NamedTuple):
    """A part of the route between two distances [m] along a lane, or the driven way (NONE)."""

    lane: int
    low: float
    high: float


def find_route(
    graph: LaneGraph, poses: Float64[np.ndarray, "K 3"]
) -> Float32[np.ndarray, "R 2"]:
    """Return points on the route of a recorded drive, in its present ego frame.

    poses: ego poses at all keyframes from the present to the end of the recording, in the
    global frame. Straight lines between their positions form the driven way; times do not
    count. The first pose is the frame of the route, and the heading of a car that stays.

    The route starts beside the car and is :data:`ROUTE_LENGTH` long; points are
    :data:`ROUTE_STEP` apart. It consists of

    - the centre-lines of the lanes that the drive follows, which are at most 3 m away and
      within 45 degrees of its heading. Where the drive changes to a parallel lane, the route
      does so within 5 m of its length, on a straight line between the two centre-lines;
    - the driven way itself, where there is no such lane (car parks, driveways, holes in the
      map);
    - after the end of the recording (or a hole of 30 m in it), the last lane and the lanes that
      continue it. At a fork the route takes the lane whose end has the heading nearest to that
      of the last lane's end. A lane without a successor, and the driven way, continue straight.
    """
    way, yaw = _trace_way(poses)
    driven = _measure_along(way)
    lane, along = _match_lanes(graph, way, yaw)
    stretches = _list_stretches(graph, lane, np.where(lane == NONE, driven, along))
    parts = []
    for here, low, high in stretches:
        if here == NONE:
            inside = driven[(driven > low) & (driven < high)]
            parts.append(_interpolate([low, *inside, high], driven, way))
        else:
            parts.append(graph.cut(here, low, high))
    last = stretches[-1].lane
    end = float(yaw[-1]) if last == NONE else graph.find_end_yaw(last)
    straight_on = parts[-1][-1:] + ROUTE_LENGTH * np.array([[cos(end), sin(end)]])
    line = np.concatenate([*parts, straight_on])
    at = np.arange(0.0, ROUTE_LENGTH + ROUTE_STEP / 2, ROUTE_STEP)
    points = _interpolate(at, _measure_along(line), line)
    return enter_frame(np.column_stack([points, 0 * at]), poses[0])[:, :2].astype(np.float32)


def _measure_along(line: Float64[np.ndarray, "N 2"]) -> Float64[np.ndarray, " N"]:
    """Return the distance along a line to each of its points [m]."""
    return np.concatenate([[0.0], np.hypot(*np.diff(line, axis=0).T).cumsum()])


def _interpolate(
    at: Sequence[float] | Float64[np.ndarray, " M"],
    along: Float64[np.ndarray, " N"],
    line: Float64[np.ndarray, "N 2"],
) -> Float64[np.ndarray, "M 2"]:
    """Return points at distances ``at`` along a line [m], whose points are at ``along``."""
    return np.stack([np.interp(at, along, line[:, k]) for k in (0, 1)], 1)


def _trace_way(
    poses: Float64[np.ndarray, "K 3"],
) -> tuple[Float64[np.ndarray, "N 2"], Float64[np.ndarray, " N"]]:
    """Return places on the driven way, and its headings at these places.

    Places are :data:`SAMPLE` apart; the last is the end of the way.
    """
    kept = [poses[0, :2]]
    for place in poses[1:, :2]:
        step = np.hypot(*(place - kept[-1]))
        if step > HOLE:
            break
        if step >= MOVED:
            kept.append(place)
    if len(kept) == 1:
        return np.array(kept), poses[:1, 2].copy()
    corners = np.array(kept)
    along = _measure_along(corners)
    end = min(float(along[-1]), ROUTE_LENGTH + BEYOND)
    at = np.append(np.arange(0.0, end - SAMPLE / 2, SAMPLE), end)
    way = _interpolate(at, along, corners)
    ahead = np.gradient(way, axis=0)
    return way, np.arctan2(ahead[:, 1], ahead[:, 0])


def _match_lanes(
    graph: LaneGraph, way: Float64[np.ndarray, "N 2"], yaw: Float64[np.ndarray, " N"]
) -> tuple[Int64[np.ndarray, " N"], Float64[np.ndarray, " N"]]:
    """Return the lane of each place on a way, and the distance [m] along that lane."""
    place, lane = graph.find_near(way, REACH)
    points, lines = shapely.points(way)[place], graph.lines[lane]
    along = shapely.line_locate_point(lines, points)
    turned = np.abs(wrap_angle(graph.find_yaw(lane, along) - yaw[place]))
    cost = shapely.distance(lines, points) ** 2 + (TURNED * turned) ** 2
    near, column = np.unique(lane, return_inverse=True)
    count = len(near)  # number of the last column, which stands for no lane
    costs = np.full((len(way), count + 1), np.inf)
    costs[:, count] = OFF
    same = turned <= SAME_WAY
    costs[place[same], column[same]] = cost[same]
    distance = np.zeros_like(costs)
    distance[place, column] = along
    change = np.full((count + 1, count + 1), CHANGE)
    np.fill_diagonal(change, 0.0)
    number = {int(n): k for k, n in enumerate(near)}
    for n, k in number.items():
        change[k, [number[after] for after in graph.outgoing[n] if after in number]] = 0.0
    best, back = costs[0], np.zeros(costs.shape, np.int64)
    for k in range(1, len(way)):
        reached = best[:, None] + change
        back[k] = reached.argmin(0)
        best = reached.min(0) + costs[k]
    chosen = np.empty(len(way), np.int64)
    chosen[-1] = best.argmin()
    for k in range(len(way) - 1, 0, -1):
        chosen[k - 1] = back[k, chosen[k]]
    return np.append(near, NONE)[chosen], distance[np.arange(len(way)), chosen]


def _list_stretches(
    graph: LaneGraph, lane: Int64[np.ndarray, " N"], along: Float64[np.ndarray, " N"]
) -> list[_Stretch]:
    """Return the parts of the route; each place has a ``lane`` and a distance ``along`` it."""
    half = np.append(graph.length, np.inf)[lane[1:]] / 2  # infinite without a lane
    laps = np.diff(along) < -half  # a new lap, on a lane that continues itself
    starts = [0, *(np.flatnonzero((np.diff(lane) != 0) | laps) + 1).tolist()]
    runs = [
        _Stretch(int(lane[a]), float(along[a]), float(along[a:b].max()))
        for a, b in zip(starts, [*starts[1:], len(lane)], strict=True)
    ]
    linked = [a.lane != NONE and b.lane in graph.outgoing[a.lane] for a, b in pairwise(runs)]
    stretches = []
    for (here, low, high), joined, joins in zip(
        runs, [None, *linked], [*linked, None], strict=True
    ):
        middle = (low + high) / 2
        if joined is not None:
            low = 0.0 if joined else min(low + TRANSITION / 2, middle)
        if joins is not None:
            high = float(graph.length[here]) if joins else max(high - TRANSITION / 2, middle)
        elif here != NONE:
            high = float(graph.length[here])
        stretches.append(_Stretch(here, low, high))
    left = ROUTE_LENGTH + TRANSITION * len(stretches) - sum(s.high - s.low for s in stretches)
    ahead = stretches[-1].lane
    while left > 0 and ahead != NONE and len(stretches) < MOST:
        ahead = graph.choose_straightest(ahead)
        if ahead != NONE:
            stretches.append(_Stretch(ahead, 0.0, float(graph.length[ahead])))
            left -= float(graph.length[ahead])
    return stretches
