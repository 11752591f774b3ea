import os
from pathlib import Path

import pytest

from drivers.folders import (
    find_neuro_data,
    found_in,
    in_neuro_data,
    leads_out,
    read_text,
)


def test_the_first_of_the_names_is_taken(tmp_path: Path) -> None:
    environ = {"NEURO_DATA": str(tmp_path)}
    assert in_neuro_data(("a", "b"), environ) is None
    (tmp_path / "b").mkdir()
    assert in_neuro_data(("a", "b"), environ) == tmp_path / "b"
    (tmp_path / "a").mkdir()
    assert in_neuro_data(("a", "b"), environ) == tmp_path / "a"
    assert in_neuro_data(("a",), {}) is None
    with pytest.raises(FileNotFoundError, match=r"gone is not a folder; create it with a/"):
        in_neuro_data(("a",), {"NEURO_DATA": str(tmp_path / "gone")})


def test_what_is_there_is_said_in_words(tmp_path: Path) -> None:
    assert found_in(tmp_path) == found_in(tmp_path / "gone") == "nothing"
    for k in range(9):
        (tmp_path / f"f{k}").touch()
    assert found_in(tmp_path) == "f0, f1, f2, f3, f4, f5, f6, f7"


def test_bytes_that_are_no_text_are_told_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"class,\xff")
    with pytest.raises(ValueError, match=r"a.csv: no text: invalid start byte at offset 6"):
        read_text(tmp_path / "a.csv", "get it")


def test_without_an_environment_the_process_says_where_data_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.setitem(os.environ, "NEURO_DATA", str(tmp_path))
    assert (find_neuro_data(), find_neuro_data({})) == (str(tmp_path), "")
    assert in_neuro_data(("a",)) == tmp_path / "a"
    assert in_neuro_data(("a",), {}) is None


def test_a_link_leads_out_of_a_folder_where_its_end_does(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "rooter"
    for folder in (root, other):
        folder.mkdir()
        (folder / "a.txt").write_text(folder.name)
    for name, end in {"in": root / "a.txt", "out": other / "a.txt"}.items():
        (root / name).symlink_to(end)
    assert [leads_out(root / name, root) for name in ("a.txt", "in", "out")] == [
        False,
        False,
        True,
    ]
