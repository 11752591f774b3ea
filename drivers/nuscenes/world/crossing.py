"""Pedestrians on their walks: they wait at the kerb until they can cross."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float64

from drivers.nuscenes.world.instant import STEP
from drivers.nuscenes.world.poses import place_on_walks, place_people
from drivers.nuscenes.world.state import World, WorldState

BRAKING = 3.0  # [m/s^2]: braking that people expect of drivers
REACTION = 0.6  # [s]
ARM, WIDE = 1.2, 0.5  # [m]: people stop before a vehicle within this distance ahead


def step_people(
    world: World, state: WorldState, vehicles: Float64[np.ndarray, "V 7"]
) -> WorldState:
    """Return the state after people walked for 0.1 s; they turn back at the end of a walk.

    vehicles: their rectangles.
    """
    cast = world.cast
    walks = [world.roads.walks[number] for number in cast.walk]
    enter, leave = (np.array([getattr(w, name) for w in walks]) for name in ("enter", "leave"))
    end = world.walk_ends[cast.walk]
    far = cast.pace * STEP
    to_kerb = state.facing * (np.where(state.facing > 0, enter, leave) - state.strolled)
    walking = ~_stand_before(vehicles, place_people(world, state))
    for i in np.flatnonzero((to_kerb >= 0) & (to_kerb < far + 1e-9)):
        walking[i] &= _may_cross(world, state, int(cast.walk[i]), vehicles)
    strolled = state.strolled + np.where(walking, state.facing * far, 0)
    turns = (strolled <= 0) | (strolled >= end)
    return replace(
        state,
        strolled=np.clip(strolled, 0, end),
        facing=np.where(turns, -state.facing, state.facing),
        walking=walking,
    )


def _stand_before(
    vehicles: Float64[np.ndarray, "V 7"], people: Float64[np.ndarray, "W 3"]
) -> Bool[np.ndarray, " W"]:
    """Return which people have a vehicle before them; moving ones count from farther away."""
    moving = vehicles[:, 5] > 0.5
    reach, wide = np.where(moving, ARM, ARM / 2), np.where(moving, WIDE, WIDE / 2)
    x, y, yaw = (axis[:, None] for axis in people.T)
    dx = x + np.cos(yaw) * reach - vehicles[:, 0]
    dy = y + np.sin(yaw) * reach - vehicles[:, 1]
    cosine, sine = np.cos(vehicles[:, 2]), np.sin(vehicles[:, 2])
    ahead, aside = np.abs(cosine * dx + sine * dy), np.abs(cosine * dy - sine * dx)
    near = (ahead < vehicles[:, 3] + wide) & (aside < vehicles[:, 4] + wide)
    stand: Bool[np.ndarray, " W"] = near.any(1)
    return stand


def _may_cross(
    world: World, state: WorldState, number: int, vehicles: Float64[np.ndarray, "V 7"]
) -> bool:
    """Return whether lights allow it, the way is free, and approaching vehicles can stop."""
    walk = world.roads.walks[number]
    if any(
        signal.colour_at(state.time) != "red"
        for signal in world.roads.signals
        if signal.lanes[0] in walk.lanes
    ):
        return False
    ends = np.array([walk.enter, walk.leave])
    a, b = place_on_walks(world, np.array([number] * 2), ends)[:, :2]
    x, y, yaw, half, _, speed, _ = vehicles.T
    along = b - a
    share = np.clip(((x - a[0]) * along[0] + (y - a[1]) * along[1]) / (along @ along), 0, 1)
    dx, dy = a[0] + share * along[0] - x, a[1] + share * along[1] - y
    distance = np.hypot(dx, dy) - half
    coming = dx * np.cos(yaw) + dy * np.sin(yaw) > 0
    needed = speed**2 / (2 * BRAKING) + speed * REACTION + np.where(speed > 0.3, 1.5, 0)
    blocked = (distance < 1.0) | (coming & (distance < needed))
    return not bool(blocked.any())
