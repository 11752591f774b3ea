"""A world of two straight lanes side by side, which lead into themselves, for tests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from shapely.geometry import box

from drivers.nuscenes.road_map import Lane, RoadMap
from drivers.nuscenes.world.instant import EGO_LENGTH, EGO_MIDDLE, EGO_WIDTH, Ego
from drivers.nuscenes.world.lane_table import tabulate_lanes
from drivers.nuscenes.world.poses import show
from drivers.nuscenes.world.roads import Footway, Roads
from drivers.nuscenes.world.sight import find_overlaps
from drivers.nuscenes.world.simulate import stack_boxes
from drivers.nuscenes.world.state import ROUTE, Cast, World, WorldState, make_world

LENGTH, WIDTH, LIMIT = 200.0, 3.5, 10.0
LEFT, RIGHT = 0, 1  # numbers of the lanes; the right one lies on the x axis


@dataclass(frozen=True)
class Car:
    """A vehicle of the ego's size."""

    lane: int
    along: float
    speed: float = 0.0
    parked: bool = False


def make_small_world(
    cars: Sequence[Car], strolled: Sequence[float] = (), facing: int = 1
) -> tuple[World, WorldState]:
    """Return a world with cars, the ego first, and people on a walk over both lanes at 100 m.

    The walk comes from the right: it starts 10 m from the road, which it enters after 10 m.
    """
    x = np.arange(0, LENGTH + 0.25, 0.5)
    lanes = {
        name: Lane(
            token=name,
            polygon=box(0, y - WIDTH / 2, LENGTH, y + WIDTH / 2),
            centreline=np.stack([x, np.full_like(x, y), 0 * x], 1),
            incoming=(name,),
            outgoing=(name,),
            speed_limit=LIMIT,
            stop_line=LENGTH - 1,
        )
        for name, y in (("left", WIDTH), ("right", 0.0))
    }
    edge = -WIDTH / 2
    walk = Footway(
        points=np.array([[100.0, edge - 10], [100.0, edge], [100.0, edge + 2 * WIDTH + 10]]),
        enter=10.0,
        leave=10.0 + 2 * WIDTH,
        lanes=(),
    )
    road_map = RoadMap(
        location="boston-seaport",
        size=(LENGTH, 20.0),
        drivable=[lane.polygon for lane in lanes.values()],
        lanes=lanes,
        lane_dividers=[],
        road_dividers=[],
        crossings=[],
        walkways=[],
        stop_lines=[],
    )
    roads = Roads(
        map=road_map,
        left={"right": "left"},
        right={"left": "right"},
        conflicts={},
        signals=[],
        walks=[walk],
    )
    n, w = len(cars), len(strolled)
    cast = Cast(
        names=("ego", *(f"car-{i}" for i in range(1, n))),
        categories=("vehicle.car",) * n,
        size=np.array([[EGO_LENGTH, EGO_WIDTH, 1.5]] * n),
        middle=np.full(n, EGO_MIDDLE),
        mood=np.ones(n),
        home=np.zeros(n),
        parked=np.array([car.parked for car in cars]),
        things=[],
        people=tuple(f"person-{i}" for i in range(w)),
        people_categories=("human.pedestrian.adult",) * w,
        people_size=np.array([[0.6, 0.6, 1.7]] * w).reshape(w, 3),
        walk=np.zeros(w, int),
        pace=np.full(w, 1.5),
        to_left=np.zeros(w),
    )
    first = cars[0]
    y = WIDTH if first.lane == LEFT else 0.0
    state = WorldState(
        steps=0,
        seed=0,
        ego=Ego(x=first.along, y=y, yaw=0.0, speed=first.speed),
        route=np.array([[car.lane] * ROUTE for car in cars]),
        along=np.array([car.along for car in cars]),
        aside=np.zeros(n),
        drift=np.zeros(n),
        speed=np.array([car.speed for car in cars]),
        acceleration=np.zeros(n),
        admitted=np.zeros(n, bool),
        waited=np.zeros(n),
        slow=np.zeros(n),
        patience=np.zeros(n),
        strolled=np.array(strolled, float),
        facing=np.full(w, facing),
        walking=np.ones(w, bool),
    )
    return make_world(roads, tabulate_lanes(roads), cast), state


def find_touches(world: World, state: WorldState) -> np.ndarray:
    """Return the pairs of boxes that overlap; the ego is number 0."""
    return find_overlaps(stack_boxes([state.ego.box, *show(world, state).boxes]))
