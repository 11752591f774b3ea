"""Corpora of installed text, from Python, its packages and the system, without a download.

python     the standard library, *.py          headers    of Python and of packages, *.h
readmes    METADATA of packages                licences   of packages and of the system
tables     *.csv and *.json of packages        manuals    of the system, man/man?/*.gz

Installed text differs between machines: compare only figures of one machine.
"""

import gzip
import hashlib
import os
import re
import sys
import sysconfig
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from drivers.text.corpora import Corpus, Document
from drivers.text.files import FOREIGN
from drivers.text.parts import LONG, MOST

LEAST, LARGEST = 200, 2**16  # smallest and largest usable file [bytes]
LICENCE = re.compile(r"(LICEN[CS]E|COPYING|NOTICE)", re.IGNORECASE)
SYSTEM = Path("/usr/share")  # licences and manuals of Debian and its derivatives


@dataclass(frozen=True, kw_only=True)
class Installed:
    """The corpora found. left_out: corpora with too few files, each with the count."""

    corpora: tuple[Corpus, ...]
    left_out: tuple[str, ...]


def read_installed(
    names: tuple[str, ...] = (), most: int = 200, least: int = 20, system: Path = SYSTEM
) -> Installed:
    """Return corpora of installed text.

    Files are read in the order of the digests of their paths. A file is left out if more than a
    quarter of it repeats long lines of files read before: most licences are copies.

    names: corpora to read, in this order; (): all. most, least: largest number of files per
    corpus, and smallest: a corpus with fewer is left out.
    system: folder of the system's licences and manuals.

    Raises:
        ValueError: there is no such corpus.
    """
    if wrong := sorted(set(names) - set(FINDERS)):
        known = ", ".join(FINDERS)
        raise ValueError(f"no installed corpus {', '.join(wrong)}; take some of {known}")
    known_lines, corpora, left_out = set[str](), list[Corpus](), list[str]()
    for name in names or FINDERS:
        corpus = _read_corpus(name, FINDERS[name](system), most, known_lines)
        if len(corpus.documents) < least:
            left_out.append(
                f"{name}: {len(corpus.documents)} files that differ, {least} are needed"
            )
        else:
            corpora.append(corpus)
    return Installed(corpora=tuple(corpora), left_out=tuple(left_out))


def _read_corpus(name: str, files: Iterator[Path], most: int, known: set[str]) -> Corpus:
    """Read up to ``most`` files, and add their long lines to ``known``."""
    corpus, documents = Corpus(name=name, documents=()), list[Document]()
    for path in sorted(files, key=lambda p: hashlib.sha256(p.as_posix().encode()).digest()):
        if len(documents) == most:
            break
        text = _read_file(path)
        if text is None:
            continue
        long = [line for row in text.splitlines() if len(line := row.strip()) >= LONG]
        if sum(len(line) for line in long if line in known) > MOST * len(text):
            corpus = replace(corpus, copies=corpus.copies + 1)
            continue
        known.update(long)
        documents.append(Document(text=text, place=str(path)))
    return replace(corpus, documents=tuple(documents))


def _read_file(path: Path) -> str | None:
    """Return the text of a file; None if it is too small, too large, not text or unreadable."""
    try:
        data = path.read_bytes() if path.stat().st_size <= LARGEST else b""
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        text = data.decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return None
    return text if LEAST <= len(data) <= LARGEST and "\0" not in text else None


def _walk(root: Path, keep: Callable[[str], bool]) -> Iterator[Path]:
    """Yield the files below a folder whose names ``keep`` accepts; skip folders in FOREIGN."""
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if name not in FOREIGN]
        yield from (Path(folder, name) for name in names if keep(name))


def _find_python(_: Path) -> Iterator[Path]:
    return _walk(Path(sysconfig.get_path("stdlib")), lambda name: name.endswith(".py"))


def _find_headers(_: Path) -> Iterator[Path]:
    for root in dict.fromkeys([sysconfig.get_path("include"), *map(str, _list_packages())]):
        yield from _walk(Path(root), lambda name: name.endswith(".h"))


def _find_readmes(_: Path) -> Iterator[Path]:
    for root in _list_packages():
        yield from root.glob("*.dist-info/METADATA")


def _find_licences(system: Path) -> Iterator[Path]:
    for root in _list_packages():
        for folder in root.glob("*.dist-info"):
            yield from _walk(folder, lambda name: LICENCE.match(name) is not None)
    yield from _walk(system / "common-licenses", lambda _: True)


def _find_tables(_: Path) -> Iterator[Path]:
    for root in _list_packages():
        yield from _walk(root, lambda name: name.endswith((".csv", ".json")))


def _find_manuals(system: Path) -> Iterator[Path]:
    yield from system.glob("man/man?/*.gz")


def _list_packages() -> list[Path]:
    """Return the folders of installed packages on the path of this process."""
    found = [Path(p).resolve() for p in sys.path if Path(p).name in FOREIGN]
    return [path for path in dict.fromkeys(found) if path.is_dir()]


FINDERS: Mapping[str, Callable[[Path], Iterator[Path]]] = {
    "python": _find_python,
    "headers": _find_headers,
    "readmes": _find_readmes,
    "licences": _find_licences,
    "tables": _find_tables,
    "manuals": _find_manuals,
}
