"""Five mistakes that the devkit passes without a word, in a generated data set."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from straight_road import pretend_to_make_roads, pretend_to_simulate

pytest.importorskip("nuscenes")

from drivers.nuscenes.check import check_nuscenes
from drivers.nuscenes.world import make
from drivers.nuscenes.world.make import GeneratorSettings, make_nuscenes
from drivers.nuscenes.world.render import ground
from tasks.cli import main

TABLES = Path("v1.0-mini")
MAPS = Path("maps") / "expansion"
Change = Callable[[Any], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make, "make_roads", pretend_to_make_roads)
        patch.setattr(make, "simulate_scene", pretend_to_simulate)
        patch.setattr(ground, "MARGIN", 10.0)  # less to paint
        settings = GeneratorSettings(scenes=2, keyframes=3, version="v1.0-mini", share=1)
        return make_nuscenes(path, settings)


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "data"))


def change(path: Path, edit: Change) -> None:
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def check(root: Path) -> list[str]:
    problems = check_nuscenes(root)
    assert all(problem.cure for problem in problems)
    return [f"{p.table} {p.field}: {p.what}" for p in problems]


def halve_focal_lengths(rows: Any) -> None:
    for matrix in (row["camera_intrinsic"] for row in rows if row["camera_intrinsic"]):
        matrix[0][0] /= 2
        matrix[1][1] /= 2


def raise_boxes(metres: float, heights: float) -> Change:
    def edit(rows: Any) -> None:
        for row in rows:
            row["translation"][2] += metres + heights * row["size"][2]

    return edit


def empty_links(rows: Any) -> None:
    rows["connectivity"] = {k: {"incoming": [], "outgoing": []} for k in rows["connectivity"]}


def test_a_generated_data_set_has_no_problem(made: Path) -> None:
    assert check(made) == []


def test_halved_focal_lengths_are_told_of_each_camera(root: Path) -> None:
    change(root / TABLES / "calibrated_sensor.json", halve_focal_lengths)
    told = check(root)
    other = "calibrated_sensor camera_intrinsic: the focal length is 63 pixels, that of {} 127"
    assert len(told) == 6
    assert any(line.startswith(other.format("CAM_FRONT")) for line in told)
    assert any("is 40 pixels, that of CAM_BACK 81 in images 160" in line for line in told)


@pytest.mark.parametrize(
    ("metres", "heights", "told"),
    [(2.0, 0.0, "+1.2"), (-2.0, 0.0, "-1.2"), (0.0, -0.5, "-0.5")],
)
def test_boxes_above_or_below_the_ground_are_told(
    metres: float, heights: float, told: str, root: Path
) -> None:
    change(root / TABLES / "sample_annotation.json", raise_boxes(metres, heights))
    (line,) = check(root)
    start = "sample_annotation translation: boxes near the car begin "
    assert line.startswith(start + told)
    assert line.endswith(" of their heights above the ground")


def test_lanes_that_lead_nowhere_are_told(root: Path) -> None:
    change(root / MAPS / "boston-seaport.json", empty_links)
    name = f"{MAPS}/boston-seaport.json connectivity: 8 of 8 lanes have no"
    assert check(root) == [f"{name} incoming lane", f"{name} outgoing lane"]


def test_a_drive_of_the_blacklist_of_the_can_bus_is_told(root: Path) -> None:
    rows = json.loads((root / TABLES / "scene.json").read_text())
    name = rows[0]["name"]
    for path in (root / "can_bus").glob(f"{name}_*"):
        path.rename(root / "can_bus" / path.name.replace(name, "scene-0161"))
    change(root / TABLES / "scene.json", lambda rows: rows[0].update(name="scene-0161"))
    (root / TABLES / "splits.json").write_text('{"mine": ["scene-0161"]}')
    asked = root / "maps" / "prediction" / "prediction_scenes.json"
    asked.write_text(asked.read_text().replace(name, "scene-0161"))
    assert check(root) == [
        "can_bus/scene-0161_pose.json : the devkit refuses it: nuScenes recorded no CAN bus of "
        "this scene"
    ]


def test_all_mistakes_are_told_at_once_with_their_cures(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(root / TABLES / "calibrated_sensor.json", halve_focal_lengths)
    change(root / TABLES / "sample_annotation.json", raise_boxes(2.0, 0.0))
    change(root / MAPS / "boston-seaport.json", empty_links)
    with pytest.raises(SystemExit):
        main(["data", "check", "nuscenes", str(root)])
    told = " ".join(capsys.readouterr().out.split())
    for cure in (
        "write the matrix in pixels of the images in the files",
        "write z of the middle of a box: that of the ground and half the height [m]",
        "name the lanes before and behind each lane",
    ):
        assert cure in told
