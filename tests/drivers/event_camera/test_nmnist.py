import pickle
from pathlib import Path

import numpy as np
import pytest
from fake_data_sets import write_nmnist

from drivers.event_camera import moving_bars, nmnist


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_nmnist(tmp_path / "nmnist", n=2, seed=4)
    return tmp_path / "nmnist"


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_part_is_read_clip_by_clip_class_by_class(
    folder: Path, part: moving_bars.Part
) -> None:
    clips = nmnist.load(folder, part)
    bars = moving_bars.generate(part, 34, 10, seed=4)
    assert clips.labels.tolist() == [k // 2 for k in range(20)]
    assert clips.classes == 10
    assert clips.source == f"N-MNIST, {part} part in {folder}, 20 clips"
    assert [clip.label for clip in clips] == clips.labels.tolist()
    clip, bar = clips[7], bars[13]  # the second of class 3
    for name in ("x", "y", "polarity", "time", "start", "stop", "label"):
        np.testing.assert_array_equal(getattr(clip, name), getattr(bar, name))
    assert (clip.width, clip.height) == (34, 34)
    assert clip.source.endswith("3/00014.bin")


def test_a_damaged_file_is_told_when_its_clip_is_read_and_the_others_stay(folder: Path) -> None:
    path = folder / "Train" / "0" / "00001.bin"
    path.write_bytes(path.read_bytes()[:-1])
    clips = nmnist.load(folder)
    with pytest.raises(ValueError, match=r"00001\.bin: truncated: records of 5 bytes"):
        clips[0]
    assert clips[1].label == 0


def test_clips_may_be_handed_to_another_process(folder: Path) -> None:
    copy = pickle.loads(pickle.dumps(nmnist.load(folder)))
    np.testing.assert_array_equal(copy[7].time, nmnist.load(folder)[7].time)


def test_folders_of_other_classes_and_missing_ones_are_told(folder: Path) -> None:
    (folder / "Train" / "9").rename(folder / "Train" / "ten")
    with pytest.raises(ValueError, match="folders of no class: ten; missing classes: 9; expec"):
        nmnist.load(folder)
    with pytest.raises(FileNotFoundError, match=r"Train is no folder; found 0, 1, 2"):
        nmnist.load(folder / "Train")


def test_default_is_the_folder_in_neuro_data_or_ten_directions_of_bars(folder: Path) -> None:
    found = nmnist.default("test", {"NEURO_DATA": str(folder.parent)})
    assert len(found) == 20
    bars = nmnist.default("test", {})
    assert (len(bars), bars.classes, bars[0].width) == (100, 10, 34)
