from pathlib import Path

import numpy as np
import pytest
from fake_data_sets import write_cifar10_dvs

from drivers.event_camera import cifar10_dvs, moving_bars


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_cifar10_dvs(tmp_path / "cifar10-dvs", n=2, seed=4)
    return tmp_path / "cifar10-dvs"


@pytest.mark.parametrize(("part", "first"), [("train", 100), ("test", 0)])
def test_numbers_below_100_are_the_test_part(
    folder: Path, part: moving_bars.Part, first: int
) -> None:
    clips = cifar10_dvs.load(folder, part)
    assert clips.labels.tolist() == [k // 2 for k in range(20)]
    assert clips.source == f"CIFAR10-DVS, {part} part in {folder}, 20 clips"
    assert clips[6].source.endswith(f"cat/cifar10_cat_{first}.aedat")
    assert clips[7].source.endswith(f"cat/cifar10_cat_{first + 1}.aedat")
    bar = moving_bars.generate(part, 128, 10, seed=4)[13]
    for name in ("x", "y", "polarity", "time", "start", "stop", "label"):
        np.testing.assert_array_equal(getattr(clips[7], name), getattr(bar, name))


def test_numbers_are_sorted_as_numbers(folder: Path) -> None:
    for old, new in ((100, 1000), (101, 200)):
        path = folder / "cat" / f"cifar10_cat_{old}.aedat"
        path.rename(path.with_name(f"cifar10_cat_{new}.aedat"))
    clips = cifar10_dvs.load(folder)
    assert clips[6].source.endswith("cifar10_cat_200.aedat")
    assert clips[7].source.endswith("cifar10_cat_1000.aedat")


def test_a_clip_stands_upright(tmp_path: Path) -> None:
    path = tmp_path / "cifar10_cat_0.aedat"
    words = np.array([(5 << 8) | (9 << 1) | 1, 1000, (6 << 8) | (10 << 1), 1001], ">u4")
    path.write_bytes(b"#!AER-DAT2.0\r\n" + words.tobytes())
    clip = cifar10_dvs.read(path, 3)
    assert clip.x.tolist() == [127 - 5, 127 - 6]
    assert clip.y.tolist() == [127 - 9, 127 - 10]
    assert clip.polarity.tolist() == [0, 1]
    assert (clip.start, clip.stop) == (1000, 1002)


def test_a_part_without_clips_and_a_name_without_number_are_told(folder: Path) -> None:
    for path in folder.glob("*/*_[01].aedat"):
        path.unlink()
    with pytest.raises(ValueError, match="no clip of the test part among 20; numbers 0 to 99"):
        cifar10_dvs.load(folder, "test")
    (folder / "cat" / "cifar10_cat_100.aedat").rename(folder / "cat" / "copy.aedat")
    with pytest.raises(ValueError, match=r"copy\.aedat: the name has no number, expected"):
        cifar10_dvs.load(folder)


def test_copies_in_aedat_4_are_no_files_of_this_set(folder: Path) -> None:
    for path in folder.glob("dog/*.aedat"):
        path.rename(path.with_suffix(".aedat4"))
    with pytest.raises(ValueError, match=r"classes without a \.aedat file: dog; expected one"):
        cifar10_dvs.load(folder)


def test_default_is_the_folder_in_neuro_data_or_ten_directions_of_bars(folder: Path) -> None:
    assert len(cifar10_dvs.default("test", {"NEURO_DATA": str(folder.parent)})) == 20
    bars = cifar10_dvs.default("train", {})
    assert (len(bars), bars.classes, bars[0].width) == (200, 10, 128)
