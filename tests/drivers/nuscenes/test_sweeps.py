"""Sweeps of a data set are the images of the instants before its keyframes."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuscenes_files import open_windows
from straight_road import make_scene, plan_scene

pytest.importorskip("nuscenes")

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.images import read_image
from drivers.nuscenes.problem import NuScenesError
from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.window import ImageSize
from drivers.nuscenes.windows import WindowSettings
from drivers.nuscenes.world.render import ground
from drivers.nuscenes.world.rig import make_rig
from drivers.nuscenes.world.write import write_nuscenes

SETTINGS = WindowSettings(
    grid=GroundGrid(x=(-8.0, 8.0), y=(-8.0, 8.0), step=2.0),
    image=ImageSize(height=16, width=32, scale=1.0, crop=2),
    past=2,
    future=1,
    sweeps=2,
)


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set of four keyframes and two sweeps before each but the first."""
    root = tmp_path_factory.mktemp("sweeps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ground, "MARGIN", 25.0)  # less to paint
        write_nuscenes(root, [plan_scene(make_scene(4))], rig=make_rig(32, 18), sweeps=2)
    return root / "data"


def find_image(root: Path, channel: str, step: int) -> np.ndarray:
    """Return the image of a camera at an instant of the scene, by the name of its file."""
    (path,) = root.glob(f"s*/{channel}/*__{1_532_402_927_000_000 + 100_000 * step}.jpg")
    assert path.parts[-3] == ("sweeps" if step % 5 else "samples")
    return np.asarray(read_image(path))[2:].transpose(2, 0, 1)


def test_a_window_holds_the_images_before_each_frame_oldest_first(data_set: Path) -> None:
    """Two windows: the first begins with the scene, where the keyframe's image is repeated."""
    windows = open_windows(data_set, SETTINGS)
    assert len(windows) == 2
    for window, steps in zip(windows, ([(0, 0), (3, 4)], [(3, 4), (8, 9)]), strict=True):
        assert window.sweeps.shape == (2, 6, 2, 3, 16, 32)
        for s, frame in enumerate(steps):
            for n, channel in enumerate(CAMERAS):
                for k, step in enumerate(frame):
                    image = find_image(data_set, channel, step)
                    np.testing.assert_array_equal(window.sweeps[s, n, k], image)
    assert not np.array_equal(find_image(data_set, "CAM_FRONT", 8), window.images[1, 1])


def test_windows_with_and_without_sweeps_share_all_else(data_set: Path) -> None:
    with_two, with_one, without, blind = (
        open_windows(data_set, replace(SETTINGS, **change))[1]
        for change in ({}, {"sweeps": 1}, {"sweeps": 0}, {"looks": False})
    )
    assert without.sweeps.shape == (2, 6, 0, 3, 16, 32)
    assert blind.sweeps.shape == (2, 0, 2, 3, 16, 32)
    np.testing.assert_array_equal(with_one.sweeps, with_two.sweeps[:, :, 1:])
    for name, value in vars(without).items():
        if name != "sweeps":
            np.testing.assert_array_equal(getattr(with_two, name), value, name)


def edit_data(root: Path, step: int, **fields: Any) -> None:
    """Change the record of the front camera at an instant of the scene."""
    path = root / "v1.0-trainval" / "sample_data.json"
    rows = json.loads(path.read_text())
    named = f"CAM_FRONT__{1_532_402_927_000_000 + 100_000 * step}.jpg"
    (row,) = (row for row in rows if row["filename"].endswith(named))
    row |= fields
    path.write_text(json.dumps(rows))


def name_record(root: Path, step: int, channel: str = "CAM_FRONT") -> str:
    rows = json.loads((root / "v1.0-trainval" / "sample_data.json").read_text())
    named = f"{channel}__{1_532_402_927_000_000 + 100_000 * step}.jpg"
    (token,) = (row["token"] for row in rows if row["filename"].endswith(named))
    return str(token)


def remove_images(root: Path, steps: Sequence[int]) -> None:
    for step in steps:
        (path,) = (root / "sweeps" / "CAM_FRONT").glob(f"*{927_000_000 + 100_000 * step}.jpg")
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "lost", "told"),
    [
        # The first keyframe needs none, so the first lost one is the second or a later one.
        (lambda root: remove_images(root, [8]), 2, "929000800"),
        (
            lambda root: edit_data(root, 14, prev=name_record(root, 10)),
            1,
            "CAM_FRONT has 1 images between two keyframes, 2 are needed; fetch the sweeps",
        ),
        (lambda root: edit_data(root, 15, prev=""), 1, "CAM_FRONT has 0 images between two"),
        (
            lambda root: edit_data(root, 15, prev=name_record(root, 14, "CAM_BACK")),
            1,
            "leads from CAM_FRONT to CAM_BACK",
        ),
        (
            lambda root: edit_data(root, 14, prev=name_record(root, 8)),
            1,
            "the image of CAM_FRONT before this one is 0.6 s older",
        ),
        (
            lambda root: edit_data(root, 15, prev=name_record(root, 15)),
            1,
            "CAM_FRONT has 0 images between two keyframes",
        ),
    ],
)
def test_a_missing_sweep_is_refused_or_left_out(
    damage: Any, lost: int, told: str, data_set: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(data_set, tmp_path / "copy"))
    damage(root)
    with pytest.raises(NuScenesError, match=told if told != "929000800" else "is missing"):
        open_windows(root, SETTINGS)
    if lost < 2:
        windows = open_windows(root, SETTINGS, skip_bad=True)
        assert [(s.windows, len(windows)) for s in windows.skipped] == [(lost, 2 - lost)]
        assert told in str(NuScenesError(windows.skipped[0].problems))
    assert len(open_windows(root, replace(SETTINGS, sweeps=0))) == 2


def test_sweeps_of_a_data_set_without_any_are_refused(data_set: Path) -> None:
    """It has two before a keyframe."""
    with pytest.raises(NuScenesError, match="has 2 images between two keyframes, 3 are needed"):
        open_windows(data_set, replace(SETTINGS, sweeps=3))
    with pytest.raises(ValueError, match="sweeps must be >= 0, got -1"):
        replace(SETTINGS, sweeps=-1)
