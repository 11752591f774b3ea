"""Corpora: documents grouped by source, each a text with a place and a licence tag.

Folders    ROOT/NAME/*.txt, one document each, and ROOT/NAME/*.jsonl, {"text": ...} per line.
           The licence tag of a corpus is the first line of NAME/LICENCE or NAME/licence.txt; a
           line of a .jsonl may have its own key "licence". LICENSE and "license" work too.
The Pile   {"text": ..., "meta": {"pile_set_name": NAME}} per line, in .jsonl or .jsonl.zst.

A file may be damaged or hostile, so memory is bounded: a line or a .txt has at most LONGEST
bytes, a packed file unpacks to at most EXPANSION times its size, and reading ends after ENOUGH
problems.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from drivers.folders import found_in, leads_out
from drivers.text.files import LINK
from neuro.base.extras import require_extra
from neuro.base.text import shorten_list
from neuro.io.store import StoreError, parse_json

TAGS = ("licence", "license")  # names of files, without or with .txt, and keys of lines
PILE = (".jsonl", ".jsonl.zst")
SHOWN = 12  # problems in a message
LONGEST = 2**26  # bytes of a line, or of a .txt
LONGEST_NAME = 255  # characters of a name of a corpus in the Pile
ENOUGH = 1000  # problems after which reading ends
EXPANSION = 100  # largest ratio of unpacked to packed bytes; that of text is 3 to 10
SMALL = 2**24  # unpacked bytes that are fine at any ratio
PIECE = 2**8  # packed bytes to unpack at once; a block of 128 KiB may take four
CURES = (
    "every document needs text in UTF-8 and may stand once: remove, convert or complete what "
    "is listed"
)


Line = TypeVar("Line", bytes, bytearray)


@dataclass(frozen=True, kw_only=True)
class Document:
    """A text. place: its file and line, for messages. licence: its licence tag, or ""."""

    text: str
    place: str
    licence: str = ""

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the words: documents that differ only in white space are equal."""
        return hashlib.sha256(" ".join(self.text.split()).encode()).digest()


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Documents of one source. copies: number of repeated documents that were left out."""

    name: str
    documents: tuple[Document, ...]
    copies: int = 0

    @property
    def licences(self) -> tuple[str, ...]:
        """Tags of the documents, by name; "" for those without one."""
        return tuple(sorted({document.licence for document in self.documents}))


def read_folders(root: Path) -> tuple[Corpus, ...]:
    """Return one corpus per folder in ``root``, by name; hidden folders are ignored.

    Raises:
        FileNotFoundError: there is no such folder.
        StoreError: a file is not UTF-8, too long, or a link out of ``root``; a line is not a
            document; a corpus is empty; a document occurs twice, in one corpus or in two. Lists
            every problem.
    """
    layout = f"expected {root}/NAME/*.txt or {root}/NAME/*.jsonl"
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root} is no folder; found {found_in(root.parent)} beside; {layout}"
        )
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not folders:
        raise StoreError(f"{root}: no corpus in it; found {found_in(root)}; {layout}")
    problems = list[str]()
    corpora = [_read_folder(folder, root, problems) for folder in folders]
    require_sound_corpora(root, corpora, problems)
    return tuple(corpora)


def read_pile(path: Path, names: Sequence[str] = (), most: int = 0) -> tuple[Corpus, ...]:
    """Return the corpora in a file of the Pile, or in all its files in a folder.

    The Pile repeats some of its parts on purpose: copies within a corpus are dropped and
    counted. names: the corpora to read, in this order; empty: all, by name. most: largest
    number of documents per corpus; 0: all. Reading ends once each of ``names`` has ``most``.

    Raises:
        FileNotFoundError: there is no such file.
        RuntimeError: a file is packed, and the library zstandard is not installed.
        StoreError: as :func:`read_folders`.
    """
    problems, copies, others = list[str](), dict[str, int](), set[str]()
    files = [path] if path.is_file() else sorted(_iterate_pile(path))
    files = _drop_links(files, path, problems)
    if not files and not problems:
        raise FileNotFoundError(
            f"{path}: no file of the Pile; found "
            f"{found_in(path if path.is_dir() else path.parent)}; give a file, or a folder of "
            f"files, whose names end with {' or '.join(PILE)}"
        )
    found: dict[str, dict[bytes, Document]] = {name: {} for name in names}
    for place, value in _read_all(files, problems):
        meta = value.get("meta") if isinstance(value, Mapping) else None
        name = meta.get("pile_set_name") if isinstance(meta, Mapping) else None
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            problems.append(f'{place}: no "meta": {{"pile_set_name": NAME}}')
        elif names and name not in names:
            others |= {name} if len(others) < SHOWN else set()
        elif not most or len(found.setdefault(name, {})) < most:
            document = _make_document(place, value, "")
            if isinstance(document, str):
                problems.append(document)
            elif document.digest in found.setdefault(name, {}):
                copies[name] = copies.get(name, 0) + 1
            else:
                found[name][document.digest] = document
        if most and names and all(len(own) >= most for own in found.values()):
            break
    corpora = [
        Corpus(name=name, documents=tuple(found[name].values()), copies=copies.get(name, 0))
        for name in (names or sorted(found))
    ]
    if others and any(not corpus.documents for corpus in corpora):
        problems.append(f"the files have {', '.join(sorted(others))} besides")
    require_sound_corpora(path, corpora, problems)
    return tuple(corpora)


def require_sound_corpora(
    where: Path | str, corpora: Sequence[Corpus], problems: Iterable[str] = ()
) -> None:
    """Raise a StoreError that lists ``problems``, empty corpora and repeated documents, if any.

    where: place of the corpora, for the message.
    """
    empty = [f"{corpus.name}: no document" for corpus in corpora if not corpus.documents]
    wrong = [*problems, *empty, *list_copies(corpora)]
    if not corpora:
        wrong.append("there is no corpus")
    if wrong:
        told = "\n".join(shorten_list(wrong, SHOWN))
        raise StoreError(f"{where}: refused as corpora:\n{told}\n{CURES}")


def list_copies(corpora: Iterable[Corpus]) -> list[str]:
    """Return one message per document with the words of an earlier one, in any corpus."""
    first, told = dict[bytes, str](), list[str]()
    for corpus in corpora:
        for document in corpus.documents:
            place = f"{document.place} of {corpus.name}"
            if document.digest in first:
                told.append(f"{place}: the same words as {first[document.digest]}")
            first.setdefault(document.digest, place)
    return told


def _drop_links(files: Sequence[Path], root: Path, problems: list[str]) -> list[Path]:
    """Return the files, except links that lead out of ``root``: ``problems`` receives these."""
    outside = {path for path in files if leads_out(path, root)}
    problems += [f"{path}: {LINK}" for path in sorted(outside)]
    return [path for path in files if path not in outside]


def _read_folder(folder: Path, root: Path, problems: list[str]) -> Corpus:
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    files = _drop_links(files, root, problems)
    tags = [p for p in files if p.name.lower().removesuffix(".txt") in TAGS]
    if len(tags) > 1:
        problems.append(f"{folder}: {len(tags)} files of its licence; leave one")
    licence, documents = "", list[Document]()
    for path in tags:
        lines = (_read_utf8(path, problems) or "").strip().splitlines()
        licence = lines[0].strip() if lines else ""
        if not lines:
            problems.append(f"{path}: no licence in it")
    for path in (p for p in files if p not in tags):
        found: list[Document | str] = []
        if path.suffix == ".txt" and (text := _read_utf8(path, problems)) is not None:
            found = [_check_text(str(path), text, licence)]
        elif path.suffix == ".jsonl":
            lines_of = _read_all([path], problems)
            found = [_make_document(place, value, licence) for place, value in lines_of]
        documents += [one for one in found if isinstance(one, Document)]
        problems += [one for one in found if isinstance(one, str)]
    return Corpus(name=folder.name, documents=tuple(documents))


def _read_utf8(path: Path, problems: list[str]) -> str | None:
    """Return the text of a file; if it cannot be read, add the reason and return None."""
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
        if len(data) <= LONGEST:
            return data.decode()
        why = f"more than {LONGEST:,} bytes; cut it into several documents"
    except UnicodeDecodeError as error:
        why = f"no UTF-8: {error.reason} at offset {error.start}"
    except OSError as error:
        why = f"not readable: {error.strerror}"
    problems.append(f"{path}: {why}")
    return None


def _read_all(files: Iterable[Path], problems: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield the place and the JSON value of each line of ``files``; blank lines are skipped.

    Ends after ENOUGH problems.
    """
    for path in files:
        try:
            with _open_lines(path) as lines:
                for k, line in enumerate(lines, 1):
                    if len(problems) >= ENOUGH:
                        problems.insert(0, f"{path}:{k}: reading ended here")
                        return
                    if line.strip():
                        try:
                            yield f"{path}:{k}", parse_json(path, line.decode(), k)
                        except UnicodeDecodeError as error:
                            at = f"{error.reason} at offset {error.start}"
                            problems.append(f"{path}:{k}: no UTF-8: {at}")
                        except StoreError as error:
                            problems.append(str(error))
        except OSError as error:
            problems.append(f"{path}: not readable: {error.strerror or error}")


