"""Kaggle's EEG: files by subject and kind, structs and their fields, hours by sequence."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from eeg_files import write_detection, write_prediction

from drivers.eeg import kaggle, mat_child
from drivers.eeg.kaggle import group_sequences, list_subjects, read_segment

savemat = pytest.importorskip("scipy.io").savemat
NAME = "Dog_1_preictal_segment_0001.mat"


@pytest.fixture(scope="module")
def prediction(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prediction(tmp_path_factory.mktemp("prediction"))


def test_a_segment_of_the_prediction_set(prediction: Path) -> None:
    (dog,) = list_subjects(prediction, "prediction")
    assert dog.name == "Dog_1"
    assert {k: len(v) for k, v in dog.files.items()} == {
        "preictal": 12,
        "interictal": 12,
        "test": 0,
    }
    segments = [read_segment(path) for path in dog.files["preictal"][::4]]
    first = segments[0]
    assert (first.kind, first.rate, first.sequence, first.latency) == ("preictal", 4.0, 1, None)
    assert first.channels == ("NVC_1", "NVC_2", "NVC_3")
    expected = np.random.default_rng(0).integers(-99, 99, (3, 2400), np.int16)
    assert np.array_equal(first.data, expected)
    assert first.data.dtype == np.float32
    assert group_sequences(s.sequence for s in segments).tolist() == [0, 0, 1]


def test_a_second_of_the_detection_set(tmp_path: Path) -> None:
    (patient,) = list_subjects(write_detection(tmp_path), "detection")
    third = read_segment(patient.files["ictal"][2])
    assert (third.kind, third.rate, third.latency) == ("ictal", 40.0, 2.0)
    assert third.sequence is None
    assert third.channels == ("LTG_1", "LTG_2")
    assert third.data.shape == (2, 40)
    assert read_segment(patient.files["interictal"][0]).latency is None
    with pytest.raises(ValueError, match="file 1 has no sequence"):
        group_sequences([third.sequence])


def test_an_hour_begins_where_the_sequence_restarts() -> None:
    assert group_sequences([4, 5, 6, 1, 2, 2, 3]).tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_files_that_are_missing_are_listed(prediction: Path, tmp_path: Path) -> None:
    (tmp_path / "Dog_1").mkdir()
    for path in (prediction / "Dog_1").iterdir():
        if "preictal" in path.name and not path.name.endswith(("3.mat", "5.mat")):
            (tmp_path / "Dog_1" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="files are missing; fetch") as error:
        list_subjects(tmp_path, "prediction")
    assert "Dog_1 lacks 2 preictal files: 3, 5" in str(error.value)
    assert "Dog_1 has no interictal files" in str(error.value)
    expected = r"expected FOLDER/Dog_1/Dog_1_ictal_segment_1.mat.*found Dog_1; fetch"
    with pytest.raises(FileNotFoundError, match=expected):
        list_subjects(tmp_path, "detection")


def write(folder: Path, **fields: object) -> Path:
    x = np.random.default_rng(0).normal(size=(2, 40))
    struct = {"data": x, "data_length_sec": 10, "sampling_frequency": 4, "sequence": 1}
    savemat(folder / NAME, {"preictal_segment_1": struct | fields})
    return folder / NAME


def test_what_is_wrong_in_a_segment_is_said_at_once(tmp_path: Path) -> None:
    read_segment(write(tmp_path))
    path = write(tmp_path, data_length_sec=600, sequence=7, channels=np.array(["a"], object))
    with pytest.raises(ValueError, match="names 1 channels, and has 2") as error:
        read_segment(path)
    assert "40 samples at 4 Hz are not the 600 s" in str(error.value)
    assert "sequence is 7, not 1 to 6" in str(error.value)
    for data in ("none", np.full((2, 40), 1j)):
        path = write(tmp_path, data=data, sampling_frequency=0)
        with pytest.raises(ValueError, match=r"no array of numbers.*no number > 0 named sampl"):
            read_segment(path)


def test_constant_channels_and_nan_are_refused(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(3, 40))
    x[0], x[2, 5] = 4, np.nan
    with pytest.raises(ValueError, match="channel 1 is constant; channel channel 3 holds"):
        read_segment(write(tmp_path, data=x))


def test_a_damaged_file_is_refused(prediction: Path, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes((prediction / "Dog_1" / NAME).read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"0001.mat: no MATLAB 5 file .*; fetch"):
        read_segment(path)
    with pytest.raises(ValueError, match=r"no MATLAB 5 file \(error: Error -3 while"):
        read_segment(write_packed(tmp_path, b"no zlib"))
    path.rename(tmp_path / "x.mat")
    with pytest.raises(ValueError, match="not the name of a segment"):
        read_segment(tmp_path / "x.mat")
    with pytest.raises(FileNotFoundError):
        read_segment(path)


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
        read_segment(path)


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
        read_segment(write(tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit memory")
def test_a_file_that_needs_more_memory_than_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, data=np.tile(np.arange(2.0), (2, 10**6)), data_length_sec=5 * 10**5)
    assert read_segment(path).data.shape == (2, 2 * 10**6)
    monkeypatch.setattr(mat_child, "MOST", 2**20)
    with pytest.raises(ValueError, match=r"0001.mat: no MATLAB 5 file \(MemoryError"):
        read_segment(path)


def test_a_value_that_float32_cannot_hold_is_refused_with_its_channel(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(2, 40))
    x[1, 3] = 1e39
    with pytest.raises(
        ValueError, match=r"0001.mat: channel channel 2 holds what is no finite"
    ):
        read_segment(write(tmp_path, data=x))


def test_many_missing_files_are_told_in_few_lines(tmp_path: Path) -> None:
    for k in range(20):
        (tmp_path / f"Dog_{k}").mkdir()
        (tmp_path / f"Dog_{k}" / f"Dog_{k}_ictal_segment_1.mat").touch()
    with pytest.raises(ValueError, match="are missing") as error:
        list_subjects(tmp_path, "detection")
    assert len(str(error.value).splitlines()) == 14
    assert str(error.value).endswith("and 8 more")
