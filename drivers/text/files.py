"""Text on disk: the files of a folder, or a single file, and stretches of them.

A text is a list of stretches of files, which readers load block by block. An address counts the
bytes of all stretches in sequence, with one address for the end of each file.
"""

import hashlib
import os
import sysconfig
from codecs import getincrementaldecoder
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from drivers.folders import found_in, leads_out
from neuro.base.text import shorten_list

CHUNK = 2**20  # bytes to read at once while checking files
LINE = 2**12  # bytes to search for the end of a line before a cut
FOREIGN = frozenset({"site-packages", "dist-packages", "__pycache__"})
LINK = "a link out of the folder, which is not followed; put the file itself there"
OF_A_BUILD = "_sysconfigdata"  # prefix of files that each build of Python writes anew


class Stretch(NamedTuple):
    """Bytes ``start`` to ``stop`` of a file.

    modified: its modification time [ns] when loading. last: whether the file ends at ``stop``.
    """

    path: Path
    start: int
    stop: int
    modified: int
    last: bool = True

    @property
    def size(self) -> int:
        """Number of addresses: one per byte, and one for the end of the file."""
        return self.stop - self.start + self.last


@dataclass(frozen=True, kw_only=True)
class Text:
    """Text on disk.

    stretches: pieces of files, in order.
    root: the file, or the folder of the files.
    source: its origin, for reports.
    left_out: skipped files, each with the reason.
    copies: skipped files with the contents of an earlier file.
    digest: SHA-256 of the files' paths inside the root and their contents; a part of a text
    keeps the digest of the whole.
    """

    stretches: tuple[Stretch, ...]
    root: Path
    source: str
    digest: str
    left_out: tuple[str, ...] = ()
    copies: tuple[Path, ...] = ()

    @cached_property
    def starts(self) -> np.ndarray:
        """The first address of each stretch, then the length."""
        return np.cumsum([0, *(s.size for s in self.stretches)])

    @property
    def length(self) -> int:
        """Total number of bytes, plus one for the end of each file."""
        return int(self.starts[-1])


