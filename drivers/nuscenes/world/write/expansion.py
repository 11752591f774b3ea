"""Road maps as a file of the map expansion 1.3: those of all places of a location."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, cos, sin, sqrt
from typing import Any, TypeVar

import numpy as np
import shapely
from jaxtyping import Float64
from shapely.geometry import LineString, MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from drivers.nuscenes.geometry import wrap_angle
from drivers.nuscenes.road_map import Lane, RoadMap
from drivers.nuscenes.world.signals import Light
from drivers.nuscenes.world.write.names import make_token

VERSION = "1.3"
TOLERANCE = 0.08  # [m]: tolerance of simplified outlines
GAP = 20.0  # [m] between the road maps of one location
LEAST = 0.1  # [m^2]: smallest area or hole
AWAY, TURN = 0.05, 0.02  # [m], [rad]: largest error of an arc
STRAIGHT = 1e-4  # [1/m]: parts of smaller curvature count as straight
RADIUS = 1e4  # [m]: placeholder for straight parts
LAYERS = (
    "polygon", "line", "node", "drivable_area", "road_segment", "road_block", "lane",
    "lane_connector", "ped_crossing", "walkway", "stop_line", "carpark_area", "road_divider",
    "lane_divider", "traffic_light",
)  # fmt: skip

Row = dict[str, Any]
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


def describe_maps(places: Iterable[Place], size: tuple[float, float]) -> dict[str, Any]:
    """Return the content of the file of a location, with the road maps of all its places.

    size: width and height of the whole [m].

    Raises:
        ValueError: a light names a lane that is not on the road map.
    """
    sheet = _Sheet()
    for place in places:
        _describe_place(sheet, place)
    return {
        "version": VERSION,
        "canvas_edge": list(size),
        **sheet.layers,
        "arcline_path_3": sheet.paths,
        "connectivity": sheet.links,
    }


class _Sheet:
    """Collects the records of all layers; lines and outlines share their nodes."""

    def __init__(self) -> None:
        self.layers: dict[str, list[Row]] = {layer: [] for layer in LAYERS}
        self.paths: dict[str, list[Row]] = {}
        self.links: dict[str, Mapping[str, Sequence[str]]] = {}
        self._nodes: dict[tuple[float, float], str] = {}

    def add(self, layer: str, key: str, **fields: Any) -> str:
        """Add a record; return its token."""
        token = make_token(layer, key)
        self.layers[layer].append({"token": token, **fields})
        return token

    def node(self, x: float, y: float) -> str:
        at = (round(x, 3), round(y, 3))
        if at not in self._nodes:
            token = f"n{len(self._nodes):x}"  # short: most of a map is tokens of nodes
            self.layers["node"].append({"token": token, "x": at[0], "y": at[1]})
            self._nodes[at] = token
        return self._nodes[at]

    def line(self, key: str, points: Iterable[Sequence[float]]) -> str:
        return self.add("line", key, node_tokens=[self.node(p[0], p[1]) for p in points])

    def polygon(self, key: str, shape: Polygon) -> str:
        """Add an outline with its holes; leave out the last point, which repeats the first."""
        rings = [
            [self.node(x, y) for x, y, *_ in list(ring.coords)[:-1]]
            for ring in (shape.exterior, *shape.interiors)
        ]
        return self.add(
            "polygon",
            key,
            exterior_node_tokens=rings[0],
            holes=[{"node_tokens": ring} for ring in rings[1:]],
        )


def _describe_place(sheet: _Sheet, place: Place) -> None:
    road_map, key = place.road_map, place.key

    def outline(kind: str, number: int | str, shape: Polygon) -> str:
        return sheet.polygon(f"{key}/{kind}/{number}", place.shift(shape.simplify(TOLERANCE)))

    def outlines(kind: str, shapes: Iterable[Polygon]) -> list[str]:
        return [
            sheet.polygon(f"{key}/{kind}/{k}", place.shift(shape))
            for k, shape in enumerate(round_areas(shapes))
        ]

    area = sheet.add(
        "drivable_area",
        key,
        polygon_tokens=outlines("drivable", road_map.drivable),
    )
    _describe_segments(sheet, place, area)
    for lane in road_map.lanes.values():
        _describe_lane(sheet, place, lane)
    for k, shape in enumerate(road_map.crossings):
        sheet.add(
            "ped_crossing",
            f"{key}/{k}",
            polygon_token=outline("crossing", k, shape),
            road_segment_token="",
        )
    for k, token in enumerate(outlines("walkway", road_map.walkways)):
        sheet.add("walkway", f"{key}/{k}", polygon_token=token)
    missing = [n for light in place.lights for n in light.lanes if n not in road_map.lanes]
    if missing:
        raise ValueError(
            f"{key}: a light names lane {missing[0]!r}, which is not on its road map; give the "
            "scene the map of its lights"
        )
    lights = [_describe_light(sheet, place, k, light) for k, light in enumerate(place.lights)]
    for k, shape in enumerate(road_map.stop_lines):
        sheet.add(
            "stop_line",
            f"{key}/{k}",
            polygon_token=outline("stop_line", k, shape),
            stop_line_type="TRAFFIC_LIGHT",
            ped_crossing_tokens=[],
            traffic_light_tokens=[
                token
                for token, light in zip(lights, place.lights, strict=True)
                if any(_touches(road_map.lanes[lane], shape) for lane in light.lanes)
            ],
            road_block_token="",
        )
    _describe_dividers(sheet, place)


def round_areas(areas: Iterable[Polygon]) -> list[Polygon]:
    """Return valid areas with points at whole millimetres, the precision of the files.

    Outlines are simplified; parts and holes up to :data:`LEAST` are left out.
    """
    rounded = (shapely.set_precision(area.simplify(TOLERANCE), 1e-3) for area in areas)
    return [
        Polygon(part.exterior, [hole for hole in part.interiors if Polygon(hole).area > LEAST])
        for area in rounded
        for part in (area.geoms if isinstance(area, MultiPolygon) else [area])
        if part.area > LEAST
    ]


def _describe_segments(sheet: _Sheet, place: Place, area: str) -> None:
    """Add the intersections and the roads between them."""
    crossed = list(place.road_map.intersections)
    between = unary_union(list(place.road_map.drivable)).difference(unary_union(crossed))
    parts = [between] if isinstance(between, Polygon) else list(between.geoms)
    for inside, shapes in ((True, crossed), (False, parts)):
        for k, shape in enumerate(round_areas(shapes)):
            key = f"{place.key}/{'intersection' if inside else 'road'}/{k}"
            sheet.add(
                "road_segment",
                key,
                polygon_token=sheet.polygon(key, place.shift(shape)),
                is_intersection=inside,
                drivable_area_token=area,
            )


def _describe_lane(sheet: _Sheet, place: Place, lane: Lane) -> None:
    layer = "lane_connector" if lane.connector else "lane"
    key = f"{place.key}/{lane.token}"
    polygon = sheet.polygon(key, place.shift(lane.polygon.simplify(TOLERANCE)))
    if lane.connector:
        token = sheet.add(layer, key, polygon_token=polygon)
    else:
        length = np.hypot(*np.diff(lane.centreline[:, :2], axis=0).T).sum()
        half = lane.polygon.area / length / 2
        ends = []
        for x, y, yaw in lane.centreline[[0, -1]] + [*place.offset, 0.0]:
            across_x, across_y = -half * sin(yaw), half * cos(yaw)
            ends.append([(x - across_x, y - across_y), (x + across_x, y + across_y)])
        edges = {
            f"{end}_edge_line_token": sheet.line(f"{key}/{end}", points)
            for end, points in zip(("from", "to"), ends, strict=True)
        }
        sheet.add("road_block", key, polygon_token=polygon, road_segment_token="", **edges)
        token = sheet.add(
            layer,
            key,
            polygon_token=polygon,
            lane_type="CAR",
            left_lane_divider_segments=_describe_side(sheet, place, lane.left),
            right_lane_divider_segments=_describe_side(sheet, place, lane.right),
            **edges,
        )
    line = lane.centreline.copy()
    line[:, :2] += place.offset
    sheet.paths[token] = fit_arcs(line)
    lanes = place.road_map.lanes

    def tokens(names: Iterable[str]) -> list[str]:
        kinds = ((n, "lane_connector" if lanes[n].connector else "lane") for n in names)
        return [make_token(kind, f"{place.key}/{name}") for name, kind in kinds]

    sheet.links[token] = {"incoming": tokens(lane.incoming), "outgoing": tokens(lane.outgoing)}


def _describe_side(sheet: _Sheet, place: Place, line: LineString | None) -> list[Row]:
    if line is None:
        return []
    points = place.shift(line.simplify(TOLERANCE)).coords
    return [
        {"node_token": sheet.node(p[0], p[1]), "segment_type": "DOUBLE_DASHED_WHITE"}
        for p in points
    ]


def _describe_dividers(sheet: _Sheet, place: Place) -> None:
    for layer, lines, kind in (
        ("lane_divider", place.road_map.lane_dividers, "DOUBLE_DASHED_WHITE"),
        ("road_divider", place.road_map.road_dividers, ""),
    ):
        for k, line in enumerate(lines):
            key = f"{place.key}/{layer}/{k}"
            points = place.shift(line.simplify(TOLERANCE)).coords
            token = sheet.line(key, points)
            if kind:
                nodes = [sheet.node(p[0], p[1]) for p in points]
                segments = [{"node_token": n, "segment_type": kind} for n in nodes]
                sheet.add(layer, key, line_token=token, lane_divider_segments=segments)
            else:
                sheet.add(layer, key, line_token=token, road_segment_token="")


def _touches(lane: Lane, stop_line: Polygon) -> bool:
    """Return whether a stop line lies inside a lane, not only at its border."""
    return bool(lane.polygon.buffer(-0.2).intersects(stop_line))


def _describe_light(sheet: _Sheet, place: Place, number: int, light: Light) -> str:
    """Add a traffic light; its line runs from its place in the direction of its light."""
    key, (x, y) = f"{place.key}/light/{number}", np.array([light.x, light.y]) + place.offset
    points = [(x, y), (x + cos(light.yaw), y + sin(light.yaw))]
    lamps = [("RED", 0.55), ("YELLOW", 0.0), ("GREEN", -0.55)]
    return sheet.add(
        "traffic_light",
        key,
        line_token=sheet.line(key, points),
        traffic_light_type="VERTICAL",
        from_road_block_token="",
        items=[
            {
                "color": name,
                "shape": "CIRCLE",
                "rel_pos": {"tx": 0.0, "ty": 0.0, "tz": z, "rx": 0.0, "ry": 0.0, "rz": 0.0},
                "to_road_block_tokens": [],
            }
            for name, z in lamps
        ],
        pose={
            "tx": round(float(x), 3),
            "ty": round(float(y), 3),
            "tz": light.z,
            "rx": 0.0,
            "ry": 0.0,
            "rz": round(light.yaw, 4),
        },
    )


def fit_arcs(line: Float64[np.ndarray, "P 3"]) -> list[Row]:
    """Return arcs and straight parts that follow points (x, y, yaw) one after the other.

    Each starts at a point of the line, in its direction there, and is as long as
    :data:`AWAY` and :data:`TURN` allow. The arcs are records of "arcline_path_3".

    Raises:
        ValueError: fewer than two points.
    """
    if len(line) < 2:
        raise ValueError(f"a line of {len(line)} points has no middle; give two or more")
    arcs, start = [], 0
    while start < len(line) - 1:
        end = start + 1
        step = len(line) - 1 - start
        while step:  # doubling and halving: few trials for long arcs
            if end + step < len(line) and _follows(line[start : end + step + 1]):
                end += step
            else:
                step //= 2
        arcs.append(_make_arc(line[start], line[end]))
        start = end
    return arcs


def _bend(
    start: Float64[np.ndarray, "3"], end: Float64[np.ndarray, "3"]
) -> tuple[float, float]:
    """Return curvature and length of the arc from a pose to a point."""
    away = end[:2] - start[:2]
    chord = float(np.hypot(*away))
    half = wrap_angle(float(np.arctan2(away[1], away[0]) - start[2]))  # of the turn
    curvature = 2 * np.sin(half) / chord
    if abs(curvature) < STRAIGHT:
        return 0.0, chord
    return float(curvature), 2 * half / float(curvature)


def _follows(line: Float64[np.ndarray, "P 3"]) -> bool:
    """Return whether the arc from the first to the last pose of a line follows all of it."""
    curvature, length = _bend(line[0], line[-1])
    x, y, yaw = line[0]
    turned = yaw + curvature * length - line[-1, 2]
    if abs(wrap_angle(turned)) > TURN or length <= 0:
        return False
    points, left = line[:, :2] - [x, y], np.array([-np.sin(yaw), np.cos(yaw)])
    if curvature == 0:
        off = points @ left
    else:
        off = np.hypot(*(points - left / curvature).T) - 1 / abs(curvature)
    return bool(np.abs(off).max() < AWAY)


def _make_arc(start: Float64[np.ndarray, "3"], end: Float64[np.ndarray, "3"]) -> Row:
    curvature, length = _bend(start, end)
    straight = curvature == 0
    turn, long = curvature * length, round(length, 4)
    return {
        "start_pose": [round(float(v), 4) for v in start],
        "end_pose": [*(round(float(v), 4) for v in end[:2]), round(float(start[2] + turn), 4)],
        "shape": "RSR" if curvature < 0 else "LSL",
        "radius": RADIUS if straight else round(1 / abs(curvature), 4),
        "segment_length": [0.0, long, 0.0] if straight else [long, 0.0, 0.0],
    }
