"""Questions with steps and answers from files, in the layouts of published data sets.

    .json    a list of {"question": text, "steps": [text, ...], "answer": text}: ProsQA,
             ProntoQA
    .jsonl   {"question": text, "answer": "a step\\nnext <<1+2=3>>3\\n#### 3"} per line: GSM8K
    .txt     "question||<<1+2=3>> <<3*2=6>> #### 6" per line: files of implicit chain of thought

A word is a run of letters, or one digit, or one other character. The steps of a .txt are its
parts in << >>; without such parts, all text before the answer is one step. A folder has one
file per split, whose name ends with the split: prosqa_train.json, valid.txt. Without a
validation file (GSM8K), every tenth training item is for validation.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from drivers.puzzles.puzzle import PuzzleItem, Words
from neuro.io.store import StoreError, parse_json, read_text

MARK = "####"  # in front of the answer
NAMES = {"train": ("train",), "val": ("valid", "val", "dev"), "test": ("test",)}
TENTH = 10
SHOWN = 8  # problems in a message


def split_words(text: str) -> Words:
    """Return the words of a text.

    >>> split_words("Every cat is 12.")
    ('Every', 'cat', 'is', '1', '2', '.')
    """
    return tuple(re.findall(r"[^\W\d_]+|\S", text))


def read_items(path: Path) -> tuple[PuzzleItem, ...]:
    """Return the items of a file.

    Raises:
        StoreError: the file has another layout, or no items; lists every problem with its cure.
    """
    if path.suffix not in READERS:
        raise StoreError(
            f"{path}: the name of a file of questions ends with {', '.join(READERS)}; rename it"
        )
    items, wrong = list[PuzzleItem](), list[str]()
    for where, value in READERS[path.suffix](path, read_text(path)):
        if isinstance(value, str):
            wrong.append(f"{where}: {value}")
        else:
            items.append(value)
    if not items and not wrong:
        wrong = ["there are no items; give a file that has some"]
    if wrong:
        more = [f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        raise StoreError("\n".join([f"{path}: items cannot be read:", *wrong[:SHOWN], *more]))
    return tuple(items)


def read_splits(folder: Path) -> dict[str, tuple[PuzzleItem, ...]]:
    """Return the items of "train", "val" and "test" in a folder.

    Raises:
        StoreError: a split has no file or several, or a file cannot be read.
    """
    files = {split: _list_files(folder, names) for split, names in NAMES.items()}
    wrong = [
        f"{len(own)} files are for {split}"
        + (
            f" ({', '.join(p.name for p in own)}); leave one"
            if own
            else f"; name one *_{split}.json"
        )
        for split, own in files.items()
        if len(own) > 1 or (not own and split != "val")
    ]
    if wrong:
        raise StoreError(f"{folder}: {'; '.join(wrong)}")
    items = {split: read_items(own[0]) for split, own in files.items() if own}
    if "val" not in items:
        train = items["train"]
        items["val"] = train[::TENTH]
        items["train"] = tuple(item for k, item in enumerate(train) if k % TENTH)
    return items


def _list_files(folder: Path, names: Words) -> list[Path]:
    paths = (
        sorted(p for p in folder.glob("*") if p.suffix in READERS) if folder.is_dir() else []
    )
    return [p for p in paths if re.split(r"[_\W]", p.stem)[-1] in names]


Found = Iterator[tuple[str, PuzzleItem | str]]  # where, and the item or what is wrong


def _read_list(path: Path, text: str) -> Found:
    values = parse_json(path, text)
    if not isinstance(values, list):
        yield "the file", "it is no list; write [{...}, ...]"
        return
    for k, value in enumerate(values):
        yield f"item {k}", _make_item(value)


def _make_item(value: Any) -> PuzzleItem | str:
    """Return the item in a JSON object, or what is wrong with the object."""
    if not isinstance(value, Mapping):
        return 'it is no object; write {"question": ..., "steps": [...], "answer": ...}'
    question, steps, answer = (value.get(k) for k in ("question", "steps", "answer"))
    if not isinstance(question, str) or not isinstance(answer, str):
        return "question and answer must be text; add them"
    if not isinstance(steps, list) or not all(isinstance(s, str) for s in steps):
        return "steps must be a list of text; write [] where there are none"
    return _finish(question, steps, answer)


def _finish(question: str, steps: list[str], answer: str) -> PuzzleItem | str:
    item = PuzzleItem(
        split_words(question), tuple(split_words(s) for s in steps), split_words(answer)
    )
    if not item.question or not item.answer:
        return "the question or the answer is empty; write it, or leave the item out"
    if not all(item.steps):
        return "a step is empty; write it, or leave the step out"
    return item


def _read_lines(path: Path, text: str) -> Found:
    for k, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        value = parse_json(path, line, k)
        question, answer = (
            value.get(key) if isinstance(value, Mapping) else None
            for key in ("question", "answer")
        )
        if not isinstance(question, str) or not isinstance(answer, str):
            yield f"line {k}", 'it needs {"question": text, "answer": text}; add them'
            continue
        steps, mark, last = answer.rpartition(MARK)
        if not mark:
            yield f"line {k}", f"the answer has no {MARK} in front of its result; add it"
            continue
        yield f"line {k}", _finish(question, [s for s in steps.split("\n") if s.strip()], last)


def _read_implicit(_: Path, text: str) -> Found:
    for k, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        question, bars, rest = line.partition("||")
        steps, mark, answer = rest.rpartition(MARK)
        if not bars or not mark:
            yield f"line {k}", f"it is not question||steps {MARK} answer; write it like that"
            continue
        parts = re.findall(r"<<.*?>>", steps) or ([steps] if steps.strip() else [])
        yield f"line {k}", _finish(question, parts, answer)


READERS: Mapping[str, Callable[[Path, str], Found]] = {
    ".json": _read_list,
    ".jsonl": _read_lines,
    ".txt": _read_implicit,
}
