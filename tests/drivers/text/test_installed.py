import gzip
import itertools
from pathlib import Path

import pytest

from drivers.text import installed, read_installed
from drivers.text.installed import Installed


def read_fake(folder: Path, monkeypatch: pytest.MonkeyPatch, least: int = 2) -> Installed:
    packages = folder / "site-packages"
    monkeypatch.setattr(installed.sys, "path", [str(packages), str(folder)])
    paths = {"stdlib": folder / "lib", "include": folder / "include"}
    monkeypatch.setattr(installed.sysconfig, "get_path", lambda name: str(paths[name]))
    return read_installed(least=least, system=folder / "share")


def write_lines(path: Path, first: int, lines: int = 9) -> str:
    text = "".join(
        f"line number {n} of some file, long enough\n" for n in range(first, first + lines)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return text


def test_each_corpus_is_found_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages, count = tmp_path / "site-packages", itertools.count(0, 100)
    places = {
        "python": [tmp_path / "lib" / "a.py", tmp_path / "lib" / "b" / "c.py"],
        "headers": [tmp_path / "include" / "a.h", packages / "p" / "b.h"],
        "readmes": [packages / f"{x}.dist-info" / "METADATA" for x in "ab"],
        "licences": [
            packages / "a.dist-info" / "licenses" / "LICENSE.txt",
            tmp_path / "share" / "common-licenses" / "GPL-3",
        ],
        "tables": [packages / "p" / "a.csv", packages / "p" / "a.json"],
        "manuals": [tmp_path / "share" / "man" / "man1" / f"{x}.1.gz" for x in "ab"],
    }
    texts = {
        name: {str(path): write_lines(path, next(count)) for path in own}
        for name, own in places.items()
    }
    write_lines(tmp_path / "lib" / "site-packages" / "x.py", next(count))
    write_lines(packages / "p" / "__pycache__" / "x.json", next(count))
    found = read_fake(tmp_path, monkeypatch)
    assert found.left_out == ()
    assert {
        corpus.name: {d.place: d.text for d in corpus.documents} for corpus in found.corpora
    } == texts


def test_small_binary_and_repeated_files_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lib = tmp_path / "lib"
    for first, name in ((0, "a"), (100, "b"), (200, "c")):
        write_lines(lib / f"{name}.py", first)
    write_lines(lib / "small.py", 300, lines=2)
    (lib / "binary.py").write_bytes(b"\0" * 500)
    (lib / "latin.py").write_bytes(b"\xe9" * 500)
    (lib / "dead.py").symlink_to(lib / "gone")
    found = read_fake(tmp_path, monkeypatch)
    (python,) = found.corpora
    assert (len(python.documents), python.copies) == (3, 0)
    assert found.left_out[0] == "headers: 0 files that differ, 2 are needed"
    assert len(found.left_out) == 5
    (lib / "copy.py").write_text((lib / "a.py").read_text()[:250] + "x\n" * 200)
    (python,) = read_fake(tmp_path, monkeypatch).corpora
    assert (len(python.documents), python.copies) == (3, 1)


def test_names_and_sizes_are_chosen(tmp_path: Path) -> None:
    found = read_installed(("python",), most=3, least=3, system=tmp_path)
    assert [(c.name, len(c.documents)) for c in found.corpora] == [("python", 3)]
    with pytest.raises(ValueError, match="no installed corpus songs; take some of python, "):
        read_installed(("songs",))
