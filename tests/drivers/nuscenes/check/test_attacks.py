"""Files made to break the check: each becomes a problem with its cure, and nothing else."""

import json
import shutil
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuscenes_files import LOCATION, make_map, open_windows, write_map
from tables import read_table

from drivers.nuscenes.check import challenges, check_nuscenes
from drivers.nuscenes.problem import NuScenesError
from drivers.nuscenes.tables import open_tables
from drivers.nuscenes.windows import GroundGrid, ImageSize, WindowSettings

SETTINGS = WindowSettings(
    grid=GroundGrid(x=(-8.0, 8.0), y=(-8.0, 8.0), step=1.0),
    image=ImageSize(height=64, width=160, scale=1.0, crop=26),
    past=1,
    future=2,
)
Change = Callable[[Any], object]
MAP = f"maps/expansion/{LOCATION}.json"


def check(root: Path) -> list[str]:
    problems = check_nuscenes(root)
    assert all(problem.cure for problem in problems)
    return [f"{p.table} {p.token} {p.field}: {p.what}" for p in problems]


def change(path: Path, edit: Change) -> None:
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def write(field: str, value: Any, row: int = 0) -> Change:
    return lambda rows: rows[row].update({field: value})


def stretch(rows: Any) -> None:
    rows["arcline_path_3"]["lane0"][0]["segment_length"] = [0, 1e9, 0]


# A file, how it is edited, and what is said of it.
ATTACKS = r"""
v1.0-mini/sample.json | write("timestamp", 2**80)
    scene-0061-s0 timestamp: is 1208925819614629174706176, expected a whole number below
v1.0-mini/ego_pose.json | write("translation", [10**400, 0, 0])
    expected 3 finite numbers below 1e18
v1.0-mini/sample_annotation.json | write("size", json.loads("[" * 900 + "]" * 900))
    size: is [[[[[[[...]]]]]]], expected 3 finite numbers
can_bus/scene-0061_pose.json | write("utime", 2**70, -1)
    utime: message 26 has 1180591620717411303424, expected a number
can_bus/scene-0061_pose.json | write("vel", [10**400, 0, 0], 3)
    vel: message 3 has [1000000000000000000000000000...0000
can_bus/scene-0061_route.json | lambda rows: rows.__setitem__(4, [1.0])
    point 4 is [1.0], expected x, y [m]
v1.0-mini/scene.json | write("name", "scene-\ud800")
    name: is 'scene-\ud800', wh
v1.0-mini/scene.json | write("name", "scene-٠٠٦١")
    for which there is no CAN bus
v1.0-mini/sample_data.json | write("filename", "samples/LIDAR_TOP/\ud800")
    filename: is 'samples/LIDAR_TOP/\ud800', which is no text
v1.0-mini/sample_data.json | write("filename", "samples/LIDAR_TOP/a\0")
    is no name of a file
v1.0-mini/sample_data.json | write("filename", "samples/LIDAR_TOP/")
    samples/LIDAR_TOP/ is no regular file
v1.0-mini/sample_data.json | write("filename", "../short/samples/LIDAR_TOP/a")
    filename: ../short/samples/LIDAR_TOP/a leads out of the folder of the data set
v1.0-mini/sample_data.json | write("filename", "samples/" + "5" * 256)
    5 is no name of a file
v1.0-mini/map.json | write("filename", "/etc/hostname")
    filename: /etc/hostname leads out of the folder of the data set
maps/expansion/boston-seaport.json | stretch
    lane0 arcline_path_3: is no list of start_pose
maps/expansion/boston-seaport.json | lambda rows: rows["node"][3].update(x=1e15)
    m is far outside the canvas
maps/expansion/boston-seaport.json | lambda rows: rows.update(canvas_edge=[400.0, -400.0])
    canvas_edge: canvas_edge is [400.0, -400.0], expected width, height up to 100,000 m
maps/expansion/boston-seaport.json | lambda rows: rows.update(canvas_edge=[1e17, 400.0])
    canvas_edge: canvas_edge is [1e+17, 400.0], expected width, height up to 100,000 m
"""


@pytest.mark.parametrize(("attack", "told"), read_table(ATTACKS))
def test_a_value_made_to_break_the_check_is_named(attack: str, told: str, copied: Path) -> None:
    name, edit = attack.split(" | ")
    change(copied / name, eval(edit))
    assert any(told in line for line in check(copied)), check(copied)


NAMES = (
    "v1.0-mini/scene.json", "v1.0-mini/splits.json", "can_bus/scene-0061_pose.json",
    "can_bus/scene-0061_route.json", MAP, "maps/prediction/prediction_scenes.json",
    "v1.0-mini/lidarseg.json", "maps/map.png", "samples/LIDAR_TOP", "samples/CAM_BACK",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_device_or_a_file_of_20_gb_is_not_read(name: str, copied: Path) -> None:
    path = copied / name
    if path.is_dir():
        path = sorted(path.iterdir())[0]
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")
    assert any("is no regular file" in line for line in check(copied)), check(copied)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(20 << 30)
    assert any("has 21,474,836,480 bytes, more than" in line for line in check(copied))


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".json")])
def test_json_that_is_nested_too_deeply_is_named(name: str, copied: Path) -> None:
    (copied / name).parent.mkdir(exist_ok=True)
    (copied / name).write_text("[" * 100_000)
    assert any("is no JSON: nested too deeply" in line for line in check(copied))


