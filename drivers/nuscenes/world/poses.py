"""Poses, rectangles and boxes of a state."""

from math import cos, sin

import numpy as np
from jaxtyping import Float64, Int64

from drivers.nuscenes.box import make_box
from drivers.nuscenes.world.instant import WorldInstant
from drivers.nuscenes.world.lane_table import LaneTable
from drivers.nuscenes.world.state import APART, EGO, TAIL, World, WorldState

FORESIGHT = 1.8  # [s]: time for which drivers predict people's walks


def place_on_lanes(
    table: LaneTable,
    lane: np.ndarray,
    along: Float64[np.ndarray, " V"],
    aside: Float64[np.ndarray, " V"],
) -> Float64[np.ndarray, "V 3"]:
    """Return (x, y, yaw of the lane) at distances along lanes and to their left [m]."""
    at = along / table.spacing[lane]
    i = np.clip(at.astype(np.int64), 0, table.count[lane] - 2)
    a = table.points[table.first[lane] + i]
    b = table.points[table.first[lane] + i + 1]
    x, y, yaw = (a + (at - i)[:, None] * (b - a)).T
    return np.stack([x - aside * np.sin(yaw), y + aside * np.cos(yaw), yaw], 1)


def place_vehicles(world: World, state: WorldState) -> Float64[np.ndarray, "V 3"]:
    """Return (x, y, yaw) of the reference points of all vehicles; the ego has its own pose."""
    poses = place_on_lanes(world.table, state.route[:, 0], state.along, state.aside)
    poses[:, 2] += np.arctan2(state.drift, np.maximum(state.speed, 1.0))
    poses[EGO] = state.ego.x, state.ego.y, state.ego.yaw
    return poses


def place_on_walks(
    world: World, walk: Int64[np.ndarray, " W"], along: Float64[np.ndarray, " W"]
) -> Float64[np.ndarray, "W 3"]:
    """Return (x, y, yaw of the walk) at distances along walks; ``walk``: their numbers."""
    at = walk * APART + along
    i = np.searchsorted(world.walk_keys, at, "right") - 1
    i = np.clip(i, world.walk_first[walk], world.walk_first[walk + 1] - 2)
    step = world.walk_points[i + 1] - world.walk_points[i]
    share = (at - world.walk_keys[i]) / (world.walk_keys[i + 1] - world.walk_keys[i])
    where = world.walk_points[i] + share[:, None] * step
    return np.column_stack([where, np.arctan2(step[:, 1], step[:, 0])])


def place_people(world: World, state: WorldState) -> Float64[np.ndarray, "W 3"]:
    """Return (x, y, heading) of people on their walks."""
    x, y, yaw = place_on_walks(world, world.cast.walk, state.strolled).T
    left = world.cast.to_left
    heading = yaw + np.where(state.facing > 0, 0, np.pi)
    return np.stack([x - left * np.sin(yaw), y + left * np.cos(yaw), heading], 1)


def list_rectangles(world: World, state: WorldState) -> Float64[np.ndarray, "M 7"]:
    """Return the rectangles that drivers see: vehicles, things, then people.

    Rectangles of walking people include their next places, so that no driver enters their way.
    """
    cast = world.cast
    x, y, yaw = place_vehicles(world, state).T
    middle = cast.middle
    vehicles = [x + middle * np.cos(yaw), y + middle * np.sin(yaw), yaw]
    vehicles += [cast.size[:, 0] / 2, cast.size[:, 1] / 2, state.speed, TAIL * cast.parked]
    px, py, heading = place_people(world, state).T
    ahead = np.where(state.walking, cast.pace, 0.0) * FORESIGHT / 2
    people = [px + ahead * np.cos(heading), py + ahead * np.sin(heading), heading]
    people += [cast.people_size[:, 0] / 2 + ahead, cast.people_size[:, 1] / 2]
    people += [np.zeros(len(ahead))] * 2
    return np.concatenate([np.stack(vehicles, 1), world.things, np.stack(people, 1)])


def show(world: World, state: WorldState) -> WorldInstant:
    """Return the visible part of a state."""
    cast = world.cast
    boxes = []
    for i, (x, y, yaw) in enumerate(place_vehicles(world, state).tolist()):
        if i == EGO:
            continue
        middle = x + cast.middle[i] * cos(yaw), y + cast.middle[i] * sin(yaw), yaw
        name, category, size = cast.names[i], cast.categories[i], cast.size[i]
        speed, parked = float(state.speed[i]), bool(cast.parked[i])
        boxes.append(make_box(name, category, middle, size, speed, parked))
    for i, pose in enumerate(place_people(world, state)):
        name, category, size = cast.people[i], cast.people_categories[i], cast.people_size[i]
        speed = float(cast.pace[i] * state.walking[i])
        boxes.append(make_box(name, category, pose, size, speed))
    slowing = (state.acceleration < -0.6) | ((state.speed < 0.1) & ~cast.parked)
    return WorldInstant(
        time=state.time,
        ego=state.ego,
        boxes=[*boxes, *cast.things],
        braking=frozenset(cast.names[i] for i in np.flatnonzero(slowing) if i != EGO),
        lights=[signal.light_at(state.time) for signal in world.roads.signals],
    )
