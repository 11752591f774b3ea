"""Text from disk: the files of a folder, or one file, and stretches of them.

Nothing is held in memory: a text is a list of stretches of files, of which readers take blocks.
An address counts the bytes of all stretches one after another; the end of a file takes one.
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

from drivers.folders import found_in

CHUNK = 2**20  # bytes read at once while files are checked
LINE = 2**12  # bytes in which a cut looks for the end of a line
FOREIGN = frozenset({"site-packages", "dist-packages", "__pycache__"})
OF_A_BUILD = "_sysconfigdata"  # how names begin that the build of a Python writes


class Stretch(NamedTuple):
    """Bytes ``start`` to ``stop`` of a file.

    modified: when it was written [ns], as it was loaded. last: the file ends there.
    """

    path: Path
    start: int
    stop: int
    modified: int
    last: bool = True

    @property
    def size(self) -> int:
        """The addresses it takes: a byte each, and one for the end of the file."""
        return self.stop - self.start + self.last


@dataclass(frozen=True, kw_only=True)
class Text:
    """Text on disk.

    stretches: of files, in their order.
    root: the file, or the folder that they lie in.
    source: where it comes from, for reports.
    left_out: files that were skipped, each with the reason.
    copies: files whose contents equal those of an earlier one; they do not count.
    digest: SHA-256 of the files' paths inside the root and of their contents; of the whole text
    also in a part of it.
    """

    stretches: tuple[Stretch, ...]
    root: Path
    source: str
    digest: str
    left_out: tuple[str, ...] = ()
    copies: tuple[Path, ...] = ()

    @cached_property
    def starts(self) -> np.ndarray:
        """The address at which each stretch begins, and behind the last: the length."""
        return np.cumsum([0, *(s.size for s in self.stretches)])

    @property
    def length(self) -> int:
        """Bytes in all, and one for the end of each file."""
        return int(self.starts[-1])


def load(path: Path, pattern: str = "*", *, skip: bool = False) -> Text:
    """Return the text of a file, or of the files in a folder and the folders in it, by name.

    Hidden files and folders do not count, nor what is installed into a Python or differs from
    build to build (:data:`FOREIGN`, :data:`OF_A_BUILD`), nor a file whose contents an earlier
    one has. Every file is read once here, to find that out and whether it is text: UTF-8
    without a NUL.

    Args:
        path: a file or a folder.
        pattern: which names of files count, such as ``*.txt``.
        skip: leave out files that are empty or no text, and name them in ``left_out``.

    Raises:
        FileNotFoundError: there is no such path, or no file in it whose name fits.
        ValueError: files are empty or no text (all are named), or all of them were left out.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is neither a file nor a folder; found {found_in(path.parent)} beside; "
            "give the path of a text, or of a folder of texts"
        )
    found = [path] if path.is_file() else sorted(_iterate_files(path, pattern))
    if not found:
        which = "" if pattern == "*" else f" whose name fits {pattern!r}"
        raise FileNotFoundError(
            f"{path}: no file of text{which} in it, hidden ones aside; found {found_in(path)}; "
            "give a folder of texts, or a file"
        )
    kept: list[Stretch] = []
    wrong: list[str] = []
    copies: list[Path] = []
    known: set[bytes] = set()
    contents = hashlib.sha256()
    for file in found:
        modified = file.stat().st_mtime_ns
        size, sha, why = _examine(file)
        if why:
            wrong.append(f"{file}: {why}")
        elif sha in known:
            copies.append(file)
        else:
            known.add(sha)
            contents.update(file.relative_to(path).as_posix().encode() + b"\0" + sha)
            kept.append(Stretch(file, 0, size, modified))
    if wrong and not (skip and kept):
        more = f" and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        raise ValueError(
            f"{'; '.join(wrong[:8])}{more}: remove or convert them to UTF-8, or leave such "
            "files out (--skip-bad; in Python skip=True)"
            if kept or not skip
            else f"{path}: nothing is left: {'; '.join(wrong[:8])}{more}; give a file of text"
        )
    told = f"{len(kept)} file{'s' * (len(kept) != 1)} of {path}"
    return Text(
        stretches=tuple(kept),
        root=path,
        source=told,
        left_out=tuple(wrong),
        copies=tuple(copies),
        digest=contents.hexdigest(),
    )


