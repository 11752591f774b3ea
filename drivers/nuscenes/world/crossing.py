"""People on their walks: they wait at the kerb until they can cross."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from drivers.nuscenes.world.poses import list_rectangles, place_people
from drivers.nuscenes.world.state import State, World

STEP = 0.1  # [s]
BRAKING = 3.0  # [m/s^2] that people expect of drivers who see them
REACTION = 0.6  # [s]
ARM, WIDE = 1.2, 0.5  # [m]: people stop before a vehicle so near ahead


def step_people(world: World, state: State) -> State:
    """Return the state in which people walked on for 0.1 s; at its end a walk turns back."""
    cast = world.cast
    strolled, facing = state.strolled.copy(), state.facing.copy()
    walking = state.walking.copy()
    vehicles = list_rectangles(world, state)[: len(cast.names)]
    people = place_people(world, state)
    for i, number in enumerate(cast.walk):
        walk = world.roads.walks[number]
        kerb = walk.enter if facing[i] > 0 else walk.leave
        to_kerb = facing[i] * (kerb - strolled[i])
        far = cast.pace[i] * STEP
        if 0 <= to_kerb < far + 1e-9:
            walking[i] = _may_cross(world, state, number, vehicles)
            if not walking[i]:
                continue
        walking[i] = not _stands_before(vehicles, people[i])
        if not walking[i]:
            continue
        strolled[i] += facing[i] * far
        end = world.walk_lengths[number][-1]
        if not 0 < strolled[i] < end:
            strolled[i], facing[i] = np.clip(strolled[i], 0, end), -facing[i]
    return replace(state, strolled=strolled, facing=facing, walking=walking)


def _stands_before(
    vehicles: Float64[np.ndarray, "V 7"], person: Float64[np.ndarray, "3"]
) -> bool:
    """Whether a vehicle is where somebody walks to; from moving ones people keep away."""
    moving = vehicles[:, 5] > 0.5
    reach, wide = np.where(moving, ARM, ARM / 2), np.where(moving, WIDE, WIDE / 2)
    dx = person[0] + np.cos(person[2]) * reach - vehicles[:, 0]
    dy = person[1] + np.sin(person[2]) * reach - vehicles[:, 1]
    cosine, sine = np.cos(vehicles[:, 2]), np.sin(vehicles[:, 2])
    ahead, aside = np.abs(cosine * dx + sine * dy), np.abs(cosine * dy - sine * dx)
    inside = (ahead < vehicles[:, 3] + wide) & (aside < vehicles[:, 4] + wide)
    return bool(inside.any())


def _may_cross(world: World, state: State, number: int, vehicles: np.ndarray) -> bool:
    """Whether lights allow it, nobody stands in the way, and all who come can still stop."""
    walk, lengths = world.roads.walks[number], world.walk_lengths[number]
    if any(
        signal.colour_at(state.time) != "red"
        for signal in world.roads.signals
        if signal.lanes[0] in walk.lanes
    ):
        return False
    a, b = (
        np.array([np.interp(at, lengths, axis) for axis in walk.points.T])
        for at in (walk.enter, walk.leave)
    )
    x, y, yaw, half, _, speed, _ = vehicles.T
    along = b - a
    share = np.clip(((x - a[0]) * along[0] + (y - a[1]) * along[1]) / (along @ along), 0, 1)
    dx, dy = a[0] + share * along[0] - x, a[1] + share * along[1] - y
    distance = np.hypot(dx, dy) - half
    coming = dx * np.cos(yaw) + dy * np.sin(yaw) > 0
    needed = speed**2 / (2 * BRAKING) + speed * REACTION + np.where(speed > 0.3, 1.5, 0)
    blocked = (distance < 1.0) | (coming & (distance < needed))
    return not bool(blocked.any())
