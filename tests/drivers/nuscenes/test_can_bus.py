import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuscenes_files import DRIVES, START

from drivers.nuscenes.can_bus import UNRECORDED, read_can_bus
from drivers.nuscenes.problem import NuScenesError

SCENE = "scene-0553"
DRIVE = DRIVES[SCENE]


def write(root: Path, message: str, rows: Any) -> None:
    (root / "can_bus").mkdir(exist_ok=True)
    (root / "can_bus" / f"{SCENE}_{message}.json").write_text(json.dumps(rows))


def make_pose(*times: int, speeds: Any = None) -> list[dict[str, Any]]:
    vectors = {"accel": [0.5, 0, 9.8], "rotation_rate": [9, 9, 0.25], "pos": [1, 2, 0]}
    return [
        {"utime": t, "vel": [v, 9, 9], **vectors}
        for t, v in zip(times, speeds or [4.0] * len(times), strict=True)
    ]


def test_speed_turn_and_wheel_are_read_in_their_units(data_set: Path) -> None:
    bus = read_can_bus(data_set, SCENE)
    assert set(bus.speed) == {DRIVE.speed}
    assert set(bus.yaw_rate) == {DRIVE.turn}
    assert set(bus.acceleration) == {0.1}
    assert set(bus.steering) == {0.125}
    at = int(bus.time[20])
    seconds = (at - (START + 60_000_000)) / 1e6
    np.testing.assert_allclose(bus.position[20], DRIVE.pose(seconds)[:2])


def test_between_messages_motion_is_linear(tmp_path: Path) -> None:
    write(tmp_path, "pose", make_pose(1_000_000, 1_100_000, 1_200_000, speeds=[1.0, 2.0, 4.0]))
    wheel = [{"utime": t, "value": v} for t, v in ((1_000_000, 0.0), (1_200_000, 1.0))]
    write(tmp_path, "steeranglefeedback", wheel)
    bus = read_can_bus(tmp_path, SCENE)
    speed, turn = bus.motion_at(np.array([1_050_000, 1_150_000, 1_200_000]))
    np.testing.assert_allclose(speed, [1.5, 3.0, 4.0])
    np.testing.assert_allclose(turn, 0.25)
    np.testing.assert_allclose(bus.steering_at(np.array([1_050_000])), [0.25])
    assert bus.acceleration[0] == 0.5


def test_a_time_without_a_message_near_it_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "pose", make_pose(1_000_000, 1_100_000, 2_000_000))
    write(tmp_path, "steeranglefeedback", [{"utime": 1_000_000, "value": 0.0}])
    bus = read_can_bus(tmp_path, SCENE)
    assert bus.motion_at(np.array([750_000, 1_350_000, 2_250_000]))[0].tolist() == [4.0] * 3
    for time in (749_999, 1_350_001, 2_250_001):
        with pytest.raises(NuScenesError, match=rf"utime: no message within 0.25 s of {time}"):
            bus.motion_at(np.array([1_000_000, time]))
    assert bus.steering_at(np.array([1_250_000])).tolist() == [0.0]
    with pytest.raises(NuScenesError, match=r"steeranglefeedback.json scene-0553 utime: no"):
        bus.steering_at(np.array([1_250_001]))


def test_a_scene_without_a_can_bus_is_named(tmp_path: Path) -> None:
    with pytest.raises(NuScenesError, match=r"scene-0553_pose.json .* is missing; unpack the"):
        read_can_bus(tmp_path, SCENE)
    with pytest.raises(NuScenesError, match=r"is missing: nuScenes recorded none"):
        read_can_bus(tmp_path, "scene-0161")


def test_the_scenes_without_a_can_bus_are_those_of_the_devkit(data_set: Path) -> None:
    api = pytest.importorskip("nuscenes.can_bus.can_bus_api")
    listed = api.NuScenesCanBus(str(data_set)).can_blacklist
    assert {f"scene-{n:04}" for n in listed} == UNRECORDED


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({}, "holds no list of messages"),
        ([], "holds no list of messages"),
        ([1], "utime: message 0 has None, expected a number"),
        ([{"utime": 1, "vel": [1, 2]}], "vel: message 0 has [1, 2], expected 3 numbers"),
        ([{"utime": True}], "utime: message 0 has True, expected a number"),
        (make_pose(2, 1), "utime: message 1 is older than the one before it"),
        (make_pose(1, speeds=[float("nan")]), "vel: message 0 has [nan, 9, 9], expected 3"),
    ],
)
def test_damaged_messages_are_refused_by_name(rows: Any, told: str, tmp_path: Path) -> None:
    write(tmp_path, "pose", rows)
    with pytest.raises(NuScenesError) as error:
        read_can_bus(tmp_path, SCENE)
    assert told in str(error.value)
    assert "fetch the CAN bus expansion again, or leave the scene out" in str(error.value)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "pose", [])
    (tmp_path / "can_bus" / f"{SCENE}_pose.json").write_text("[")
    with pytest.raises(NuScenesError, match=r"scene-0553: is no JSON"):
        read_can_bus(tmp_path, SCENE)
