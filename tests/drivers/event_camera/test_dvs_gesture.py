from pathlib import Path

import numpy as np
import pytest
from fake_data_sets import write_dvs_gesture

from drivers.event_camera import dvs_gesture, moving_bars


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_dvs_gesture(tmp_path / "dvs-gesture", n=2, seed=4)
    return tmp_path / "dvs-gesture"


def rewrite(folder: Path, *rows: str) -> Path:
    table = folder / "user00_train_labels.csv"
    table.write_text("\n".join([dvs_gesture.TITLE, *rows]))
    return table


@pytest.mark.parametrize("part", ["train", "test"])
def test_recordings_are_cut_into_gestures(folder: Path, part: moving_bars.Part) -> None:
    clips = dvs_gesture.load(folder, part)
    assert clips.labels.tolist() == 2 * list(range(11))
    assert clips.classes == 11 == len(dvs_gesture.CLASSES)
    assert clips.source == f"DVS-Gesture, {part} part in {folder}, 22 clips"
    bars = moving_bars.generate(part, 128, 11, seed=4)
    for number in (0, 10, 13):
        clip, bar = clips[number], bars[number]
        for name in ("x", "y", "polarity", "label"):
            np.testing.assert_array_equal(getattr(clip, name), getattr(bar, name))
        np.testing.assert_array_equal(clip.time - clip.start, bar.time - bar.start)
        assert clip.stop - clip.start == bar.stop - bar.start
    assert clips[13].source == f"{folder / f'user01_{part}.aedat'}, gesture 3"


def test_the_folder_of_the_archive_is_found(tmp_path: Path) -> None:
    write_dvs_gesture(tmp_path / "DvsGesture")
    assert len(dvs_gesture.load(tmp_path)) == 11
    assert len(dvs_gesture.default("train", {"NEURO_DATA": str(tmp_path)})) == 11


def test_a_gesture_holds_its_start_and_not_its_end_and_may_overlap(folder: Path) -> None:
    whole = dvs_gesture.load(folder)[0]
    first, last = int(whole.time.min()), int(whole.time.max())
    rewrite(folder, f"7,{first},{last}", "", f"2,{first + 1},{last + 10_000_000}")
    clips = dvs_gesture.load(folder)
    assert clips.labels[:3].tolist() == [6, 1, 0]
    assert clips[0].time.size == np.sum(whole.time < last)
    assert clips[1].time.min() > first
    assert (clips[1].start, clips[1].stop) == (first + 1, last + 10_000_000)


def test_all_that_is_wrong_in_a_table_is_told_with_its_line(folder: Path) -> None:
    table = rewrite(folder, "1,5,9", "12,5,9", "0,5,9", "1,9,9", "1,2", "a,b,c")
    with pytest.raises(ValueError, match="line 3") as error:
        dvs_gesture.load(folder)
    assert str(error.value) == (
        f"{table}: line 3: class 12 is not one of 1..11; line 4: class 0 is not one of 1..11; "
        "line 5: ends at 9 us, begins at 9 us; line 6 is '1,2', expected three whole numbers; "
        "line 7 is 'a,b,c', expected three whole numbers; unpack DvsGesture.tar.gz there again"
    )
    table.write_text("")
    with pytest.raises(ValueError, match="begins with '', expected 'class,startTime_usec,end"):
        dvs_gesture.load(folder)


def test_a_gesture_without_events_is_told_with_its_line(folder: Path) -> None:
    rewrite(folder, "1,49000,50000", f"1,{2**40},{2**41}")
    for number, said in enumerate(
        ["from 49000 to 50000 us, where line 2", "from .* us, where line 3"]
    ):
        with pytest.raises(ValueError, match=f"no event {said} of user00_train_labels.csv has"):
            dvs_gesture.load(folder)[number]


def test_missing_files_are_named(folder: Path) -> None:
    (folder / "user01_test.aedat").unlink()
    (folder / "user00_test_labels.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"2 files of trials_to_test\.txt are missing:"):
        dvs_gesture.load(folder, "test")
    (folder / "trials_to_train.txt").write_text("")
    with pytest.raises(ValueError, match="names no recording with a gesture"):
        dvs_gesture.load(folder)
    (folder / "trials_to_train.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no trials_to_train\.txt; found"):
        dvs_gesture.load(folder)


def test_default_without_files_is_eleven_directions_of_bars() -> None:
    bars = dvs_gesture.default("test", {})
    assert (len(bars), bars.classes, bars[0].width) == (110, 11, 128)
