"""Closed loop: paths are driven, others react, the rules arrive."""

from dataclasses import replace

import numpy as np
import pytest
from shapely.geometry import LineString, Point
from small_world import LEFT, RIGHT, WIDTH, Car, find_touches, make_small_world

from drivers.nuscenes.world.drive import (
    PlannedDrive,
    drive,
    locate_target,
    plan_by_rules,
    start,
    to_ego_frame,
)
from drivers.nuscenes.world.find_ego import project
from drivers.nuscenes.world.instant import Ego
from drivers.nuscenes.world.state import EGO, World, WorldState
from drivers.nuscenes.world.traffic import step_traffic


@pytest.fixture(scope="module")
def course() -> PlannedDrive:
    return start([0, 1], 50.0)


@pytest.mark.slow
def test_a_course_leads_along_its_route_to_its_goal(course: PlannedDrive) -> None:
    ego, lanes = course.state.ego, course.world.roads.map.lanes
    assert course.line.length == pytest.approx(50, abs=4)
    assert course.line.distance(Point(ego.x, ego.y)) < 1
    assert course.line.project(Point(ego.x, ego.y)) < 1
    assert course.route <= set(lanes)
    area = [lanes[token].polygon.buffer(0.1) for token in course.route]
    assert all(any(a.contains(Point(p)) for a in area) for p in course.line.coords)
    assert 5 < course.seconds < 50 / 3
    assert not course.has_arrived(course.state)
    x, y = course.line.coords[-1]
    there = replace(course.state, ego=replace(ego, x=x, y=y))
    assert course.has_arrived(there)


def test_the_rules_drive_it_without_a_touch_and_are_followed_closely(
    course: PlannedDrive,
) -> None:
    state = course.state
    for _ in range(4):
        path = plan_by_rules(course.world, state)
        states = drive(course.world, state, path)
        for s in states:
            assert not (find_touches(course.world, s) == 0).any()
        x, y, yaw = to_ego_frame(state.ego, states[-1].ego)
        np.testing.assert_allclose([x, y, yaw], path[0], atol=0.3)
        state = states[-1]
    assert course.line.project(Point(state.ego.x, state.ego.y)) > 4
    assert [s.steps for s in states] == list(range(states[0].steps, states[0].steps + 5))


def test_a_plan_of_the_rules_is_where_the_rules_go_on_a_free_road() -> None:
    world, state = make_small_world([Car(RIGHT, 20.0, 10.0)])
    path = plan_by_rules(world, replace(state, seed=5), frames=4)
    np.testing.assert_allclose(path, [[5, 0, 0], [10, 0, 0], [15, 0, 0], [20, 0, 0]], atol=1e-6)
    assert plan_by_rules(world, state).shape == (6, 3)


def put_between(aside: float, *others: Car) -> tuple[World, WorldState]:
    """Return an ego at 6 m/s so far to the left of the middle of the right lane."""
    world, state = make_small_world([Car(RIGHT, 30.0, 6.0), *others])
    ego = replace(state.ego, y=aside)
    return world, replace(state, ego=ego, aside=np.array([aside, *state.aside[1:]]))


def test_the_rules_finish_a_change_of_lane_that_has_begun() -> None:
    ahead = Car(RIGHT, 47.0, parked=True)
    path = plan_by_rules(*put_between(1.2, ahead))
    assert path[-1, 0] > 12
    assert path[-1, 1] == pytest.approx(WIDTH - 1.2, abs=0.6)


def test_the_rules_give_up_a_change_to_a_lane_that_is_blocked() -> None:
    path = plan_by_rules(*put_between(1.2, Car(LEFT, 47.0, parked=True)))
    assert path[-1, 0] > 12
    assert path[-1, 1] == pytest.approx(-1.2, abs=0.6)


def test_the_rules_stay_behind_where_the_lane_beside_is_taken() -> None:
    ahead, beside = Car(RIGHT, 47.0, parked=True), Car(LEFT, 31.0, 6.0)
    path = plan_by_rules(*put_between(1.2, ahead, beside))
    assert path[-1, 1] < 0.3
    assert path[-1, 0] < 12


@pytest.mark.parametrize("more", [4.0, -3.0])
def test_a_plan_of_the_rules_does_not_jump_along_where_the_lane_changes(more: float) -> None:
    """The lane beside begins so much earlier, and is so much longer at both ends."""
    cars = [Car(RIGHT, 30.0, 6.0), Car(RIGHT, 50.0, parked=True)]
    world, state = make_small_world(cars)
    points = world.table.points.copy()
    left = slice(world.table.first[LEFT], world.table.first[LEFT] + world.table.count[LEFT])
    points[left, 0] = np.linspace(-more, 200 + more, world.table.count[LEFT])
    length, spacing = world.table.length.copy(), world.table.spacing.copy()
    length[LEFT], spacing[LEFT] = (
        200 + 2 * more,
        (200 + 2 * more) / (left.stop - left.start - 1),
    )
    table = replace(world.table, points=points, length=length, spacing=spacing)
    path = plan_by_rules(replace(world, table=table), state)
    even = plan_by_rules(world, state)
    assert even[0, 0] == pytest.approx(3.0, abs=0.2)  # half a second at 6 m/s, or a little less
    assert even[-1, 1] > 2.5
    np.testing.assert_allclose(path, even, atol=0.2)


