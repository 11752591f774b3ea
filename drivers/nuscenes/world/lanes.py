"""The lanes of a road, and the strips of ground along a line."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from shapely.geometry import LineString, Polygon

from drivers.nuscenes.road_map import Lane
from drivers.nuscenes.world.network import STEP, Line, Road, resample, shift

PAINT = 0.5  # [m], depth of a stop line

Section = list[Lane]  # lanes beside each other, from the middle of the road outward


def lay_lanes(
    road: Road,
    line: Line,
    along: bool,
    name: str,
    stops: Sequence[tuple[float, float]],
) -> list[Section]:
    """Return the lanes of one direction of a road: by section, from its middle outward.

    line: the middle of the road in driving direction. along: whether that is the road's own
    direction. name: the beginning of the tokens. stops: for each section the distance of its
    end along the line, and of the waiting place before that end [m].
    """
    width = road.width
    edges = [-road.median / 2 - i * width for i in range(road.lanes[not along] + 1)]
    sections, first = [], 0
    scale = (len(line) - 1) / measure(line)  # points a metre
    for number, (end, gap) in enumerate(stops):
        last = round(end * scale)
        piece = line[first : last + 1]
        first = last
        lanes = []
        for i, (inner, outer) in enumerate(pairwise(edges)):
            centreline = resample(shift(piece, (inner + outer) / 2))
            outermost = i == len(edges) - 2
            lanes.append(
                Lane(
                    token=f"{name}-{number}-{i}",
                    polygon=make_strip(piece, inner, outer),
                    centreline=centreline,
                    left=LineString(shift(piece, inner)),
                    right=None if outermost else LineString(shift(piece, outer)),
                    speed_limit=road.speed,
                    stop_line=measure(centreline) - gap,
                )
            )
        sections.append(lanes)
    return sections


def measure(line: Line) -> float:
    """Return the length of a line [m]."""
    return float(np.hypot(*np.diff(line[:, :2], axis=0).T).sum())


def make_strip(line: Line, left: float, right: float) -> Polygon:
    """Return the ground along a line between two distances to its left [m]."""
    return Polygon(np.concatenate([shift(line, right), shift(line, left)[::-1]]))


def paint_stop_line(lane: Lane, width: float) -> Polygon:
    """Return the stop line across a lane, at which drivers wait."""
    i = round(lane.stop_line / STEP)
    return make_strip(lane.centreline[i : i + round(PAINT / STEP) + 1], width / 2, -width / 2)
