"""The initial population of a place: traffic, blocked lanes and pedestrians."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.nuscenes.box import Box, make_box
from drivers.nuscenes.world.instant import EGO_HEIGHT, EGO_LENGTH, EGO_MIDDLE, EGO_WIDTH, Ego
from drivers.nuscenes.world.lane_change import LONG, find_route
from drivers.nuscenes.world.lane_table import NONE, LaneTable, tabulate_lanes
from drivers.nuscenes.world.roads import Roads
from drivers.nuscenes.world.state import Cast, World, WorldState, make_world

# Length, width and height [m], and frequency
KINDS = {
    "vehicle.car": ((4.6, 1.85, 1.6), 0.66),
    "vehicle.truck": ((6.9, 2.4, 2.9), 0.1),
    "vehicle.bus.rigid": ((10.5, 2.6, 3.3), 0.05),
    "vehicle.motorcycle": ((2.2, 0.8, 1.5), 0.07),
    "vehicle.bicycle": ((1.8, 0.65, 1.6), 0.12),
}
STANDING = {
    "vehicle.car": (4.6, 1.85, 1.6),
    "vehicle.truck": (7.5, 2.5, 3.0),
    "vehicle.trailer": (10.0, 2.5, 3.6),
    "vehicle.construction": (6.0, 2.5, 2.9),
}
PEOPLE = {
    "human.pedestrian.adult": ((0.7, 0.7, 1.75), 0.6),
    "human.pedestrian.child": ((0.5, 0.5, 1.3), 0.12),
    "human.pedestrian.construction_worker": ((0.7, 0.7, 1.75), 0.05),
    "vehicle.bicycle": ((1.8, 0.65, 1.6), 0.23),
}
CONE = (0.4, 0.4, 0.8)
BARRIER = (0.5, 2.2, 1.0)
GAP = 65.0  # [m] between vehicles of a lane, on average
LEAD = 0.8  # share of scenes with a car before the ego
BLOCKED = 0.35  # share of blocked lanes on roads with several lanes of one direction
BLOCKED_AHEAD = 0.7  # the same on the roads ahead of the ego
CYCLIST = -0.9  # [m]: cyclists keep to the right of their lane


@dataclass(frozen=True, kw_only=True)
class _Vehicle:
    """A vehicle; its fields are those of Cast and WorldState."""

    category: str
    size: tuple[float, float, float]
    middle: float
    route: tuple[int, ...]
    along: float
    mood: float = 1.0
    home: float = 0.0
    parked: bool = False
    speed: float = 0.0


@dataclass(frozen=True, kw_only=True)
class _Person:
    """A pedestrian or a cyclist on a walk; its fields are those of Cast and WorldState."""

    category: str
    size: tuple[float, float, float]
    walk: int
    strolled: float
    facing: int
    pace: float
    to_left: float


def populate(roads: Roads, seed: int) -> tuple[World, WorldState]:
    """Return a place with random traffic; the ego is vehicle 0.

    Drivers start at speed, and no two road users overlap.
    """
    rng = np.random.default_rng(seed)
    table = tabulate_lanes(roads)
    ego = _place_ego(rng, table)
    taken = {ego.route[0]: [(ego.along - 12.0, ego.along + 16.0)]}
    vehicles, things = [ego, *_place_lead(rng, table, ego, taken)], []
    for lane in range(len(table.tokens)):
        vehicle, around = _block_lane(rng, table, lane, ego, taken)
        vehicles += vehicle
        things += around
    for lane in np.flatnonzero(~table.way):
        vehicles += _fill_lane(rng, table, int(lane), taken)
    people = [p for k in range(len(roads.walks)) for p in _place_people(rng, roads, k)]
    cast = Cast(
        names=("ego", *(f"vehicle-{i}" for i in range(1, len(vehicles)))),
        categories=tuple(v.category for v in vehicles),
        **_stack(vehicles, "size", "middle", "mood", "home", "parked"),
        things=things,
        people=tuple(f"person-{i}" for i in range(len(people))),
        people_categories=tuple(p.category for p in people),
        people_size=np.array([p.size for p in people]),
        **_stack(people, "walk", "pace", "to_left"),
    )
    x, y, yaw = (float(value) for value in table.pose(ego.route[0], ego.along))
    nothing = np.zeros(len(vehicles))
    state = WorldState(
        steps=0,
        seed=seed,
        ego=Ego(x=x, y=y, yaw=yaw, speed=ego.speed),
        **_stack(vehicles, "route", "along", "speed"),
        aside=cast.home.copy(),
        drift=nothing,
        acceleration=nothing,
        admitted=np.zeros(len(vehicles), bool),
        waited=nothing,
        slow=nothing,
        patience=nothing,
        **_stack(people, "strolled", "facing"),
        walking=np.ones(len(people), bool),
    )
    return make_world(roads, table, cast), state


def _stack(users: Sequence[Any], *names: str) -> dict[str, Any]:
    """Return arrays of these fields of road users, by name."""
    return {name: np.array([getattr(user, name) for user in users]) for name in names}


def _place_ego(rng: np.random.Generator, table: LaneTable) -> _Vehicle:
    """Return the ego at speed on a lane, well before its end."""
    lane = int(rng.choice(np.flatnonzero(~table.way & (table.length > 45))))
    along = float(table.length[lane] - rng.uniform(32, min(80, table.length[lane] - 8)))
    return _Vehicle(
        category="vehicle.car",
        size=(EGO_LENGTH, EGO_WIDTH, EGO_HEIGHT),
        middle=EGO_MIDDLE,
        route=tuple(find_route(table, rng, lane).tolist()),
        along=along,
        speed=float(rng.uniform(0.6, 0.9) * table.pace[table.first[lane] + int(along / 0.5)]),
    )


def _place_lead(
    rng: np.random.Generator,
    table: LaneTable,
    ego: _Vehicle,
    taken: dict[int, list[tuple[float, float]]],
) -> list[_Vehicle]:
    """Return a slower car before the ego, in most scenes."""
    along = ego.along + float(rng.uniform(14, 24))
    if rng.random() > LEAD or along > table.length[ego.route[0]] - 6:
        return []
    taken[ego.route[0]].append((ego.along, along + 10))
    size, _ = KINDS["vehicle.car"]
    return [
        _Vehicle(
            category="vehicle.car",
            size=size,
            middle=0.3 * size[0],
            route=ego.route,
            along=along,
            mood=float(rng.uniform(0.6, 0.9)),
            speed=ego.speed,
        )
    ]


def _block_lane(
    rng: np.random.Generator,
    table: LaneTable,
    lane: int,
    ego: _Vehicle,
    taken: dict[int, list[tuple[float, float]]],
) -> tuple[list[_Vehicle], list[Box]]:
    """Return the parked vehicle and the things that block a lane; another lane passes them."""
    length = float(table.length[lane])
    near = lane in table.beside(ego.route[0]) or lane in ego.route[:3]
    beside = [n for n in table.beside(lane) if n != lane]
    if (
        table.way[lane]
        or not beside
        or length < 80
        or any(n in taken and n != ego.route[0] for n in beside)
        or rng.random() > (BLOCKED_AHEAD if near else BLOCKED) / (1 + len(beside))
    ):
        return [], []
    along = float(rng.uniform(0.45, 0.6)) * length
    if lane == ego.route[0]:
        along = max(along, ego.along + 32)
    if along > length - 28:
        return [], []
    category = str(rng.choice(list(STANDING)))
    size = STANDING[category]
    taken.setdefault(lane, []).append((along - 14 - size[0] / 2, along + 6 + size[0] / 2))
    things = [
        _place_thing(table, (lane, along - size[0] / 2 - back, aside), CONE, f"cone-{lane}-{i}")
        for i, (back, aside) in enumerate([(2.5, 0.9), (4.5, 0.2), (6.5, -0.7)])
    ]
    if category == "vehicle.construction":
        ends = along - size[0] / 2 - 8.0, along + size[0] / 2 + 2.0
        things += [
            _place_thing(table, (lane, end, 0.0), BARRIER, f"barrier-{lane}-{i}")
            for i, end in enumerate(ends)
        ]
    route = tuple(find_route(table, rng, lane).tolist())
    vehicle = _Vehicle(
        category=category, size=size, middle=0.0, route=route, along=along, parked=True
    )
    return [vehicle], things


def _place_thing(
    table: LaneTable,
    place: tuple[int, float, float],
    size: tuple[float, float, float],
    name: str,
) -> Box:
    lane, along, aside = place
    x, y, yaw = table.pose(lane, along)
    category = "movable_object.trafficcone" if size is CONE else "movable_object.barrier"
    pose = x - aside * np.sin(yaw), y + aside * np.cos(yaw), yaw
    return make_box(name, category, pose, size)


def _fill_lane(
    rng: np.random.Generator,
    table: LaneTable,
    lane: int,
    taken: dict[int, list[tuple[float, float]]],
) -> list[_Vehicle]:
    """Return the moving vehicles of a lane, from its start."""
    vehicles: list[_Vehicle] = []
    along = float(rng.uniform(0, GAP))
    while True:
        outer = table.right[lane] == NONE
        chances = {k: c for k, (_, c) in KINDS.items() if outer or k != "vehicle.bicycle"}
        share = np.array(list(chances.values()))
        category = str(rng.choice(list(chances), p=share / share.sum()))
        (length, width, height), _ = KINDS[category]
        scale = rng.uniform(0.93, 1.07, 3)
        size = (float(length * scale[0]), float(width * scale[1]), float(height * scale[2]))
        along += size[0] / 2 + 3.0
        if along + size[0] / 2 > table.length[lane] - 8:
            return vehicles
        if not any(a - size[0] / 2 < along < b + size[0] / 2 for a, b in taken.get(lane, [])):
            cycle = category == "vehicle.bicycle"
            pace = float(table.pace[table.first[lane] + int(along / 0.5)])
            mood = 4.8 / pace if cycle else float(rng.uniform(0.75, 1.05))
            vehicles.append(
                _Vehicle(
                    category=category,
                    size=size,
                    middle=0.0 if size[0] > LONG else 0.3 * size[0],
                    route=tuple(find_route(table, rng, lane, size[0] > LONG).tolist()),
                    along=along,
                    mood=mood,
                    home=CYCLIST if cycle else 0.0,
                    speed=0.7 * mood * pace,
                )
            )
        along += size[0] / 2 + 4.0 + float(rng.exponential(GAP - 15))


def _place_people(rng: np.random.Generator, roads: Roads, number: int) -> list[_Person]:
    """Return the people on a walk, side by side; most of them head for the road."""
    walk = roads.walks[number]
    length = float(np.hypot(*np.diff(walk.points, axis=0).T).sum())
    before, turned = rng.random() < 0.5, rng.random() < 0.25
    low, high = (0.0, walk.enter - 0.8) if before else (walk.leave + 0.8, length)
    strolled = float(rng.uniform(low, high))
    kinds = rng.choice(list(PEOPLE), rng.integers(1, 4), p=[c for _, c in PEOPLE.values()])
    cycling = "vehicle.bicycle" in kinds
    pace = float(rng.uniform(2.5, 4.0) if cycling else rng.uniform(1.0, 1.8))
    return [
        _Person(
            category=str(kind),
            size=PEOPLE[str(kind)][0],
            walk=number,
            strolled=strolled,
            facing=1 if before != turned else -1,
            pace=pace,
            to_left=0.0 if cycling else 0.9 * i - 0.45 * (len(kinds) - 1),
        )
        for i, kind in enumerate(["vehicle.bicycle"] if cycling else kinds)
    ]
