"""Places of scenes' road maps on the maps of their locations."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import TypeVar

import numpy as np
import shapely
from jaxtyping import Float64
from shapely.geometry.base import BaseGeometry

from drivers.nuscenes.road_map import RoadMap
from drivers.nuscenes.world.light import Light

GAP = 20.0  # [m] between the road maps of one location

Shape = TypeVar("Shape", bound=BaseGeometry)


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """A road map, its lights, and their offset [m] on the map of the location.

    key: prefix that makes its tokens unique among the places.
    """

    key: str
    road_map: RoadMap
    lights: Sequence[Light]
    offset: Float64[np.ndarray, "2"]

    def shift(self, shape: Shape) -> Shape:
        """Return a shape of the road map at its place on the map of the location."""
        moved: Shape = shapely.transform(shape, lambda points: points + self.offset)
        return moved


def find_bounds(road_map: RoadMap) -> tuple[Float64[np.ndarray, "2"], Float64[np.ndarray, "2"]]:
    """Return the lowest and the highest x and y of roads and walkways [m]."""
    x0, y0, x1, y1 = shapely.total_bounds([*road_map.drivable, *road_map.walkways])
    return np.array([x0, y0]), np.array([x1, y1])


def lay_out(
    road_maps: Sequence[RoadMap],
) -> tuple[list[Float64[np.ndarray, "2"]], tuple[float, float]]:
    """Return offsets of the road maps without overlaps, and the size of the whole [m].

    The maps lie in rows from (0, 0), in their order; offsets are whole metres.
    """
    bounds = [find_bounds(road_map) for road_map in road_maps]
    tile = np.ceil(max((high - low).max() for low, high in bounds) + GAP)
    columns = ceil(sqrt(len(road_maps)))
    rows = ceil(len(road_maps) / columns)
    offsets = [
        np.ceil(np.array([k % columns, k // columns]) * tile - low + GAP / 2)
        for k, (low, _) in enumerate(bounds)
    ]
    return offsets, (float(columns * tile), float(rows * tile))
