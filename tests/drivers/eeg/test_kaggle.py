"""Kaggle's EEG: files by subject and kind, structs and their fields, hours by sequence."""

from pathlib import Path

import numpy as np
import pytest
from eeg_files import write_detection, write_prediction

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
    segments = [read_segment(path) for path in dog.files["preictal"]]
    first = segments[0]
    assert (first.kind, first.rate, first.sequence, first.latency) == ("preictal", 4.0, 1, None)
    assert first.channels == ("NVC_1", "NVC_2", "NVC_3")
    expected = np.random.default_rng(0).integers(-99, 99, (3, 2400), np.int16)
    assert np.array_equal(first.data, expected)
    assert first.data.dtype == np.float32
    assert group_sequences(s.sequence for s in segments).tolist() == [0] * 6 + [1] * 6


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
    path = write(tmp_path, data="none", sampling_frequency=0)
    with pytest.raises(ValueError, match=r"no array of numbers.*no number > 0 named sampling"):
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
    path.rename(tmp_path / "x.mat")
    with pytest.raises(ValueError, match="not the name of a segment"):
        read_segment(tmp_path / "x.mat")
    with pytest.raises(FileNotFoundError):
        read_segment(path)
