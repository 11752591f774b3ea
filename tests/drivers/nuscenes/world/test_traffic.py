"""Traffic keeps its rules: gaps, lanes, lights, rights of way, people."""

from dataclasses import fields, replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from small_world import LEFT, LENGTH, LIMIT, RIGHT, WIDTH, Car, find_touches, make_small_world

from drivers.nuscenes.world.populate import populate
from drivers.nuscenes.world.poses import show
from drivers.nuscenes.world.right_of_way import list_fronts
from drivers.nuscenes.world.roads import make_roads
from drivers.nuscenes.world.simulate import WARM_UP
from drivers.nuscenes.world.state import EGO, World, WorldState
from drivers.nuscenes.world.traffic import step_traffic


def run(world: World, state: WorldState, steps: int) -> list[WorldState]:
    states = [state]
    for _ in range(steps):
        states.append(step_traffic(world, states[-1]))
    return states


@cache
def drive_a_place(seed: int) -> tuple[World, list[WorldState]]:
    world, state = populate(make_roads(seed), seed)
    return world, run(world, state, 120)


def test_a_step_leaves_the_state_alone_and_a_seed_repeats_itself() -> None:
    world, states = drive_a_place(0)
    before = {
        f.name: np.copy(getattr(states[5], f.name))
        for f in fields(WorldState)
        if f.name != "ego"
    }
    again = step_traffic(world, states[5])
    for name, value in before.items():
        assert np.array_equal(value, getattr(states[5], name))
        assert np.array_equal(getattr(again, name), getattr(states[6], name))
    assert again.ego == states[6].ego
    assert again.steps == 6


def test_alone_a_driver_reaches_the_speed_limit_and_keeps_it() -> None:
    world, state = make_small_world([Car(RIGHT, 10.0)])
    states = run(world, replace(state, seed=3), 150)
    assert states[-1].speed[0] == pytest.approx(LIMIT, abs=0.2)
    ego = states[-1].ego
    assert ego.y == 0
    assert ego.x == pytest.approx(states[-1].along[0])
    assert states[1].ego.x == pytest.approx(10 + 0.1 * states[1].speed[0] / 2)


def test_the_ring_goes_on_at_its_start() -> None:
    world, state = make_small_world([Car(RIGHT, LENGTH - 1, 8.0)])
    after = step_traffic(world, step_traffic(world, state))
    assert 0 < after.along[0] < 1
    assert after.route.shape == state.route.shape


def test_behind_a_car_that_stops_everybody_stops_without_a_touch() -> None:
    cars = [Car(RIGHT, 40.0, 8.0), Car(RIGHT, 25.0, 8.0), Car(RIGHT, 8.0, 8.0)]
    world, state = make_small_world(cars)
    ego = state.ego
    for _ in range(100):  # it brakes by 5 m/s^2
        speed = max(0.0, ego.speed - 0.5)
        ego = replace(ego, x=ego.x + speed / 10, speed=speed, acceleration=-5.0)
        state = step_traffic(world, state, ego)
        assert not len(find_touches(world, state))
    on_lane = state.route[:, 0] == RIGHT
    assert (state.speed[on_lane] < 0.3).all()


def test_around_a_parked_car_one_drives_on_the_lane_beside() -> None:
    world, state = make_small_world([Car(RIGHT, 20.0, 8.0), Car(RIGHT, 75.0, parked=True)])
    states = run(world, state, 130)
    assert not any(len(find_touches(world, s)) for s in states)
    assert states[-1].along[EGO] > 90
    assert max(s.ego.y for s in states) == pytest.approx(WIDTH, abs=0.3)
    sides = [s.ego.y for s in states]
    assert np.abs(np.diff(sides)).max() < 0.25  # nobody jumps over


def test_onto_a_lane_that_is_taken_nobody_changes() -> None:
    cars = [Car(RIGHT, 40.0, 5.0), Car(RIGHT, 62.0, parked=True), Car(LEFT, 38.0, 5.0)]
    world, state = make_small_world(cars)
    assert step_traffic(world, state).route[EGO, 0] == RIGHT
    cars[2] = Car(LEFT, 20.0, 10.0)  # comes from behind, too fast
    assert step_traffic(*make_small_world(cars)).route[EGO, 0] == RIGHT
    cars[2] = Car(LEFT, 5.0, 5.0)
    after = step_traffic(*make_small_world(cars))
    assert after.route[EGO, 0] == LEFT
    assert after.aside[EGO] == pytest.approx(-WIDTH, abs=0.1)  # it is where it was
    assert after.ego.y == pytest.approx(0, abs=0.1)


