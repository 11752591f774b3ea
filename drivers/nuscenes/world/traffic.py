"""One step of the traffic: from a state to the state 0.1 s later."""

from dataclasses import replace

import numpy as np

from drivers.nuscenes.geometry import wrap_angle
from drivers.nuscenes.world.crossing import step_people
from drivers.nuscenes.world.driver import S0, follow
from drivers.nuscenes.world.find_ego import find_ego
from drivers.nuscenes.world.instant import STEP, Ego
from drivers.nuscenes.world.lane_change import LONG, change_lanes, choose_next
from drivers.nuscenes.world.poses import list_rectangles, place_on_lanes
from drivers.nuscenes.world.right_of_way import admit, list_fronts
from drivers.nuscenes.world.sight import DriverView, look_ahead
from drivers.nuscenes.world.state import EGO, World, WorldState

SUDDEN = 0.04  # [1/s]: probability that a driver slows down without a visible reason
SWAY = 1.0  # [1/s]: rate at which drivers return to their preferred place in the lane
SIDEWAYS = 1.5  # [m/s^2], of moving over
STEEP = 0.35  # largest share of sideways motion
TIGHTEST = 0.15  # [1/m], of moving over


def step_traffic(world: World, state: WorldState, ego: Ego | None = None) -> WorldState:
    """Return the state 0.1 s later.

    ego: the ego at that time; None: it follows the rules of all others.
    """
    rng = np.random.default_rng([state.seed, state.steps])
    cast = world.cast
    things = list_rectangles(world, state)
    view = look(world, state, things)
    state = change_lanes(world, state, view, things, rng, ego is None)
    state = admit(world, state, ego is None)
    starts = rng.random(len(cast.names)) < SUDDEN * STEP
    slow = np.where(starts, rng.uniform(1.5, 3.5, len(cast.names)), state.slow - STEP)
    wanted = cast.mood * view.pace * np.where(slow > 0, 0.3, 1.0)
    # Drivers wait before the junction ahead.
    table = world.table
    lane, following = state.route[:, 0], state.route[:, 1]
    ahead = table.stop[lane] - state.along - list_fronts(world)
    outside = state.along + list_fronts(world) < table.length[lane]
    held = ~table.way[lane] & table.way[following] & ~state.admitted & outside
    gap = np.where(held, ahead + S0 - 0.2, np.inf)
    acceleration = np.minimum(
        follow(state.speed, wanted, view.gap, view.lead),
        follow(state.speed, wanted, gap, np.zeros_like(gap)),
    )
    speed = np.where(cast.parked, 0.0, np.maximum(0, state.speed + acceleration * STEP))
    way = (state.speed + speed) / 2 * STEP
    pull = -(SWAY**2) * (state.aside - cast.home) - 2 * SWAY * state.drift
    hardest = np.minimum(SIDEWAYS, TIGHTEST * speed**2)
    drift = state.drift + np.clip(pull, -hardest, hardest) * STEP
    drift = np.clip(drift, -STEEP * speed, STEEP * speed)
    after = replace(
        state,
        along=state.along + way,
        aside=state.aside + drift * STEP,
        drift=drift,
        speed=speed,
        acceleration=(speed - state.speed) / STEP,
        slow=np.maximum(0, slow),
    )
    after = _enter_lanes(world, after, rng)
    after = replace(step_people(world, after, things[: len(cast.names)]), steps=state.steps + 1)
    return carry_ego(world, state, after) if ego is None else find_ego(world, state, after, ego)


def look(world: World, state: WorldState, things: np.ndarray) -> DriverView:
    """Return the view of each driver."""
    cast = world.cast
    place = [state.along, state.aside, cast.home, list_fronts(world)]
    place += [cast.size[:, 1] / 2, state.speed]
    own = np.arange(len(cast.names))
    return look_ahead(*world.table.lanes_ahead, state.route, np.stack(place, 1), own, things)


def _enter_lanes(world: World, state: WorldState, rng: np.random.Generator) -> WorldState:
    """Return the state in which vehicles beyond their lane's end are on the next lane."""
    table = world.table
    route, along = state.route.copy(), state.along.copy()
    admitted = state.admitted.copy()
    for i in np.flatnonzero(along > table.length[route[:, 0]]):
        along[i] -= table.length[route[i, 0]]
        straight = bool(world.cast.size[i, 0] > LONG)
        route[i] = [*route[i, 1:], choose_next(table, rng, int(route[i, -1]), straight)]
        admitted[i] &= not table.way[route[i, 0]]
    return replace(state, route=route, along=along, admitted=admitted)


def carry_ego(world: World, before: WorldState, state: WorldState) -> WorldState:
    """Return the state with the ego's pose from its place on the lane."""
    x, y, yaw = place_on_lanes(
        world.table, state.route[:1, 0], state.along[:1], state.aside[:1]
    )[0]
    yaw += np.arctan2(state.drift[EGO], max(state.speed[EGO], 1.0))
    turned = wrap_angle(yaw - before.ego.yaw)
    way = float(before.speed[EGO] + state.speed[EGO]) / 2 * STEP
    ego = Ego(
        x=float(x),
        y=float(y),
        yaw=float(before.ego.yaw + turned),
        speed=float(state.speed[EGO]),
        acceleration=float(state.acceleration[EGO]),
        curvature=float(turned / way) if way > 0.05 else before.ego.curvature,
    )
    return replace(state, ego=ego)
