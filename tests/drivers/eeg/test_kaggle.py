"""Kaggle's EEG: files by subject and kind, structs and their fields, hours by sequence."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from eeg_files import write_detection, write_prediction

from drivers.eeg import kaggle, mat_child
from drivers.eeg.kaggle import DAY, find_detection, find_patient, list_files, read_segments

savemat = pytest.importorskip("scipy.io").savemat
NAME = "Dog_1_preictal_segment_0001.mat"


def read_one(path: Path) -> kaggle.EegSegment:
    (segment,) = read_segments([path])
    return segment


@pytest.fixture(autouse=True)
def neuro_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURO_DATA", str(tmp_path))


@pytest.mark.slow
def test_hours_of_the_prediction_set_are_runs_with_a_seizure_behind_the_preictal_ones(
    tmp_path: Path,
) -> None:
    folder = write_prediction(tmp_path)
    dog = find_patient("Dog_1")
    assert (dog.patient, dog.rate, dog.channels) == ("Dog_1", 4.0, ("NVC_1", "NVC_2", "NVC_3"))
    assert [f.start for f in dog.files] == [0, DAY, 2 * DAY, 3 * DAY]
    assert [f.duration for f in dog.files] == 4 * [3600]
    assert dog.seizures.start.tolist() == [3900, DAY + 3900]
    rng = np.random.default_rng(0)
    first, second = (rng.integers(-99, 99, (3, 2400), np.int16) for _ in range(2))
    over = np.concatenate([first[:, -5:], second[:, :7]], 1)
    assert np.array_equal(dog.read(0, 2395, 12), over)  # from one file into the next
    for lost in (2, 3):  # the first hour goes on 20 minutes later, the second one is whole
        (folder / f"Dog_1_preictal_segment_{lost:04d}.mat").unlink()
    for k in range(4, 13):
        path = folder / f"Dog_1_preictal_segment_{k:04d}.mat"
        path.rename(folder / f"Dog_1_preictal_segment_{k - 2:04d}.mat")
    dog = find_patient("Dog_1")
    assert [f.start for f in dog.files[:3]] == [0, DAY + 1800, 2 * DAY]
    assert [f.duration for f in dog.files[:3]] == [600, 1800, 3600]


@pytest.mark.slow
def test_seizures_of_the_detection_set_are_runs_of_seconds(tmp_path: Path) -> None:
    write_detection(tmp_path, "Dog_1", [3, 2], channels=3)
    write_detection(tmp_path, "Dog_2", [1])
    write_detection(tmp_path, "Patient_1", [1], channels=4)
    (dog,) = find_detection("Dog", 3)
    assert (dog.patient, dog.rate, dog.channels) == ("Dog_1", 40.0, ("LTG_1", "LTG_2", "LTG_3"))
    assert (dog.seizures.start.tolist(), dog.seizures.stop.tolist()) == ([0, DAY], [3, DAY + 2])
    assert [f.duration for f in dog.files] == [3, 2, 5]
    third = read_one(tmp_path / "seizure-detection/Dog_1/Dog_1_ictal_segment_3.mat")
    assert np.array_equal(dog.read(0, 85, 35), third.data[:, 5:])
    fewer = [*find_detection("Dog", 2)]
    assert [own.channels for own in fewer] == 2 * [("LTG_1", "LTG_2")]
    with pytest.raises(FileNotFoundError, match=r"no Dog with 4 channels; expected Dog_1/Dog"):
        [*find_detection("Dog", 4)]


@pytest.mark.slow
def test_a_file_unlike_the_others_is_refused_where_it_is_read(tmp_path: Path) -> None:
    folder = write_prediction(tmp_path, hours=1)
    (folder / "Dog_1_preictal_segment_0002.mat").unlink()
    write(folder, "Dog_1_preictal_segment_0002.mat", sequence=2)
    dog = find_patient("Dog_1")
    dog.read(0, 0, 2400)
    with pytest.raises(ValueError, match=r"_0002.mat: has 2 channels of 40 samples; expected "):
        dog.read(0, 0, 2401)
    write(folder, "Dog_1_preictal_segment_0003.mat")
    fields = {"data": np.ones((2, 40)), "freq": 4}
    savemat(folder / "Dog_1_preictal_segment_0003.mat", fields)
    with pytest.raises(ValueError, match=r"_0003.mat: it has no sequence and no latency"):
        find_patient("Dog_1")


def test_files_that_are_missing_are_listed(tmp_path: Path) -> None:
    folder = write_prediction(tmp_path)
    for path in folder.iterdir():
        if path.name.endswith(("3.mat", "5.mat")) or "interictal" in path.name:
            path.unlink()
    with pytest.raises(ValueError, match="files are missing; fetch") as error:
        list_files(folder, ("preictal", "interictal"))
    assert "Dog_1 lacks 2 preictal files: 3, 5" in str(error.value)
    assert "Dog_1 has no interictal files" in str(error.value)
    expected = r"no files of Dog_2; expected Dog_2/Dog_2_ictal_segment_1.mat.*found Dog_1; fet"
    with pytest.raises(FileNotFoundError, match=expected):
        list_files(folder.with_name("Dog_2"), ("ictal", "interictal"))


def write(folder: Path, name: str = NAME, **fields: object) -> Path:
    x = np.random.default_rng(0).normal(size=(2, 40))
    struct = {"data": x, "data_length_sec": 10, "sampling_frequency": 4, "sequence": 1}
    savemat(folder / name, {"preictal_segment_1": struct | fields})
    return folder / name


@pytest.mark.slow
def test_what_is_wrong_in_a_segment_is_said_at_once(tmp_path: Path) -> None:
    read_one(write(tmp_path))
    path = write(tmp_path, sequence=7, channels=np.array(["a"], object))
    with pytest.raises(ValueError, match="names 1 channels, and has 2") as error:
        read_one(path)
    assert "sequence is 7, not 1 to 6" in str(error.value)
    for data in ("none", np.full((2, 40), 1j)):
        path = write(tmp_path, data=data, sampling_frequency=0)
        with pytest.raises(ValueError, match=r"no array of numbers.*no number > 0 named sampl"):
            read_one(path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"0001.mat: no MATLAB 5 file .*; fetch"):
        read_one(path)
    with pytest.raises(ValueError, match=r"no MATLAB 5 file \(error: Error -3 while"):
        read_one(write_packed(tmp_path, b"no zlib"))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_one(path)


def write_packed(folder: Path, data: bytes) -> Path:
    """Write a header and one compressed element of so many bytes."""
    head = write(folder).read_bytes()[:128]
    (folder / NAME).write_bytes(head + struct.pack("<2I", 15, len(data)) + data)
    return folder / NAME


def test_a_file_that_crashes_scipy_is_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path)
    data = bytearray(path.read_bytes())
    assert (
        data[344] == 9
    )  # the type of the values, float64; of others scipy 1.17 reads address 0
    data[344] = 0
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"segment_0001.mat: no MATLAB 5 file \(.*; fetch"):
        read_one(path)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("os.kill(os.getpid(), 11)", "scipy crashed by signal 11"),
        ("sys.exit('x' * 999)", "x" * 300),
        ("time.sleep(60)", "it was not read within 0.1 s"),
    ],
)
def test_a_reader_that_dies_or_hangs_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, why: str
) -> None:
    (tmp_path / "child.py").write_text(f"import os, sys, time\n{code}\n")
    monkeypatch.setattr(mat_child, "__file__", str(tmp_path / "child.py"))
    if "sleep" in code:
        monkeypatch.setattr(kaggle, "LONGEST", 0.1)
    with pytest.raises(ValueError, match=rf"no MATLAB 5 file \({why}\); fetch"):
        read_one(write(tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit memory")
def test_a_file_that_needs_more_memory_than_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, data=np.tile(np.arange(2.0), (2, 10**6)), data_length_sec=5 * 10**5)
    assert read_one(path).data.shape == (2, 2 * 10**6)
    monkeypatch.setattr(mat_child, "MOST", 2**20)
    with pytest.raises(ValueError, match=r"0001.mat: no MATLAB 5 file \(MemoryError"):
        read_one(path)


def test_a_value_that_float32_cannot_hold_is_infinite(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(2, 40))
    x[1, 3] = 1e39
    assert read_one(write(tmp_path, data=x)).data[1, 3] == np.inf
