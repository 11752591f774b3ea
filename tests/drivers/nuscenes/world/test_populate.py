"""Who is put where at the start of a scene."""

import numpy as np
import pytest
from small_world import RIGHT, Car, make_small_world

from drivers.nuscenes.world.populate import CYCLIST, LEAD, _place_lead, _Vehicle, populate
from drivers.nuscenes.world.roads import make_roads
from drivers.nuscenes.world.state import EGO

WORLD, _ = make_small_world([Car(RIGHT, 50.0)])


def put_lead(along: float, seed: int) -> list[_Vehicle]:
    """Return the car before an ego so far along a lane of 200 m."""
    ego = _Vehicle(
        category="vehicle.car", size=(4.0, 1.8, 1.5), middle=1.4, route=(RIGHT,), along=along,
        speed=7.0,
    )  # fmt: skip
    return _place_lead(np.random.default_rng(seed), WORLD.table, ego, {RIGHT: []})


@pytest.mark.parametrize("seed", range(20))
def test_a_car_drives_before_the_ego_in_four_of_five_scenes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ahead, chance = rng.uniform(14, 24), rng.random()
    found = put_lead(50.0, seed)
    assert [(v.along, v.speed, v.route) for v in found] == [
        (pytest.approx(50 + ahead), 7.0, (RIGHT,))
    ] * (chance <= LEAD)
    assert all((v.category, v.size) == ("vehicle.car", (4.6, 1.85, 1.6)) for v in found)
    assert put_lead(181.0, seed) == []  # 195 m or more: too near to the end of the lane


@pytest.mark.parametrize("seed", [0, 2])
def test_cyclists_keep_to_the_right_and_go_at_their_pace(seed: int) -> None:
    world, state = populate(make_roads(seed), seed)
    cast = world.cast
    cycles = np.array([name == "vehicle.bicycle" for name in cast.categories])
    driven = ~cast.parked & (np.arange(len(cycles)) != EGO)
    assert (cycles & driven).any()
    assert (cast.home[cycles & driven] == CYCLIST).all()
    assert (cast.home[~cycles & driven] == 0).all()
    np.testing.assert_allclose(state.speed[cycles & driven], 0.7 * 4.8)
