"""Sight of drivers: the free way ahead of each, and the overlaps of rectangles (compiled).

A rectangle is a row of x, y, yaw, half length, half width [m, rad]. Drivers need two more
columns: its speed along its yaw [m/s], and its tail, the room that they leave behind it to pull
out [m].
Axes: V vehicles, R lanes of a route, P points of lanes, L lanes, M rectangles, K pairs,
C columns.
"""

from math import cos, exp, hypot, inf, sin, sqrt
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from neuro.ops.jit import kernel

MARGIN = 0.35  # [m] that drivers keep free on each side
EASE = 1.3  # [m/s^2]: braking of drivers before bends
CHANGING = 0.6  # [m] off its preferred place: a vehicle is changing lanes
RANGE = 80.0  # [m]: largest distance that drivers look ahead


class DriverView(NamedTuple):
    """The view of each driver.

    gap: distance from the front to the obstacle ahead [m], infinite without one. lead: the
    obstacle's speed along the way [m/s]. pace: the speed that bends ahead allow [m/s].
    """

    gap: Float64[np.ndarray, " V"]
    lead: Float64[np.ndarray, " V"]
    pace: Float64[np.ndarray, " V"]


@kernel
def look_ahead(  # noqa: C901, PLR0913 - compiled: one loop, arguments with names
    points: Float64[np.ndarray, "P 3"],
    pace: Float64[np.ndarray, " P"],
    first: Int64[np.ndarray, " L"],
    spacing: Float64[np.ndarray, " L"],
    length: Float64[np.ndarray, " L"],
    route: Int64[np.ndarray, "V R"],
    place: Float64[np.ndarray, "V 6"],
    own: Int64[np.ndarray, " V"],
    things: Float64[np.ndarray, "M 7"],
) -> DriverView:
    """Walk along the route of each vehicle to the first obstacle.

    place: distance along the first lane of the route, distance to its left, preferred distance
    to its left, distance from the reference point to the front, half width, speed. own: the
    index of the vehicle's own rectangle.
    """
    vehicles = len(route)
    gaps, leads, paces = np.full(vehicles, inf), np.zeros(vehicles), np.full(vehicles, inf)
    near = np.empty(len(things), np.int64)
    cosine, sine = np.cos(things[:, 2]), np.sin(things[:, 2])
    extent = things[:, 3] + things[:, 4] + things[:, 6]  # [m]: bounds every part
    for i in range(vehicles):
        along, aside, home, front, half, speed = place[i]
        reach = min(RANGE, 12.0 + 3.0 * speed + speed * speed / 5.0)
        lane, turn = route[i, 0], 0
        here = points[first[lane] + int(along / spacing[lane])]
        close = 0
        for j in range(len(things)):
            dx, dy = things[j, 0] - here[0], things[j, 1] - here[1]
            if j != own[i] and hypot(dx, dy) < reach + front + things[j, 3]:
                near[close] = j
                close += 1
        for step in range(int(reach)):
            at = along + front + step
            while at > length[lane]:
                turn += 1
                if turn == route.shape[1] or route[i, turn] < 0:
                    break
                along -= length[lane]
                at -= length[lane]
                lane = route[i, turn]
            if at > length[lane]:
                break
            p = first[lane] + int(at / spacing[lane] + 0.5)
            paces[i] = min(paces[i], sqrt(pace[p] * pace[p] + 2 * EASE * step))
            x, y, yaw = points[p]
            late = (front + step) / (3.0 + speed)  # [s] of moving over, critically damped
            side = home + (aside - home) * (1 + late) * exp(-late)
            x, y = x - sin(yaw) * side, y + cos(yaw) * side
            for k in range(close):
                j = near[k]
                dx, dy = x - things[j, 0], y - things[j, 1]
                far = extent[j] + half + MARGIN
                if dx * dx + dy * dy > far * far:
                    continue
                c, s = cosine[j], sine[j]
                ahead = c * dx + s * dy
                tail = things[j, 6] * (ahead < 0 and abs(aside - home) < CHANGING)
                beyond = max(0.0, abs(ahead) - things[j, 3] - tail)
                beside = max(0.0, abs(c * dy - s * dx) - things[j, 4])
                away = hypot(beyond, beside)
                if away < half + MARGIN and step + away < gaps[i]:
                    gaps[i] = step + away
                    leads[i] = max(0.0, things[j, 5] * cos(things[j, 2] - yaw))
            if gaps[i] < inf:
                break
    return DriverView(gaps, leads, paces)


@kernel
def find_overlaps(things: Float64[np.ndarray, "M C"]) -> Int64[np.ndarray, "K 2"]:
    """Return the pairs of rectangles that overlap (no axis of either separates them)."""
    pairs = np.empty((len(things) * 4, 2), np.int64)
    n = 0
    for i in range(len(things)):
        for j in range(i):
            dx, dy = things[j, 0] - things[i, 0], things[j, 1] - things[i, 1]
            reach = hypot(things[i, 3], things[i, 4]) + hypot(things[j, 3], things[j, 4])
            if hypot(dx, dy) > reach:
                continue
            turn = things[j, 2] - things[i, 2]
            c, s = abs(cos(turn)), abs(sin(turn))
            apart = False
            for own, other in ((i, j), (j, i)):
                yaw, long, wide = things[own, 2], things[other, 3], things[other, 4]
                ahead = abs(dx * cos(yaw) + dy * sin(yaw))
                aside = abs(dy * cos(yaw) - dx * sin(yaw))
                apart |= ahead > things[own, 3] + c * long + s * wide
                apart |= aside > things[own, 4] + s * long + c * wide
            if not apart and n < len(pairs):
                pairs[n] = j, i
                n += 1
    return pairs[:n]
