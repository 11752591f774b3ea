"""The state of the traffic, which each step reads and returns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from drivers.nuscenes.box import Box
from drivers.nuscenes.world.instant import Ego
from drivers.nuscenes.world.lane_table import LaneTable
from drivers.nuscenes.world.roads import Roads

EGO = 0  # the number of the ego among the vehicles
TAIL = 6.0  # [m] that drivers leave behind an obstacle in a lane, to pull out
APART = 1000.0  # [m] between the arc lengths of two walks in one table
ROUTE = 16  # lanes of a driver's route


@dataclass(frozen=True, kw_only=True, eq=False)
class Cast:
    """The constant properties of all road users. V vehicles, the ego first; W people.

    names, categories: of boxes. size: length, width, height [m]. middle: distance from the
    reference point, which follows the lane, to the middle of the box [m]. mood: desired share
    of the speed limit. parked: without a driver. home: preferred distance to the left of the
    lane's middle [m]. things: cones and barriers, which never move. walk: number of each
    person's walk. pace: speed of walking or cycling [m/s]. to_left: distance to the left of the
    walk [m]; people of one walk go side by side.
    """

    names: tuple[str, ...]
    categories: tuple[str, ...]
    size: Float64[np.ndarray, "V 3"]
    middle: Float64[np.ndarray, " V"]
    mood: Float64[np.ndarray, " V"]
    home: Float64[np.ndarray, " V"]
    parked: Bool[np.ndarray, " V"]
    things: Sequence[Box]
    people: tuple[str, ...]
    people_categories: tuple[str, ...]
    people_size: Float64[np.ndarray, "W 3"]
    walk: Int64[np.ndarray, " W"]
    pace: Float64[np.ndarray, " W"]
    to_left: Float64[np.ndarray, " W"]


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """A place and its road users.

    things: rectangles of the cast's things, as in :mod:`~drivers.nuscenes.world.sight`.
    walk_points: (x, y), one walk after the other; walk_first: the index of each walk's first
    point; walk_keys: arc lengths of the points [m], plus 1 km for each walk before; walk_ends:
    lengths of the walks [m].
    """

    roads: Roads
    table: LaneTable
    cast: Cast
    things: Float64[np.ndarray, "M 7"]
    walk_points: Float64[np.ndarray, "Q 2"]
    walk_keys: Float64[np.ndarray, " Q"]
    walk_first: Int64[np.ndarray, " _"]
    walk_ends: Float64[np.ndarray, " K"]


def make_world(roads: Roads, table: LaneTable, cast: Cast) -> World:
    """Return a place with its cast."""
    things = [(b.x, b.y, b.yaw, b.length / 2, b.width / 2, 0.0, TAIL) for b in cast.things]
    lengths = [
        np.append(0.0, np.hypot(*np.diff(walk.points, axis=0).T).cumsum())
        for walk in roads.walks
    ]
    return World(
        roads=roads,
        table=table,
        cast=cast,
        things=np.array(things).reshape(-1, 7),
        walk_points=np.concatenate([walk.points for walk in roads.walks]),
        walk_keys=np.concatenate([k * APART + along for k, along in enumerate(lengths)]),
        walk_first=np.append(0, np.cumsum([len(along) for along in lengths])),
        walk_ends=np.array([along[-1] for along in lengths]),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class WorldState:
    """The changing properties. V vehicles, the ego first; R lanes of a route; W people.

    steps: of 0.1 s since the start. seed: of random events. along: of the reference point on
    the first lane of the route [m]. aside: to its left [m]; drift: growth of ``aside`` [m/s].
    admitted: whether a vehicle may enter the junction ahead; waited: time of waiting for that
    at green [s]. slow: remaining time of unexplained slow driving [s]. patience: time to the
    next possible lane change [s]. strolled: distance of each person along its walk [m].
    facing: 1 along it, -1 back. walking: False while a person waits.
    """

    steps: int
    seed: int
    ego: Ego
    route: Int64[np.ndarray, "V R"]
    along: Float64[np.ndarray, " V"]
    aside: Float64[np.ndarray, " V"]
    drift: Float64[np.ndarray, " V"]
    speed: Float64[np.ndarray, " V"]
    acceleration: Float64[np.ndarray, " V"]
    admitted: Bool[np.ndarray, " V"]
    waited: Float64[np.ndarray, " V"]
    slow: Float64[np.ndarray, " V"]
    patience: Float64[np.ndarray, " V"]
    strolled: Float64[np.ndarray, " W"]
    facing: Int64[np.ndarray, " W"]
    walking: Bool[np.ndarray, " W"]

    @property
    def time(self) -> float:
        """[s] since the start."""
        return self.steps / 10
