"""Scenes are sound, repeat themselves, and cannot be driven through blindly."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import shapely
from shapely import unary_union
from small_world import LEFT, RIGHT, Car, make_small_world

from drivers.nuscenes.geometry import outline_box
from drivers.nuscenes.world.difficulty import Difficulty, forecast_scene, measure_difficulty
from drivers.nuscenes.world.instant import Ego, WorldScene
from drivers.nuscenes.world.poses import show
from drivers.nuscenes.world.simulate import is_sound, simulate_scene
from drivers.nuscenes.world.traffic import step_traffic


@pytest.fixture(scope="module")
def scenes() -> list[WorldScene]:
    return [simulate_scene([1, k], 12) for k in (6, 7)]


@pytest.mark.slow
def test_a_scene_has_its_keyframes_half_a_second_apart(scenes: list[WorldScene]) -> None:
    for scene in scenes:
        assert len(scene.instants[::5]) == 12
        assert [i.time for i in scene.instants[::5]] == [k / 2 for k in range(12)]


def test_the_ego_moves_as_its_speed_and_curvature_say(scenes: list[WorldScene]) -> None:
    for scene in scenes:
        egos = [i.ego for i in scene.instants]
        for a, b in pairwise(egos):
            way = np.hypot(b.x - a.x, b.y - a.y)
            assert way == pytest.approx((a.speed + b.speed) / 20, abs=0.04)
            assert b.acceleration == pytest.approx((b.speed - a.speed) * 10)
            assert abs(b.yaw - a.yaw) < 0.12
            if b.speed > 1:
                assert b.yaw - a.yaw == pytest.approx(way * b.curvature, abs=0.01)


def test_in_a_sound_scene_nobody_overlaps_and_the_ego_is_on_the_road(
    scenes: list[WorldScene],
) -> None:
    for scene in scenes:
        drivable = unary_union(scene.road_map.drivable).buffer(0.05)
        assert all(is_sound(i, drivable) for i in scene.instants)
        assert sum(i.ego.speed for i in scene.instants) / 10 > 13


def test_unsound_instants_are_found() -> None:
    world, state = make_small_world([Car(RIGHT, 50.0), Car(RIGHT, 60.0), Car(LEFT, 50.0)])
    drivable = unary_union(world.roads.map.drivable)
    instant = show(world, state)
    assert is_sound(instant, drivable)
    assert not is_sound(replace(instant, ego=replace(instant.ego, x=56.5)), drivable)
    assert not is_sound(replace(instant, ego=replace(instant.ego, y=-0.9)), drivable)
    near, far = instant.boxes
    assert not is_sound(replace(instant, boxes=[near, replace(near, instance="b")]), drivable)
    other = replace(far, x=150.0)
    away = replace(instant, boxes=[near, other, replace(other, instance="c")])
    assert is_sound(away, drivable)  # too far to matter


def test_a_box_covers_its_ground() -> None:
    area = outline_box(replace(Ego(x=0.0, y=0.0, yaw=0.5, speed=1.0).box, width=2.0))
    assert area.area == pytest.approx(4.084 * 2)
    assert area.centroid.x == pytest.approx(1.44 * np.cos(0.5))
    turned = shapely.affinity.rotate(area, -0.5, "centroid", use_radians=True)
    x0, y0, x1, y1 = turned.bounds
    assert (x1 - x0, y1 - y0) == pytest.approx((4.084, 2.0))


def test_a_seed_makes_one_scene() -> None:
    one, other = simulate_scene([1, 0], 2), simulate_scene([1, 0], 2)
    assert [i.ego for i in one.instants] == [i.ego for i in other.instants]
    assert [i.boxes for i in one.instants] == [i.boxes for i in other.instants]
    assert simulate_scene(2, 2).instants[0].ego != one.instants[0].ego


def test_a_scene_of_one_keyframe_is_refused() -> None:
    with pytest.raises(ValueError, match="2 keyframes or more, got 1"):
        simulate_scene(0, 1)


def test_scenes_cannot_be_driven_through_blindly(scenes: list[WorldScene]) -> None:
    """The bounds of a data set that is worth planning on.

    These two scenes meet them alone; sets of 20 or more meet them on average.
    """
    found = measure_difficulty(list(map(forecast_scene, scenes)))
    assert found.distance > 1.7
    assert found.met > 0.1
    assert found.static < 0.35
    assert found.moving > 0.7


def test_difficulty_of_cars_that_keep_their_velocity_is_none() -> None:
    cars = [Car(RIGHT, 20.0, 5.0), Car(LEFT, 30.0, 5.0), Car(RIGHT, 150.0, parked=True)]
    world, state = make_small_world(cars)
    instants = []
    for k in range(31):
        x = 20 + 0.5 * k
        moved = replace(state, along=np.array([x, 30 + 0.5 * k, 150.0]))
        instant = show(world, replace(moved, ego=replace(state.ego, x=x)))
        instants.append(replace(instant, time=k / 10))
    scene = WorldScene(road_map=world.roads.map, instants=instants, description="")
    found = measure_difficulty([forecast_scene(scene)])
    # After 2 s the other car is 10 m farther: 4 of 2 x 4 cells were covered, none in common.
    assert found == Difficulty(distance=0.0, collisions=0.0, met=0.0, static=0.0, moving=1.0)
    frozen = [replace(instants[0], time=k / 10) for k in range(31)]
    still = measure_difficulty([forecast_scene(replace(scene, instants=frozen))])
    assert still.distance == pytest.approx(5 * 1.75)  # mean of 0.5 to 3 s
    assert still.static == 1.0
    assert still.collisions == still.met == 0.0
    with pytest.raises(ValueError, match="give longer scenes"):
        measure_difficulty([forecast_scene(replace(scene, instants=frozen[:30]))])


def test_constant_velocity_meets_a_car_that_stands() -> None:
    world, state = make_small_world([Car(RIGHT, 20.0, 5.0), Car(RIGHT, 32.0, parked=True)])
    instant = show(world, state)
    scene = WorldScene(road_map=world.roads.map, instants=[instant] * 31, description="")
    found = measure_difficulty([forecast_scene(scene)])
    assert found.met == 1.0
    # Bumper to bumper it is 12 - 4.084 m: it touches from 2 s on, and 3 s are foreseen.
    assert found.collisions == 3 / 6
    assert found.moving == 0.0
    assert step_traffic(world, state).acceleration[0] < 0
