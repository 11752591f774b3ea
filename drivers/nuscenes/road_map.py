"""A road map: the parts of a nuScenes HD map (expansion 1.3) that we use.

:mod:`drivers.nuscenes.hd_map` reads road maps, :mod:`drivers.nuscenes.world.roads` generates
them. All coordinates are global [m].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from shapely.geometry import LineString, Polygon


@dataclass(frozen=True, kw_only=True, eq=False)
class Lane:
    """A lane or a way through an intersection.

    polygon: area of the lane. centreline: points (x, y, yaw) in driving direction.
    incoming, outgoing: tokens of the lanes before and after this lane.
    connector: whether the lane lies inside an intersection.
    left, right: painted dividers beside the lane, in driving direction, or None.
    speed_limit: [m/s]; NaN for lanes from files, because nuScenes has no speed limits.
    stop_line: distance [m] along the centreline at which a driver waits (at a light or a
    crossing); NaN without a stop line.
    """

    token: str
    polygon: Polygon
    centreline: Float64[np.ndarray, "P 3"]
    incoming: tuple[str, ...] = ()
    outgoing: tuple[str, ...] = ()
    connector: bool = False
    left: LineString | None = None
    right: LineString | None = None
    speed_limit: float = float("nan")
    stop_line: float = float("nan")


@dataclass(frozen=True, kw_only=True, eq=False)
class RoadMap:
    """The roads of one place.

    location: one of nuScenes' four names, such as "boston-seaport". size: width, height [m].
    drivable: areas for cars, which include intersections and may have holes.
    lane_dividers: painted lines between lanes of one direction.
    road_dividers: painted lines between the two directions.
    """

    location: str
    size: tuple[float, float]
    drivable: Sequence[Polygon]
    lanes: Mapping[str, Lane]
    lane_dividers: Sequence[LineString]
    road_dividers: Sequence[LineString]
    crossings: Sequence[Polygon]
    walkways: Sequence[Polygon]
    stop_lines: Sequence[Polygon]
    intersections: Sequence[Polygon] = ()
