import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.nuscenes.check import check_nuscenes
from drivers.nuscenes.schema import CATEGORIES

POINTS = 360
KEYFRAMES = [
    f"{scene}-LIDAR_TOP{k}" for scene in ("scene-0061", "scene-0553") for k in range(5)
]


@pytest.fixture
def labelled(copied: Path) -> Path:
    """Return a data set with labels of points and questions of prediction."""
    tables = copied / "v1.0-mini"
    for kind, ending in (("lidarseg", "bin"), ("panoptic", "npz")):
        folder = copied / kind / "v1.0-mini"
        folder.mkdir(parents=True)
        rows = []
        for token in KEYFRAMES:
            path = folder / f"{token}_{kind}.{ending}"
            if kind == "lidarseg":
                np.full(POINTS, 17, np.uint8).tofile(path)
            else:
                np.savez(path, data=np.full(POINTS, 17_001, np.uint16))
            name = str(path.relative_to(copied))
            rows.append({"token": token, "sample_data_token": token, "filename": name})
        (tables / f"{kind}.json").write_text(json.dumps(rows))
    categories = json.loads((tables / "category.json").read_text())
    indexed = [{**row, "index": CATEGORIES.index(row["name"])} for row in categories]
    (tables / "category.json").write_text(json.dumps(indexed))
    asked = {"scene-0061": ["scene-0061-ahead_scene-0061-s1"], "scene-0001": ["far_away"]}
    write_questions(copied, asked)
    return copied


def write_questions(root: Path, asked: Any) -> None:
    (root / "maps" / "prediction").mkdir(exist_ok=True)
    (root / "maps" / "prediction" / "prediction_scenes.json").write_text(json.dumps(asked))


def check(root: Path) -> list[str]:
    return [f"{p.table} {p.token} {p.what}" for p in check_nuscenes(root)]


def file_of(root: Path, kind: str) -> Path:
    return sorted((root / kind / "v1.0-mini").iterdir())[0]


def test_labels_of_all_points_are_sound(labelled: Path) -> None:
    assert check(labelled) == []


def test_files_of_labels_that_are_none_are_named(labelled: Path) -> None:
    path, name = file_of(labelled, "lidarseg"), "lidarseg/v1.0-mini/scene-0061-LIDAR_TOP0_"
    start = f"lidarseg scene-0061-LIDAR_TOP0 {name}lidarseg.bin"
    np.zeros(POINTS - 1, np.uint8).tofile(path)
    assert check(labelled) == [f"{start} has labels of shape (359,), the scan 360 points"]
    np.full(POINTS, 32, np.uint8).tofile(path)
    assert check(labelled) == [f"{start} has labels that are none: a category is below 32"]
    path.unlink()
    assert check(labelled) == [
        f"{start} is missing",
        "lidarseg  lidarseg/v1.0-mini holds 9 files, the table 10 records",
    ]


def test_panoptic_labels_hold_a_category_and_an_instance(labelled: Path) -> None:
    path = file_of(labelled, "panoptic")
    for labels, told in (
        (np.full(POINTS, 32_000, np.uint16), "has labels that are none"),
        (np.full(POINTS, 17.5), "has labels that are none"),
    ):
        np.savez(path, data=labels)
        (found,) = check(labelled)
        assert told in found
    path.write_bytes(b"no archive")
    (found,) = check(labelled)
    assert "is damaged: " in found


def test_each_keyframe_of_the_lidar_is_labelled_once(labelled: Path) -> None:
    path = labelled / "v1.0-mini" / "panoptic.json"
    rows = json.loads(path.read_text())
    rows[3]["sample_data_token"] = KEYFRAMES[0]
    path.write_text(json.dumps(rows))
    assert check(labelled) == [
        f"panoptic {KEYFRAMES[3]} {KEYFRAMES[0]} is no keyframe of LIDAR_TOP, or stands twice",
        f"panoptic {KEYFRAMES[3]} this keyframe of LIDAR_TOP has no label",
    ]
    path.write_text('[{"token": 1}]')
    assert check(labelled) == ["panoptic  is no list of token, sample_data_token and filename"]


def test_questions_are_about_instances_and_samples_that_are_there(labelled: Path) -> None:
    write_questions(labelled, {"scene-0061": ["lost_scene-0061-s1", "scene-0061-ahead"]})
    name = "maps/prediction/prediction_scenes.json scene-0061"
    assert check(labelled) == [
        f"{name} lost_scene-0061-s1 names no instance and sample",
        f"{name} scene-0061-ahead names no instance and sample",
    ]
    told = "is no object with a list of questions for each scene"
    for bad in ([], {"scene-0061": 1}, {"scene-0061": [1]}):
        write_questions(labelled, bad)
        assert check(labelled) == [f"maps/prediction/prediction_scenes.json  {told}"]
