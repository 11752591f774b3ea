"""Data sets of events as tonic lays them out: files of a test in the true formats."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import clip_of, random_clip
from fake_data_sets import (
    write_dvs_gesture,
    write_gesture,
    write_nmnist,
    write_records,
    write_shd,
    write_ssc,
)

from drivers.event_camera import Clip, frames, from_tonic, load, moving_bars
from neuro.base.units import Seconds

pytest.importorskip("tonic")


def root_of(folder: Path) -> dict[str, str]:
    return {"NEURO_DATA": str(folder)}


def require_same(found: Clip, expected: Clip, *names: str) -> None:
    for name in names or ("x", "y", "polarity", "time", "start", "stop", "label"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("part", ["train", "test"])
def test_nmnist_is_read_clip_by_clip_class_by_class(
    tmp_path: Path, part: moving_bars.Part
) -> None:
    write_nmnist(tmp_path, n=2, seed=4)
    clips = load("nmnist", part, root_of(tmp_path))
    assert clips.labels.tolist() == [k // 2 for k in range(20)]
    assert clips.classes == 10
    assert clips.source == f"NMNIST, {part} part in {tmp_path / 'NMNIST'}, 20 clips"
    require_same(clips[7], moving_bars.generate(part, 34, 10, seed=4)[13])
    assert (clips[7].width, clips[7].height) == (34, 34)
    assert clips[7].source.endswith("3/00014.bin")
    require_same(pickle.loads(pickle.dumps(clips))[7], clips[7])


@pytest.mark.parametrize("part", ["train", "test"])
def test_gestures_are_read_by_name_of_user_and_class(
    tmp_path: Path, part: moving_bars.Part
) -> None:
    write_dvs_gesture(tmp_path, n=2, seed=4)
    clips = load("dvs_gesture", part, root_of(tmp_path))
    assert clips.labels.tolist() == 2 * [0, 1, 10, *range(2, 10)]  # names are sorted as text
    clip, bar = clips[13], moving_bars.generate(part, 128, 11, seed=4)[21]
    require_same(clip, bar, "x", "y", "polarity", "label")
    assert clip.time.tolist() == (bar.time // 1000 * 1000).tolist()
    assert clip.source.endswith("user02_led/10.npy")


@pytest.mark.parametrize(("part", "seed"), [("train", 0), ("test", 1)])
def test_spikes_of_shd_are_sorted_events_of_one_row(
    tmp_path: Path, part: moving_bars.Part, seed: int
) -> None:
    write_shd(tmp_path, n=2, seed=4)
    clips = load("shd", part, root_of(tmp_path))
    assert clips.labels.tolist() == 2 * list(range(20))
    rng = np.random.default_rng([4, seed])
    time = rng.uniform(0, 1.2, 60).astype(np.float16).astype(np.float64) * 1e6
    channel, order = rng.integers(0, 35, 60), np.argsort(time, kind="stable")
    clip = clips[0]
    np.testing.assert_array_equal(clip.time, time[order].astype(np.int64))
    np.testing.assert_array_equal(clip.x, channel[order])
    assert (clip.width, clip.height, clips.classes) == (700, 1, 20)
    assert set(clip.polarity) == {1}
    assert clips[27].source == f"{tmp_path}/SHD/shd_{part}.h5, recording 27"
    assert clips[27].x.min() >= 245


def test_ssc_has_35_words_and_names_its_parts(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"datasets.SSC\('FOLDER', split='test'\) in"):
        load("ssc", "test", {})
    write_ssc(tmp_path)
    for part in ("train", "test"):
        clips = load("ssc", part, root_of(tmp_path))  # type: ignore[arg-type]
        assert (clips.classes, len(clips)) == (35, 35)
        assert clips[34].source == f"{tmp_path}/SSC/ssc_{part}.h5, recording 34"
        assert clips[34].x.min() >= 680


def test_what_is_missing_is_told_with_what_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        load("shd", "test", {})
    assert str(error.value) == (
        "shd: NEURO_DATA=(not set) holds no SHD/shd_test.h5; found nothing there; where there "
        "is a network, tonic.datasets.SHD('FOLDER', train=False) in Python fetches it; then "
        "set NEURO_DATA=FOLDER"
    )
    (tmp_path / "NMNIST" / "Test").mkdir(parents=True)
    said = (
        f"found Test there; .*, tonic.datasets.NMNIST\\('{tmp_path}', train=True\\) in .* it$"
    )
    with pytest.raises(FileNotFoundError, match=said):
        load("nmnist", "train", root_of(tmp_path))


def test_each_class_has_a_recording_and_no_other(tmp_path: Path) -> None:
    write_dvs_gesture(tmp_path)
    last = tmp_path / "DVSGesture" / "ibmGestureTest" / "user01_led" / "10.npy"
    other = last.rename(last.with_name("11.npy"))
    with pytest.raises(ValueError, match=r"11 recordings of .* 9, 11\], expected"):
        load("dvs_gesture", "test", root_of(tmp_path))
    np.save(last, np.load(other))
    with pytest.raises(ValueError, match=r"12 recordings of classes .* 9, 10, 11\], expected"):
        load("dvs_gesture", "test", root_of(tmp_path))
    other.rename(last.with_name("a.npy"))
    with pytest.raises(ValueError, match=r"Test: tonic cannot read it \(ValueError: "):
        load("dvs_gesture", "test", root_of(tmp_path))


@pytest.mark.parametrize("cut", range(1, 5))
def test_a_truncated_record_is_told_and_the_other_clips_stay(tmp_path: Path, cut: int) -> None:
    """tonic drops a last byte without a word, and reads past the end with other errors."""
    write_nmnist(tmp_path)
    path = tmp_path / "NMNIST" / "Test" / "0" / "00001.bin"
    path.write_bytes(path.read_bytes()[:-cut])
    clips, size = load("nmnist", "test", root_of(tmp_path)), path.stat().st_size
    said = f"{path}: tonic cannot read it (ValueError: truncated: {size} bytes, expected events"
    with pytest.raises(ValueError, match=re.escape(said)):
        clips[0]
    assert clips[1].label == 1


GESTURES = {
    "holds no event; fetch": (),
    "time -2000 us is negative": ((0, 0, 0, -2000), (0, 0, 0, 5000)),
    r"runs back by 11000 us \(up to 10000 us are taken\); f": (
        *((0, 0, 0, 20_000), (1, 0, 0, 15_000), (1, 0, 0, 9_000)),
    ),
    r"no event for 60001000 us \(up to 60000000 us are taken\); f": (
        *((0, 0, 0, 0), (0, 0, 0, 5000), (1, 0, 0, 60_006_000)),
    ),
    "by 11000 us .*; no event for 60001000 us": (
        *((0, 0, 0, 12_000), (0, 0, 0, 1000), (1, 0, 0, 60_013_000)),
    ),
    r"x of 0\.\.128, expected 0\.\.127; y of 0\.\.200, expected": (
        *((0, 200, 0, 0), (128, 0, 0, 1000)),
    ),
}


@pytest.mark.parametrize(("said", "events"), GESTURES.items())
def test_events_that_no_camera_sends_are_told(tmp_path: Path, said: str, events: Any) -> None:
    write_dvs_gesture(tmp_path)
    path = tmp_path / "DVSGesture" / "ibmGestureTest" / "user01_led" / "0.npy"
    start, stop = (-2000, 10**8)
    write_gesture(path, clip_of(*events, side=256, start=start, stop=stop))
    with pytest.raises(ValueError, match=f"0.npy: .*{said}|0.npy: {said}"):
        load("dvs_gesture", "test", root_of(tmp_path))[0]


def test_time_may_step_back_by_10_ms_and_rest_for_a_minute(tmp_path: Path) -> None:
    write_nmnist(tmp_path)
    write_dvs_gesture(tmp_path)
    records = tmp_path / "NMNIST" / "Test" / "0" / "00001.bin"
    write_records(records, clip_of((0, 0, 0, 50_000), (1, 0, 0, 40_000)))
    assert load("nmnist", "test", root_of(tmp_path))[0].time.tolist() == [50_000, 40_000]
    write_records(records, clip_of((0, 0, 0, 50_000), (1, 0, 0, 39_999)))
    with pytest.raises(ValueError, match="time runs back by 10001 us"):
        load("nmnist", "test", root_of(tmp_path))[0]
    rows = tmp_path / "DVSGesture" / "ibmGestureTest" / "user01_led" / "0.npy"
    write_gesture(rows, clip_of((0, 0, 0, 5000), (1, 0, 0, 60_005_000)))
    assert load("dvs_gesture", "test", root_of(tmp_path))[0].time.tolist() == [5000, 60_005_000]


def test_a_file_of_another_format_is_told(tmp_path: Path) -> None:
    write_shd(tmp_path)
    path = tmp_path / "SHD" / "shd_test.h5"
    path.write_bytes(b"<html>" * 20)
    said = rf"{path}: tonic cannot read it \(OSError: .*\); fetch the file again"
    with pytest.raises(ValueError, match=said):
        load("shd", "test", root_of(tmp_path))


class Cameras:
    """What a data set of tonic is, with the columns of CIFAR10DVS."""

    sensor_size = (6, 6, 2)
    classes = ("cat", "dog")
    data = ("dog/2", "cat/1")
    targets = (1, 0)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        clip = random_clip(index, 9)
        kind = [("t", np.uint64), ("x", np.uint16), ("y", np.uint16), ("p", bool)]
        rows = zip(np.sort(clip.time) + 5, clip.x, clip.y, clip.polarity, strict=True)
        return np.array(list(rows), kind), self.targets[index]

    def __repr__(self) -> str:
        return "Cameras"


def test_any_data_set_of_tonic_becomes_clips() -> None:
    clips = from_tonic(Cameras())
    assert (clips.source, clips.classes, clips.labels.tolist()) == (
        "Cameras, 2 clips",
        2,
        [0, 1],
    )
    assert (clips[0].source, clips[0].label, clips[1].source) == ("cat/1", 0, "dog/2")
    require_same(clips[1], random_clip(0, 9), "x", "y", "polarity")
    assert from_tonic(Cameras(), labels=[1, 1], source="Mine").labels.tolist() == [1, 1]


def test_frames_are_those_of_tonic() -> None:
    from tonic.transforms import ToFrame

    clip = moving_bars.generate("test", 16, 4)[2]
    events = np.zeros(clip.time.size, [("x", int), ("y", int), ("p", int), ("t", int)])
    for theirs, ours in zip("xypt", ("x", "y", "polarity", "time"), strict=True):
        events[theirs] = getattr(clip, ours)
    make = ToFrame((16, 16, 2), time_window=12_500, start_time=clip.start, end_time=clip.stop)
    found = frames(clip, dt=Seconds(0.0125))
    whole = make(events)
    assert len(whole) == len(found) - 1  # tonic leaves out the last, incomplete span
    np.testing.assert_array_equal(whole, found[:-1])
