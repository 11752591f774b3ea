from itertools import pairwise

import numpy as np
import pytest

from drivers.nuscenes.world.instant import WHEELBASE, Ego
from drivers.nuscenes.world.write.can_bus import STEERING_RATIO, describe_drive

START = 1_500_000_000_000_000
RADIUS = 40.0


def drive(speed: float, number: int = 21) -> list[Ego]:
    """Return egos on a circle to the left that starts along x."""
    turned = np.arange(number) * 0.1 * speed / RADIUS
    return [
        Ego(
            x=float(RADIUS * np.sin(a)),
            y=float(RADIUS * (1 - np.cos(a))),
            yaw=float(a),
            speed=speed,
            acceleration=0.0,
            curvature=1 / RADIUS,
        )
        for a in turned
    ]


def test_poses_come_fifty_times_a_second_in_the_frame_of_the_map() -> None:
    poses = describe_drive(drive(8.0), START, np.array([100.0, 200.0]))["pose"]
    assert len(poses) == 101
    assert {b["utime"] - a["utime"] for a, b in pairwise(poses)} == {20_000}
    assert poses[0]["utime"] == START
    assert poses[0]["pos"] == [100.0, 200.0, 0.0]
    end = poses[-1]
    angle = 2 * 8 / RADIUS
    assert end["pos"][:2] == pytest.approx(
        [100 + RADIUS * np.sin(angle), 200 + RADIUS * (1 - np.cos(angle))], abs=1e-3
    )
    assert end["orientation"] == pytest.approx(
        [np.cos(angle / 2), 0, 0, np.sin(angle / 2)], abs=1e-4
    )
    assert end["vel"] == [8.0, 0.0, 0.0]
    assert end["rotation_rate"] == [0.0, 0.0, 0.2]
    assert end["accel"] == [0.0, 1.6, 9.81]


def test_the_steering_wheel_turns_more_than_the_wheels() -> None:
    told = describe_drive(drive(8.0), START, np.zeros(2))["steeranglefeedback"]
    assert len(told) == 201
    front = np.arctan(WHEELBASE / RADIUS)
    assert told[7]["value"] == pytest.approx(STEERING_RATIO * front, abs=1e-4)
    assert told[1]["utime"] - told[0]["utime"] == 10_000


def test_the_monitor_counts_kilometres_an_hour_and_degrees() -> None:
    told = describe_drive(drive(8.0), START, np.zeros(2))["vehicle_monitor"]
    assert len(told) == 5
    assert told[0]["vehicle_speed"] == 28.8
    assert told[0]["yaw_rate"] == pytest.approx(np.degrees(0.2), abs=1e-3)
    assert (told[0]["brake"], told[0]["throttle"]) == (0, 0)


def test_the_route_is_the_way_with_a_point_a_metre() -> None:
    egos = drive(8.0)
    route = np.array(describe_drive(egos, START, np.array([5.0, 0.0]))["route"])
    step = np.hypot(*np.diff(route, axis=0).T)
    assert step[:-1] == pytest.approx(1.0, abs=0.01)
    assert route[0].tolist() == [5.0, 0.0]
    assert route[-1] == pytest.approx([egos[-1].x + 5, egos[-1].y], abs=1e-3)


def test_a_standing_car_has_a_route_of_its_place() -> None:
    egos = [Ego(x=1.0, y=2.0, yaw=0.0, speed=0.0)] * 6
    told = describe_drive(egos, START, np.zeros(2))
    assert {tuple(point) for point in told["route"]} == {(1.0, 2.0)}
    assert len(told["pose"]) == 26


def test_yaws_are_interpolated_the_short_way_around() -> None:
    egos = [Ego(x=0.0, y=0.0, yaw=yaw, speed=0.0) for yaw in (3.1, -3.1)]
    poses = describe_drive(egos, START, np.zeros(2))["pose"]
    yaws = [2 * np.arctan2(p["orientation"][3], p["orientation"][0]) for p in poses]
    assert np.abs(np.abs(yaws) - np.pi).max() < 0.05


def test_meta_tells_rates_and_ranges() -> None:
    meta = describe_drive(drive(8.0), START, np.zeros(2))["meta"]
    assert set(meta) == {"pose", "steeranglefeedback", "vehicle_monitor"}
    assert meta["pose"]["message_count"] == 101
    assert meta["pose"]["message_freq"] == 50
    assert meta["steeranglefeedback"]["timespan"] == 2.0
    assert meta["pose"]["var_stats"]["vel"]["mean"] == [8.0, 0.0, 0.0]
    assert meta["vehicle_monitor"]["var_stats"]["vehicle_speed"]["std"] == 0
