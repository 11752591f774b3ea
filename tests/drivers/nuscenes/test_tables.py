import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuscenes_files import DRIVES, FOCAL_BACK, FRAME, LAG, START, USERS, place

from drivers.nuscenes.problem import NuScenesError, Problem
from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.schema import LIDAR
from drivers.nuscenes.tables import Tables, list_split, open_tables

SCENE = "scene-0553"
DRIVE = DRIVES[SCENE]


@pytest.fixture(scope="module")
def tables(data_set: Path) -> Tables:
    return open_tables(data_set)


def damage(root: Path, table: str, change: Any) -> None:
    path = root / "v1.0-mini" / f"{table}.json"
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))


def test_scenes_come_in_the_order_of_their_table(tables: Tables) -> None:
    assert tables.version == "v1.0-mini"
    assert list(tables.scenes) == list(DRIVES)
    assert tables.location(SCENE) == "boston-seaport"
    assert tables.count_keyframes(SCENE) == 10
    assert tables.list_keyframes(SCENE) == tuple(f"{SCENE}-s{k}" for k in range(10))


def test_a_keyframe_holds_each_sensor_at_its_time(tables: Tables) -> None:
    frame = tables.read_keyframe(f"{SCENE}-s2", (*CAMERAS, LIDAR))
    start = START + 60_000_000
    assert (frame.scene, frame.timestamp) == (SCENE, start + 2 * FRAME)
    assert set(frame.shots) == {*CAMERAS, LIDAR}
    back = frame.shots["CAM_BACK"]
    assert back.timestamp == start + 2 * FRAME + 5 * LAG
    x, y, yaw = DRIVE.pose((back.timestamp - start) / 1e6)
    np.testing.assert_allclose(back.ego[:2, 3], [x, y])
    np.testing.assert_allclose(back.ego[:2, 0], [np.cos(yaw), np.sin(yaw)])
    np.testing.assert_allclose(back.to_ego[:3, 3], [-0.5, 0, 1.5], atol=1e-12)
    np.testing.assert_allclose(back.to_ego[:3, 2], [-1, 0, 0], atol=1e-12)  # it looks back
    np.testing.assert_allclose(back.to_ego[:3, 1], [0, 0, -1], atol=1e-12)  # y points down
    assert back.intrinsic is not None
    assert back.intrinsic[0].tolist() == [FOCAL_BACK, 0.0, 80.0]
    assert (back.width, back.height) == (160, 90)
    assert back.path.is_file()
    assert frame.shots[LIDAR].intrinsic is None
    np.testing.assert_allclose(frame.shots[LIDAR].to_ego[:3, 1], [1, 0, 0], atol=1e-12)


def test_boxes_are_those_of_the_table_with_velocities(tables: Tables) -> None:
    boxes = {box.instance.split("-")[-1]: box for box in tables.read_boxes(f"{SCENE}-s4")}
    assert tables.read_boxes(f"{SCENE}-s4") is tables.read_boxes(f"{SCENE}-s4")  # kept
    assert set(boxes) == set(USERS)
    ahead = boxes["ahead"]
    x, y, yaw = place(DRIVE, USERS["ahead"][1].pose(2.0))
    assert (ahead.x, ahead.y, ahead.z) == pytest.approx((x, y, 0.8))
    assert ahead.yaw == pytest.approx(yaw)
    assert (ahead.width, ahead.length, ahead.height) == (1.9, 4.6, 1.6)
    assert (ahead.vx, ahead.vy) == pytest.approx((9 * np.cos(yaw), 9 * np.sin(yaw)))
    assert (ahead.category, ahead.attribute) == ("vehicle.car", "vehicle.moving")
    assert (ahead.visibility, ahead.lidar_points) == (4, 5)
    assert (boxes["hidden"].visibility, boxes["walker"].is_pedestrian) == (1, True)


def test_splits_are_official_or_of_the_data_set_or_given(copied: Path) -> None:
    own = {"mine": [SCENE], "lost": ["scene-0001"], "empty": [], "bad": "scene-0061"}
    (copied / "v1.0-mini" / "splits.json").write_text(json.dumps(own))
    tables = open_tables(copied)
    assert list_split(tables) == tuple(DRIVES)
    assert list_split(tables, "mini_train") == ("scene-0061", "scene-0553")
    assert list_split(tables, "mine") == (SCENE,)
    assert list_split(tables, [SCENE]) == (SCENE,)
    for split, told in {
        "mini_val": "holds no scene of split 'mini_val'; there are 2 scenes: scene-0061",
        "lost": "no scene 'scene-0001'",
        "empty": "the split is empty",
        "bad": "no split 'bad' with a list of scenes; there are mini_train, .*mine.*; add it",
        "mnie": "no split 'mnie' with a list of scenes",
    }.items():
        with pytest.raises(ValueError, match=told):
            list_split(tables, split)
    with pytest.raises(ValueError, match=r"no scene 'scene-0001' \(1 such\)"):
        list_split(tables, [SCENE, "scene-0001"])
    (copied / "v1.0-mini" / "splits.json").write_text("{")
    with pytest.raises(ValueError, match=r"splits.json: is no JSON"):
        list_split(tables, "mine")


