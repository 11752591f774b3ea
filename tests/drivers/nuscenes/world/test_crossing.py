"""People on a walk over a road along x: they enter it after 10 m and leave it after 17 m."""

from dataclasses import replace

import numpy as np
import pytest
from small_world import WIDTH, Car, make_small_world

from drivers.nuscenes.world.crossing import step_people
from drivers.nuscenes.world.signals import Signal
from drivers.nuscenes.world.state import World, WorldState

FAR = Car(0, 20.0)
NOBODY = np.zeros((0, 7))
ENTER, LEAVE, END = 10.0, 10.0 + 2 * WIDTH, 20.0 + 2 * WIDTH


def place(x: float, y: float = 0.0, speed: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    """Return the rectangle of one vehicle, 4 m long and 2 m wide, as drivers see it."""
    return np.array([[x, y, yaw, 2.0, 1.0, speed, 0.0]])


def stand(at: float, facing: int = 1) -> tuple[World, WorldState]:
    """Return a world with one person so far along the walk [m], of 1.5 m/s."""
    return make_small_world([FAR], strolled=[at], facing=facing)


def walks(world: World, state: WorldState, vehicles: np.ndarray) -> bool:
    """Say whether the person goes on, by what is said and by what is done."""
    after = step_people(world, state, vehicles)
    gone = float((after.strolled - state.strolled)[0] * state.facing[0])
    assert gone == pytest.approx(0.15 if after.walking[0] else 0.0)
    return bool(after.walking[0])


def test_people_walk_at_their_pace_both_ways() -> None:
    world, state = make_small_world([FAR], strolled=[3.0, 20.0])
    world = replace(world, cast=replace(world.cast, pace=np.array([1.5, 0.8])))
    state = replace(state, facing=np.array([1, -1]))
    after = step_people(world, state, NOBODY)
    assert after.strolled == pytest.approx([3.15, 19.92])
    assert after.facing.tolist() == [1, -1]
    assert state.strolled.tolist() == [3.0, 20.0]  # the state itself stays


@pytest.mark.parametrize(
    ("at", "facing", "then"), [(END - 0.1, 1, END), (0.1, -1, 0.0), (0.15, -1, 0.0)]
)
def test_at_both_ends_of_a_walk_people_turn(at: float, facing: int, then: float) -> None:
    world, state = stand(at, facing)
    after = step_people(world, state, NOBODY)
    assert (after.strolled[0], after.facing[0]) == (then, -facing)
    again = step_people(world, after, NOBODY)
    assert again.strolled[0] == pytest.approx(then - 0.15 * facing)


# On the road, 2 m behind the kerb, heads a person at y = 0.25 to the left.
@pytest.mark.parametrize(
    ("speed", "reach", "wide"), [(0.0, 0.6, 0.25), (0.5, 0.6, 0.25), (0.51, 1.2, 0.5)]
)
def test_people_stop_before_vehicles_sooner_before_moving_ones(
    speed: float, reach: float, wide: float
) -> None:
    world, state = stand(12.0)
    last = 0.25 + reach + 1.0 + wide  # y of a vehicle that is just near
    assert not walks(world, state, place(100.0, last - 0.01, speed))
    assert walks(world, state, place(100.0, last + 0.01, speed))
    side = 100.0 + 2.0 + wide
    assert not walks(world, state, place(side - 0.01, 0.25 + reach, speed))
    assert walks(world, state, place(side + 0.01, 0.25 + reach, speed))
    across = place(100.0, 0.25 + reach + 2.0 + wide - 0.01, speed, np.pi / 2)
    assert not walks(world, state, across)
    assert not walks(world, state, np.concatenate([place(0.0), across]))


def test_people_do_not_stop_before_what_is_behind_them() -> None:
    world, state = stand(12.0, facing=-1)
    assert walks(world, state, place(100.0, 0.25 + 1.0, 5.0))  # 0.05 m away
    world, state = stand(12.0)
    assert not walks(world, state, place(100.0, 0.25 + 1.0, 5.0))


# At the kerb: v^2 / 6 + 0.6 v + 1.5 m from the bumper, 2 m ahead of the middle.
@pytest.mark.parametrize(
    ("speed", "needed"), [(9.0, 13.5 + 5.4 + 1.5), (3.0, 1.5 + 1.8 + 1.5), (0.3, 1.0)]
)
@pytest.mark.parametrize(("at", "facing"), [(ENTER - 0.05, 1), (LEAVE + 0.05, -1)])
def test_people_cross_before_who_can_still_stop(
    speed: float, needed: float, at: float, facing: int
) -> None:
    world, state = stand(at, facing)
    x = 100.0 - 2.0 - needed
    assert walks(world, state, place(x - 0.01, 1.0, speed))
    assert not walks(world, state, place(x + 0.01, 1.0, speed))
    there = 200.0 - x  # the same from the other side
    assert walks(world, state, place(there + 0.01, 1.0, speed, np.pi))
    assert not walks(world, state, place(there - 0.01, 1.0, speed, np.pi))


def test_people_cross_a_metre_behind_who_has_passed() -> None:
    world, state = stand(ENTER - 0.05)
    assert not walks(world, state, place(102.99, 1.0, 9.0))
    assert walks(world, state, place(103.01, 1.0, 9.0))
    assert not walks(world, state, np.concatenate([place(103.01, 1.0, 9.0), place(97.5)]))


@pytest.mark.parametrize(
    ("at", "facing", "waits"),
    [
        (ENTER - 0.16, 1, False), (ENTER - 0.15, 1, True), (ENTER, 1, True),
        (ENTER + 0.01, 1, False), (LEAVE + 0.15, -1, True), (LEAVE + 0.16, -1, False),
        (LEAVE - 0.01, -1, False), (LEAVE + 0.05, 1, False),
    ],
)  # fmt: skip
def test_people_wait_at_the_kerb_alone(at: float, facing: int, waits: bool) -> None:
    world, state = stand(at, facing)
    assert walks(world, state, place(85.0, 1.0, 9.0)) != waits


@pytest.mark.parametrize(
    ("lane", "time", "crosses"),
    [
        ("right", 0.0, False), ("right", 8.0, False), ("right", 10.0, True),
        ("left", 0.0, True), ("right", 19.9, True), ("right", 20.0, False),
    ],
)  # fmt: skip
def test_people_cross_when_the_light_of_their_lanes_is_red(
    lane: str, time: float, crosses: bool
) -> None:
    """Green from 0 to 7 s, yellow to 9.5 s, red to 20 s."""
    world, state = stand(ENTER - 0.05)
    signal = Signal(
        x=0.0, y=0.0, z=3.4, yaw=0.0, lanes=(lane,), period=20.0, start=0.0, green=7.0
    )  # fmt: skip
    walk = replace(world.roads.walks[0], lanes=("right",))
    world = replace(world, roads=replace(world.roads, signals=[signal], walks=[walk]))
    assert walks(world, replace(state, steps=round(10 * time)), NOBODY) == crosses
