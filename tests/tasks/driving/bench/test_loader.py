import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nuscenes_files import write_data_set

pytest.importorskip("nuscenes")

from drivers.nuscenes.window import Window
from tasks.driving.bench import full_size, loader
from tasks.driving.bench.draw import tabulate
from tasks.driving.bench.full_size import POINTS, write_full_size
from tasks.driving.bench.loader import list_rates, open_full_size, read_some


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two scenes of ten keyframes with large files, of which two a sensor differ."""
    source = write_data_set(tmp_path_factory.mktemp("small"))
    for name in ("lidarseg", "panoptic"):
        (source / name).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(full_size, "FILES", 2)
        return write_full_size(source, tmp_path_factory.mktemp("large") / "data")


def test_large_files_have_the_size_of_those_of_nuscenes_and_repeat(root: Path) -> None:
    windows = open_full_size(root)
    assert len(windows) == 4
    shot = windows.tables.read_keyframe(windows.spans[0].tokens[0], ("CAM_FRONT",))
    front = shot.shots["CAM_FRONT"]
    assert (front.width, front.height) == (1600, 900)
    assert front.intrinsic is not None
    assert front.intrinsic.tolist() == [[1266, 0, 800], [0, 1266, 450], [0, 0, 1]]
    files = list((root / "samples" / "CAM_FRONT").iterdir())
    assert len(files) == 20
    assert len({f.stat().st_ino for f in files}) == 2
    scans = {f.stat().st_size for f in (root / "samples" / "LIDAR_TOP").iterdir()}
    assert scans == {20 * POINTS}
    assert windows[0].images.shape == (3, 6, 3, 224, 480)


def test_a_window_is_the_same_however_many_are_read_and_nothing_is_left_open(
    root: Path, tmp_path: Path
) -> None:
    def look(window: Window) -> list[bytes]:
        return [v.tobytes() for v in vars(window).values() if isinstance(v, np.ndarray)]

    windows = open_full_size(root)
    windows = replace(windows, cache=open_full_size(root, tmp_path).cache)
    first = look(windows[0])
    files = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        read_some(windows, 4)
    assert len(os.listdir("/proc/self/fd")) == files
    assert look(windows[0]) == first
    assert look(replace(windows, cache=None)[0]) == first
    assert not [v for v in vars(windows).values() if isinstance(v, Window)]


def test_rates_stand_beside_that_of_the_smallest_data_set() -> None:
    rows = list(list_rates({"2 scenes": 2.0, "4 scenes": 1.8, loader.CACHED: 40.0}, 4))
    assert [(r.subject, r.peer, r.ratio) for r in rows] == [
        ("4 scenes", "2 scenes", 0.9),
        (loader.CACHED, "2 scenes", 20.0),
    ]
    assert {r.unit for r in rows} == {"1/s"}
    (table,) = tabulate("loader", rows)
    shown = {str(column.header): next(column.cells) for column in table.columns[1:]}
    assert shown == {"4 scenes": "1.8", loader.CACHED: "40", "2 scenes": "2"}
