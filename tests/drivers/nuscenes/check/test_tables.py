"""Mistakes in tables, most of which the devkit passes without a word, are named one by one."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nuscenes_files import FRAME, START, make_tables

from drivers.nuscenes.check import check_tables
from drivers.nuscenes.geometry import rotation_matrix
from drivers.nuscenes.problem import Problem

Tables = dict[str, list[dict[str, Any]]]
Change = Callable[[list[dict[str, Any]], str], None]  # of the rows of a table, in a field
TABLES = json.dumps(make_tables(4, ["scene-0061"]))
DEEP = json.loads("[" * 800 + "]" * 800)
VALUES = (
    None, 1, "x", [], {}, -0.5, [[]], True, 2**80, -(10**400), float("nan"), "\ud800", "\0",
    "../x", [10**400] * 3, [1e18] * 3, [1e18] * 4, [[1e18] * 3] * 3, 10**18, DEEP,
)  # fmt: skip


def check(table: str, change: Change, field: str) -> list[Problem]:
    tables: Tables = json.loads(TABLES)
    change(tables[table], field)
    return check_tables(tables)[1]


def at(row: int, value: Any) -> Change:
    return lambda rows, field: rows[row].update({field: value})


def gone(row: int) -> Change:
    return lambda rows, field: rows[row].pop(field)


def every(change: Callable[[Any], Any]) -> Change:
    def apply(rows: list[dict[str, Any]], field: str) -> None:
        for row in rows:
            row[field] = change(row[field])

    return apply


def order(*places: int) -> Change:
    """Return a change of the order of the numbers in a field."""
    return every(lambda numbers: [numbers[k] for k in places])


def shift(x: float, y: float, z: float) -> Change:
    return every(lambda place: np.add(place, [x, y, z]).tolist())


to_xyzw, to_seconds = order(1, 2, 3, 0), every(lambda time: time // 10**6)


FIELDS = [
    ("sample_data.width", gone(1), "is missing"),
    ("map.log_tokens", gone(0), "is missing"),
    ("sample.timestamp", at(0, 1.5), "is 1.5, expected a whole number"),
    ("sample.timestamp", at(0, True), "is True, expected a whole number"),
    ("sample_annotation.size", at(0, [1, 2]), "is [1, 2], expected 3 finite numbers"),
    ("ego_pose.translation", at(0, [float("nan"), 0, 0]), "is [nan, 0, 0], expected 3 finite"),
    ("sample_annotation.num_lidar_pts", at(0, 3.0), "is 3.0, expected a whole number"),
    ("sample_annotation.visibility_token", at(0, 4), "is 4, expected a string"),
    ("sample_annotation.attribute_tokens", at(0, [1]), "is [1], expected a list of tokens"),
    ("sample_data.is_key_frame", at(0, 1), "is 1, expected true or false"),
    ("category.name", at(0, "vehicle.van"), "'vehicle.van', which nuScenes does not know"),
    ("attribute.name", at(0, "parked"), "'parked', which nuScenes does not know"),
    ("sensor.channel", at(0, "CAM_TOP"), "'CAM_TOP', which nuScenes does not know"),
    ("log.location", at(0, "paris"), "'paris', which nuScenes does not know"),
    ("scene.log_token", at(0, ""), "is empty"),
    ("sample.token", at(0, ""), "is empty"),
]
LINKS = [
    ("ego_pose.token", at(1, "scene-0061-LIDAR_TOP0"), "stands 2 times"),
    ("sample_annotation.sample_token", at(0, "lost"), "'lost' is no sample"),
    ("sample_data.ego_pose_token", at(0, "lost"), "'lost' is no ego_pose"),
    ("instance.category_token", at(0, "lost"), "'lost' is no category"),
    ("sample_annotation.attribute_tokens", at(0, ["a0", "a1"]), "holds 2 attributes"),
    ("sample_annotation.attribute_tokens", at(0, ["lost"]), "'lost' is no attribute"),
]
CHAINS = [
    ("sample.next", at(1, ""), "is '', but in time 'scene-0061-s2' is next"),
    ("sample.prev", at(1, "scene-0061-s2"), "but in time 'scene-0061-s0' is prev"),
    ("sample_data.prev", every(lambda _: ""), "is '', but in time"),
    ("sample_annotation.next", every(lambda _: ""), "is '', but in time"),
    ("sample.timestamp", at(1, START), "us, as scene-0061-s"),
    ("scene.nbr_samples", at(0, 5), "is 5, but its records say 4"),
    ("scene.last_sample_token", at(0, "scene-0061-s2"), "its records say 'scene-0061-s3'"),
    ("instance.nbr_annotations", at(0, 3), "is 3, but its records say 4"),
    ("instance.first_annotation_token", at(0, "scene-0061-ahead1"), "say 'scene-0061-ahead0'"),
]
TIMES = [
    ("sample.timestamp", to_seconds, "us is no time of 2001 to 2286"),
    ("sample_data.timestamp", to_seconds, "us is no time of 2001 to 2286"),
    ("ego_pose.timestamp", to_seconds, "us is no time of 2001 to 2286"),
    ("sample_data.timestamp", at(1, START + 600_000), "us, its sample is at"),
    ("sample.timestamp", at(3, START + 20 * FRAME), "the next sample is 9.0 s later"),
]
HALF = float(np.sqrt(0.5))
LENS = "calibrated_sensor.camera_intrinsic"


def lens(x: float, y: float, right: float = 80.0, down: float = 45.0) -> list[list[float]]:
    """Return the matrix of a camera with 160 x 90 pixels."""
    return [[x, 0.0, right], [0.0, y, down], [0.0, 0.0, 1.0]]


SENSORS = [
    ("calibrated_sensor.rotation", at(6, [1.0, 0, 0, 0]), "points to 0 deg, expected -90"),
    ("calibrated_sensor.rotation", at(6, [HALF, 0, 0, HALF]), "points to 90 deg, expected -90"),
    ("calibrated_sensor.rotation", to_xyzw, "CAM_BACK_LEFT looks to"),
    ("calibrated_sensor.rotation", at(1, [1.0, 0, 0, 0]), "deg, tilted"),
    ("calibrated_sensor.rotation", at(1, [0, 0, 0, 0]), "[0, 0, 0, 0] is of length 0"),
    ("calibrated_sensor.translation", at(0, [600, 1600, 1]), "m from the ego frame"),
    (LENS, at(1, []), "CAM_FRONT has none"),
    (LENS, at(1, [[1, 0, 0], [0, 1, 0], [0, 0, 2]]), "pinhole"),
    (LENS, at(1, [[-1, 0, 0], [0, 1, 0], [0, 0, 1]]), "pinhol"),
    (LENS, at(6, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]), "no cam"),
    (LENS, at(1, lens(1266.0, 1266.0, 816.0, 491.0)), "optical axis is at pixel (816, 491) of"),
    (LENS, at(1, lens(633.0, 633.0, 50.0)), "optical axis is at pixel (50, 45) of 160 x 90"),
    (LENS, at(1, lens(126.0, 126.0, 8.0, 491.0)), "optical axis is at pixel (8, 491) of"),
    (LENS, at(1, lens(126.6, -126.6)), "no pinhole camera"),
    (LENS, at(1, lens(63.3, 63.3)), "the focal length is 63 pixels, that of CAM_FRONT 127"),
    (LENS, at(4, lens(126.6, 126.6)), "the focal length is 127 pixels, that of CAM_BACK 81"),
    (LENS, at(1, lens(126.6, 63.3)), "the focal lengths are 127 and 63 pixels"),
    ("sensor.modality", at(6, "camera"), "LIDAR_TOP is no camera"),
]
CAR = [
    ("ego_pose.rotation", at(0, [0.9, 0, 0, 0]), "is of length 0.9"),
    ("ego_pose.rotation", to_xyzw, "leans by 29 deg"),
    ("ego_pose.rotation", every(lambda _: [0, 0, 0, 1]), "moves sideways or backwards in 100%"),
    ("ego_pose.translation", at(7, [900, 185, 0]), "the car drives at"),
]
PLACE, SIZE = "sample_annotation.translation", "sample_annotation.size"
BOXES = [
    ("sample_annotation.rotation", at(0, [0, 0, 0, 0]), "is of length 0"),
    ("sample_annotation.rotation", to_xyzw, "leans by 29 deg"),
    ("sample_annotation.rotation", at(5, [-0.29, 0, 0, 0.957]), "a vehicle turns by"),
    (SIZE, order(1, 0, 2), "a vehicle.car is 4.6 m wide and 1.9 m"),
    (SIZE, at(0, [4.6, 1.9, 1.6]), "a vehicle.car is 4.6 m wide"),
    (SIZE, at(0, [2.0, 1.9, 1.6]), "a vehicle.car is 2.0 m wide and 1.9"),
    (SIZE, at(0, [0, 4, 1]), "is the size of nothing"),
    (SIZE, at(0, [1.9, 460, 1]), "is the size of nothing"),
    (PLACE, at(4, [300, 190, 1]), "the box moves at"),
    (PLACE, shift(-1180, -185, 0), "m from the car"),
    (
        "sample_annotation.translation",
        shift(0, 0, 2.0),
        "near the car begin +1.25 of their heights",
    ),
    (
        "sample_annotation.translation",
        every(lambda at: [*at[:2], 0.0]),
        "the car begin -0.50 of their heights",
    ),
    ("sample_annotation.num_radar_pts", at(0, -1), "is -1"),
    ("sample_annotation.num_lidar_pts", every(lambda _: 0), "evaluations leave out all of"),
]


def test_sound_tables_have_no_problem() -> None:
    assert check_tables(json.loads(TABLES))[1] == []


@pytest.mark.parametrize(
    ("place", "change", "told"), [*FIELDS, *LINKS, *CHAINS, *TIMES, *SENSORS, *CAR, *BOXES]
)
def test_a_mistake_is_named(place: str, change: Change, told: str) -> None:
    table, field = place.split(".")
    problems = check(table, change, field)
    assert any(
        (p.table, p.field) == (table, field) and told in p.what and p.cure for p in problems
    ), "\n".join(map(str, problems))


def test_a_sample_has_one_keyframe_of_each_sensor() -> None:
    (problem,) = check("sample_data", at(2, False), "is_key_frame")
    assert problem.what == "has 0 sample_data of CAM_FRONT with is_key_frame"

    def repeat(rows: list[dict[str, Any]], field: str) -> None:
        rows.append({**rows[1], field: "twin"})

    told = [p.what for p in check("sample_data", repeat, "token")]
    assert "has 2 sample_data of CAM_FRONT_LEFT with is_key_frame" in told


def test_sweeps_and_radars_are_no_mistake() -> None:
    tables: Tables = json.loads(TABLES)
    lidar = [row for row in tables["sample_data"] if "LIDAR" in row["token"]]
    between = {"timestamp": START + FRAME // 2, "is_key_frame": False}
    ends = {"prev": lidar[0]["token"], "next": lidar[1]["token"]}
    tables["sample_data"].append({**lidar[0], **between, **ends, "token": "sweep"})
    lidar[0]["next"] = lidar[1]["prev"] = "sweep"
    radar = {"token": "radar", "channel": "RADAR_FRONT", "modality": "radar"}
    tables["sensor"].append(radar)
    mount = {**tables["calibrated_sensor"][6], "token": "mount", "sensor_token": "radar"}
    tables["calibrated_sensor"].append({**mount, "rotation": [1, 0, 0, 0]})
    alone = {"prev": "", "next": "", "calibrated_sensor_token": "mount", "token": "echo"}
    tables["sample_data"].append({**lidar[0], **alone})
    assert check_tables(tables)[1] == []


def test_a_pose_of_another_time_is_named() -> None:
    (problem,) = check("ego_pose", at(1, START + 10**7), "timestamp")
    assert (problem.table, problem.field) == ("sample_data", "timestamp")
    assert "us, its pose is at" in problem.what


def test_boxes_that_move_sideways_are_named() -> None:
    turned = 1.035  # half of 0.5 rad and of a quarter turn
    across = [float(np.cos(turned)), 0.0, 0.0, float(np.sin(turned))]
    (problem,) = check("sample_annotation", every(lambda _: across), "rotation")
    assert "vehicles move sideways or backwards in 100% of their steps" in problem.what


def test_a_vehicle_that_was_out_of_sight_may_have_turned() -> None:
    tables: Tables = json.loads(TABLES)
    first, last = (f"scene-0061-parked{k}" for k in (0, 3))
    unseen = {f"scene-0061-parked{k}" for k in (1, 2)}
    rows = [row for row in tables["sample_annotation"] if row["token"] not in unseen]
    for row in rows:
        if row["token"] == first:
            row["next"] = last
        if row["token"] == last:
            row |= {"prev": first, "rotation": [-0.29, 0, 0, 0.957]}
    tables["sample_annotation"] = rows
    tables["instance"][1]["nbr_annotations"] = 2
    assert check_tables(tables)[1] == []


def test_a_rider_may_turn_a_cycle_around() -> None:
    tables: Tables = json.loads(TABLES)
    tables["sample_annotation"][5]["rotation"] = [-0.29, 0, 0, 0.957]
    assert len(check_tables(tables)[1]) == 2  # there and back
    for row in tables["instance"]:
        if row["token"].endswith("parked"):
            row["category_token"] = "vehicle.bicycle"
    assert check_tables(tables)[1] == []


@pytest.mark.parametrize(
    ("by", "told"), [(0.79, True), (0.81, False), (1.24, False), (1.26, True)]
)
def test_a_focal_length_may_differ_by_a_quarter(by: float, told: bool) -> None:
    for matrix in (lens(126.6 * by, 126.6 * by), lens(126.6, 126.6 * by)):
        problems = check("calibrated_sensor", at(1, matrix), "camera_intrinsic")
        assert [p.field for p in problems] == ["camera_intrinsic"] * told


def move_ego(up: float, pitch: float) -> Tables:
    """Return tables of a car on a slope, so high, with all boxes around it as before."""
    tables: Tables = json.loads(TABLES)
    turn = rotation_matrix([float(np.cos(pitch / 2)), 0.0, float(np.sin(pitch / 2)), 0.0])
    for rows in (tables["ego_pose"], tables["sample_annotation"]):
        for row in rows:
            row["translation"] = (turn @ row["translation"] + [0.0, 0.0, up]).tolist()
    for row in tables["ego_pose"]:
        w, _, _, z = row["rotation"]
        c, s = np.cos(pitch / 2), np.sin(pitch / 2)
        row["rotation"] = [float(v) for v in (c * w, s * z, s * w, c * z)]
    return tables


def test_boxes_stand_on_the_ground_on_which_the_car_stands() -> None:
    """Wherever that is, and on a slope."""
    assert check_tables(move_ego(40.0, 0.1))[1] == []
    tables = move_ego(40.0, 0.1)
    for row in tables["sample_annotation"]:
        row["translation"][2] -= 40.0
    told = [p.what for p in check_tables(tables)[1]]
    assert len(told) == 1
    assert "of their heights above the ground" in told[0]


@pytest.mark.parametrize(
    ("share", "told"), [(-0.29, False), (0.29, False), (-0.31, True), (0.31, True)]
)
def test_boxes_may_begin_so_much_of_their_heights_off_the_ground(
    share: float, told: bool
) -> None:
    tables: Tables = json.loads(TABLES)
    for row in tables["sample_annotation"]:
        row["translation"][2] += share * row["size"][2]
    assert [p.field for p in check_tables(tables)[1]] == ["translation"] * told


@pytest.mark.parametrize(("up", "told"), [(0.9, False), (1.1, True), (-1.1, True)])
def test_boxes_of_one_scene_may_begin_a_metre_off_the_ground(up: float, told: bool) -> None:
    tables, other = make_tables(8, ["scene-0061"]), make_tables(4, ["scene-0553"])
    for row in other["sample_annotation"]:
        row["translation"][2] += up
    for name in ("scene", "sample", "sample_data", "ego_pose", "instance", "sample_annotation"):
        tables[name] += other[name]
    problems = check_tables(tables)[1]
    said = f"boxes near the car of scene-0553 begin {up:+.1f} m above the ground"
    assert [p.what for p in problems] == [said] * told


def test_few_boxes_do_not_tell_where_the_ground_is() -> None:
    tables = make_tables(2, ["scene-0061"])
    for row in tables["sample_annotation"]:
        row["translation"][2] += 5.0
    assert len(tables["sample_annotation"]) == 8
    assert check_tables(tables)[1] == []


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("category.name", at(16, "vehicle.van")),
        ("sample_annotation.num_lidar_pts", at(0, 1.5)),
        ("calibrated_sensor.rotation", at(3, [0, 0, 0, 0])),
        ("sample_annotation.attribute_tokens", at(0, ["a0", "a1"])),
        ("sample_annotation.translation", at(0, [1, 2])),
    ],
)
def test_one_mistake_is_told_once(place: str, change: Change) -> None:
    assert len(check(place.split(".")[0], change, place.split(".")[1])) == 1


def test_a_problem_says_table_token_field_what_and_cure() -> None:
    (problem,) = check("sample_annotation", at(0, [4.6, 1.9, 1.6]), "size")
    assert str(problem) == (
        "sample_annotation scene-0061-ahead0 size: a vehicle.car is 4.6 m wide and 1.9 m long; "
        "write width, length, height [m]: length along the heading"
    )


@pytest.mark.parametrize("table", json.loads(TABLES))
def test_no_value_in_any_field_makes_the_check_itself_fail(table: str) -> None:
    fields = json.loads(TABLES)[table][0]
    for k, field in enumerate(fields):
        for value in VALUES[k % 5 :: 5]:
            assert all(isinstance(p, Problem) for p in check(table, at(0, value), field))
