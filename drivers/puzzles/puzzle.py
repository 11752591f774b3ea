"""A puzzle: items (question, steps, answer), drawn at random and checked by a solver."""

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import NamedTuple

import numpy as np

Words = tuple[str, ...]
HELD_OUT = ("val", "test")  # each gets SHARE of the groups of items
SHARE = 0.1
PATIENCE = 50  # draws per requested item before giving up


class PuzzleItem(NamedTuple):
    """A question, the steps of its solution, and the answer; all of them words."""

    question: Words
    steps: tuple[Words, ...]
    answer: Words


class UnsolvablePuzzleError(ValueError):
    """A question that has no answer, or more than one."""


class Puzzle(ABC):
    """A kind of question. All questions have the same number of words."""

    @property
    @abstractmethod
    def symbols(self) -> Words:
        """The words that items consist of."""

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> PuzzleItem:
        """Return a random item."""

    @abstractmethod
    def solve(self, question: Words) -> Words:
        """Return the answer from the question alone, by another method than that of ``draw``.

        Raises:
            UnsolvablePuzzleError: there is no answer, or more than one.
        """

    def group(self, item: PuzzleItem) -> Hashable:
        """Return what no two splits share; by default the question."""
        return item.question

    def choose_split(self, item: PuzzleItem, seed: int) -> str:
        """Return the split of an item, which depends only on its group and the seed."""
        text = f"{seed} {self.group(item)!r}".encode()
        place = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") / 2**64
        return next((s for k, s in enumerate(HELD_OUT, 1) if place < k * SHARE), "train")


def draw_splits(
    puzzle: Puzzle, counts: Mapping[str, int], seed: int
) -> dict[str, tuple[PuzzleItem, ...]]:
    """Return distinct items per split; counts: number of items in "train", "val" and "test".

    The items of a split do not depend on the other counts. The solver checks every item.

    Raises:
        ValueError: the puzzle has too few items.
        UnsolvablePuzzleError: an item is wrong.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, dict[Words, PuzzleItem]] = {split: {} for split in counts}
    patience = 1000 + PATIENCE * sum(counts.values())
    for _ in range(patience):
        if all(len(found[split]) == n for split, n in counts.items()):
            break
        item = puzzle.draw(rng)
        own = found.get(split := puzzle.choose_split(item, seed))
        if own is not None and len(own) < counts[split]:
            own.setdefault(item.question, item)
    name = type(puzzle).__name__
    if few := [
        f"{len(found[s])} of {n} in {s}" for s, n in counts.items() if len(found[s]) < n
    ]:
        raise ValueError(
            f"{name}: {patience:,} draws found {', '.join(few)} that differ; ask for fewer "
            "items, or make the puzzle larger"
        )
    items = {split: tuple(own.values()) for split, own in found.items()}
    if wrong := [p for own in items.values() for p in list_wrong_items(puzzle, own)]:
        raise UnsolvablePuzzleError("\n".join([f"{name}: its items are wrong:", *wrong[:10]]))
    return items


def list_wrong_items(puzzle: Puzzle, items: tuple[PuzzleItem, ...]) -> list[str]:
    """Return one message per item that the solver cannot solve or answers differently."""
    wrong = list[str]()
    for k, item in enumerate(items):
        try:
            answer = puzzle.solve(item.question)
        except UnsolvablePuzzleError as error:
            wrong.append(f"item {k}: {error}")
            continue
        if answer != item.answer:
            told = f"the answer is {' '.join(answer)}, not {' '.join(item.answer)}"
            wrong.append(f"item {k}: {told}; correct it, or leave the item out")
    return wrong


def list_repeated(items: Mapping[str, tuple[PuzzleItem, ...]]) -> list[str]:
    """Return the questions that occur in more than one split, as text."""
    seen = Counter(q for own in items.values() for q in {item.question for item in own})
    return [" ".join(question) for question, splits in seen.items() if splits > 1]


def require_sizes(name: str, **sizes: tuple[int, int]) -> None:
    """Raise a ValueError that lists the sizes below their least values.

    sizes: (value, least value) by name.
    """
    wrong = [f"{k} is {n}; give a number >= {low}" for k, (n, low) in sizes.items() if n < low]
    if wrong:
        raise ValueError(f"{name}: {'; '.join(wrong)}")