def test_the_rules_move_over_before_a_junction_to_the_lane_that_leads_on() -> None:
    world, state = make_small_world([Car(RIGHT, 191.0, 3.0), Car(LEFT, 100.0)])
    route = state.route.copy()
    route[EGO, 1:] = LEFT
    state = replace(state, route=route)
    assert plan_by_rules(world, state)[-1, 1] > 2.5
    beside = replace(state, along=np.array([191.0, 192.0]))
    assert plan_by_rules(world, beside)[-1, 1] < 0.3
    route = route.copy()
    route[EGO, 1:] = RIGHT
    assert plan_by_rules(world, replace(state, route=route))[-1, 1] < 0.3


def test_who_has_passed_the_end_of_a_lane_is_on_the_next(course: PlannedDrive) -> None:
    world, state = course.world, course.state
    lane, after = state.route[EGO, :2].tolist()
    x, y, yaw = world.table.pose(lane, world.table.length[lane]).tolist()
    for ahead, found in ((-0.3, lane), (0.3, after)):
        ego = Ego(x=x + ahead * np.cos(yaw), y=y + ahead * np.sin(yaw), yaw=yaw, speed=3.0)
        assert step_traffic(world, state, ego).route[EGO, 0] == found


def test_others_brake_for_an_ego_that_stops() -> None:
    world, state = make_small_world([Car(RIGHT, 60.0, 5.0), Car(RIGHT, 40.0, 9.0)])
    for _ in range(10):
        state = drive(world, state, np.zeros((6, 3)))[-1]
    assert state.ego.speed < 0.01
    assert abs(state.ego.y) < 0.01
    assert not len(find_touches(world, state))


def test_the_navigation_announces_turns_and_blocked_lanes() -> None:
    ego, ahead = Car(RIGHT, 20.0, 8.0), Car(RIGHT, 60.0, parked=True)
    for cars, target in (
        ([ego], (24, 0)),  # 3 s at 8 m/s
        ([Car(RIGHT, 20.0, 2.0)], (8, 0)),
        ([Car(RIGHT, 20.0, 25.0)], (60, 0)),
        ([ego, ahead], (24, WIDTH)),
        ([ego, Car(RIGHT, 70.0, parked=True)], (24, 0)),  # more than 45 m ahead
        ([Car(RIGHT, 62.0, 8.0), ahead], (24, 0)),  # passed
        ([Car(LEFT, 20.0, 8.0), Car(LEFT, 60.0, parked=True)], (24, -WIDTH)),
        ([ego, ahead, Car(LEFT, 50.0, parked=True)], (24, 0)),  # no lane is free
    ):
        assert locate_target(*make_small_world(cars)) == pytest.approx(target)


def test_the_target_is_told_in_the_ego_frame() -> None:
    world, state = make_small_world([Car(RIGHT, 20.0, 8.0)])
    turned = replace(state, ego=replace(state.ego, y=1.0, yaw=np.pi / 2))
    assert locate_target(world, turned) == pytest.approx((-1, -24))


def test_an_ego_is_found_on_the_lane_it_drives_on() -> None:
    world, state = make_small_world([Car(RIGHT, 20.0, 8.0)])
    ego = Ego(x=23.2, y=0.7, yaw=0.1, speed=7.0)
    assert project(world.table, RIGHT, ego) == pytest.approx((23.2, 0.7, 0.1))
    assert project(world.table, LEFT, ego) == pytest.approx((23.2, 0.7 - WIDTH, 0.1))
    after = step_traffic(world, state, ego)
    assert after.ego == ego
    assert after.route[EGO, 0] == RIGHT
    assert after.along[EGO] == pytest.approx(23.2)
    assert after.aside[EGO] == pytest.approx(0.7)
    assert after.drift[EGO] == pytest.approx(7 * np.sin(0.1))
    assert after.speed[EGO] == 7.0
    middle = replace(ego, y=WIDTH / 2 + 0.3)  # hardly over the line: still its lane
    assert step_traffic(world, state, middle).route[EGO, 0] == RIGHT
    over = replace(ego, y=WIDTH / 2 + 0.9)
    assert step_traffic(world, state, over).route[EGO, 0] == LEFT


def test_a_turned_pose_is_told_in_the_ego_frame() -> None:
    ego = Ego(x=1.0, y=2.0, yaw=np.pi / 2, speed=0.0)
    other = Ego(x=-1.0, y=5.0, yaw=-np.pi, speed=0.0)
    assert to_ego_frame(ego, other) == pytest.approx((3, 2, np.pi / 2))


@pytest.mark.parametrize("distance", [0.0, -1.0, float("nan")])
def test_a_course_of_no_length_is_refused(distance: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        start(0, distance)


def test_arriving_needs_the_end_of_the_line_not_its_height() -> None:
    world, state = make_small_world([Car(RIGHT, 30.0)])
    line = LineString([(0, 0), (31, 0)])
    course = PlannedDrive(
        world=world, state=state, route=frozenset({"right"}), line=line, seconds=3.0
    )
    assert course.has_arrived(state)
    assert not course.has_arrived(replace(state, ego=replace(state.ego, x=27.0)))
    assert not course.has_arrived(replace(state, ego=replace(state.ego, y=9.0)))


def test_on_bends_a_pose_is_found_where_it_was_put(course: PlannedDrive) -> None:
    table = course.world.table
    for lane in range(0, len(table.tokens), 5):
        x, y, yaw = table.pose(lane, 7.3).tolist()
        ego = Ego(x=x - 0.6 * np.sin(yaw), y=y + 0.6 * np.cos(yaw), yaw=yaw + 0.1, speed=3.0)
        assert project(table, lane, ego) == pytest.approx((7.3, 0.6, 0.1), abs=0.08)
