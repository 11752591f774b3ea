from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from texts import everything, write

from drivers.text import find_part, load, measure_repeated, select_part


def test_the_part_of_a_file_follows_from_its_path_alone(tmp_path: Path) -> None:
    names = [f"f{k}" for k in range(60)]
    write(tmp_path, **{name: name.encode() for name in names})
    text = load(tmp_path)
    parts = {p: select_part(text, p) for p in ("train", "val", "test")}
    shown = {p: [s.path.name for s in t.stretches] for p, t in parts.items()}
    assert shown["val"] == ["f28.txt", "f35.txt", "f42.txt", "f55.txt"]
    assert shown["test"] == ["f30.txt"]
    assert len(shown["train"]) == 55
    few = load(tmp_path, "f[0-2]*.txt")
    assert [s.path.name for s in select_part(few, "val").stretches] == ["f28.txt"]
    with pytest.raises(ValueError, match="no file falls into the val part"):
        select_part(load(tmp_path, "f[3-5].txt"), "val")


def test_parts_hold_nine_tenths_and_twice_a_twentieth() -> None:
    shares = Counter(find_part(Path(f"folder/{k}.py")) for k in range(4_000))
    assert shares["train"] / 4_000 == pytest.approx(0.9, abs=0.015)
    assert shares["val"] / 4_000 == pytest.approx(0.05, abs=0.01)


def test_one_file_is_cut_at_ends_of_lines(tmp_path: Path) -> None:
    data = b"".join(b"line %03d\n" % k for k in range(200))
    text = load(write(tmp_path, a=data) / "a.txt")
    parts = [everything(select_part(text, p)) for p in ("train", "val", "test")]
    assert b"".join(parts) == data + b"\0"
    assert [len(p) for p in parts] == [1620, 90, 91]


# By the digests of their names f28, f35, f42 and f55 are validation files, f30 is a test file.
LINE, SHORT = b"%03d is a line of thirty bytes.", b"this has one byte less than it"[:29]


def test_a_held_out_file_that_training_files_repeat_is_left_out(tmp_path: Path) -> None:
    lines = [LINE % k for k in range(9)]
    assert {len(line) for line in lines} == {30}
    held = {
        "f28": SHORT + b"\n",
        "f35": lines[0] + b"\n" + 22 * b"own\n",  # 30 of 120, the end of the file included
        "f42": lines[0] + b"\n" + 21 * b"own\n",  # 30 of 116
        "f55": b"".join(line + b"\n" for line in lines),  # 270 of 280
    }
    train = b"".join(b"\t" + line + b" \r\n" for line in (SHORT, *lines))
    text = load(write(tmp_path, f0=train, f30=b"test\n", **held))
    train_part, val = (select_part(text, part) for part in ("train", "val"))
    assert [s.path.stem for s in val.stretches] == ["f28", "f35"]
    assert val.left_out == (
        f"{tmp_path / 'f42.txt'}: 26% repeats training files",
        f"{tmp_path / 'f55.txt'}: 96% repeats training files",
    )
    assert measure_repeated(val, train_part) == [0, 30 / 120]
    assert [s.path.stem for s in train_part.stretches] == ["f0"]
    assert [s.path.stem for s in select_part(text, "test").stretches] == ["f30"]


def test_held_out_files_that_all_repeat_training_files_are_refused(tmp_path: Path) -> None:
    line = LINE % 1
    text = load(write(tmp_path, f0=line, f28=line + b"\n", f30=b"x", f31=b"a\n" + line))
    with pytest.raises(ValueError, match=r"nothing is left of the val .*f28.txt: 94% repeats"):
        select_part(text, "val")


def test_repeated_lines_are_found_across_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [LINE % k for k in range(7)]
    write(tmp_path, f0=b"ab\n" + b"\n".join(lines), f28=b"\n".join(lines[::2]), f30=b"x")
    text = load(tmp_path)
    held, train = (replace(text, stretches=(text.stretches[k],)) for k in (1, 0))
    for block in (31, 32, 50, 2**20):
        monkeypatch.setattr("drivers.text.parts.CHUNK", block)
        assert measure_repeated(held, train) == [4 * 30 / (4 * 30 + 3 + 1)]


def test_one_file_is_cut_whatever_it_repeats(tmp_path: Path) -> None:
    data = 200 * (LINE % 0 + b"\n")
    text = load(write(tmp_path, a=data) / "a.txt")
    parts = [select_part(text, p).length for p in ("train", "val", "test")]
    assert parts == [180 * 31, 10 * 31, 10 * 31 + 1]