def test_a_version_is_found_or_asked_for(tmp_path: Path, data_set: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"one folder of tables such as v1.0-mini"):
        open_tables(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"expected v1.0-test, found .*v1.0-mini"):
        open_tables(data_set, "v1.0-test")
    for name in ("v1.0-mini", "v1.0-trainval"):
        (tmp_path / name).mkdir()
    with pytest.raises(FileNotFoundError, match=r"found v1.0-mini, v1.0-trainval; give one of"):
        open_tables(tmp_path)


def test_what_the_devkit_cannot_load_is_explained(copied: Path) -> None:
    damage(copied, "instance", lambda rows: rows[0].update(category_token="lost"))
    with pytest.raises(NuScenesError) as error:
        open_tables(copied)
    assert error.value.problems == (
        Problem(
            table="instance", token="scene-0061-ahead", field="category_token",
            what="'lost' is no category", cure="write the token of a category",
        ),
    )  # fmt: skip
    (copied / "v1.0-mini" / "scene.json").unlink()
    with pytest.raises(NuScenesError, match=r"scene: v1.0-mini/scene.json is missing; fetch"):
        open_tables(copied)


def test_what_only_the_devkit_stumbles_over_is_told_in_its_words(copied: Path) -> None:
    (copied / "maps" / "map.png").unlink()
    with pytest.raises(NuScenesError, match=r"AssertionError: map mask .*map.png does not"):
        open_tables(copied)


def test_broken_chains_are_refused(copied: Path) -> None:
    damage(copied, "sample", lambda rows: rows[3].update(next=""))
    damage(copied, "sample", lambda rows: rows[9].update(next="scene-0553-s1"))
    tables = open_tables(copied)
    with pytest.raises(NuScenesError, match="nbr_samples: the chain of samples of scene-0061"):
        tables.list_keyframes("scene-0061")
    with pytest.raises(NuScenesError, match="sample scene-0553-s1 next: leads out of"):
        tables.list_keyframes("scene-0553")


@pytest.mark.parametrize("later", [0, -1])
def test_time_runs_on_along_a_chain(later: int, copied: Path) -> None:
    damage(copied, "sample", lambda rows: rows[2].update(timestamp=START + FRAME + later))
    tables = open_tables(copied)
    with pytest.raises(NuScenesError, match=r"scene-0061-s2 next: leads .*back in time"):
        tables.list_keyframes("scene-0061")
    assert len(tables.list_keyframes(SCENE)) == 5


def test_missing_sensors_and_boxes_that_are_none_are_refused(copied: Path) -> None:
    damage(copied, "sample_data", lambda rows: rows[3].update(is_key_frame=False))
    damage(copied, "sample_annotation", lambda rows: rows[0].update(size=[1, -2, 1]))
    damage(copied, "sample_annotation", lambda rows: rows[4].update(rotation=[0, 0, 0, 0]))
    damage(copied, "sample_annotation", lambda rows: rows[12].update(translation=[0, 0, None]))
    tables = open_tables(copied)
    with pytest.raises(NuScenesError, match="no sample_data with is_key_frame of"):
        tables.read_keyframe("scene-0061-s0", CAMERAS)
    for sample, told in (("s0", "is the size of nothing"), ("s1", "is of length 0, ")):
        with pytest.raises(NuScenesError, match=told):
            tables.read_boxes(f"scene-0061-{sample}")
    with pytest.raises(NuScenesError, match=r"translation: is .*None.*, expected 3 finite"):
        tables.read_boxes("scene-0061-s3")


def test_an_error_goes_from_process_to_process() -> None:
    one = Problem(table="scene", token="t", field="name", what="is bad", cure="mend it")
    error = pickle.loads(pickle.dumps(NuScenesError([one] * 9)))
    assert error.problems == (one,) * 9
    assert str(error).splitlines()[0] == "scene t name: is bad; mend it"
    assert str(error).splitlines()[-1] == "and 1 problems more"


def test_without_the_devkit_the_extra_is_named(
    data_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nuscenes.nuscenes", None)
    with pytest.raises(RuntimeError, match=r"nuScenes needs its devkit \(.*nuscenes") as e:
        open_tables(data_set)
    assert "; pip install -e '.[driving]' && pip install" in str(e.value)
