"""The ground of a road map as a picture from above: asphalt, paint, walkways, soil."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import shapely
from jaxtyping import Float32, Float64, UInt8
from shapely.geometry import LineString, Polygon

from drivers.nuscenes.road_map import RoadMap
from drivers.nuscenes.schema import CATEGORIES
from drivers.nuscenes.world.render.style import Style

TEXEL = 0.2  # [m]
LEVELS = 5  # each has half the resolution of the level before
MARGIN = 60.0  # [m] of soil around the roads
WHITE, YELLOW = (225.0, 225.0, 220.0), (215.0, 170.0, 50.0)
LINE = 0.2  # [m], width of a painted line; dashed lines have DASH of paint, then a GAP
DASH, GAP = 3.0, 4.0
STRIPE = 1.0  # [m] from stripe to stripe of a crossing
FRACTION = 4  # bits behind the point of OpenCV's coordinates


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """A picture of the ground; rows along y, columns along x.

    origin: global position [m] of its first corner. levels: RGB, the first with texels of
    TEXEL, each next with half the resolution. labels: class of nuScenes-lidarseg of each texel.
    """

    origin: Float64[np.ndarray, "2"]
    levels: tuple[UInt8[np.ndarray, "_ _ 3"], ...]
    labels: UInt8[np.ndarray, "Y X"]

    def find_labels(self, points: Float64[np.ndarray, "P 2"]) -> UInt8[np.ndarray, " P"]:
        """Return the class of the ground at each global point; soil outside the picture."""
        places = np.floor((points - self.origin) / TEXEL).astype(np.int64)
        size = np.array(self.labels.shape)[::-1]
        inside = ((places >= 0) & (places < size)).all(axis=1)
        classes = np.full(len(points), CATEGORIES.index("flat.terrain"), np.uint8)
        classes[inside] = self.labels[places[inside, 1], places[inside, 0]]
        return classes


def paint_map(road_map: RoadMap, style: Style, rng: np.random.Generator) -> Ground:
    """Return the picture of a road map's ground.

    Raises:
        ValueError: the map has no drivable area.
    """
    if not road_map.drivable:
        raise ValueError(f"the road map of {road_map.location} has no drivable area to render")
    x0, y0, x1, y1 = shapely.total_bounds(list(road_map.drivable))
    origin = np.array([x0 - MARGIN, y0 - MARGIN])
    shape = (int((y1 - y0 + 2 * MARGIN) / TEXEL), int((x1 - x0 + 2 * MARGIN) / TEXEL))
    labels = np.full(shape, CATEGORIES.index("flat.terrain"), np.uint8)
    for areas, name in (
        (road_map.walkways, "flat.sidewalk"),
        (road_map.drivable, "flat.driveable_surface"),
    ):
        _fill(labels, areas, origin, (float(CATEGORIES.index(name)),))
    colours = np.zeros((labels.max() + 1, 3), np.float32)
    colours[CATEGORIES.index("flat.terrain")] = style.soil
    colours[CATEGORIES.index("flat.sidewalk")] = style.walkway
    colours[CATEGORIES.index("flat.driveable_surface")] = style.asphalt
    picture = colours[labels] * _make_grain(shape, rng)[..., None]
    bright = float(style.walkway.mean() / 165)  # paint is lit like walkways
    white, yellow = (tuple(c * bright for c in paint) for paint in (WHITE, YELLOW))
    kerbs = [LineString(ring.coords) for area in road_map.drivable for ring in _rings(area)]
    _draw(picture, kerbs, origin, tuple(style.walkway * 0.8), LINE)
    for crossing in road_map.crossings:
        _fill(picture, _make_stripes(crossing), origin, white)
    _fill(picture, road_map.stop_lines, origin, white)
    _draw(picture, road_map.road_dividers, origin, yellow, LINE)
    dashes = [dash for line in road_map.lane_dividers for dash in _cut_dashes(line)]
    _draw(picture, dashes, origin, white, LINE)
    levels = [np.clip(picture, 0, 255).astype(np.uint8)]
    while len(levels) < LEVELS:
        height, width = levels[-1].shape[:2]
        half = cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        levels.append(half)
    return Ground(origin=origin, levels=tuple(levels), labels=labels)


def _make_grain(shape: tuple[int, int], rng: np.random.Generator) -> Float32[np.ndarray, "Y X"]:
    """Return brightness around 1: fine grain, and patches of some metres."""
    grain = 1 + 0.05 * rng.standard_normal(shape, np.float32)
    for size, strength in ((8, 0.05), (60, 0.09)):
        coarse = rng.standard_normal([n // size + 2 for n in shape], np.float32)
        grain += strength * cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return grain


def _rings(area: Polygon) -> Sequence[LineString]:
    return [area.exterior, *area.interiors]


def _cut_dashes(line: LineString) -> list[LineString]:
    """Return the painted parts of a line, each of three points."""
    starts = np.arange(0.0, line.length, DASH + GAP)
    at = starts[:, None] + [0, DASH / 2, DASH]  # past its end shapely gives its last point
    points = shapely.get_coordinates(shapely.line_interpolate_point(line, at))
    dashes: list[LineString] = list(shapely.linestrings(points.reshape(-1, 3, 2)))
    return dashes


def _make_stripes(crossing: Polygon) -> list[Polygon]:
    """Return the stripes of a crossing, parallel to its short side."""
    corners = np.array(crossing.minimum_rotated_rectangle.exterior.coords)[:4]
    first, second = corners[1] - corners[0], corners[3] - corners[0]
    way, across = (first, second) if first @ first > second @ second else (second, first)
    length = np.hypot(*way)
    starts = np.arange(STRIPE / 4, length - STRIPE / 2, STRIPE)
    ahead = way / length
    ends = [(corners[0] + ahead * s, corners[0] + ahead * (s + STRIPE / 2)) for s in starts]
    return [Polygon([low, high, high + across, low + across]) for low, high in ends]


def _fill(
    picture: np.ndarray,
    areas: Iterable[Polygon],
    origin: Float64[np.ndarray, "2"],
    colour: tuple[float, ...],
) -> None:
    for area in areas:
        rings = [(np.array(r.coords)[:, :2] - origin) / TEXEL - 0.5 for r in _rings(area)]
        # In OpenCV's coordinates, the middle of the first texel is 0.
        rings = [np.round(places * 2**FRACTION).astype(np.int32) for places in rings]
        cv2.fillPoly(picture, rings, colour, shift=FRACTION)


def _draw(
    picture: Float32[np.ndarray, "Y X 3"],
    lines: Iterable[LineString],
    origin: Float64[np.ndarray, "2"],
    colour: tuple[float, ...],
    width: float,
) -> None:
    strips = shapely.buffer(list(lines), width / 2, cap_style="flat")
    _fill(picture, shapely.get_parts(strips), origin, colour)
