"""Who may enter a junction: lights decide, then who is there first; no two on ways that cross."""

from dataclasses import replace

import numpy as np

from drivers.nuscenes.world.state import EGO, State, World

GENTLE = 3.0  # [m/s^2], by which drivers still stop when a light turns yellow
CREEP = 2.0  # [m/s]: what is slower blocks the lane behind a junction
ROOM = 3.0  # [m] that stay free there


def list_fronts(world: World) -> np.ndarray:
    """Return how far before its reference point the front of each vehicle is [m]."""
    return world.cast.middle + world.cast.size[:, 0] / 2


def admit(world: World, state: State, ego_obeys: bool) -> State:
    """Return the state with the drivers admitted who may enter the junction ahead now.

    An ego that does not obey the rules is never held up, and all others give way to it.
    """
    table, cast = world.table, world.cast
    lane, after = state.route[:, 0], state.route[:, 1]
    ahead = table.stop[lane] - state.along - list_fronts(world)
    at_junction = table.way[np.maximum(after, 0)] & (after >= 0) & ~table.way[lane]
    at_junction &= ~cast.parked
    colour = {s.lanes[0]: s.colour_at(state.time) for s in world.roads.signals}
    admitted = state.admitted & at_junction
    held: dict[int, set[int]] = {}  # by which vehicles each way is taken
    rear = state.along + cast.middle - cast.size[:, 0] / 2
    for i in np.flatnonzero(table.way[lane]):
        held.setdefault(int(lane[i]), set()).add(int(i))
    for i in np.flatnonzero(~table.way[lane] & (rear < 1.0)):
        for way in table.incoming[lane[i]]:
            held.setdefault(way, set()).add(int(i))
    if not ego_obeys:
        soon = ahead[EGO] < 2.0 * state.speed[EGO] + 3.0
        admitted[EGO] = at_junction[EGO] and soon and state.speed[EGO] > 0.3
    for i in np.flatnonzero(admitted):
        if ego_obeys or i != EGO:
            red = colour.get(table.tokens[lane[i]], "green") != "green"
            if red and ahead[i] > state.speed[i] ** 2 / (2 * GENTLE) + 0.5:
                admitted[i] = False
                continue
        held.setdefault(int(after[i]), set()).add(int(i))
    near = at_junction & ~admitted & (ahead < 8 + 2 * state.speed + state.speed**2 / 5)
    for i in sorted(np.flatnonzero(near), key=lambda k: ahead[k]):
        if i == EGO and not ego_obeys:
            continue
        if colour.get(table.tokens[lane[i]], "green") != "green" or ahead[i] < -1.5:
            continue
        way = int(after[i])
        taken = any(held.get(other, set()) - {int(i)} for other in table.conflicts[way])
        if not taken and _is_free_behind(world, state, int(i), rear):
            admitted[i] = True
            held.setdefault(way, set()).add(int(i))
    return replace(state, admitted=admitted)


def _is_free_behind(world: World, state: State, i: int, rear: np.ndarray) -> bool:
    """Whether the lane behind the junction has room, so that nobody stops inside."""
    on = (state.route[:, 0] == state.route[i, 2]) & (state.speed < CREEP)
    room = world.cast.size[i, 0] + ROOM
    return not bool((on & (rear < room)).any())
