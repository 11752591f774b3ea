from dataclasses import replace

import numpy as np
import pytest
from shapely.geometry import Point, Polygon
from small_world import LEFT, LIMIT, RIGHT, Car, make_small_world

from drivers.nuscenes.world.instant import EGO_LENGTH, EGO_MIDDLE
from drivers.nuscenes.world.lane_table import tabulate_lanes
from drivers.nuscenes.world.poses import list_rectangles
from drivers.nuscenes.world.roads import make_roads
from drivers.nuscenes.world.sight import MARGIN, RANGE, find_overlaps, look_ahead
from drivers.nuscenes.world.state import make_world
from drivers.nuscenes.world.traffic import look

FRONT = EGO_MIDDLE + EGO_LENGTH / 2
REAR = EGO_LENGTH / 2 - EGO_MIDDLE


def test_the_gap_reaches_from_bumper_to_bumper() -> None:
    world, state = make_small_world(
        [Car(RIGHT, 20.0, 8.0), Car(RIGHT, 50.0, 6.0), Car(LEFT, 30.0, 5.0)]
    )
    view = look(world, state, list_rectangles(world, state))
    assert view.gap[0] == pytest.approx(30 - FRONT - REAR, abs=0.5)
    assert view.lead[0] == 6
    assert view.gap[1] == np.inf
    assert view.gap[2] == np.inf
    np.testing.assert_allclose(view.pace, LIMIT)


def test_the_view_goes_on_along_the_route() -> None:
    small, state = make_small_world([Car(RIGHT, 0.0, 8.0), Car(RIGHT, 12.0, 6.0)])
    roads = make_roads(0)
    table = tabulate_lanes(roads)
    world = make_world(roads, table, small.cast)
    straight = min(
        np.flatnonzero(table.way),
        key=lambda n: abs(np.diff(roads.map.lanes[table.tokens[n]].centreline[:, 2])).sum(),
    )
    before, after = table.incoming[straight][0], table.outgoing[straight][0]
    state.route[0, :3] = before, straight, after
    state.route[1, :2] = straight, after
    state.along[0] = table.length[before] - 8
    x, y, yaw = table.pose(int(before), float(state.along[0])).tolist()
    state = replace(state, ego=replace(state.ego, x=x, y=y, yaw=yaw))
    view = look(world, state, list_rectangles(world, state))
    assert view.gap[0] == pytest.approx(20 - FRONT - REAR, abs=0.5)


def test_a_car_that_moves_over_sees_what_is_on_both_lanes_until_it_is_over() -> None:
    world, state = make_small_world([Car(LEFT, 20.0, 8.0), Car(RIGHT, 32.0, 8.0)])
    state.aside[0] = -3.5  # it comes from the right lane
    view = look(world, state, list_rectangles(world, state))
    assert view.gap[0] == pytest.approx(12 - FRONT - REAR, abs=0.8)
    state.aside[0] = -0.5
    assert look(world, state, list_rectangles(world, state)).gap[0] == np.inf


def test_behind_what_is_parked_drivers_leave_room_to_pull_out() -> None:
    cars = [Car(RIGHT, 20.0, 8.0), Car(RIGHT, 50.0, parked=True)]
    world, state = make_small_world(cars)
    view = look(world, state, list_rectangles(world, state))
    assert view.gap[0] == pytest.approx(30 - FRONT - REAR - 6, abs=0.5)
    state.aside[0] = 1.0  # it pulls out: it sees the car itself
    view = look(world, state, list_rectangles(world, state))
    assert view.gap[0] == np.inf or view.gap[0] > 30 - FRONT - REAR - 1


def test_people_are_seen_where_they_will_be() -> None:
    world, state = make_small_world([Car(RIGHT, 80.0, 8.0)], strolled=[8.0])
    assert look(world, state, list_rectangles(world, state)).gap[0] < 20
    state.walking[0] = False
    assert look(world, state, list_rectangles(world, state)).gap[0] == np.inf


def test_the_gap_is_that_to_polygons() -> None:
    rng = np.random.default_rng(0)
    lane = np.stack([np.arange(200.0), np.zeros(200), np.zeros(200)], 1)
    for _ in range(40):
        things = rng.uniform(-1, 1, (25, 7)) * [100, 12, np.pi, 0, 0, 5, 0]
        things[:, 3:5] = rng.uniform(0.3, 4, (25, 2))
        things[:, 6] = rng.choice([0.0, 6.0], 25)
        things[:, 0] += 100
        aside, front, half, speed = rng.uniform([-4, 1, 0.5, 0], [4, 5, 1.5, 20])
        along = rng.uniform(0, 20)
        view = look_ahead(
            lane,
            np.full(200, 9.0),
            np.array([0]),
            np.array([1.0]),
            np.array([199.0]),
            np.array([[0]]),
            np.array([[along, aside, aside, front, half, speed]]),
            np.array([-1]),
            things,
        )
        polygons = [
            Polygon(
                np.array([[a, w], [a, -w], [-b, -w], [-b, w]])
                @ [[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]]
                + [x, y]
            )
            for x, y, yaw, a, w, _, tail in things
            for b in [a + tail]
        ]
        reach = min(RANGE, 12 + 3 * speed + speed**2 / 5)
        near = np.hypot(things[:, 0] - int(along), things[:, 1])
        want = np.inf
        for step in range(int(reach)):
            point = Point(int(along + front + step + 0.5), aside)
            away = [
                p.distance(point)
                for p, d, a in zip(polygons, near, things[:, 3], strict=True)
                if d < reach + front + a
            ]
            want = min([step + d for d in away if d < half + MARGIN], default=np.inf)
            if want < np.inf:
                break
        assert view.gap[0] == pytest.approx(want, abs=1e-9)


def test_overlaps_are_those_of_polygons() -> None:
    rng = np.random.default_rng(0)
    things = rng.uniform(-1, 1, (60, 5)) * [20, 20, np.pi, 0, 0]
    things[:, 3:] = rng.uniform(0.3, 4, (60, 2))
    areas = []
    for x, y, yaw, long, wide in things:
        corners = np.array([[long, wide], [-long, wide], [-long, -wide], [long, -wide]])
        turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
        areas.append(Polygon(corners @ turn + [x, y]))
    want = {(j, i) for i in range(60) for j in range(i) if areas[i].intersects(areas[j])}
    assert len(want) > 50
    assert set(map(tuple, find_overlaps(things).tolist())) == want