def test_for_people_on_the_road_drivers_stop() -> None:
    world, state = make_small_world([Car(RIGHT, 70.0, 8.0)], strolled=[10.5])
    states = run(world, state, 40)
    assert min(s.speed[0] for s in states) < 3
    assert not any(len(find_touches(world, s)) for s in states)


def test_people_wait_for_who_cannot_stop_and_cross_before_who_can() -> None:
    world, state = make_small_world([Car(RIGHT, 88.0, 9.0)], strolled=[9.95])
    after = step_traffic(world, state)
    assert not after.walking[0]
    assert after.strolled[0] == 9.95
    world, state = make_small_world([Car(RIGHT, 40.0, 9.0)], strolled=[9.95])
    after = step_traffic(world, state)
    assert after.walking[0]
    assert after.strolled[0] == pytest.approx(9.95 + 0.15)
    passed, state = make_small_world([Car(RIGHT, 103.0, 9.0)], strolled=[9.95])
    assert step_traffic(passed, state).walking[0]


def test_at_the_end_of_their_walk_people_turn_back() -> None:
    world, state = make_small_world([Car(RIGHT, 20.0)], strolled=[26.9])
    after = step_traffic(world, state)
    assert after.strolled[0] == 27.0
    assert after.facing[0] == -1
    again = step_traffic(world, after)
    assert again.strolled[0] == pytest.approx(26.85)
    heading = show(world, again).boxes[-1].yaw
    assert np.sin(heading) == pytest.approx(-1)


@pytest.mark.parametrize("seed", [0, 2])
def test_nobody_passes_a_red_light_or_meets_another_on_crossing_ways(seed: int) -> None:
    world, states = drive_a_place(seed)
    table = world.table
    fronts = list_fronts(world)
    signal = {s.lanes[0]: s for s in world.roads.signals}
    entered = 0
    for before, after in pairwise(states[WARM_UP:]):
        lane, now = before.route[:, 0], after.route[:, 0]
        entered += int((table.way[now] & ~table.way[lane]).sum())
        ahead, after_it = (table.stop[lane] - s.along - fronts for s in (before, after))
        passes = (ahead > 0) & (after_it <= 0) & (lane == now) & (before.speed > 0.5)
        for i in np.flatnonzero(passes & table.way[before.route[:, 1]]):
            light = signal.get(table.tokens[lane[i]])
            assert light is None or light.colour_at(before.time) != "red"
        inside = set(now[table.way[now]].tolist())
        for one in inside:
            assert not table.conflicts[one] & inside
    assert entered > 5


def test_most_move_and_nobody_leaves_the_drivable_area_for_long() -> None:
    world, states = drive_a_place(2)
    driven = ~world.cast.parked
    moving = [(s.speed[driven] > 0.5).mean() for s in states]
    assert np.mean(moving) > 0.7
    assert all((s.speed >= 0).all() for s in states)
    assert np.abs(states[-1].aside).max() < 4


def test_boxes_keep_their_names_sizes_and_order() -> None:
    world, states = drive_a_place(0)
    first, last = show(world, states[0]), show(world, states[-1])
    assert [b.instance for b in first.boxes] == [b.instance for b in last.boxes]
    assert [b.length for b in first.boxes] == [b.length for b in last.boxes]
    assert len({b.instance for b in first.boxes}) == len(first.boxes)
    assert len(last.lights) == len(world.roads.signals)
    assert last.time == 12.0
    assert last.ego == states[-1].ego
    for box in last.boxes:
        speed = np.hypot(box.vx, box.vy)
        assert box.attribute != "vehicle.parked" or speed == 0
        if box.attribute == "vehicle.moving":
            assert speed > 0.2


def test_brake_lights_shine_while_a_car_brakes_or_stands() -> None:
    cars = [Car(LEFT, 5.0, 8.0), Car(RIGHT, 60.0, 8.0), Car(RIGHT, 72.0, 0.0)]
    world, state = make_small_world(cars)
    state.acceleration[2] = -1.0
    assert show(world, step_traffic(world, state)).braking == {"car-1"}
