"""What is wrong in the files of a data set beside its tables is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuscenes_files import LOCATION, MapRows, make_map, rectangle, write_map
from PIL import Image

from drivers.nuscenes.check import check_nuscenes
from drivers.nuscenes.check.can import find_other_turns

TABLES = "v1.0-mini"
LANES = ["lane0", "lane_connector0"]
MESSAGES = ("pose", "route", "steeranglefeedback")


def check(root: Path) -> list[tuple[str, str, str]]:
    return [(p.table, p.field, p.what) for p in check_nuscenes(root)]


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    new = edit(value)
    path.write_text(json.dumps(value if new is None else new))


@pytest.fixture
def root(copied: Path) -> Path:
    return copied


def first(root: Path, channel: str) -> Path:
    return sorted((root / "samples" / channel).iterdir())[0]


def test_a_sound_data_set_has_no_problem(short: Path) -> None:
    assert check_nuscenes(short) == ()
    assert check_nuscenes(short, TABLES) == ()
    with pytest.raises(FileNotFoundError, match=r"expected v1.0-test, found"):
        check_nuscenes(short, "v1.0-test")


def test_a_table_that_cannot_be_read_is_all_that_is_told(root: Path) -> None:
    table = root / TABLES / "ego_pose.json"
    table.write_bytes(table.read_bytes()[:1000])
    (root / TABLES / "sample_annotation.json").unlink()
    told = check(root)
    assert len(told) == 2
    assert {what.split(":")[0] for _, _, what in told} == {
        "v1.0-mini/ego_pose.json is no JSON",
        "v1.0-mini/sample_annotation.json is missing",
    }


def test_sensors_without_a_channel_are_told_and_the_rest_is_checked(root: Path) -> None:
    def drop(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            del row["channel"]

    change(root / TABLES / "sensor.json", drop)
    assert ("sensor", "channel", "is missing") in check(root)


def test_missing_and_damaged_files_are_named_with_their_record(root: Path) -> None:
    lost, cut, small, lidar = (
        first(root, k) for k in ("CAM_BACK", "CAM_FRONT", "CAM_FRONT_LEFT", "LIDAR_TOP")
    )
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-100])
    Image.new("RGB", (80, 90)).save(small)
    np.full((10, 4), 0.5, "<f4").tofile(lidar)
    found = {p.token: p for p in check_nuscenes(root)}
    assert set(found) == {
        f"scene-0061-{k}0" for k in ("CAM_BACK", "CAM_FRONT", "CAM_FRONT_LEFT", "LIDAR_TOP")
    }
    assert found["scene-0061-CAM_BACK0"].what == f"{lost.relative_to(root)} is missing"
    assert "is no image: " in found["scene-0061-CAM_FRONT0"].what
    assert found["scene-0061-CAM_FRONT_LEFT0"].what == "the image is 80 x 90 pixels"
    assert "a ring is a whole number below 32" in found["scene-0061-LIDAR_TOP0"].what
    assert {p.table for p in found.values()} == {"sample_data"}


def test_a_file_of_another_sensor_is_named(root: Path) -> None:
    def swap(rows: list[dict[str, Any]]) -> None:
        rows[1]["filename"], rows[2]["filename"] = rows[2]["filename"], rows[1]["filename"]

    change(root / TABLES / "sample_data.json", swap)
    assert [what for _, _, what in check(root)] == [
        f"{first(root, channel).relative_to(root)} is not in a folder {other}"
        for channel, other in (("CAM_FRONT", "CAM_FRONT_LEFT"), ("CAM_FRONT_LEFT", "CAM_FRONT"))
    ]


@pytest.mark.parametrize("text", [None, "{", "{}", "[1]", "[]"])
def test_a_table_that_is_none_is_named(text: str | None, root: Path) -> None:
    path = root / TABLES / "visibility.json"
    path.unlink() if text is None else path.write_text(text)
    told = [p for p in check_nuscenes(root) if p.table == "visibility"]
    assert len(told) == 1
    what = "holds no record" if text == "[]" else "is missing" if text is None else "is no "
    assert str(told[0]).startswith(f"visibility: v1.0-mini/visibility.json {what}")


def rename(name: str) -> Callable[[Any], Any]:
    return lambda rows: rows[1].update(name=name)


def test_scenes_outside_all_splits_are_named(root: Path) -> None:
    path = root / TABLES / "scene.json"
    bus = [root / "can_bus" / f"scene-0553_{k}.json" for k in MESSAGES]
    for file in bus:
        shutil.copy(file, str(file).replace("0553", "0001"))
    change(path, rename("scene-0001"))  # of v1.0-trainval
    (problem,) = check_nuscenes(root)
    assert (problem.table, problem.token, problem.field) == ("scene", "scene-0553", "name")
    assert "in no split of v1.0-mini: evaluations find no box of it" in problem.what
    splits = root / TABLES / "splits.json"
    splits.write_text('{"mine": ["scene-0001"]}')
    assert check(root) == []
    for bad, told in (("{", "is no JSON"), ('{"mine": 1}', "is no object with a list of scen")):
        splits.write_text(bad)
        assert any(t == "splits.json" and told in what for t, _, what in check(root))


def test_names_of_scenes_are_unique_and_of_one_form(root: Path) -> None:
    change(root / TABLES / "scene.json", rename("scene-0061"))
    told = [what for table, _, what in check(root) if table == "scene"]
    assert told == ["2 scenes are called scene-0061"] * 2
    change(root / TABLES / "scene.json", rename("drive 2"))
    assert ("scene", "name", "is 'drive 2', for which there is no CAN bus") in check(root)


def test_each_log_is_in_exactly_one_map(root: Path) -> None:
    change(root / TABLES / "map.json", lambda rows: rows[0].update(log_tokens=[]))
    assert check(root) == [("log", "token", "0 maps list it in log_tokens")]
    change(
        root / TABLES / "map.json",
        lambda rows: [{**rows[0], "token": k, "log_tokens": ["log"]} for k in "ab"],
    )
    assert check(root) == [("log", "token", "2 maps list it in log_tokens")]


def test_labels_of_categories_and_levels_are_those_of_nuscenes(root: Path) -> None:
    (root / TABLES / "lidarseg.json").write_text("[]")
    told = [what for table, _, what in check(root) if table == "category"]
    assert told == ["is missing beside lidarseg.json"] * 23
    (root / TABLES / "lidarseg.json").unlink()
    path = root / TABLES / "category.json"
    change(path, lambda rows: [{**row, "index": k + 1} for k, row in enumerate(rows)])
    assert check(root) == []
    change(path, lambda rows: rows[16].update(index=1))
    assert check(root) == [("category", "index", "is 1 for vehicle.car")]
    path = root / TABLES / "visibility.json"
    change(path, lambda rows: rows[0].update(level="v80-100"))
    assert ("visibility", "level", "is v80-100") in check(root)


def test_images_of_maps_are_named(root: Path) -> None:
    (root / "maps" / "map.png").write_bytes(b"GIF")
    assert check(root) == [("map", "filename", "maps/map.png is no PNG image")]
    (root / "maps" / "map.png").unlink()
    assert check(root) == [("map", "filename", "maps/map.png is missing")]


def test_damaged_and_missing_expansions_are_named(root: Path) -> None:
    rows = make_map()
    del rows["walkway"]
    write_map(root, rows)
    name = f"maps/expansion/{LOCATION}.json"
    assert check(root) == [(name, "walkway", "the layer is missing")]
    (root / name).unlink()
    assert check(root) == [(name, "", "is missing")]


def test_what_a_map_loses_when_it_is_read_is_named(root: Path) -> None:
    rows = make_map()
    rows["arcline_path_3"] = {"lane0": rows["arcline_path_3"]["lane0"]}
    rows["connectivity"]["lane0"]["incoming"] = ["lost"]
    twisted = rows["polygon"][4]["exterior_node_tokens"]  # of the walkway
    twisted[1], twisted[2] = twisted[2], twisted[1]
    write_map(root, rows)
    assert [what for _, _, what in check(root)] == [
        "1 polygons cross themselves and are cut into their sound parts: p4",
        "1 links lead to lanes that are not there and are left out: lost",
        "1 lanes have no path",
    ]


@pytest.mark.parametrize(
    ("links", "told"),
    [
        ({}, ["incoming", "outgoing"]),
        (
            {token: {"incoming": [], "outgoing": []} for token in LANES},
            ["incoming", "outgoing"],
        ),
        ({k: {"incoming": LANES[:1], "outgoing": []} for k in LANES}, ["outgoing"]),
        ({LANES[1]: {"incoming": LANES[:1], "outgoing": LANES[:1]}}, []),  # half of them
    ],
)
def test_lanes_that_lead_nowhere_are_named(links: Any, told: list[str], root: Path) -> None:
    rows = make_map()
    assert set(rows["connectivity"]) == set(LANES)
    rows["connectivity"] = links
    write_map(root, rows)
    name = f"maps/expansion/{LOCATION}.json"
    assert check(root) == [
        (name, "connectivity", f"2 of 2 lanes have no {way} lane") for way in told
    ]


def test_a_car_off_the_road_is_named(root: Path) -> None:
    rows = MapRows()
    rows.area("drivable_area", rectangle(-150, 150, 100, 120))
    write_map(root, rows.rows)
    told = check(root)
    assert told == [
        ("scene", "log_token", f"the car of {name} is on the road in 0% of its samples")
        for name in ("scene-0061", "scene-0553")
    ]


def bus(root: Path, message: str = "pose") -> Path:
    return root / "can_bus" / f"scene-0553_{message}.json"


def scale(field: str, by: float) -> Callable[[Any], Any]:
    def edit(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row[field] = [by * v for v in row[field]]

    return edit


def test_a_can_bus_of_other_units_is_named(root: Path) -> None:
    change(bus(root), scale("vel", 3.6))  # km/h
    change(bus(root), scale("rotation_rate", 57.3))  # deg/s
    told = {p.field: p for p in check_nuscenes(root)}
    assert set(told) == {"vel", "rotation_rate"}
    assert told["vel"].what == "vel[0] is 3.6 times the speed of the poses"
    assert "the poses are" in told["rotation_rate"].what
    assert told["vel"].token == "scene-0553"


def test_small_turns_to_the_other_side_are_told_of_all_scenes_together() -> None:
    truly = np.radians([8.0, -10.0, 11.0])

    def find(told: np.ndarray, some: int = 3) -> list[str]:
        return [p.what for p in find_other_turns(np.stack([told, truly], -1)[:some])]

    said = "over all scenes rotation_rate[2] is {} times the turning of the poses"
    assert find(-truly) == [said.format("-1")]
    assert find(np.array([-0.5, 0.1, 0.1]) * truly) == [said.format("-0.035")]
    assert find(truly) == find(0.5 * truly) == []
    assert find(-truly, 2) == []  # 13 degrees in all: noise of the CAN bus may tell as much
    assert find(-truly, 0) == []


def test_a_turn_to_the_other_side_is_told_once(root: Path) -> None:
    change(bus(root), scale("rotation_rate", -1.0))
    (problem,) = check_nuscenes(root)
    assert (problem.field, problem.token) == ("rotation_rate", "scene-0553")
    assert "and the poses are" in problem.what


def test_a_can_bus_that_is_missing_or_of_another_time_is_named(root: Path) -> None:
    def to_seconds(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["utime"] //= 10**6

    change(bus(root, "steeranglefeedback"), to_seconds)
    name = "can_bus/scene-0553_steeranglefeedback.json"
    ((table, field, what),) = check(root)
    assert (table, field) == (name, "utime")
    assert "no message within 0.25 s" in what
    bus(root, "steeranglefeedback").unlink()
    assert check(root) == [(name, "", "is missing")]
    shutil.rmtree(root / "can_bus")
    assert check(root) == [("can_bus", "", "is missing")]


def test_a_can_bus_that_the_devkit_refuses_to_read_is_named(root: Path) -> None:
    for message in MESSAGES:
        bus(root, message).rename(root / "can_bus" / f"scene-0161_{message}.json")
    change(root / TABLES / "scene.json", rename("scene-0161"))
    (root / TABLES / "splits.json").write_text('{"mine": ["scene-0161"]}')
    told = check(root)
    assert [what[:25] for _, _, what in told] == ["the devkit refuses it: nu"]
