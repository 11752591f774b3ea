import os
import sysconfig
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from texts import everything, write

from drivers.text import load, load_default, split_evenly, take_first
from drivers.text.files import count_to_line_end, read_bytes


def test_the_files_of_a_folder_follow_one_another_by_name(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "z.txt").write_bytes(b"last\n")
    (tmp_path / ".hidden").write_bytes(b"no\n")
    write(tmp_path, a="né\n".encode(), c=b"third")
    text = load(tmp_path)
    assert everything(text) == "né\n\0last\n\0third\0".encode()
    assert text.length == 17
    assert text.source == f"3 files of {tmp_path}"
    assert everything(load(tmp_path, "*z.txt")) == b"last\n\0"


def test_copies_do_not_count(tmp_path: Path) -> None:
    text = load(write(tmp_path, a=b"same\n", b=b"other\n", c=b"same\n"))
    assert everything(text) == b"same\n\0other\n\0"
    assert text.copies == (tmp_path / "c.txt",)


def test_empty_and_binary_files_are_all_named(tmp_path: Path) -> None:
    write(tmp_path, a=b"text", b=b"", c=b"ab\0c", d=b"ab\xffc", e=b"caf\xc3")
    with pytest.raises(ValueError, match="skip=True") as told:
        load(tmp_path)
    for words in (
        "b.txt: empty",
        "c.txt: binary: a NUL at offset 2",
        "d.txt: no UTF-8: invalid start byte near offset 2",
        "e.txt: no UTF-8: cut off in a character at offset 4",
    ):
        assert words in str(told.value)
    assert "a.txt" not in str(told.value)
    text = load(tmp_path, skip=True)
    assert everything(text) == b"text\0"
    assert len(text.left_out) == 4


def test_a_character_across_two_chunks_is_text(tmp_path: Path) -> None:
    data = b"x" * (2**20 - 1) + "é".encode()
    assert load(write(tmp_path, a=data)).length == 2**20 + 2


def test_nothing_to_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="neither a file nor a folder"):
        load(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no text file with a name like '\*\.md'"):
        load(write(tmp_path, a=b""), "*.md")
    with pytest.raises(ValueError, match="nothing is left"):
        load(tmp_path, skip=True)
    with pytest.raises(ValueError, match="empty"):
        load(tmp_path / "a.txt")


def test_a_link_out_of_the_folder_is_refused_or_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret\n")
    root = tmp_path / "text"
    root.mkdir()
    write(root, a=b"one\n")
    (root / "b.txt").symlink_to("../secret")
    (root / "c.txt").symlink_to("a.txt")  # inside: a copy
    with pytest.raises(ValueError, match=r"b\.txt: a link out of the folder, which is not fol"):
        load(root)
    text = load(root, skip=True)
    assert (everything(text), text.copies) == (b"one\n\0", (root / "c.txt",))
    (left,) = text.left_out
    assert left.startswith(f"{root / 'b.txt'}: a link out")
    assert everything(load(root / "b.txt")) == b"secret\n\0"  # a file that is given may be one
    for k in range(9):
        (root / f"x{k}.txt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"x6\.txt: empty; and 2 more: remove them, convert"):
        load(root)


def test_a_file_that_was_written_since_is_told(tmp_path: Path) -> None:
    text = load(write(tmp_path, a=b"long enough\n"))
    path = tmp_path / "a.txt"
    before = path.stat().st_mtime_ns
    for data, modified in ((b"long", before), (b"short still\n", before + 10**9)):
        path.write_bytes(data)
        os.utime(path, ns=(modified, modified))
        with pytest.raises(ValueError, match=r"a.txt has changed since"):
            read_bytes(text, 2, 8)
    with pytest.raises(ValueError, match="no address 13"):
        read_bytes(text, 13, 8)


def test_the_first_bytes_end_behind_a_line(tmp_path: Path) -> None:
    text = load(write(tmp_path, a=b"one\ntwo\n", b=b"three\nfour\n"))
    assert everything(take_first(text, 7)) == b"one\n"
    assert everything(take_first(text, 9)) == b"one\ntwo\n\0"
    assert everything(take_first(text, 16)) == b"one\ntwo\n\0three\n"
    assert take_first(text, 1000) is text
    with pytest.raises(ValueError, match="no text is left of the first 0 bytes"):
        take_first(text, 0)


@given(many=st.integers(1, 6), files=st.lists(st.text("aé\n😀", max_size=20), min_size=1))
def test_even_shares_are_the_whole(
    tmp_path_factory: pytest.TempPathFactory, many: int, files: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("text")
    for k, data in enumerate(files):
        (folder / f"{k:03}.txt").write_bytes(20 * f"{data}\n".encode() + b"%d" % k)
    text = load(folder)
    shares = [everything(t) for t in split_evenly(text, many)]
    assert b"".join(shares) == everything(text)
    for share in shares:
        share.decode()  # no character is cut


def test_shares_begin_with_lines_and_too_many_are_refused(tmp_path: Path) -> None:
    text = load(write(tmp_path, a=b"first line\n" * 100))
    shares = split_evenly(text, 3)
    assert [t.length for t in shares] == [363, 363, 375]
    assert all(everything(t).startswith(b"first") for t in shares)
    with pytest.raises(ValueError, match="are too few for 1000 texts"):
        split_evenly(text, 1000)


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b"ab\ncd", 3),
        (b"abcd", 4),
        ("aé".encode(), 3),
        ("aé".encode()[:2], 1),
        ("a😀".encode()[:4], 1),
        ("a😀".encode(), 5),
        ("a€".encode()[:3], 1),
        (b"", 0),
    ],
)
def test_a_cut_keeps_whole_lines_else_whole_characters(data: bytes, kept: int) -> None:
    assert count_to_line_end(data) == kept


@pytest.mark.slow
def test_the_default_is_the_standard_library() -> None:
    text = load_default()
    names = [
        s.path.relative_to(sysconfig.get_path("stdlib")).as_posix() for s in text.stretches
    ]
    assert {"ast.py", "json/decoder.py"} <= set(names)
    assert not any("site-packages" in name for name in names)
    assert not any(name.startswith("_sysconfigdata") for name in names)
    assert names == sorted(names, key=lambda n: Path(n).parts)
    assert all(a.path != b.path for a, b in pairwise(text.stretches))
    assert text.length > 10_000_000
