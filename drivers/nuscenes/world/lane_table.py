"""The lanes of a place as arrays, for look-ups at every step of the traffic."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from drivers.nuscenes.world.roads import Roads

SIDEWAYS = 2.0  # [m/s^2]: largest sideways acceleration in bends
NONE = -1  # no lane
LanesAhead = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True, eq=False)
class LaneTable:
    """L lanes with P points in all, by number; :data:`NONE` stands for no lane.

    points: (x, y, yaw), one lane after the other. pace: the speed at which drivers pass each
    point [m/s]. first, count: index of the first point of each lane, and number of its points.
    spacing, length: of a lane [m]. stop: distance along the lane to the waiting place [m],
    infinite on ways through junctions. way: whether a lane is such a way. left, right: the
    neighbouring lane. incoming, outgoing, conflicts: lanes, for each lane.
    """

    tokens: tuple[str, ...]
    points: Float64[np.ndarray, "P 3"]
    pace: Float64[np.ndarray, " P"]
    first: Int64[np.ndarray, " L"]
    count: Int64[np.ndarray, " L"]
    spacing: Float64[np.ndarray, " L"]
    length: Float64[np.ndarray, " L"]
    stop: Float64[np.ndarray, " L"]
    way: Bool[np.ndarray, " L"]
    left: Int64[np.ndarray, " L"]
    right: Int64[np.ndarray, " L"]
    incoming: tuple[tuple[int, ...], ...]
    outgoing: tuple[tuple[int, ...], ...]
    conflicts: tuple[frozenset[int], ...]

    @property
    def lanes_ahead(self) -> LanesAhead:
        """The arrays that :func:`~drivers.nuscenes.world.sight.look_ahead` needs, in order."""
        return self.points, self.pace, self.first, self.spacing, self.length

    def pose(self, lane: int, along: float) -> Float64[np.ndarray, "3"]:
        """Return (x, y, yaw) at a distance along a lane [m]; beyond its ends, straight on."""
        at = along / self.spacing[lane]
        i = int(min(max(at, 0.0), self.count[lane] - 2.0))
        a, b = self.points[self.first[lane] + i : self.first[lane] + i + 2]
        where: Float64[np.ndarray, 3] = a + (at - i) * (b - a)
        where[2] = a[2] + min(max(at - i, 0.0), 1.0) * (b[2] - a[2])
        return where

    def beside(self, lane: int) -> list[int]:
        """Return all lanes of its direction, including itself, from left to right."""
        while self.left[lane] != NONE:
            lane = int(self.left[lane])
        lanes = [lane]
        while self.right[lanes[-1]] != NONE:
            lanes.append(int(self.right[lanes[-1]]))
        return lanes


def tabulate_lanes(roads: Roads) -> LaneTable:
    """Return the lanes of a place as arrays, numbered in the order of its map."""
    lanes = list(roads.map.lanes.values())
    number = {lane.token: i for i, lane in enumerate(lanes)}
    count = np.array([len(lane.centreline) for lane in lanes])
    lengths, paces = [], []
    for lane in lanes:
        step = np.hypot(*np.diff(lane.centreline[:, :2], axis=0).T)
        bend = np.abs(np.diff(lane.centreline[:, 2])) / step
        with np.errstate(divide="ignore"):
            pace = np.minimum(lane.speed_limit, np.sqrt(SIDEWAYS / bend))
        paces.append(np.append(pace, pace[-1]))
        lengths.append(step.sum())
    length = np.array(lengths)
    return LaneTable(
        tokens=tuple(number),
        points=np.concatenate([lane.centreline for lane in lanes]),
        pace=np.concatenate(paces),
        first=np.concatenate([[0], count.cumsum()[:-1]]),
        count=count,
        spacing=length / (count - 1),
        length=length,
        stop=np.array([np.inf if lane.connector else lane.stop_line for lane in lanes]),
        way=np.array([lane.connector for lane in lanes]),
        left=np.array([number.get(roads.left.get(t, ""), NONE) for t in number]),
        right=np.array([number.get(roads.right.get(t, ""), NONE) for t in number]),
        incoming=tuple(tuple(number[t] for t in lane.incoming) for lane in lanes),
        outgoing=tuple(tuple(number[t] for t in lane.outgoing) for lane in lanes),
        conflicts=tuple(
            frozenset(number[o] for o in roads.conflicts.get(t, ())) for t in number
        ),
    )