def load_default() -> Text:
    """Return the sources of Python's standard library: those of this interpreter.

    They differ between versions of Python: compare figures of one version only.
    """
    return load(Path(sysconfig.get_path("stdlib")), "*.py", skip=True)


def split_evenly(text: Text, many: int) -> tuple[Text, ...]:
    """Return ``many`` texts that together are the whole, about equally long.

    Files are cut behind the end of a line that is near, else between two characters.

    Raises:
        ValueError: the text is too short for so many.
    """
    edges = [0]
    for k in range(1, many):
        edges.append(find_cut(text, k * text.length // many))
    edges.append(text.length)
    if any(low >= high for low, high in pairwise(edges)):
        raise ValueError(
            f"{text.source}: {text.length:,} bytes cannot be split into {many} texts; give "
            "more text, or split it into fewer"
        )
    return tuple(take(text, a, b) for a, b in pairwise(edges))


def take_first(text: Text, size: int) -> Text:
    """Return about the first ``size`` bytes of a text, cut behind the end of a line.

    Raises:
        ValueError: that would be nothing.
    """
    if size >= text.length:
        return text
    edge = find_cut(text, max(size, 0))
    if edge == 0:
        raise ValueError(f"{text.source}: no text is left of the first {size} bytes; take more")
    return take(text, 0, edge)


def read_bytes(text: Text, address: int, most: int) -> tuple[bytes, bool]:
    """Return up to ``most`` bytes from an address on, of one file; whether the file ends there.

    At the address of an end of a file, there are no bytes.

    Raises:
        ValueError: the file has been written since the text was loaded.
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
            f"{stretch.path} has been written since this process loaded it; texts must stay as "
            "they are while they are read: start the command, or the notebook, again"
        )
    return data, stretch.last and start + want == stretch.stop


def count_to_line_end(data: bytes) -> int:
    """Return how many bytes to keep so that the last line is whole, or the last character."""
    if line := data.rfind(b"\n") + 1:
        return line
    end = len(data)
    while end and (data[end - 1] & 0xC0) == 0x80:  # goes on with a character
        end -= 1
    lead = data[end - 1] if end else 0
    width = 1 + (lead >= 0xC0) + (lead >= 0xE0) + (lead >= 0xF0)
    return len(data) if end - 1 + width == len(data) else max(end - 1, 0)


def find_cut(text: Text, address: int) -> int:
    """Return the last place up to an address where a line ends, or a character."""
    _, offset = _find(text, address)
    if offset == 0:
        return address
    back = min(offset, LINE)
    data, _ = read_bytes(text, address - back, back)
    cut = count_to_line_end(data)
    return address - back + cut


def take(text: Text, low: int, high: int) -> Text:
    """Return the addresses ``low`` to ``high`` of a text."""
    out = []
    for address, stretch in zip(text.starts[:-1].tolist(), text.stretches, strict=True):
        a, b = max(low - address, 0), min(high - address, stretch.size)
        if a < b:
            size = stretch.stop - stretch.start
            stop = stretch.start + min(b, size)
            last = stretch.last and b == stretch.size
            start = stretch.start + a
            out.append(stretch._replace(start=start, stop=stop, last=last))
    return replace(text, stretches=tuple(out))


def _iterate_files(folder: Path, pattern: str) -> Iterator[Path]:
    for file in folder.rglob(pattern):
        inside = file.relative_to(folder).parts
        foreign = any(n.startswith((".", OF_A_BUILD)) or n in FOREIGN for n in inside)
        if not foreign and file.is_file():
            yield file


def _examine(path: Path) -> tuple[int, bytes, str]:
    """Return size and digest of a file, and why it is no text, or ""."""
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
    """Return the stretch of an address, and how far it lies in it."""
    if not 0 <= address < text.length:
        raise ValueError(
            f"{text.source}: no address {address}; it has {text.length:,}: positions belong to "
            "the text that they were read from"
        )
    k = int(np.searchsorted(text.starts, address, side="right")) - 1
    return text.stretches[k], address - int(text.starts[k])
