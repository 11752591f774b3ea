"""Right of way at junctions: lights first, then order of arrival; crossing ways exclude."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float64

from drivers.nuscenes.world.instant import STEP
from drivers.nuscenes.world.state import EGO, World, WorldState

GENTLE = 3.0  # [m/s^2]: hardest braking when a light turns yellow
CREEP = 2.0  # [m/s]: slower vehicles block the lane behind a junction
FAIR = 3.0  # [s] of waiting, after which a driver gets its turn
ROOM = 3.0  # [m] that stay free behind a junction


def list_fronts(world: World) -> Float64[np.ndarray, " V"]:
    """Return the distance from the reference point of each vehicle to its front [m]."""
    fronts: Float64[np.ndarray, " V"] = world.cast.middle + world.cast.size[:, 0] / 2
    return fronts


def admit(world: World, state: WorldState, ego_obeys: bool) -> WorldState:
    """Return the state with the drivers marked that may enter the junction ahead now.

    An ego that ignores the rules is never held. Others give way to it as soon as it cannot stop
    before the junction.
    """
    table, cast = world.table, world.cast
    lane, after = state.route[:, 0], state.route[:, 1]
    ahead = table.stop[lane] - state.along - list_fronts(world)
    at_junction = table.way[after] & ~table.way[lane] & ~cast.parked
    colour = {s.lanes[0]: s.colour_at(state.time) for s in world.roads.signals}
    green = np.array([colour.get(table.tokens[n], "green") == "green" for n in lane])
    can_stop = ahead > state.speed**2 / (2 * GENTLE) - 0.5
    admitted = state.admitted & at_junction & (green | ~can_stop)
    if not ego_obeys:
        admitted[EGO] |= at_junction[EGO] & ~can_stop[EGO]
    outside = state.along + list_fronts(world) < table.length[lane]
    asks = at_junction & ~admitted & green & outside
    asks &= ahead < 8 + 2 * state.speed + state.speed**2 / 5
    waited = np.where(asks & (state.speed < 0.5), state.waited + STEP, 0.0)
    holders = _list_holders(world, state, admitted)
    full: set[int] = set()  # lanes with a waiting driver
    for i in sorted(np.flatnonzero(asks), key=lambda k: (-float(waited[k]), float(ahead[k]))):
        way = int(after[i])
        taken = any(holders.get(other, set()) - {int(i)} for other in table.conflicts[way])
        if int(lane[i]) in full or not _is_free_behind(world, state, int(i)):
            full.add(int(lane[i]))
        elif not taken:
            admitted[i] = True
            holders.setdefault(way, set()).add(int(i))
        else:
            full.add(int(lane[i]))
            if waited[i] > FAIR:  # drivers on crossing ways let it pass from now on
                holders.setdefault(way, set()).add(int(i))
    return replace(state, admitted=admitted, waited=waited)


def _list_holders(
    world: World, state: WorldState, admitted: Bool[np.ndarray, " V"]
) -> dict[int, set[int]]:
    """Return the vehicles that occupy each way: on it, about to enter it, or leaving it."""
    table = world.table
    lane, after = state.route[:, 0], state.route[:, 1]
    holders: dict[int, set[int]] = {}
    leaving = ~table.way[lane] & (_list_rears(world, state) < 1.0)
    for i in range(len(lane)):
        ways = [int(lane[i])] if table.way[lane[i]] else []
        ways += [int(after[i])] if admitted[i] else []
        ways += [n for n in table.incoming[lane[i]] if table.way[n]] if leaving[i] else []
        for way in ways:
            holders.setdefault(way, set()).add(i)
    return holders


def _list_rears(world: World, state: WorldState) -> Float64[np.ndarray, " V"]:
    """Return the distance along its lane of each vehicle's rear [m]."""
    rears: Float64[np.ndarray, " V"] = (
        state.along + world.cast.middle - world.cast.size[:, 0] / 2
    )
    return rears


def _is_free_behind(world: World, state: WorldState, i: int) -> bool:
    """Return whether the lane behind the junction has room, so that no vehicle stops inside."""
    on = (state.route[:, 0] == state.route[i, 2]) & (state.speed < CREEP)
    room = world.cast.size[i, 0] + ROOM
    return not bool((on & (_list_rears(world, state) < room)).any())
