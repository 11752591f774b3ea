"""A road map's lanes as a graph of centre-lines, to find lanes near a place and lanes ahead."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from jaxtyping import Float64, Int64, Shaped

from drivers.nuscenes.geometry import wrap_angle
from drivers.nuscenes.road_map import Lane

NONE = -1  # no lane
ALIKE = 0.02  # [m]: error of the simplified lines, whose few points make searches fast
GAP = 1.0  # [m] between the positions of two lanes that follow each other in the arrays


@dataclass(frozen=True, kw_only=True, eq=False)
class LaneGraph:
    """L lanes by number, with P points in total; :data:`NONE` stands for no lane.

    Lanes without a path (an empty ``arcline_path_3``), and links to them, are left out.

    points: (x, y, yaw) of the centre-lines in the global frame, lane after lane.
    position: position of each point [m], which starts at ``first`` of its lane and increases
    along the lane by the lane's ``length`` [m].
    lines: centre-lines as LineStrings, simplified within 2 cm. tree: search tree of ``lines``.
    outgoing: numbers of the lanes that continue each lane.
    """

    tokens: tuple[str, ...]
    points: Float64[np.ndarray, "P 3"]
    position: Float64[np.ndarray, " P"]
    first: Float64[np.ndarray, " L"]
    length: Float64[np.ndarray, " L"]
    lines: Shaped[np.ndarray, " L"]
    tree: Any
    outgoing: tuple[tuple[int, ...], ...]

    def find_near(
        self, places: Float64[np.ndarray, "N 2"], reach: float
    ) -> tuple[Int64[np.ndarray, " M"], Int64[np.ndarray, " M"]]:
        """Return all M pairs (place, lane) whose distance is at most ``reach`` [m]."""
        place, lane = self.tree.query(shapely.points(places), "dwithin", reach)
        return place, lane

    def find_yaw(
        self, lane: Int64[np.ndarray, " M"], along: Float64[np.ndarray, " M"]
    ) -> Float64[np.ndarray, " M"]:
        """Return the headings of lanes at distances along them [m]."""
        at = np.searchsorted(self.position, self.first[lane] + along, side="right") - 1
        yaw: Float64[np.ndarray, " M"] = self.points[at, 2]
        return yaw

    def find_end_yaw(self, lane: int) -> float:
        """Return the heading of a lane at its end."""
        return float(self.find_yaw(np.array([lane]), self.length[[lane]])[0])

    def cut(self, lane: int, low: float, high: float) -> Float64[np.ndarray, "Q 2"]:
        """Return the points of a centre-line between two distances along it [m]."""
        ends = self.first[lane] + np.array([low, high])
        inside = slice(*np.searchsorted(self.position, ends))
        at = np.concatenate([ends[:1], self.position[inside], ends[1:]])
        near = slice(max(inside.start - 1, 0), inside.stop + 1)
        x, y = (np.interp(at, self.position[near], self.points[near, k]) for k in (0, 1))
        return np.stack([x, y], 1)

    def choose_straightest(self, lane: int) -> int:
        """Return the outgoing lane whose heading at its end is nearest to that of ``lane``.

        Returns NONE if no lane continues ``lane``.
        """
        here = self.find_end_yaw(lane)

        def measure_turn(other: int) -> float:
            return abs(wrap_angle(self.find_end_yaw(other) - here))

        return min(self.outgoing[lane], key=measure_turn, default=NONE)


def make_lane_graph(lanes: Mapping[str, Lane]) -> LaneGraph:
    """Return the graph of the lanes of a road map, by token."""
    kept = {token: lane for token, lane in lanes.items() if len(lane.centreline) >= 2}
    number = {token: k for k, token in enumerate(kept)}
    points, position, first, length = [np.zeros((0, 3))], [np.zeros(0)], [], []
    start = 0.0
    for lane in kept.values():
        step = np.hypot(*np.diff(lane.centreline[:, :2], axis=0).T)
        along = np.concatenate([[0.0], step.cumsum()])
        points.append(lane.centreline)
        position.append(start + along)
        first.append(start)
        length.append(along[-1])
        start += float(along[-1]) + GAP
    whole = np.array([shapely.linestrings(p[:, :2]) for p in points[1:]], object)
    lines = shapely.simplify(whole, ALIKE, preserve_topology=False)  # Douglas and Peucker
    return LaneGraph(
        tokens=tuple(kept),
        points=np.concatenate(points),
        position=np.concatenate(position),
        first=np.array(first, np.float64),
        length=np.array(length, np.float64),
        lines=lines,
        tree=shapely.STRtree(lines),
        outgoing=tuple(
            tuple(number[t] for t in lane.outgoing if t in number) for lane in kept.values()
        ),
    )
