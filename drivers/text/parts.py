"""Training, validation and test part of a text, and held-out files that training files repeat.

Files that are nearly those of another (tables of characters, a module and its older copy) may
fall into different parts. A model that has read one is measured on the other as on what it
knows, so such files are left out of the held-out parts.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from drivers.text.files import CHUNK, Text, count_to_line_end, find_cut, read_bytes, take

Part = Literal["train", "val", "test"]

TRAIN, VAL = (
    0.9,
    0.95,
)  # shares of the digests of names, or of the bytes of one file, up to here
LONG = 30  # bytes of a line, without blanks around it: shorter ones are idioms of any text
MOST = 0.25  # of the bytes of a held-out file, which may be repeated


def find_part(path: Path) -> Part:
    """Return the part that a file belongs to, by its path inside its folder.

    >>> find_part(Path("ast.py")), find_part(Path("json/decoder.py"))
    ('train', 'train')
    """
    sha = hashlib.sha256(path.as_posix().encode()).digest()
    share = int.from_bytes(sha[:8], "big") / 2**64
    return "train" if share < TRAIN else "val" if share < VAL else "test"


def select_part(text: Text, part: Part) -> Text:
    """Return the training, validation or test part of a text: 90, 5 and 5 % of its files.

    A file belongs to a part by the digest of its path inside the folder, on every machine
    alike, whatever other files there are. Held-out files of which training files repeat more
    than a quarter (:func:`measure_repeated`) are in no part, and named in ``left_out``.
    One file is cut at ends of lines instead: its first 90 %, the next 5 % and the last 5 %,
    whatever they repeat.

    Raises:
        ValueError: no file is in that part, or one has been written since it was loaded.
    """
    if len(text.stretches) == 1:
        train, val = (find_cut(text, int(share * text.length)) for share in (TRAIN, VAL))
        edges = {"train": (0, train), "val": (train, val), "test": (val, text.length)}
        found = take(text, *edges[part])
    else:
        found = _select_files(text, part)
    if not found.stretches:
        raise ValueError(
            f"{text.source}: none of them falls into the {part} part; give more files, or one "
            "long one, which is cut"
        )
    if len(text.stretches) > 1 and part != "train":
        found = _leave_repeated_out(found, _select_files(text, "train"), part)
    return replace(found, source=f"{part} part of {text.source}")


def measure_repeated(held: Text, train: Text) -> list[float]:
    """Return of each held-out file the share of its bytes that training files repeat.

    These are lines of ``LONG`` bytes or more, without blanks around them, that stand in a
    training file, too. The long lines of the held-out files are in memory meanwhile.
    """
    files = range(len(held.stretches))
    long = {line for k in files for line in _iterate_lines(held, k) if len(line) >= LONG}
    known: set[bytes] = set()
    for k in range(len(train.stretches)):
        known |= long.intersection(_iterate_lines(train, k))
    repeated = (sum(len(x) for x in _iterate_lines(held, k) if x in known) for k in files)
    return [many / s.size for many, s in zip(repeated, held.stretches, strict=True)]


def _select_files(text: Text, part: Part) -> Text:
    files = (s for s in text.stretches if find_part(s.path.relative_to(text.root)) == part)
    return replace(text, stretches=tuple(files))


def _leave_repeated_out(held: Text, train: Text, part: Part) -> Text:
    """Return held-out text without the files that training files repeat.

    Raises:
        ValueError: none is left.
    """
    shares = measure_repeated(held, train)
    both = list(zip(held.stretches, shares, strict=True))
    out = [f"{s.path}: {x:.0%} stands in training files" for s, x in both if x > MOST]
    if len(out) == len(both):
        raise ValueError(
            f"{held.source}: nothing is left of the {part} part, for more than {MOST:.0%} of "
            f"each of its files stands in training files ({'; '.join(out[:8])}); give files "
            "that share less, or one long file, which is cut"
        )
    kept = tuple(s for s, share in both if share <= MOST)
    return replace(held, stretches=kept, left_out=(*held.left_out, *out))


def _iterate_lines(text: Text, k: int) -> Iterator[bytes]:
    """Yield the lines of a file without blanks around them, in no more memory than CHUNK."""
    address, stretch = int(text.starts[k]), text.stretches[k]
    end = address + stretch.stop - stretch.start
    while address < end:
        data, _ = read_bytes(text, address, CHUNK)
        keep = len(data) if address + len(data) == end else count_to_line_end(data)
        yield from map(bytes.strip, data[:keep].split(b"\n"))
        address += keep
