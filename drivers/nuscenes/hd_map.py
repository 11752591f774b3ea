"""Read road maps from files, and draw their masks on the bird's-eye grid."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
from jaxtyping import Bool, Float, Float64, UInt8
from shapely import affinity
from shapely.geometry import LineString, Polygon, box

from drivers.nuscenes.expansion import Expansion, expansion_file, list_nodes, read_expansion
from drivers.nuscenes.geometry import leave_frame
from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.road_map import Lane, RoadMap
from neuro.base.text import escape

STEP = 0.5  # [m] between the points of a centreline
AREAS = ("drivable", "crossings", "walkways", "stop_lines", "intersections")
LINES = ("lane_dividers", "road_dividers")
THICK = 2  # [cells] thickness of lines in the devkit's masks

Nodes = Mapping[str, tuple[float, float]]


def load_road_map(root: Path, location: str) -> RoadMap:
    """Return the road map of a location of the data set in ``root``.

    Polygons with self-crossing outlines, which the devkit drops or fails on, are cut into valid
    parts. Links to missing lanes are dropped. A warning names both.

    Raises:
        NuScenesError: the file is missing or damaged; lists all problems.
    """
    expansion = read_expansion(root, location)
    areas = _Areas(expansion, str(expansion_file(location)))
    nodes = areas.nodes
    lines = {row["token"]: row["node_tokens"] for row in expansion["line"]}

    def dividers(layer: str) -> tuple[LineString, ...]:
        rows = [lines[row["line_token"]] for row in expansion[layer]]
        return tuple(LineString([nodes[k] for k in tokens]) for tokens in rows if tokens)

    stop_lines = areas.of_layer("stop_line")
    width, height = expansion["canvas_edge"]
    road_map = RoadMap(
        location=location,
        size=(float(width), float(height)),
        drivable=areas.drivable(),
        lanes=_read_lanes(expansion, areas, stop_lines),
        lane_dividers=dividers("lane_divider"),
        road_dividers=dividers("road_divider"),
        crossings=areas.of_layer("ped_crossing"),
        walkways=areas.of_layer("walkway"),
        stop_lines=stop_lines,
        intersections=areas.of_layer("road_segment", "is_intersection"),
    )
    areas.warn()
    return road_map


def rasterise(
    road_map: RoadMap,
    grid: GroundGrid,
    pose: Float[np.ndarray, "3"],
    layers: Sequence[str] = ("drivable", "lane_dividers"),
) -> dict[str, Bool[np.ndarray, "X Y"]]:
    """Return masks of ``layers`` of a road map around an ego at a flat ``pose``.

    layers: fields of :class:`RoadMap` that :data:`AREAS` or :data:`LINES` names.

    The masks equal those of the devkit's ``get_map_mask`` for the same ground, with the axes of
    the grid. Corners of areas are rounded to cells, which adds 0.5 to 1.5 cells ahead and to
    the left (:func:`cover_areas` avoids this); lines are two cells thick. Two faults of the
    devkit are corrected: a line that leaves the ground and returns (MultiLineString) appears
    with all its parts, and a hole of one area does not cut into another area.

    Raises:
        ValueError: a layer does not exist.
    """
    unknown = [layer for layer in layers if layer not in (*AREAS, *LINES)]
    if unknown:
        raise ValueError(
            f"rasterise: no layer {unknown[0]!r} in a road map; there are "
            f"{', '.join((*AREAS, *LINES))}"
        )
    return {
        layer: (_fill if layer in AREAS else _draw)(getattr(road_map, layer), grid, pose)
        for layer in layers
    }


def cover_areas(
    polygons: Sequence[Polygon], grid: GroundGrid, pose: Float[np.ndarray, "3"]
) -> Bool[np.ndarray, "X Y"]:
    """Return the mask of the cells around an ego at ``pose`` whose middle lies in a polygon.

    Edges of the mask are off by at most half a cell, without a bias to either side.
    """
    corners = np.array([(x, y, 0.0) for x in grid.x for y in grid.y])
    ground = shapely.convex_hull(shapely.multipoints(leave_frame(corners, pose)[:, :2]))
    areas = np.array(polygons, object)
    near = areas[shapely.intersects(areas, ground)] if len(areas) else areas
    middles = np.concatenate([grid.centres(), np.zeros((*grid.shape, 1))], -1)
    x, y, _ = np.moveaxis(leave_frame(middles, pose), -1, 0)
    covered = np.zeros(grid.shape, bool)
    for polygon in near:
        local = polygon.intersection(ground)
        shapely.prepare(local)
        covered |= shapely.intersects_xy(local, x, y)
    return covered


def _fill(
    polygons: Sequence[Polygon], grid: GroundGrid, pose: Float[np.ndarray, "3"]
) -> Bool[np.ndarray, "X Y"]:
    mask = np.zeros(grid.shape[::-1], np.uint8)
    for polygon in _cut(polygons, grid, pose):
        parts = [part for part in _parts(polygon) if isinstance(part, Polygon)]
        outlines = [_round(part.exterior.coords) for part in parts]
        holes = [_round(hole.coords) for part in parts for hole in part.interiors]
        layer = mask if not holes else np.zeros_like(mask)
        cv2.fillPoly(layer, outlines, (1,))
        if holes:
            cv2.fillPoly(layer, holes, (0,))
            mask |= layer
    return np.ascontiguousarray(mask.T).astype(bool)


def _draw(
    lines: Sequence[LineString], grid: GroundGrid, pose: Float[np.ndarray, "3"]
) -> Bool[np.ndarray, "X Y"]:
    mask: UInt8[np.ndarray, "Y X"] = np.zeros(grid.shape[::-1], np.uint8)
    for line in _cut(lines, grid, pose):
        for part in _parts(line):
            cells = np.asarray(part.coords, np.int32).reshape(-1, 2)
            cv2.polylines(mask, [cells], isClosed=False, color=(1,), thickness=THICK)
    return np.ascontiguousarray(mask.T).astype(bool)


def _cut(shapes: Sequence[Any], grid: GroundGrid, pose: Float[np.ndarray, "3"]) -> list[Any]:
    """Clip shapes to the grid, in units of cells.

    The steps are those of the devkit, so that corners round to the same cells.
    """
    (x0, x1), (y0, y1) = grid.x, grid.y
    middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2, 0.0])
    x, y, yaw = (float(v) for v in leave_frame(middle, pose))
    width, height, angle = x1 - x0, y1 - y0, float(np.degrees(yaw))
    flat = box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    ground = affinity.rotate(flat, angle, origin=(x, y))
    upright = box(-width / 2, -height / 2, width / 2, height / 2)
    array = np.array(shapes, object)
    clipped = []
    for shape in array[shapely.intersects(array, ground)] if len(array) else []:
        turned = affinity.rotate(shape.intersection(ground), -angle, origin=(x, y))
        local = affinity.affine_transform(turned, [1, 0, 0, 1, -x, -y]).intersection(upright)
        if not local.is_empty:
            moved = affinity.affine_transform(local, [1, 0, 0, 1, width / 2, height / 2])
            scales = grid.shape[0] / width, grid.shape[1] / height
            clipped.append(affinity.scale(moved, *scales, origin=(0, 0)))
    return clipped


def _parts(shape: Any) -> list[Any]:
    """Return the simple parts of a nested shape."""
    return (
        [p for part in shape.geoms for p in _parts(part)]
        if hasattr(shape, "geoms")
        else [shape]
    )


def _round(coordinates: Any) -> np.ndarray:
    return np.array(coordinates).round().astype(np.int32)


class _Areas:
    """The polygons of a map; invalid polygons are cut and recorded."""

    def __init__(self, expansion: Expansion, name: str) -> None:
        self.expansion, self.name = expansion, name
        self.nodes: Nodes = list_nodes(expansion)
        self.rows = {row["token"]: row for row in expansion["polygon"]}
        self.repaired: list[str] = []
        self.lost: list[str] = []

    def parts(self, token: str) -> list[Polygon]:
        """Return a polygon; if it crosses itself, its valid parts, the largest first."""
        row = self.rows[token]
        holes = [hole["node_tokens"] for hole in row["holes"] if hole["node_tokens"]]
        rings = [
            [self.nodes[k] for k in ring] for ring in (row["exterior_node_tokens"], *holes)
        ]
        polygon = Polygon(rings[0], rings[1:])
        if polygon.is_valid:
            return [polygon]
        self.repaired.append(token)
        parts = [p for p in _parts(shapely.make_valid(polygon)) if isinstance(p, Polygon)]
        return sorted(parts, key=lambda part: -part.area)

    def drivable(self) -> tuple[Polygon, ...]:
        tokens = [k for row in self.expansion["drivable_area"] for k in row["polygon_tokens"]]
        return tuple(part for token in tokens for part in self.parts(token))

    def of_layer(self, layer: str, only: str = "") -> tuple[Polygon, ...]:
        """Return the polygons of a layer; if given, the field ``only`` must be true."""
        rows = [row for row in self.expansion[layer] if not only or row.get(only)]
        return tuple(part for row in rows for part in self.parts(row["polygon_token"]))

    def warn(self) -> None:
        for what, tokens in (
            ("polygons cross themselves and are cut into their sound parts", self.repaired),
            ("links lead to lanes that are not there and are left out", self.lost),
        ):
            if tokens:
                names = escape(", ".join(tokens[:3]))
                warnings.warn(f"{self.name}: {len(tokens)} {what}: {names}", stacklevel=3)


def _read_lanes(
    expansion: Expansion, areas: _Areas, stop_lines: Sequence[Polygon]
) -> dict[str, Lane]:
    rows = {
        row["token"]: row for layer in ("lane", "lane_connector") for row in expansion[layer]
    }
    connectors = {row["token"] for row in expansion["lane_connector"]}
    stops = shapely.STRtree(stop_lines)
    lanes = {}
    for token, row in rows.items():
        centreline = _read_centreline(expansion["arcline_path_3"].get(token, []))
        links = expansion["connectivity"].get(token, {"incoming": [], "outgoing": []})
        areas.lost += [
            k for way in ("incoming", "outgoing") for k in links[way] if k not in rows
        ]
        parts = areas.parts(row["polygon_token"])
        lanes[token] = Lane(
            token=token,
            polygon=parts[0] if parts else Polygon(),
            centreline=centreline,
            incoming=tuple(k for k in links["incoming"] if k in rows),
            outgoing=tuple(k for k in links["outgoing"] if k in rows),
            connector=token in connectors,
            left=_read_divider(row.get("left_lane_divider_segments", []), areas.nodes),
            right=_read_divider(row.get("right_lane_divider_segments", []), areas.nodes),
            stop_line=_find_stop(centreline, stops),
        )
    return lanes


def _read_centreline(paths: Sequence[dict[str, Any]]) -> Float64[np.ndarray, "P 3"]:
    """Return the points of a lane's centreline, without duplicates."""
    from nuscenes.map_expansion.arcline_path_utils import discretize_lane  # slow to import

    points = np.array(discretize_lane(paths, STEP), np.float64).reshape(-1, 3)
    apart = np.linalg.norm(np.diff(points[:, :2], axis=0), axis=1) > 1e-6
    first = np.full(min(len(points), 1), True)
    kept: Float64[np.ndarray, "P 3"] = points[np.concatenate([first, apart])]
    return kept


def _read_divider(segments: Sequence[Mapping[str, str]], nodes: Nodes) -> LineString | None:
    painted = any(part.get("segment_type") != "NIL" for part in segments)
    if not painted or len(segments) < 2:
        return None
    return LineString([nodes[part["node_token"]] for part in segments])


def _find_stop(centreline: Float64[np.ndarray, "P 3"], stops: shapely.STRtree) -> float:
    """Return the distance [m] along a centreline to the first stop line, NaN without one."""
    if len(centreline) < 2:
        return float("nan")
    line = LineString(centreline[:, :2])
    met = [
        line.project(shapely.Point(point))
        for k in stops.query(line, predicate="intersects")
        for point in shapely.get_coordinates(line.intersection(stops.geometries[k]))
    ]
    return min(met, default=float("nan"))
