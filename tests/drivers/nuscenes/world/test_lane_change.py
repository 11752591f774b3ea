"""Room that a change of lane needs, ahead and behind; everybody stands."""

import numpy as np
import pytest
from small_world import LEFT, RIGHT, WIDTH, Car, make_small_world

from drivers.nuscenes.world.instant import EGO_LENGTH, EGO_MIDDLE
from drivers.nuscenes.world.lane_change import move_over
from drivers.nuscenes.world.right_of_way import list_fronts

FRONT = EGO_MIDDLE + EGO_LENGTH / 2
NOBODY = np.zeros((0, 7))


def canmove_over(*others: Car, seen: np.ndarray = NOBODY) -> bool:
    """Say whether the ego, on the right lane at 40 m, may move to the left one.

    seen: rectangles, as of :mod:`drivers.nuscenes.world.sight`.
    """
    world, state = make_small_world([Car(RIGHT, 40.0), *others])
    return move_over(world, state, seen, (0, LEFT), list_fronts(world)) is not None


@pytest.mark.parametrize(("gap", "free"), [(2.9, False), (3.1, True), (-2.0, False)])
def test_ahead_three_metres_are_free_up_to_the_next_car(gap: float, free: bool) -> None:
    assert canmove_over(Car(LEFT, 40.0 + EGO_LENGTH + gap)) == free


@pytest.mark.parametrize(("gap", "free"), [(1.9, False), (2.1, True), (-2.0, False)])
def test_behind_two_metres_are_free_down_to_the_next_car(gap: float, free: bool) -> None:
    assert canmove_over(Car(LEFT, 40.0 - EGO_LENGTH - gap)) == free


@pytest.mark.parametrize(("gap", "free"), [(2.4, False), (3.6, True)])
def test_ahead_three_metres_are_free_up_to_what_is_seen_there(gap: float, free: bool) -> None:
    own = [40.0 + EGO_MIDDLE, 0.0, 0.0, EGO_LENGTH / 2, 0.9, 0.0, 0.0]
    thing = [40.0 + FRONT + gap + 0.2, WIDTH, 0.0, 0.2, 0.2, 0.0, 0.0]
    assert canmove_over(seen=np.array([own, thing])) == free
