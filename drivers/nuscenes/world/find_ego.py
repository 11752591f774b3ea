"""The lane and route of an ego that a planner drives."""

from collections.abc import Sequence
from dataclasses import replace
from math import cos, sin

import numpy as np
from jaxtyping import Float64, Int64

from drivers.nuscenes.geometry import wrap_angle
from drivers.nuscenes.world.instant import Ego
from drivers.nuscenes.world.lane_change import choose_next
from drivers.nuscenes.world.lane_table import NONE, LaneTable
from drivers.nuscenes.world.state import EGO, ROUTE, World, WorldState

AHEAD = 3  # lanes of the route, with their neighbours, that may hold the ego
TURNED = 3.0  # [m] of distance that a radian between the car and a lane counts as
KEPT = 0.8  # [m]: another lane must be nearer by this distance
ASTRAY = 6.0  # [m]: an ego farther from all of those is looked for on all lanes


def find_ego(world: World, before: WorldState, state: WorldState, ego: Ego) -> WorldState:
    """Return the state with the ego at a pose, on the nearest lane of its route.

    before: the state of the last step, with the last place of the ego. Lanes beside the route
    count, too. An ego that leaves the route for good gets a new route straight ahead.
    """
    table, old = world.table, before.route[EGO]
    near = {n: k for k in reversed(range(AHEAD)) for n in table.beside(int(old[k]))}
    near = {n: k for n, k in near.items() if not _is_behind(table, n, ego)}
    away, lane = min(
        ((measure_distance(table, n, ego) - KEPT * (n == old[0]), n) for n in near),
        default=(np.inf, NONE),
    )
    if away > ASTRAY:
        lane = min(range(len(table.tokens)), key=lambda n: measure_distance(table, n, ego))
    after = old[near[lane] + 1 :].tolist() if lane in near else []
    return put_ego(table, state, [lane, *after], ego)


def put_ego(table: LaneTable, state: WorldState, lanes: Sequence[int], ego: Ego) -> WorldState:
    """Return the state with the ego at a pose, on the first of the lanes of its route.

    If there are fewer lanes than in a route, the route continues straight ahead.
    """
    along, aside, turned = project(table, lanes[0], ego)
    route = list(lanes)
    straight = np.random.default_rng(0)  # unused: straight routes are not random
    while len(route) < ROUTE:
        route.append(choose_next(table, straight, route[-1], True))
    here: dict[str, float | Int64[np.ndarray, " R"]] = {
        "route": np.array(route),
        "along": along,
        "aside": aside,
        "drift": ego.speed * sin(turned),
        "speed": ego.speed,
        "acceleration": ego.acceleration,
    }
    changed = {}
    for name, value in here.items():
        changed[name] = getattr(state, name).copy()
        changed[name][EGO] = value
    return replace(state, ego=ego, **changed)


def _is_behind(table: LaneTable, lane: int, ego: Ego) -> bool:
    """Return whether the ego has passed the end of a lane."""
    i, ahead, _ = _locate(table, lane, ego)
    return bool(i == table.count[lane] - 1 and ahead > 0)


def project(table: LaneTable, lane: int, ego: Ego) -> tuple[float, float, float]:
    """Return the ego's distance along a lane and to its left [m], and its turn to it [rad]."""
    i, ahead, left = _locate(table, lane, ego)
    turned = wrap_angle(ego.yaw - _points(table, lane)[i, 2])
    along = min(max(i * table.spacing[lane] + ahead, 0.0), table.length[lane])
    return float(along), left, float(turned)


def _locate(table: LaneTable, lane: int, ego: Ego) -> tuple[int, float, float]:
    """Return the nearest point of a lane, and the ego's distance ahead of it and to its left
    [m]."""
    points = _points(table, lane)
    i = int(np.hypot(points[:, 0] - ego.x, points[:, 1] - ego.y).argmin())
    x, y, yaw = points[i]
    dx, dy = ego.x - x, ego.y - y
    return i, float(dx * cos(yaw) + dy * sin(yaw)), float(dy * cos(yaw) - dx * sin(yaw))


def measure_distance(table: LaneTable, lane: int, ego: Ego) -> float:
    """Return the distance of a lane from the ego [m], larger if the lane points elsewhere."""
    points = _points(table, lane)
    away = np.hypot(points[:, 0] - ego.x, points[:, 1] - ego.y)
    i = int(away.argmin())
    return float(away[i] + TURNED * abs(wrap_angle(ego.yaw - points[i, 2])))


def _points(table: LaneTable, lane: int) -> Float64[np.ndarray, "P 3"]:
    return table.points[table.first[lane] : table.first[lane] + table.count[lane]]
