from dataclasses import replace

import numpy as np
import pytest
from straight_road import make_box, make_scene, make_straight_road

from drivers.nuscenes.box import Box
from drivers.nuscenes.schema import CATEGORIES
from drivers.nuscenes.world.instant import Ego, WorldInstant
from drivers.nuscenes.world.render import Scan, Scenery, draw_instant, make_scenery, scan_around
from drivers.nuscenes.world.render.lidar import RANGE, RINGS
from drivers.nuscenes.world.rig import flat_to_global, lidar_to_ego

EGO = Ego(x=40.0, y=98.25, yaw=0.3, speed=8.0)
CAR = make_box("car", "vehicle.car", 52.0, 102.0, yaw=0.3)


@pytest.fixture(scope="module")
def scenery() -> Scenery:
    return make_scenery(make_straight_road(), 2)


def scan(scenery: Scenery, *boxes: Box) -> Scan:
    instant = WorldInstant(time=0.0, ego=EGO, boxes=boxes, braking=frozenset(), lights=())
    return scan_around(scenery, draw_instant(scenery, instant), EGO)


def to_global(found: Scan) -> np.ndarray:
    points = np.column_stack([found.points[:, :3], np.ones(len(found.points))])
    return (points @ (flat_to_global(EGO.x, EGO.y, EGO.yaw) @ lidar_to_ego()).T)[:, :3]


def test_points_on_the_ground_have_the_class_of_the_ground(scenery: Scenery) -> None:
    found = scan(scenery)
    points, flat = to_global(found), np.abs(to_global(found)[:, 2]) < 1e-4
    assert flat.sum() > 300
    flat &= points[:, 0] > 0  # where the road begins
    y = points[flat, 1]
    road = np.abs(y - 100) < 6.7
    walk = (np.abs(y - 100) > 7.3) & (np.abs(y - 100) < 10.7)
    labels = np.array(CATEGORIES)[found.labels[flat]]
    assert set(labels[road]) == {"flat.driveable_surface"}
    assert set(labels[walk]) == {"flat.sidewalk"}
    assert set(np.array(CATEGORIES)[found.labels[np.abs(points[:, 2]) > 0.01]]) <= {
        "static.manmade",
        "static.vegetation",
    }
    assert (found.owner == -1).all()


def test_points_of_a_box_lie_in_it_and_name_it(scenery: Scenery) -> None:
    walker = make_box("walker", "human.pedestrian.adult", 46.0, 98.0)
    found = scan(scenery, walker, CAR)
    for number, box in enumerate((walker, CAR)):
        own = to_global(found)[found.owner == number] - [box.x, box.y, box.z]
        c, s = np.cos(box.yaw), np.sin(box.yaw)
        inside = own @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        assert len(own) > 5
        assert (np.abs(inside) < np.array([box.length, box.width, box.height]) / 2).all()
        labels = found.labels[found.owner == number]
        assert set(labels) == {CATEGORIES.index(box.category)}


def test_the_x_of_points_is_to_the_right_and_y_forward(scenery: Scenery) -> None:
    found = scan(scenery, CAR)
    x, y, z, _, _ = found.points[found.owner == 0].mean(axis=0)
    ahead = np.array([CAR.x - EGO.x, CAR.y - EGO.y])
    forward, left = ahead @ [np.cos(0.3), np.sin(0.3)], ahead @ [-np.sin(0.3), np.cos(0.3)]
    assert x == pytest.approx(-left, abs=1.0)
    assert y == pytest.approx(forward - 0.94, abs=2.5)
    assert -1.84 < z < 0


def test_rings_climb_and_beams_end_within_the_range(scenery: Scenery) -> None:
    found = scan(scenery, CAR)
    x, y, z, intensity, ring = found.points.T
    elevation = np.arcsin(z / np.linalg.norm(found.points[:, :3], axis=1))
    assert elevation == pytest.approx(RINGS[ring.astype(int)], abs=1e-5)
    assert np.hypot(x, y).max() < RANGE
    assert found.points.dtype == np.float32
    assert (intensity >= 0).all()
    assert (intensity <= 255).all()
    assert 500 < len(found.points) < 784


def test_a_car_behind_a_truck_gets_no_points(scenery: Scenery) -> None:
    truck = make_box("truck", "vehicle.truck", 52.0, 102.0, yaw=0.3)
    hidden = replace(CAR, x=60.0, y=104.5)
    assert (scan(scenery, hidden).owner == 0).sum() > 3
    assert (scan(scenery, truck, hidden).owner == 1).sum() == 0


def test_shadows_are_no_things(scenery: Scenery) -> None:
    instant = make_scene(2).instants[0]
    found = scan_around(scenery, draw_instant(scenery, instant), instant.ego)
    low = found.points[found.owner >= 0][:, 2]
    assert low.min() > -1.84 + 0.01
