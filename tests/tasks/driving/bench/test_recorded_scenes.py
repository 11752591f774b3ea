"""Paths are driven through recorded scenes; on a straight road all is known by hand."""

from dataclasses import replace

import numpy as np
import pytest
from shapely.geometry import Point
from straight_recording import LANE, ROAD, make_path, make_recording
from straight_road import head, make_box

from drivers.nuscenes.windows import WindowSpan
from drivers.nuscenes.world.instant import Ego
from tasks.driving.bench.recorded_scenes import (
    cut_map,
    drive_path,
    extend_path,
    find_ego,
    find_route,
    interpolate_boxes,
    score_path,
)


def test_the_recorded_drive_is_perfect_on_a_free_road() -> None:
    recording = make_recording([[]] * 9)
    score = score_path(recording, recording.path)
    assert score.driving_score == pytest.approx(1.0, abs=1e-3)
    assert recording.reference == pytest.approx(32.0, abs=0.2)


def test_who_is_half_as_fast_makes_half_the_progress_and_shorter_paths_go_on() -> None:
    recording = make_recording([[]] * 9)
    half = replace(recording, ego=replace(recording.ego, speed=4.0))
    score = score_path(half, make_path(4.0, frames=6))  # 3 s of it, as driving:small plans
    assert score.progress == pytest.approx(0.5, abs=0.01)


def test_others_go_on_as_recorded_whatever_the_car_does() -> None:
    # A car stands 20 m ahead: its rear is at 20 + 1.44 + 20 - 2.3, our front at 20 + 3.48.
    there = make_box("car", "vehicle.car", 41.44, LANE)
    blocked = make_recording([[there]] * 9)
    hit = score_path(blocked, make_path(8.0))
    assert (hit.no_collision, hit.driving_score) == (0, 0)
    late = [[there]] * 2 + [[]] * 7  # it is gone after half a second
    assert score_path(make_recording(late), make_path(8.0)).no_collision == 1


def test_who_leaves_the_road_or_its_direction_is_told() -> None:
    recording = make_recording([[]] * 9)
    x = 4.0 * np.arange(1, 9)
    right = np.stack([x, -np.minimum(x / 4, 6.0), 0 * x], 1)  # the road ends 5.25 m aside
    assert score_path(recording, right).drivable == 0
    left = np.stack([x, np.minimum(x / 4, 3.5), 0 * x], 1)  # among those who come towards us
    wrong = score_path(recording, left)
    assert (wrong.drivable, wrong.direction) == (1, 0)


def test_the_route_are_lanes_that_go_the_same_way_and_those_behind_them() -> None:
    poses = np.array([[20.0 + 4 * k, LANE, 0.0] for k in range(9)])
    # Both lanes along x; lanes of the second half of the road follow. None of those back.
    lanes = {f"lane-{k}-{half}" for k in (0, 1) for half in (0, 1)}
    assert find_route(ROAD, poses) == lanes
    early = find_route(ROAD, poses[:1])
    assert early == lanes
    back = find_route(ROAD, np.array([[150.0, 105.25, np.pi]]))
    assert back == {f"lane-{k}-{half}" for k in (2, 3) for half in (0, 1)}
    askew = find_route(ROAD, np.array([[20.0, LANE, np.pi / 2]]))
    assert askew == frozenset()


def test_a_lane_more_than_four_metres_aside_is_none_of_the_route() -> None:
    poses = np.array([[20.0, 100.45, 0.0]])  # 3.95 m from the outer lane's edge at 96.5
    assert "lane-0-0" in find_route(ROAD, poses)
    assert "lane-0-0" not in find_route(ROAD, np.array([[20.0, 100.55, 0.0]]))


def test_boxes_move_evenly_between_keyframes_and_turn_the_short_way() -> None:
    first = head(make_box("a", "vehicle.car", 10.0, 5.0), 0.0, np.pi - 0.1)
    last = replace(first, x=12.0, y=4.0, yaw=-np.pi + 0.1)
    found = interpolate_boxes([[first], [last]])
    assert len(found) == 6
    (third,) = found[3]
    assert (third.x, third.y) == (pytest.approx(11.2), pytest.approx(4.4))
    assert third.yaw == pytest.approx(np.pi + 0.02)
    assert (third.vx, third.vy) == (4.0, -2.0)
    assert found[5] == [last]


def test_a_box_is_there_from_its_first_keyframe_to_its_last() -> None:
    a, b = (make_box(k, "vehicle.car", 0.0, 0.0) for k in "ab")
    found = interpolate_boxes([[a], [a, b], [b]])
    names = ["".join(box.instance for box in boxes) for boxes in found]
    assert names == ["a"] * 5 + ["ba"] + ["b"] * 5


def test_paths_go_on_with_their_last_step_and_turn() -> None:
    straight = extend_path(make_path(8.0, frames=3), 5)
    assert np.allclose(straight, make_path(8.0, frames=5))
    quarter = np.array([[2.0, 0, 0], [2.0, 2.0, np.pi / 2]])
    assert np.allclose(
        extend_path(quarter, 4),
        [[2, 0, 0], [2, 2, np.pi / 2], [0, 2, np.pi], [0, 0, 3 * np.pi / 2]],
    )
    assert np.allclose(extend_path(make_path(8.0), 3), make_path(8.0, frames=3))
    still = np.array([[0.1, 0.1, 0.0], [0.1, 0.2, 0.0]])  # too short a step to turn by
    assert np.allclose(extend_path(still, 3)[2], [0.1, 0.3, 0.0])


def test_the_car_follows_a_path_for_its_time() -> None:
    found = drive_path(Ego(x=5.0, y=1.0, yaw=0.0, speed=6.0), make_path(6.0))
    assert len(found) == 41
    assert (found[-1].x, found[-1].y) == (pytest.approx(29, abs=0.1), pytest.approx(1))


def make_span(speed: list[float], yaw_rate: float) -> WindowSpan:
    many = len(speed)
    poses = np.array([[k, 2.0 * k, 0.1 * k] for k in range(many)])
    return WindowSpan(
        scene="s",
        location="boston-seaport",
        tokens=tuple(f"t{k}" for k in range(many)),
        time=np.arange(many, dtype=np.int64) * 500_000,
        poses=poses,
        speed=np.array(speed),
        yaw_rate=np.full(many, yaw_rate),
        drive=poses,
    )


def test_the_car_is_taken_from_poses_and_can_bus() -> None:
    ego = find_ego(make_span([3.0, 4.0, 5.0, 9.0], 0.4), past=3)
    assert (ego.x, ego.y, ego.yaw) == (2, 4, 0.2)
    assert (ego.speed, ego.acceleration) == (5.0, 2.0)
    assert ego.curvature == pytest.approx(0.08)
    still = find_ego(make_span([-0.1, 0.0], 0.1), past=1)
    assert (still.speed, still.acceleration, still.curvature) == (0, 0, 0.1)


def test_of_a_map_is_kept_what_is_near() -> None:
    cut = cut_map(ROAD, Point(-80.0, LANE))
    assert set(cut.lanes) == {"lane-0-0", "lane-1-0", "lane-2-1", "lane-3-1"}
    assert list(cut.drivable) == list(ROAD.drivable)
    assert list(cut_map(ROAD, Point(-160.0, LANE)).drivable) == []
