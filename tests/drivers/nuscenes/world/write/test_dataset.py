import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from straight_road import START, make_box, make_scene, plan_scene

pytest.importorskip("nuscenes")

from drivers.nuscenes.check import check_nuscenes
from drivers.nuscenes.world.instant import WorldScene
from drivers.nuscenes.world.render import make_scenery, render_cameras
from drivers.nuscenes.world.rig import make_rig
from drivers.nuscenes.world.write import write_nuscenes
from drivers.nuscenes.world.write.files import encode_image

RIG = make_rig(32, 18)


def write(root: Path, *scenes: WorldScene) -> Path:
    write_nuscenes(root, [plan_scene(scene) for scene in scenes], rig=RIG)
    return root / "data"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data"), make_scene(3), make_scene(2))


def list_files(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_the_validator_finds_nothing_wrong(root: Path) -> None:
    assert check_nuscenes(root) == ()


def test_the_same_scenes_give_the_same_bytes(root: Path, tmp_path: Path) -> None:
    assert list_files(write(tmp_path, make_scene(3), make_scene(2))) == list_files(root)


def test_sweeps_are_the_renders_at_the_instants_before_keyframes(
    root: Path, tmp_path: Path
) -> None:
    """And all that a data set without sweeps holds stays, but for links to them."""
    scene, number = make_scene(3), 1_532_402_927_000_000
    rows = [plan_scene(scene), plan_scene(make_scene(2))]
    write_nuscenes(tmp_path, rows, rig=RIG, sweeps=2)
    plain, files = list_files(root), list_files(tmp_path / "data")
    added = {name for name in files if name not in plain}
    scenery = make_scenery(scene.road_map, 0)
    for step in (3, 4, 8, 9):
        images = render_cameras(scenery, RIG, scene.instants[step])
        for camera, image in zip(RIG, images, strict=True):
            log = f"n015-boston-seaport__{camera.channel}__{number + 100_000 * step}"
            name = f"sweeps/{camera.channel}/{log}.jpg"
            assert files[name] == encode_image(image)
            added.discard(name)
    assert len(added) == 2 * 6  # those of the other scene
    changed = {name for name in plain if files[name] != plain[name]}
    assert changed == {f"v1.0-trainval/{name}.json" for name in ("sample_data", "ego_pose")}
    assert check_nuscenes(tmp_path / "data") == ()


def test_what_is_far_away_is_not_annotated(root: Path) -> None:
    instances = json.loads((root / "v1.0-trainval" / "instance.json").read_text())
    assert len(instances) == 2 * (len(START) - 1)
    assert {row["nbr_annotations"] for row in instances} == {2, 3}


def test_labels_of_points_agree_with_one_another(root: Path) -> None:
    for path in (root / "lidarseg").rglob("*.bin"):
        name = path.name.replace("_lidarseg.bin", "_panoptic.npz")
        fine = np.fromfile(path, np.uint8)
        panoptic = np.load(root / "panoptic" / "v1.0-trainval" / name)["data"]
        assert panoptic.dtype == np.uint16
        assert (panoptic // 1000 == fine).all()
        things = fine < 24
        assert (panoptic[things] % 1000 > 0).all()
        assert (panoptic[~things] % 1000 == 0).all()
    points = sorted((root / "samples" / "LIDAR_TOP").iterdir())
    assert len(points) == 5
    assert points[0].stat().st_size % 20 == 0


def test_a_scene_of_one_keyframe_is_refused(tmp_path: Path) -> None:
    scene = make_scene(2)
    with pytest.raises(ValueError, match="scene-0001: 5 instants hold one keyframe; give 6"):
        write(tmp_path, replace(scene, instants=scene.instants[:5]))


def test_more_road_users_than_labels_are_refused(tmp_path: Path) -> None:
    scene = make_scene(2)
    crowd = [make_box(f"p{k}", "human.pedestrian.adult", 1.0 * k, 91.0) for k in range(1000)]
    instants = [replace(instant, boxes=crowd) for instant in scene.instants]
    with pytest.raises(ValueError, match="1000 road users, of which only 999 can have labels"):
        write(tmp_path, replace(scene, instants=instants))