@contextmanager
def _open_lines(path: Path) -> Iterator[Iterable[bytes]]:
    """Open a file of lines, packed or not.

    Raises:
        OSError: the file cannot be read, or is not packed as its name says.
        RuntimeError: the file is packed, and the library zstandard is not installed.
    """
    if path.suffix != ".zst":
        with path.open("rb") as file:
            yield iter(lambda: _require_length(file.readline(LONGEST + 1)), b"")
        return
    cure = f"{path} is packed; unpack it with zstd -d, or install the library zstandard"
    with require_extra("language", cure):
        library = import_module("zstandard")
    with path.open("rb") as file:
        try:
            yield _split_lines(_unpack(library, file))
        except library.ZstdError as error:
            raise OSError(f"not packed by zstd: {error}") from error


def _require_length(line: Line) -> Line:
    """Return a line, or raise an OSError if it is too long."""
    if len(line) > LONGEST:
        raise OSError(f"a line of more than {LONGEST:,} bytes, behind which nothing is read")
    return line


def _split_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest = bytearray()
    for block in blocks:
        first, *lines = block.split(b"\n")
        rest += first
        for line in lines:
            yield bytes(_require_length(rest))
            rest = bytearray(line)
        _require_length(rest)
    yield bytes(rest)


def _unpack(library: Any, file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of a packed file, of one frame or several.

    Raises:
        OSError: the last frame does not end, or the content is too large.
    """
    most = max(EXPANSION * os.fstat(file.fileno()).st_size, SMALL)
    decoder, size = None, 0
    while data := file.read(PIECE):
        while data:
            decoder = decoder or library.ZstdDecompressor().decompressobj()
            block = decoder.decompress(data)
            size += len(block)
            if size > most:
                raise OSError(
                    f"it unpacks to more than {most:,} bytes, {EXPANSION} times its size; "
                    "unpack it with zstd -d if you trust it"
                )
            yield block
            data = decoder.unused_data if decoder.eof else b""
            decoder = None if decoder.eof else decoder
    if decoder is not None:
        raise OSError("cut off in the middle")


def _iterate_pile(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (p for p in folder.rglob("*") if p.is_file() and p.name.endswith(PILE))


def _make_document(place: str, value: Any, licence: str) -> Document | str:
    """Return the document in a JSON object, or what is wrong with the object."""
    text = value.get("text") if isinstance(value, Mapping) else None
    if not isinstance(text, str):
        return f'{place}: no {{"text": ...}} with a text'
    tags = [value[key] for key in TAGS if key in value]
    if len(tags) > 1 or not all(isinstance(tag, str) and tag.strip() for tag in tags):
        return f'{place}: "licence" is one text that is not empty'
    return _check_text(place, text, tags[0].strip() if tags else licence)


def _check_text(place: str, text: str, licence: str) -> Document | str:
    """Return a document with this text, or what is wrong with the text."""
    if not text.strip():
        return f"{place}: empty"
    if "\0" in text:
        return f"{place}: a NUL at character {text.index(chr(0))}, so it is no text"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"{place}: half a surrogate pair at character {error.start}"
    return Document(text=text, place=place, licence=licence)