def test_a_missing_route_is_named(copied: Path) -> None:
    (copied / "can_bus" / "scene-0061_route.json").unlink()
    assert check(copied) == ["can_bus/scene-0061_route.json scene-0061 : is missing"]


def test_folders_of_a_data_set_may_be_links(copied: Path, tmp_path: Path) -> None:
    for name in ("samples", "maps", "can_bus", "v1.0-mini"):
        shutil.move(copied / name, tmp_path / f"{name}-elsewhere")
        (copied / name).symlink_to(tmp_path / f"{name}-elsewhere")
    (tmp_path / "link").symlink_to(copied)
    assert check(tmp_path / "link") == []


@pytest.mark.parametrize("text", ["{}", "[]"])
def test_tables_without_records_are_not_opened(text: str, copied: Path) -> None:
    (copied / "v1.0-mini" / "scene.json").write_text(text)
    told = "is no list of records" if text == "{}" else "holds no record"
    assert check(copied) == [f"scene  : v1.0-mini/scene.json {told}"]
    with pytest.raises(NuScenesError, match=f"scene: v1.0-mini/scene.json {told}; fetch"):
        open_windows(copied, SETTINGS)


def test_tables_are_not_opened_where_one_is_a_device(copied: Path) -> None:
    (copied / "v1.0-mini" / "ego_pose.json").unlink()
    (copied / "v1.0-mini" / "ego_pose.json").symlink_to("/dev/zero")
    with pytest.raises(NuScenesError, match=r"^ego_pose: .* is no regular file; fetch"):
        open_tables(copied)


def test_windows_read_no_file_outside_the_data_set(copied: Path) -> None:
    name = f"../{copied.name}/{next((copied / 'samples' / 'CAM_BACK').iterdir()).name}"
    change(copied / "v1.0-mini" / "sample_data.json", write("filename", name))
    with pytest.raises(NuScenesError, match="filename: leads out of the folder of the data"):
        open_windows(copied, SETTINGS)


def test_labels_outside_the_data_set_are_not_read(copied: Path) -> None:
    row = {"token": "a", "sample_data_token": "scene-0061-LIDAR_TOP0", "filename": "/etc/hosts"}
    (copied / "v1.0-mini" / "panoptic.json").write_text(json.dumps([row]))
    told = "panoptic a filename: /etc/hosts leads out of the folder of the data set"
    assert told in check(copied)


@pytest.mark.parametrize("damage", ["bomb", "shape", "stream", "array"])
def test_an_archive_that_is_none_is_named(
    damage: str, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied / "labels.npz"
    array = BytesIO()
    np.save(array, np.zeros(360, np.uint16))
    data = array.getvalue()
    if damage == "shape":  # 720 TB
        data = data.replace(b"(360,), }            ", b"(360000000000000,), }")
    if damage == "bomb":
        monkeypatch.setattr(challenges, "LARGEST_FILE", len(data) - 1)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("data.npy", data)
    if damage == "stream":
        packed = bytearray(path.read_bytes())
        packed[60:64] = b"\xff" * 4
        path.write_bytes(packed)
    if damage == "array":
        path.write_bytes(data)
    row = {"token": "a", "sample_data_token": "scene-0061-LIDAR_TOP0", "filename": "labels.npz"}
    (copied / "v1.0-mini" / "panoptic.json").write_text(json.dumps([row]))
    assert any("filename: labels.npz is damaged: " in line for line in check(copied))


def test_long_values_of_a_map_are_told_in_short(copied: Path) -> None:
    rows = make_map()
    rows["version"] = [1] * 1000
    rows["canvas_edge"] = ["x" * 1000] * 2
    write_map(copied, rows)
    assert [len(line) < 200 for line in check(copied)] == [True, True]


def test_a_type_of_a_stop_line_that_is_a_list_has_no_cue(copied: Path) -> None:
    change(copied / MAP, lambda rows: rows["stop_line"][0].update(stop_line_type=[1, 2]))
    assert check(copied) == []


REFUSED = r"""
v1.0-mini/category.json | lambda rows: [row.update(name=[1]) for row in rows]
    category \S+ name: is \[1\], expected a string
v1.0-mini/sample_annotation.json | lambda rows: [row.update(size=[61, 1, 1]) for row in rows]
    sample_annotation \S+ size: \[61, 1, 1\] is the size of nothing
v1.0-mini/sample_data.json | write("filename", "samples/" + "5" * 5000)
    sample_data \S+ filename: is no name of a file
maps/expansion/boston-seaport.json | lambda rows: rows.update(connectivity={})
    connectivity: 2 of 2 lanes have no incoming lane
"""


@pytest.mark.parametrize(("attack", "told"), read_table(REFUSED))
def test_training_refuses_it_too(attack: str, told: str, copied: Path) -> None:
    name, edit = attack.split(" | ")
    change(copied / name, eval(edit))
    with pytest.raises(NuScenesError, match=told):
        open_windows(copied, SETTINGS)[0]
