"""Training, validation and test part of a text, without repetitions in held-out files.

Near copies (tables of characters, a module and its older version) may fall into different
parts. A model that has read one already knows the other, so the held-out parts drop such files.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from drivers.text.files import CHUNK, Text, count_to_line_end, find_cut, read_bytes, take

Part = Literal["train", "val", "test"]

TRAIN, VAL = 0.9, 0.95  # ends of these parts, as shares of digests or of the bytes of one file
LONG = 30  # least bytes of a line without surrounding blanks; shorter ones are common idioms
MOST = 0.25  # largest repeated share of the bytes of a held-out file


def find_part(path: Path) -> Part:
    """Return the part of a file from its path inside the folder.

    >>> find_part(Path("ast.py")), find_part(Path("json/decoder.py"))
    ('train', 'train')
    """
    sha = hashlib.sha256(path.as_posix().encode()).digest()
    share = int.from_bytes(sha[:8], "big") / 2**64
    return "train" if share < TRAIN else "val" if share < VAL else "test"


def select_part(text: Text, part: Part) -> Text:
    """Return the training, validation or test part of a text: 90, 5 and 5 % of its files.

    The digest of a file's path inside the folder determines its part, on every machine and with
    any other files. The held-out parts drop files of which training files repeat more than a
    quarter (:func:`measure_repeated`), and list them in ``left_out``. A single file is cut at
    ends of lines instead: its first 90 %, the next 5 % and the last 5 %, with repetitions.

    Raises:
        ValueError: the part has no file, or a file has changed since loading.
    """
    if len(text.stretches) == 1:
        train, val = (find_cut(text, int(share * text.length)) for share in (TRAIN, VAL))
        edges = {"train": (0, train), "val": (train, val), "test": (val, text.length)}
        selected = take(text, *edges[part])
    else:
        selected = _select_files(text, part)
    if not selected.stretches:
        raise ValueError(
            f"{text.source}: no file falls into the {part} part; add files, or use a single "
            "long one"
        )
    if len(text.stretches) > 1 and part != "train":
        selected = _drop_repeated(selected, _select_files(text, "train"), part)
    return replace(selected, source=f"{part} part of {text.source}")


def measure_repeated(held: Text, train: Text) -> list[float]:
    """Return the share of the bytes of each held-out file that training files repeat.

    Counts lines of at least ``LONG`` bytes without surrounding blanks. Holds the long lines of
    the held-out files in memory.
    """
    files = range(len(held.stretches))
    long = {line for k in files for line in _iterate_lines(held, k) if len(line) >= LONG}
    known: set[bytes] = set()
    for k in range(len(train.stretches)):
        known |= long.intersection(_iterate_lines(train, k))
    repeated = (sum(len(x) for x in _iterate_lines(held, k) if x in known) for k in files)
    return [size / s.size for size, s in zip(repeated, held.stretches, strict=True)]


def _select_files(text: Text, part: Part) -> Text:
    files = (s for s in text.stretches if find_part(s.path.relative_to(text.root)) == part)
    return replace(text, stretches=tuple(files))


def _drop_repeated(held: Text, train: Text, part: Part) -> Text:
    """Return held-out text without the files that training files repeat.

    Raises:
        ValueError: no file is left.
    """
    shares = measure_repeated(held, train)
    pairs = list(zip(held.stretches, shares, strict=True))
    dropped = [f"{s.path}: {x:.0%} repeats training files" for s, x in pairs if x > MOST]
    if len(dropped) == len(pairs):
        raise ValueError(
            f"{held.source}: nothing is left of the {part} part, because training files repeat "
            f"more than {MOST:.0%} of each of its files ({'; '.join(dropped[:8])}); use files "
            "that share less, or a single long file"
        )
    kept = tuple(s for s, share in pairs if share <= MOST)
    return replace(held, stretches=kept, left_out=(*held.left_out, *dropped))


def _iterate_lines(text: Text, k: int) -> Iterator[bytes]:
    """Yield the lines of a file without surrounding blanks, in CHUNK bytes of memory."""
    address, stretch = int(text.starts[k]), text.stretches[k]
    end = address + stretch.stop - stretch.start
    while address < end:
        data, _ = read_bytes(text, address, CHUNK)
        keep = len(data) if address + len(data) == end else count_to_line_end(data)
        yield from map(bytes.strip, data[:keep].split(b"\n"))
        address += keep
