"""Places to drive in: maps with lanes, junctions, crossings, walkways and traffic lights."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float64
from shapely import unary_union
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from drivers.nuscenes.road_map import Lane, RoadMap
from drivers.nuscenes.world.junctions import (
    find_conflicts,
    list_arms,
    make_ways,
    measure_cuts,
    outline,
)
from drivers.nuscenes.world.network import (
    STEP,
    Line,
    Road,
    Section,
    lay_lanes,
    make_network,
    make_strip,
    measure,
    paint_stop_line,
    reverse,
    shift,
)
from drivers.nuscenes.world.signals import Signal, plan_signals

SIZE = 400.0  # [m], width and height of a place
ZEBRA = 3.5  # [m], width of a crossing
KERB = 0.8  # [m], from the end of a road to a crossing
WALKWAY = 2.8  # [m], width
STROLL = (12.0, 30.0)  # [m] along the road, before and after crossing it


@dataclass(frozen=True, kw_only=True, eq=False)
class Footway:
    """A path that people walk to and fro: along a road, across it, along its other side.

    enter, leave: arc lengths at which it enters and leaves the road [m]. lanes: people cross at
    their red light; without lanes they watch the traffic alone.
    """

    points: Float64[np.ndarray, "P 2"]
    enter: float
    leave: float
    lanes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Roads:
    """A place to drive in: its map and the knowledge of its drivers and pedestrians.

    left, right: the neighbouring lane of the same direction. conflicts: the crossing ways of
    each way through a junction.
    """

    map: RoadMap
    left: Mapping[str, str]
    right: Mapping[str, str]
    conflicts: Mapping[str, frozenset[str]]
    signals: Sequence[Signal]
    walks: Sequence[Footway]


@dataclass(frozen=True, kw_only=True, eq=False)
class _LaidRoad:
    """A road with its lanes. body: its middle between junctions. crossings: metres along it."""

    road: Road
    body: Line
    crossings: Sequence[float]
    along: Sequence[Section]
    against: Sequence[Section]


def make_roads(seed: int | Sequence[int]) -> Roads:
    """Return the roads of a place of 400 x 400 m; the same seed makes the same roads."""
    rng = np.random.default_rng(seed)
    network = make_network(rng)
    arms = [list_arms(network, j) for j in range(len(network.junctions))]
    cuts = {arm.end: cut for of in arms for arm, cut in zip(of, measure_cuts(of), strict=True)}
    lit = [bool(rng.random() < (0.85 if len(of) > 3 else 0.5)) for of in arms]
    middle = np.array([SIZE / 2, SIZE / 2, 0.0])
    laid = [
        _lay_road(
            rng,
            replace(road, line=road.line + middle),
            f"0-0-road{i}",
            (cuts[i, True], cuts[i, False]),
            (lit[road.start], lit[road.end]),
        )
        for i, road in enumerate(network.roads)
    ]
    leaving = {(i, True): r.along[0] for i, r in enumerate(laid)}
    leaving |= {(i, False): r.against[0] for i, r in enumerate(laid)}
    entering = {(i, True): r.against[-1] for i, r in enumerate(laid)}
    entering |= {(i, False): r.along[-1] for i, r in enumerate(laid)}
    ways, areas, signals = [], [], []
    for j, of in enumerate(arms):
        ways.append(make_ways(of, entering, leaving, f"0-0-junction{j}"))
        out = [
            laid[i].body if first else reverse(laid[i].body)
            for i, first in (arm.end for arm in of)
        ]
        areas.append(outline(of, out, ways[-1]))
        if lit[j]:
            lanes = [entering[arm.end] for arm in of]
            signals += plan_signals(rng, [arm.angle for arm in of], lanes)
    shown = {token for signal in signals for token in signal.lanes}
    sections = [section for road in laid for section in (*road.along, *road.against)]
    left = {b.token: a.token for s in sections for a, b in pairwise(s)}
    return Roads(
        map=_draw_map(laid, ways, areas),
        left=left,
        right={b: a for a, b in left.items()},
        conflicts={a: others for of in ways for a, others in find_conflicts(of).items()},
        signals=signals,
        walks=[walk for road in laid for walk in _lay_walks(rng, road, shown)],
    )


def _lay_road(
    rng: np.random.Generator,
    road: Road,
    name: str,
    cuts: tuple[float, float],
    lit: tuple[bool, bool],
) -> _LaidRoad:
    """Lay lanes between the junctions; most junctions with lights get crossings."""
    first, last = (round(cut / STEP) for cut in cuts)
    body = road.line[first : len(road.line) - last]
    length = measure(body)
    at_start, at_end = (bool(rng.random() < (0.85 if here else 0.4)) for here in lit)
    halfway = (
        [length * float(rng.uniform(0.4, 0.6))] if length > 70 and rng.random() < 0.6 else []
    )
    side = KERB + ZEBRA / 2
    back = reverse(body)
    before = [KERB + ZEBRA + 1.0 if zebra else 1.0 for zebra in (at_end, at_start)]
    middle = ZEBRA / 2 + 1.0
    along = [(at, middle) for at in halfway] + [(length, before[0])]
    against = [(length - at, middle) for at in halfway] + [(length, before[1])]
    return _LaidRoad(
        road=road,
        body=body,
        crossings=[side] * at_start + halfway + [length - side] * at_end,
        along=lay_lanes(road, body, True, f"{name}a", along),
        against=lay_lanes(road, back, False, f"{name}b", against),
    )


def _lay_walks(rng: np.random.Generator, laid: _LaidRoad, shown: set[str]) -> list[Footway]:
    """Return a walk over each crossing of a road, and a walk without a crossing."""
    length = measure(laid.body)
    right, left = laid.road.half_widths
    walks = []
    places = list(laid.crossings)
    elsewhere = length * float(rng.uniform(0.2, 0.8))
    if all(abs(elsewhere - at) > 2 * STROLL[0] for at in places):
        places.append(elsewhere)
    for at in places:
        # Walks do not meet: each ends before half of the way to the next.
        room = min([abs(other - at) / 2 - 1 for other in places if other != at], default=99.0)
        low, high = (min(reach, room) for reach in STROLL)
        ends = at + rng.uniform(low, high, 2) * rng.choice([-1, 1], 2)
        first, here, last = (
            round(float(np.clip(a, 0, length)) / STEP) for a in (ends[0], at, ends[1])
        )
        before = shift(_cut_line(laid.body, first, here), left + WALKWAY / 2)
        after = shift(_cut_line(laid.body, here, last), -right - WALKWAY / 2)
        enter = float(np.hypot(*np.diff(before, axis=0).T).sum()) + WALKWAY / 2
        watched = {0: laid.against[-1], len(laid.body) - 1: laid.along[-1]}
        near = min(watched, key=lambda end: abs(end - here))
        lanes = tuple(lane.token for lane in watched[near] if lane.token in shown)
        at_junction = abs(near - here) * STEP < KERB + ZEBRA
        walks.append(
            Footway(
                points=np.concatenate([before, after]),
                enter=enter,
                leave=enter + left + right,
                lanes=lanes if at_junction else (),
            )
        )
    return walks


def _cut_line(line: Line, first: int, last: int) -> Line:
    return line[first : last + 1] if first <= last else line[last : first + 1][::-1]


def _draw_map(
    laid: Sequence[_LaidRoad],
    ways: Sequence[Sequence[Lane]],
    areas: Sequence[Polygon],
) -> RoadMap:
    """Return the map with linked lanes, crossings, walkways and paint."""
    before, after = defaultdict(list), defaultdict(list)
    for way in (way for of in ways for way in of):
        after[way.incoming[0]].append(way.token)
        before[way.outgoing[0]].append(way.token)
    crossings, stop_lines, beds, inner = [], [], [], []
    lanes = []
    for road in laid:
        for sections in (road.along, road.against):
            for a, b in pairwise(sections):
                for lane, following in zip(a, b, strict=True):
                    after[lane.token].append(following.token)
                    before[following.token].append(lane.token)
            lanes += [lane for section in sections for lane in section]
        right, left = road.road.half_widths
        half = round(ZEBRA / 2 / STEP)
        for i in (round(at / STEP) for at in road.crossings):
            crossings.append(make_strip(road.body[i - half : i + half + 1], left, -right))
        beds.append(make_strip(road.body, left, -right))
        two_sides = (road.along, road.against) if road.road.median else (road.along,)
        inner += [section[0].left for side in two_sides for section in side]
        stop_lines += [
            paint_stop_line(lane, road.road.width)
            for side in (road.along, road.against)
            for section in side
            for lane in section
        ]
    paved = unary_union([*(lane.polygon for lane in lanes), *areas])
    drivable = paved.buffer(0.1, join_style="mitre").buffer(-0.1, join_style="mitre")
    bed = unary_union([*beds, drivable])
    linked = [
        replace(lane, incoming=tuple(before[lane.token]), outgoing=tuple(after[lane.token]))
        for lane in lanes
    ]
    return RoadMap(
        location="boston-seaport",
        size=(SIZE, SIZE),
        drivable=_polygons(drivable),
        lanes={lane.token: lane for lane in (*linked, *(way for of in ways for way in of))},
        lane_dividers=[lane.right for lane in lanes if lane.right is not None],
        road_dividers=[line for line in inner if line is not None],
        crossings=crossings,
        walkways=_polygons(bed.buffer(WALKWAY).difference(bed)),
        stop_lines=stop_lines,
        intersections=list(areas),
    )


def _polygons(area: BaseGeometry) -> list[Polygon]:
    parts = area.geoms if isinstance(area, MultiPolygon) else [area]
    return [part for part in parts if part.area > 1.0]
