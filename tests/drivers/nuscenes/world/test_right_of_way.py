"""Who may enter a junction: one lane leads to two ways through it, a third way crosses one."""

from dataclasses import replace

import numpy as np
import pytest
from small_world import Car, make_small_world

from drivers.nuscenes.world.instant import EGO_LENGTH, EGO_MIDDLE
from drivers.nuscenes.world.right_of_way import admit
from drivers.nuscenes.world.state import World, WorldState

INTO, AHEAD, ASIDE, ACROSS, OUT, OTHER = range(6)  # lanes; ACROSS meets AHEAD
TO_OUT, TO_OTHER = (INTO, AHEAD, OUT), (INTO, ASIDE, OTHER)


def add_junction(world: World) -> World:
    """Return the world with a junction of these lanes, as far as rights of way go."""
    none = np.zeros(6, int)
    table = replace(
        world.table,
        tokens=("into", "ahead", "aside", "across", "out", "other"),
        first=none,
        count=none,
        spacing=np.ones(6),
        length=np.array([55.0, 20.0, 20.0, 20.0, 200.0, 200.0]),
        stop=np.array([50.0, np.inf, np.inf, np.inf, 190.0, 190.0]),
        way=np.array([False, True, True, True, False, False]),
        left=none - 1,
        right=none - 1,
        incoming=((), (INTO,), (INTO,), (), (AHEAD, ACROSS), (ASIDE,)),
        outgoing=((AHEAD, ASIDE), (OUT,), (OTHER,), (OUT,), (), ()),
        conflicts=(
            frozenset(),
            frozenset({ACROSS}),
            frozenset(),
            frozenset({AHEAD}),
            *[frozenset()] * 2,
        ),
    )
    return replace(world, table=table)


def list_admitted(ego: Car, *routes: tuple[int, int, int]) -> list[bool]:
    """Return who of two that wait, one behind the other, may enter now."""
    world, state = make_small_world([ego, Car(INTO, 44.0), Car(INTO, 39.0)])
    route = state.route.copy()
    route[0, 1:] = OUT
    route[1:, :3] = routes
    found = admit(add_junction(world), replace(state, route=route), ego_obeys=True)
    return found.admitted[1:].tolist()


FAR = Car(OUT, 100.0)


def test_on_free_ways_both_are_admitted() -> None:
    assert list_admitted(FAR, TO_OUT, TO_OTHER) == [True, True]
    assert list_admitted(FAR, TO_OUT, TO_OUT) == [True, True]


def test_nobody_is_admitted_behind_a_driver_who_waits_for_a_crossing_way() -> None:
    across = Car(ACROSS, 5.0)
    assert list_admitted(across, TO_OUT, TO_OTHER) == [False, False]
    assert list_admitted(across, TO_OTHER, TO_OUT) == [True, False]


@pytest.mark.parametrize(("gap", "free"), [(2.9, False), (3.1, True)])
def test_nobody_is_admitted_behind_a_driver_who_finds_no_room_behind_the_junction(
    gap: float, free: bool
) -> None:
    """Room is a car and three metres, from the start of the lane to the rear of the next."""
    stands = Car(OUT, EGO_LENGTH + gap + EGO_LENGTH / 2 - EGO_MIDDLE)
    assert list_admitted(stands, TO_OUT, TO_OTHER) == [free, free]
    assert list_admitted(stands, TO_OTHER, TO_OUT) == [True, free]
    assert list_admitted(replace(stands, speed=2.1), TO_OUT, TO_OTHER) == [True, True]


@pytest.mark.parametrize(
    ("speed", "reach"), [(0.0, 8.0), (5.0, 8 + 10 + 5), (8.0, 8 + 16 + 12.8)]
)
def test_drivers_ask_at_a_distance_that_grows_with_their_speed(
    speed: float, reach: float
) -> None:
    for before, asks in ((reach - 0.05, True), (reach + 0.05, False)):
        along = 50 - EGO_MIDDLE - EGO_LENGTH / 2 - before
        world, state = make_small_world([FAR, Car(INTO, along, speed)])
        route = state.route.copy()
        route[0, 1:] = OUT
        route[1, :3] = TO_OUT
        found = admit(add_junction(world), replace(state, route=route), ego_obeys=True)
        assert found.admitted[1] == asks


def approach(speed: float) -> tuple[World, WorldState]:
    """Return an ego 1.5 m before the line, and a car on a way that crosses its own."""
    world, state = make_small_world([Car(INTO, 45.0, speed), Car(ACROSS, 5.0)])
    left = 50 - 45 - EGO_MIDDLE - EGO_LENGTH / 2
    assert left == pytest.approx(1.5, abs=0.05)
    route = state.route.copy()
    route[0, :3], route[1, 1:] = TO_OUT, OUT
    return add_junction(world), replace(state, route=route)


def test_an_ego_that_obeys_nobody_is_not_held_up_where_it_cannot_stop() -> None:
    """From 3.5 m/s it brakes gently for 2 m: half a metre beyond the line."""
    world, state = approach(3.6)
    assert not admit(world, approach(3.3)[1], ego_obeys=False).admitted[0]
    assert admit(world, state, ego_obeys=False).admitted[0]
    assert not admit(world, state, ego_obeys=True).admitted[0]


def test_an_ego_that_obeys_nobody_is_admitted_in_its_turn() -> None:
    """While it stands, it waits as all do; with its turn it keeps the way from others."""
    world, state = approach(0.0)
    for _ in range(3):
        state = admit(world, state, ego_obeys=False)
    assert not state.admitted[0]
    assert state.waited[0] == pytest.approx(0.3)
    along = state.along.copy()
    along[1] = 30.0
    route = state.route.copy()
    route[1, 0] = OUT
    state = admit(world, replace(state, along=along, route=route), ego_obeys=False)
    assert state.admitted[0]
    route = route.copy()
    route[1, :3] = INTO, ACROSS, OUT
    waited = np.array([0.0, 5.0])  # longer than the ego
    state = replace(state, route=route, along=np.array([45.0, 44.0]), waited=waited)
    after = admit(world, state, ego_obeys=False)
    assert after.admitted.tolist() == [True, False]
