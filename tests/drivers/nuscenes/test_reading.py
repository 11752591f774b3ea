"""Nothing is read without bounds: names, files, JSON and numbers of a data set."""

import json
import os
from pathlib import Path

import pytest

from drivers.nuscenes.problem import Problem
from drivers.nuscenes.reading import (
    are_numbers,
    describe_escape,
    is_number,
    is_text,
    read_bytes,
    read_json,
)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("samples/CAM_FRONT/a.jpg", ""),
        ("samples/../maps/a.png", "leads out of the folder of the data set"),
        ("../a.jpg", "leads out of the folder of the data set"),
        ("/etc/hostname", "leads out of the folder of the data set"),
        ("samples/a..b/...jpg", ""),
        ("samples/a\0.jpg", "is no name of a file"),
        ("samples/\ud800.jpg", "is no name of a file"),
    ],
)
def test_names_of_files_stay_in_the_data_set(name: str, told: str) -> None:
    assert describe_escape(name) == told


def test_what_is_no_regular_file_or_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"four")
    assert read_bytes(path, 4) == b"four"
    with pytest.raises(ValueError, match=r"^has 4 bytes, more than 3$"):
        read_bytes(path, 3)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "lost")
    with pytest.raises(ValueError, match=r"^cannot be read: Not a directory$"):
        read_bytes(path / "below")
    os.mkfifo(tmp_path / "pipe")  # nobody ever writes
    for name, to in (("zero", "/dev/zero"), ("folder", tmp_path), ("end", tmp_path / "pipe")):
        (tmp_path / name).symlink_to(to)
        with pytest.raises(ValueError, match=r"^is no regular file$"):
            read_bytes(tmp_path / name)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(20 << 30)
    with pytest.raises(ValueError, match=r"^has 21,474,836,480 bytes, more than 268,435,456$"):
        read_json(tmp_path / "sparse")


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[1]")
    (tmp_path / "here.json").symlink_to(tmp_path / "other.json")
    assert read_json(tmp_path / "here.json") == [1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is no JSON: Expecting"),
        ("[" * 100_000, "is no JSON: nested too deeply"),
        ("9" * 5000, "is no JSON: Exceeds the limit"),
    ],
)
def test_what_is_no_json_is_said(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=f"^{told}"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", True), ("-1e18", True), ("1000000000000000000", True), ("2.5e18", False),
        ("1000000000000000001", False), ("1" + "0" * 400, False), ("-1e999", False),
        ("NaN", False), ("true", False), ('"1"', False), ("null", False),
    ],
)  # fmt: skip
def test_numbers_are_finite_and_of_1e18_at_most(text: str, number: bool) -> None:
    assert is_number(json.loads(text)) == number
    assert are_numbers([1.5, json.loads(text)], 2) == number
    assert not are_numbers([1.5, json.loads(text)], 3)
    assert not are_numbers("12", 2)


def test_half_of_a_surrogate_pair_is_no_text() -> None:
    assert is_text("Straße \U0001f600")
    assert not is_text("scene-\ud83d")


def test_a_problem_sends_nothing_to_the_terminal_but_text() -> None:
    problem = Problem(table="scene", token="\ud800", what="is 'a\x1b[2J\nb'", cure="écrivez ça")
    assert str(problem) == r"scene \ud800: is 'a\x1b[2J\nb'; écrivez ça"
