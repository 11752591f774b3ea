"""Junctions: the ends of their arms and the ways from lane to lane through them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from shapely import unary_union
from shapely.geometry import LineString, MultiPoint, Polygon

from drivers.nuscenes.geometry import wrap_angle
from drivers.nuscenes.road_map import Lane
from drivers.nuscenes.world.network import (
    STEP,
    Line,
    RoadNetwork,
    Section,
    make_strip,
    resample,
    shift,
)

CORNER = 8.0  # [m] from the point where two kerbs would meet to the end of an arm
SEARCH = 15.0  # [m] from the node to the point that gives the direction of an arm
STRAIGHT = np.pi / 5  # [rad]: ways with a smaller turn count as straight
SWEPT = 2.6  # [m]: width that a car needs on its way through
WAY = 3.3  # [m], width of a lane through a junction

Turn = Literal["left", "straight", "right"]
End = tuple[int, bool]  # number of a road, and whether this is its start


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One road at a junction. end: of the road. angle: direction out of the junction [rad].

    incoming, outgoing: widths from the middle of the road to the edge of each direction [m].
    """

    end: End
    angle: float
    incoming: float
    outgoing: float


def list_arms(network: RoadNetwork, junction: int) -> list[Arm]:
    """Return the arms of a junction, counter-clockwise."""
    arms = []
    for number, road in enumerate(network.roads):
        right, left = road.half_widths
        for first in (True, False):
            if (road.start if first else road.end) != junction:
                continue
            line = road.line if first else road.line[::-1]
            out = line[round(SEARCH / STEP), :2] - line[0, :2]
            arms.append(
                Arm(
                    end=(number, first),
                    angle=float(np.arctan2(out[1], out[0])),
                    incoming=left if first else right,
                    outgoing=right if first else left,
                )
            )
    return sorted(arms, key=lambda arm: arm.angle)


def measure_cuts(arms: Sequence[Arm]) -> list[float]:
    """Return for each arm the distance from the node to the end of its lanes [m].

    The distances leave the corners free. Seen outward, the left kerb of an arm, beside incoming
    traffic, meets the right kerb of the next arm.
    """
    cuts = [CORNER + 2.0] * len(arms)
    for i, arm in enumerate(arms):
        k = (i + 1) % len(arms)
        after = arms[k]
        angle = (after.angle - arm.angle) % (2 * np.pi)
        if angle > 0.85 * np.pi:
            continue
        sine, cosine = np.sin(angle), np.cos(angle)
        cuts[i] = max(cuts[i], (after.outgoing + arm.incoming * cosine) / sine + CORNER)
        cuts[k] = max(cuts[k], (arm.incoming + after.outgoing * cosine) / sine + CORNER)
    return cuts


def make_ways(
    arms: Sequence[Arm],
    entering: Mapping[End, Section],
    leaving: Mapping[End, Section],
    name: str,
) -> list[Lane]:
    """Return the lanes through a junction; ``name``: the beginning of their tokens.

    entering, leaving: the lanes at each end of a road, from its middle outward. Left turns
    start in the innermost lane, right turns in the outermost lane. Straight ahead, every lane
    keeps its number as far as there are lanes. Lanes without a way get a turn.
    """
    pairs: list[tuple[Lane, Lane]] = []
    for arm in arms:
        into = entering[arm.end]
        led: set[str] = set()
        for other in arms:
            if other is arm:
                continue
            out = leaving[other.end]
            turn = turn_between(arm, other)
            if turn == "straight":
                new = [(lane, out[min(i, len(out) - 1)]) for i, lane in enumerate(into)]
            else:
                side = 0 if turn == "left" else -1
                new = [(into[side], out[side])]
            pairs += new
            led |= {lane.token for lane, _ in new}
        out = leaving[next(other.end for other in arms if other is not arm)]
        pairs += [
            (lane, out[min(i, len(out) - 1)])
            for i, lane in enumerate(into)
            if lane.token not in led
        ]
    return [_make_way(a, b, f"{name}-{i}") for i, (a, b) in enumerate(pairs)]


def _make_way(origin: Lane, target: Lane, token: str) -> Lane:
    line = join(origin, target)
    return Lane(
        token=token,
        polygon=make_strip(line, WAY / 2, -WAY / 2),
        centreline=line,
        incoming=(origin.token,),
        outgoing=(target.token,),
        connector=True,
        speed_limit=min(origin.speed_limit, target.speed_limit),
    )


def turn_between(arm: Arm, other: Arm) -> Turn:
    """Return the turn of a car that enters on one arm and leaves on another."""
    angle = wrap_angle(other.angle - arm.angle - np.pi)
    if abs(angle) < STRAIGHT:
        return "straight"
    return "left" if angle > 0 else "right"


def join(origin: Lane, target: Lane) -> Line:
    """Return a smooth line from the end of a lane to the start of another (a cubic Bézier)."""
    a, b = origin.centreline[-1], target.centreline[0]
    forward, onward = ([np.cos(yaw), np.sin(yaw)] for yaw in (a[2], b[2]))
    # About a circle for right angles, evenly spaced control points for straight lines.
    reach = 0.39 * float(np.hypot(*(b - a)[:2]))
    points = np.stack(
        [a[:2], a[:2] + reach * np.array(forward), b[:2] - reach * np.array(onward), b[:2]]
    )
    t = np.linspace(0, 1, 200)
    weights = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]
    return resample(np.stack(weights, 1) @ points)


def find_conflicts(ways: Sequence[Lane]) -> dict[str, frozenset[str]]:
    """Return the conflicting ways of each way; ways from the same lane have no conflict."""
    areas = [
        LineString(way.centreline[:, :2]).buffer(SWEPT / 2, cap_style="flat") for way in ways
    ]
    return {
        way.token: frozenset(
            other.token
            for other, its in zip(ways, areas, strict=True)
            if other.incoming != way.incoming and its.intersects(area)
        )
        for way, area in zip(ways, areas, strict=True)
    }


def outline(arms: Sequence[Arm], lines: Sequence[Line], ways: Sequence[Lane]) -> Polygon:
    """Return the area of a junction; lines: the middle of each arm, from its end outward."""
    corners = []
    for arm, line in zip(arms, lines, strict=True):
        corners += [shift(line[:1], arm.incoming)[0], shift(line[:1], -arm.outgoing)[0]]
    # Where a road bends inside the junction, ways may cut its corner.
    area = MultiPoint(np.array(corners)).convex_hull
    return Polygon(unary_union([area, *(way.polygon for way in ways)]).exterior)
