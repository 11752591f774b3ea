from pathlib import Path

import numpy as np
import pytest
from fake_data_sets import write_cifar

from drivers.cifar import LAYOUTS, Name, generated, load, official

NAMES: list[Name] = ["cifar10", "cifar100"]


@pytest.mark.parametrize("name", NAMES)
def test_planes_and_labels_are_where_the_format_has_them(tmp_path: Path, name: Name) -> None:
    layout = LAYOUTS[name]
    record = np.zeros(layout.labels + 3072, np.uint8)
    record[: layout.labels] = [3, 7][-layout.labels :]
    record[layout.labels :] = np.arange(3072) % 251
    for file in (*layout.files["train"], *layout.files["test"]):
        np.stack([record, record]).tofile(tmp_path / file)
    found = load(tmp_path, "train", name)
    assert found.images.shape == (2 * len(layout.files["train"]), 3, 32, 32)
    assert found.labels.tolist() == [7] * len(found.labels)
    assert found.images[1, 2, 5, 9] == (2 * 1024 + 5 * 32 + 9) % 251
    assert found.classes == {"cifar10": 10, "cifar100": 100}[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_folder_of_the_archive_is_found(tmp_path: Path, name: Name) -> None:
    write_cifar(tmp_path / name / LAYOUTS[name].folder, name, n=5)
    found = official("test", name, {"NEURO_DATA": str(tmp_path)})
    assert found.labels.tolist() == [0, 1, 2, 3, 4]
    assert found.source.endswith("5 images")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"NEURO_DATA=\(not set\) holds none of it"):
        official("test", environ={})
    write_cifar(tmp_path / "cifar10")
    (tmp_path / "cifar10" / "data_batch_3.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"no data_batch_3\.bin; found data_batch_1"):
        official("train", environ={"NEURO_DATA": str(tmp_path)})


def test_a_truncated_file_is_named_with_its_offset(tmp_path: Path) -> None:
    write_cifar(tmp_path, n=3)
    path = tmp_path / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"offset 6146 has 3063 bytes") as error:
        load(tmp_path, "test")
    assert str(path) in str(error.value)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="found 0 bytes"):
        load(tmp_path, "test")


def test_a_label_that_is_no_class_is_named_with_its_offset(tmp_path: Path) -> None:
    write_cifar(tmp_path, n=3)
    path = tmp_path / "test_batch.bin"
    data = bytearray(path.read_bytes())
    data[3073] = 10
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"label 10 at offset 3073 is not one of 0\.\.9"):
        load(tmp_path, "test")


def test_a_coarse_label_that_is_no_class_is_told_too(tmp_path: Path) -> None:
    write_cifar(tmp_path, "cifar100", n=25)
    path = tmp_path / "test.bin"
    whole = path.read_bytes()
    for offset, label, told in ((9222, 20, r"0\.\.19"), (9223, 100, r"0\.\.99")):
        data = bytearray(whole)
        data[offset] = label
        path.write_bytes(bytes(data))
        match = rf"label {label} at offset {offset} is not one of {told} \(1 "
        with pytest.raises(ValueError, match=match):
            load(tmp_path, "test", "cifar100")


@pytest.mark.parametrize(
    ("name", "other", "file", "expected"),
    [
        ("cifar10", "cifar100", "test_batch.bin", "test.bin"),
        ("cifar100", "cifar10", "test.bin", "test_batch.bin"),
    ],
)
def test_files_of_the_other_set_are_told_by_name_and_by_size(
    tmp_path: Path, name: Name, other: Name, file: str, expected: str
) -> None:
    write_cifar(tmp_path, name, n=4)
    with pytest.raises(FileNotFoundError, match=f"these are files of {name}, not of {other}; "):
        load(tmp_path, "test", other)
    (tmp_path / file).rename(tmp_path / expected)
    with pytest.raises(ValueError, match=f"these would be 4 images of {name}; unpack"):
        load(tmp_path, "test", other)


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone is not a folder"):
        official(environ={"NEURO_DATA": str(tmp_path / "gone")})


def test_generated_stand_ins_need_no_file_and_differ_between_parts() -> None:
    train, again, test = generated("train"), generated("train"), generated("test", n=30)
    assert train.images.shape == (1000, 3, 32, 32)
    assert np.bincount(train.labels).tolist() == [100] * 10
    assert np.array_equal(train.images, again.images)
    assert not np.array_equal(generated("train", n=30).images, test.images)
    # Two pairs of colours: red is strong in classes 0 to 4, blue in the others.
    red, blue = (test.images[:, c].reshape(3, 10, -1).mean((0, 2)) for c in (0, 2))
    assert (red[:5] > blue[:5]).all()
    assert (red[5:] < blue[5:]).all()
