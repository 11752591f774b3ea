import os
from collections.abc import Callable
from dataclasses import fields, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from drivers.nuscenes import windows as module
from drivers.nuscenes.cache import pack_arrays, unpack_arrays
from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.tables import open_tables
from drivers.nuscenes.window import ImageSize, Window
from drivers.nuscenes.windows import Windows, WindowSettings, find_windows
from neuro.io.store import StoreError

SETTINGS = WindowSettings(
    grid=GroundGrid(x=(-16.0, 16.0), y=(-16.0, 16.0), step=0.5),
    image=ImageSize(height=32, width=80, scale=0.5, crop=13),
    past=2,
    future=2,
)


def find(data_set: Path, cache: Path | None, settings: WindowSettings = SETTINGS) -> Windows:
    return find_windows(open_tables(data_set), settings, cache=cache)


def assert_equal(one: Window, other: Window) -> None:
    for field in fields(Window):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert (a.dtype, a.shape) == (b.dtype, b.shape), field.name
            assert a.tobytes() == b.tobytes(), field.name
        else:
            assert a == b, field.name


def assert_all_equal(one: Windows, other: Windows) -> None:
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert_equal(a, b)


def refuse(*_: object) -> None:
    raise AssertionError("a file was read, or a mask drawn")


def test_cached_windows_are_those_of_the_files_and_are_made_once(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = find(copied, None)
    assert_all_equal(find(copied, tmp_path / "cache"), plain)  # filled
    written = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.*")}
    # Two windows in each of two scenes overlap, and see three keyframes.
    assert sorted(p.suffix for p in written) == [*[".images"] * 6, ".json", *[".labels"] * 4]
    wanted = list(plain)
    for name in ("read_small_image", "read_lidar", "measure_depth", "draw_labels"):
        monkeypatch.setattr(module, name, refuse)
    for a, b in zip(find(copied, tmp_path / "cache"), wanted, strict=True):
        assert_equal(a, b)
    entries = {p: t for p, t in written.items() if p.suffix != ".json"}
    assert {p: p.stat().st_mtime_ns for p in entries} == entries


def test_windows_without_cameras_share_the_labels(short: Path, tmp_path: Path) -> None:
    blind = replace(SETTINGS, looks=False)
    assert_all_equal(find(short, tmp_path, blind), find(short, None, blind))
    assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.rglob("*.images"))
    assert_all_equal(find(short, tmp_path), find(short, None))
    assert len(list(tmp_path.iterdir())) == 1


def flip_a_bit(data: bytes) -> bytes:
    at = len(data) - 9
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def halve(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("kind", ["images", "labels"])
@pytest.mark.parametrize(
    "damage", [flip_a_bit, lambda data: data[: len(data) // 2], lambda _: b""]
)
def test_a_damaged_entry_is_named_and_made_again(
    short: Path, tmp_path: Path, kind: str, damage: Callable[[bytes], bytes]
) -> None:
    windows = find(short, tmp_path)
    first = windows[0]
    entry = next(p for p in sorted(tmp_path.rglob(f"*.{kind}")))
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    with pytest.warns(UserWarning, match=rf"{entry.name}: .*it is made again now"):
        again = windows[0]
    assert_equal(again, first)
    assert entry.read_bytes() == whole


@pytest.mark.parametrize("channel", ["CAM_BACK", "LIDAR_TOP"])
def test_a_changed_file_is_read_again(copied: Path, tmp_path: Path, channel: str) -> None:
    before = find(copied, tmp_path / "cache")[0]
    path = sorted((copied / "samples" / channel).iterdir())[0]
    if channel == "CAM_BACK":
        Image.new("RGB", (160, 90), (9, 99, 199)).save(path)
    else:
        np.full((1, 5), 3.0, "<f4").tofile(path)
    after = find(copied, tmp_path / "cache")[0]
    assert_equal(after, find(copied, None)[0])
    name = "images" if channel == "CAM_BACK" else "depth"
    assert getattr(after, name).tobytes() != getattr(before, name).tobytes()


@pytest.mark.parametrize(
    "other",
    [
        replace(SETTINGS, image=replace(SETTINGS.image, decode="reduced")),
        replace(SETTINGS, grid=replace(SETTINGS.grid, step=1.0)),
        replace(SETTINGS, past=3),
    ],
)
def test_other_settings_have_their_own_entries(
    short: Path, tmp_path: Path, other: WindowSettings
) -> None:
    _ = find(short, tmp_path)[0]
    assert_all_equal(find(short, tmp_path, other), find(short, None, other))
    assert len(list(tmp_path.iterdir())) == 2


def test_changed_tables_maps_and_code_start_another_folder(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ = find(copied, tmp_path / "cache")
    folders = set((tmp_path / "cache").iterdir())
    for path in (
        copied / "v1.0-mini" / "sample_annotation.json",
        copied / "maps" / "expansion" / "boston-seaport.json",
    ):
        os.utime(path, ns=(0, 1 + len(folders)))
        _ = find(copied, tmp_path / "cache")
        now = set((tmp_path / "cache").iterdir())
        assert len(now) == len(folders) + 1
        folders = now
    monkeypatch.setattr("drivers.nuscenes.cache.LIBRARIES", {"PIL": "0"})
    _ = find(copied, tmp_path / "cache")
    assert len(set((tmp_path / "cache").iterdir())) == 4


def read_all(data_set: Path, cache: Path) -> None:
    for _ in find(data_set, cache):
        pass


def test_several_processes_fill_one_cache(short: Path, tmp_path: Path) -> None:
    context = get_context("fork")
    processes = [context.Process(target=read_all, args=(short, tmp_path)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert not list(tmp_path.rglob(".*"))
    assert_all_equal(find(short, tmp_path), find(short, None))


def test_a_cache_that_cannot_be_written_is_refused(short: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file.*cannot be written.*another folder"):
        find(short, tmp_path / "file")


@given(
    st.sampled_from([np.bool_, np.int32, np.uint8, np.float32]).flatmap(
        lambda dtype: arrays(
            dtype, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9)
        )
    )
)
def test_packed_arrays_come_back(array: np.ndarray) -> None:
    packed, shapes = pack_arrays({"name": array})
    again = unpack_arrays(packed, shapes)["name"]
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tobytes() == array.tobytes()
    assert again.flags.writeable