def load(path: Path, pattern: str = "*", *, skip: bool = False) -> Text:
    """Return the text of a file, or of all files below a folder, by name.

    Skips hidden files and folders, packages installed into a Python and files that differ from
    build to build (:data:`FOREIGN`, :data:`OF_A_BUILD`), and copies of earlier files. Reads
    every file once, to find copies and to check that it is text: UTF-8 without a NUL. Links
    that lead out of the folder are not followed.

    Args:
        path: a file or a folder.
        pattern: of file names, such as ``*.txt``.
        skip: skip files that are empty, not text, or a link that leads out of the folder, and
            list them in ``left_out``.

    Raises:
        FileNotFoundError: the path does not exist, or no file there matches.
        ValueError: files are empty, not text or a link out of the folder (the message lists
            them), or none is left.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is neither a file nor a folder; found {found_in(path.parent)} beside; "
            "pass the path of a text, or of a folder of texts"
        )
    files = [path] if path.is_file() else sorted(_iterate_files(path, pattern))
    if not files:
        which = "" if pattern == "*" else f" with a name like {pattern!r}"
        raise FileNotFoundError(
            f"{path}: no text file{which} in it, except hidden ones; found {found_in(path)}; "
            "pass a folder of texts, or a file"
        )
    kept: list[Stretch] = []
    wrong: list[str] = []
    copies: list[Path] = []
    known: set[bytes] = set()
    contents = hashlib.sha256()
    for file in files:
        modified = file.stat().st_mtime_ns
        inside = file == path or not leads_out(file, path)
        size, sha, why = _examine(file) if inside else (0, b"", LINK)
        if why:
            wrong.append(f"{file}: {why}")
        elif sha in known:
            copies.append(file)
        else:
            known.add(sha)
            contents.update(file.relative_to(path).as_posix().encode() + b"\0" + sha)
            kept.append(Stretch(file, 0, size, modified))
    if wrong and not (skip and kept):
        told = "; ".join(shorten_list(wrong))
        raise ValueError(
            f"{told}: remove them, convert them to UTF-8, or skip them "
            "(--skip-bad; in Python skip=True)"
            if kept or not skip
            else f"{path}: nothing is left: {told}; add a text file"
        )
    return Text(
        stretches=tuple(kept),
        root=path,
        source=f"{len(kept)} file{'s' * (len(kept) != 1)} of {path}",
        left_out=tuple(wrong),
        copies=tuple(copies),
        digest=contents.hexdigest(),
    )


def load_default() -> Text:
    """Return the sources of the standard library of this interpreter.

    They differ between versions of Python: compare only figures of one version.
    """
    return load(Path(sysconfig.get_path("stdlib")), "*.py", skip=True)


def split_evenly(text: Text, many: int) -> tuple[Text, ...]:
    """Split a text into ``many`` texts of about equal length.

    Cuts files after a nearby end of a line, otherwise between two characters.

    Raises:
        ValueError: the text is too short.
    """
    cuts = (find_cut(text, k * text.length // many) for k in range(1, many))
    edges = [0, *cuts, text.length]
    if any(low >= high for low, high in pairwise(edges)):
        raise ValueError(
            f"{text.source}: {text.length:,} bytes are too few for {many} texts; add text, or "
            "split it into fewer"
        )
    return tuple(take(text, a, b) for a, b in pairwise(edges))


def take_first(text: Text, size: int) -> Text:
    """Return about the first ``size`` bytes of a text, cut after the end of a line.

    Raises:
        ValueError: no text is left.
    """
    if size >= text.length:
        return text
    edge = find_cut(text, max(size, 0))
    if edge == 0:
        raise ValueError(f"{text.source}: no text is left of the first {size} bytes; take more")
    return take(text, 0, edge)


def read_bytes(text: Text, address: int, most: int) -> tuple[bytes, bool]:
    """Return up to ``most`` bytes of one file from an address on, and whether the file ends.

    At the address of the end of a file, no bytes are returned.

    Raises:
        ValueError: the file has changed since loading.
    """
    stretch, offset = _find(text, address)
    start = stretch.start + offset
    want = min(most, stretch.stop - start)
    with stretch.path.open("rb") as file:
        file.seek(start)
        data = file.read(want)
        modified = os.fstat(file.fileno()).st_mtime_ns
    if modified != stretch.modified or len(data) < want:
        raise ValueError(
            f"{stretch.path} has changed since this process loaded it; texts must not change "
            "while in use: restart the command, or the notebook"
        )
    return data, stretch.last and start + want == stretch.stop


def count_to_line_end(data: bytes) -> int:
    """Return how many bytes to keep so that the last line, or character, is complete."""
    if line := data.rfind(b"\n") + 1:
        return line
    end = len(data)
    while end and (data[end - 1] & 0xC0) == 0x80:  # a continuation byte
        end -= 1
    lead = data[end - 1] if end else 0
    width = 1 + (lead >= 0xC0) + (lead >= 0xE0) + (lead >= 0xF0)
    return len(data) if end - 1 + width == len(data) else max(end - 1, 0)


def find_cut(text: Text, address: int) -> int:
    """Return the address after the last complete line, or character, before ``address``."""
    _, offset = _find(text, address)
    if offset == 0:
        return address
    back = min(offset, LINE)
    data, _ = read_bytes(text, address - back, back)
    return address - back + count_to_line_end(data)


def take(text: Text, low: int, high: int) -> Text:
    """Return the part of a text from address ``low`` to ``high``."""
    out = []
    for address, stretch in zip(text.starts[:-1].tolist(), text.stretches, strict=True):
        a, b = max(low - address, 0), min(high - address, stretch.size)
        if a < b:
            size = stretch.stop - stretch.start
            stop = stretch.start + min(b, size)
            last = stretch.last and b == stretch.size
            out.append(stretch._replace(start=stretch.start + a, stop=stop, last=last))
    return replace(text, stretches=tuple(out))


def _iterate_files(folder: Path, pattern: str) -> Iterator[Path]:
    for file in folder.rglob(pattern):
        inside = file.relative_to(folder).parts
        foreign = any(n.startswith((".", OF_A_BUILD)) or n in FOREIGN for n in inside)
        if not foreign and file.is_file():
            yield file


def _examine(path: Path) -> tuple[int, bytes, str]:
    """Return size and digest of a file, and why it is not text, or ""."""
    sha, size, decoder = hashlib.sha256(), 0, getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            if (at := data.find(0)) >= 0:
                return size, b"", f"binary: a NUL at offset {size + at}"
            try:
                decoder.decode(data)
            except UnicodeDecodeError as error:
                return size, b"", f"no UTF-8: {error.reason} near offset {size + error.start}"
            sha.update(data)
            size += len(data)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return size, b"", f"no UTF-8: cut off in a character at offset {size}"
    return size, sha.digest(), "" if size else "empty"


def _find(text: Text, address: int) -> tuple[Stretch, int]:
    """Return the stretch of an address, and the offset in it."""
    if not 0 <= address < text.length:
        raise ValueError(
            f"{text.source}: no address {address}; it has {text.length:,}: positions belong to "
            "the text that they were read from"
        )
    k = int(np.searchsorted(text.starts, address, side="right")) - 1
    return text.stretches[k], address - int(text.starts[k])
