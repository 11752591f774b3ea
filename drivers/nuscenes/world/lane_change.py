"""Changes of lane: around standing or slow vehicles, and to the lane of the route.

As in MOBIL (Kesting, Treiber, Helbing 2007), a change must gain acceleration, and no driver
behind may have to brake hard.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64, Int64

from drivers.nuscenes.world.driver import follow
from drivers.nuscenes.world.lane_table import NONE, LaneTable
from drivers.nuscenes.world.right_of_way import list_fronts
from drivers.nuscenes.world.sight import CHANGING, DriverView, look_ahead
from drivers.nuscenes.world.state import EGO, ROUTE, World, WorldState

GAIN = 0.4  # [m/s^2]: smallest gain of a change
POLITE = 2.0  # [m/s^2]: hardest braking of others
SHORT = 25.0  # [m] before the end of a lane: drivers do not overtake
LOST = 8.0  # [m] before the end of a lane: drivers give up a change
LONG = 6.0  # [m]: longer vehicles go straight ahead where possible
PAUSE = 4.0  # [s] between changes


def find_route(
    table: LaneTable, rng: np.random.Generator, lane: int, straight: bool = False
) -> Int64[np.ndarray, " R"]:
    """Return a route from a lane: random, or as straight as possible."""
    route = [lane]
    while len(route) < ROUTE:
        route.append(choose_next(table, rng, route[-1], straight))
    return np.array(route)


def choose_next(
    table: LaneTable, rng: np.random.Generator, lane: int, straight: bool = False
) -> int:
    """Return a lane that follows another."""
    after = table.outgoing[lane]
    if not straight:
        return int(after[rng.integers(len(after))])
    last = table.first + table.count - 1
    turn = [abs(table.points[last[n], 2] - table.points[table.first[n], 2]) for n in after]
    return int(after[int(np.argmin(turn))])


def change_lanes(
    world: World,
    state: WorldState,
    view: DriverView,
    rectangles: Float64[np.ndarray, "M 7"],
    rng: np.random.Generator,
    ego_obeys: bool,
) -> WorldState:
    """Return the state in which drivers with a reason and room have changed lanes.

    They belong to the new lane at once, far to its side at their old place, and move over in
    the next seconds.
    """
    table, cast = world.table, world.cast
    front, before = list_fronts(world), state.route
    route, along, aside = state.route.copy(), state.along.copy(), state.aside.copy()
    patience = np.maximum(0, state.patience - 0.1)
    wanted = cast.mood * view.pace
    here = follow(state.speed, wanted, view.gap, view.lead)
    lane, after = route[:, 0], route[:, 1]
    has_beside = (table.left[lane] != NONE) | (table.right[lane] != NONE)
    free = has_beside & ~cast.parked & ~table.way[lane]
    slow = (view.gap < 50) & (view.lead < 0.7 * wanted) & (here < 0.5)
    # Whether the next lane of the route is out of reach from this lane.
    split = np.array([after[i] not in table.outgoing[lane[i]] for i in range(len(lane))])
    for i in np.flatnonzero(free & (slow | split) | split):
        if i == EGO and not ego_obeys:
            continue
        remaining = table.length[lane[i]] - along[i] - front[i]
        goal = [n for n in table.beside(int(lane[i])) if after[i] in table.outgoing[n]]
        if split[i] and (not goal or remaining < LOST):
            route[i] = find_route(table, rng, int(lane[i]))
            continue
        if patience[i] > 0 or abs(aside[i] - cast.home[i]) > CHANGING or cast.home[i] != 0:
            continue
        sides = [int(n) for n in (table.left[lane[i]], table.right[lane[i]]) if n != NONE]
        bonus = 0.0
        if split[i]:
            row = table.beside(int(lane[i]))
            toward = row.index(goal[0]) - row.index(lane[i])
            sides = [row[row.index(lane[i]) + int(np.sign(toward))]]
            bonus = 3.0
        elif remaining < (SHORT if i != EGO else 1.6 * SHORT):
            continue
        for side in sides:
            moved = move_over(world, state, rectangles, (int(i), side), front)
            if moved is None or moved[2] < here[i] + GAIN - bonus:
                continue
            lane[i] = side  # a view into route
            along[i], aside[i] = moved[:2]
            patience[i] = PAUSE
            if i != EGO and not split[i] and after[i] not in table.outgoing[side]:
                route[i] = find_route(table, rng, side, bool(cast.size[i, 0] > LONG))
            state = replace(state, route=route, along=along, aside=aside)
            break
    # Drivers keep their admission to a junction only for the same way.
    admitted = state.admitted & (before[:, 0] == lane) & (before[:, 1] == after)
    return replace(
        state, route=route, along=along, aside=aside, patience=patience, admitted=admitted
    )


def move_over(
    world: World,
    state: WorldState,
    rectangles: Float64[np.ndarray, "M 7"],
    move: tuple[int, int],
    front: Float64[np.ndarray, " V"],
) -> tuple[float, float, float] | None:
    """Return a vehicle's place on another lane and its acceleration there, None if unsafe."""
    table, cast = world.table, world.cast
    i, other = move
    lane = int(state.route[i, 0])
    along = float(state.along[i] * table.length[other] / table.length[lane])
    mine, its = table.pose(lane, float(state.along[i])), table.pose(other, along)
    dx, dy = (mine - its)[:2]
    aside = float(state.aside[i] - dx * np.sin(its[2]) + dy * np.cos(its[2]))
    rear = along + front[i] - cast.size[i, 0]
    # The vehicles beside or behind on that lane, or about to enter it.
    others = np.arange(len(front)) != i
    on = others & (state.route[:, 0] == other)
    coming = others & (state.route[:, 1] == other)
    fronts = np.where(on, state.along, state.along - table.length[state.route[:, 0]]) + front
    behind = (on | coming) & (fronts < along + front[i])
    ahead = on & (fronts >= along + front[i])
    gap, speed = rear - fronts[behind], state.speed[behind]
    braking = follow(speed, np.full_like(speed, 99.0), gap, np.full_like(speed, state.speed[i]))
    if (
        (fronts - cast.size[:, 0] < along + front[i] + 3)[ahead].any()
        or (gap < 2.0).any()
        or (braking < -POLITE).any()
    ):
        return None
    place = np.array([[along, 0.0, 0.0, front[i], cast.size[i, 1] / 2, state.speed[i]]])
    route = state.route[i : i + 1].copy()
    route[0, 0] = other
    view = look_ahead(*table.lanes_ahead, route, place, np.array([i]), rectangles)
    if view.gap[0] < 3.0:
        return None
    speed = state.speed[i : i + 1]
    return along, aside, float(follow(speed, cast.mood[i] * view.pace, view.gap, view.lead)[0])
