"""A file is whole, old or new, whatever happens while it is written."""

from pathlib import Path
from typing import Any

import pytest

from neuro.io.store import StoreError, write_bytes, write_new_bytes


def fail(*_: Any, **__: Any) -> None:
    raise OSError("no space left on device")


def write_half(path: Path, data: bytes) -> int:
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
    raise OSError("no space left on device")


@pytest.mark.parametrize(("step", "failing"), [("replace", fail), ("write_bytes", write_half)])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    step: str, failing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.bin"
    write_bytes(path, b"old")
    monkeypatch.setattr(Path, step, failing)
    with pytest.raises(StoreError, match=r"file.bin: cannot be written \(no space left"):
        write_bytes(path, b"newer")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]
    write_bytes(path, b"newer")
    assert path.read_bytes() == b"newer"


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_is_written_where_none_is(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:  # as on exFAT
        monkeypatch.setattr("os.link", fail)
    path = tmp_path / "folder" / "file.bin"
    write_new_bytes(path, b"first")
    write_new_bytes(path, b"second")
    assert path.read_bytes() == b"first"
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]
    with pytest.raises(StoreError, match=r"more.bin: cannot be written"):
        write_new_bytes(path / "more.bin", b"third")
