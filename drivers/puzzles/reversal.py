"""Pairs of names, trained in one direction and asked for in the other.

"a b is" asks for the second name of the pair of a b, "c d was" for the first name of the pair
of c d. All pairs are trained forwards, half of them also backwards, which teaches the two
words. Validation and test ask for the other half backwards. There are no steps.
(Berglund et al. 2023, arXiv 2309.12288.)
"""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from drivers.puzzles.puzzle import (
    Puzzle,
    PuzzleItem,
    UnsolvablePuzzleError,
    Words,
    require_sizes,
)

FORWARDS, BACKWARDS = "is", "was"


@dataclass(frozen=True, kw_only=True)
class Reversal(Puzzle):
    """pairs: number of pairs; all names differ. syllables: a name has two. seed: of the pairs.

    Raises:
        ValueError: two syllables make too few names.
    """

    pairs: int = 100
    syllables: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        require_sizes("Reversal", pairs=(self.pairs, 4), syllables=(self.syllables, 2))
        if 2 * self.pairs > self.syllables**2:
            raise ValueError(
                f"Reversal: {self.pairs} pairs need {2 * self.pairs} names, and two of "
                f"{self.syllables} syllables make {self.syllables**2}; give more syllables"
            )

    @property
    def symbols(self) -> Words:
        """The syllables, and one word per direction."""
        return (*(f"s{k}" for k in range(self.syllables)), FORWARDS, BACKWARDS)

    @cached_property
    def names(self) -> tuple[tuple[Words, Words], ...]:
        """The pairs; the first half is also trained backwards."""
        rng = np.random.default_rng(self.seed)
        drawn = rng.choice(self.syllables**2, (self.pairs, 2), replace=False)
        both = [
            [tuple(f"s{k}" for k in divmod(int(n), self.syllables)) for n in p] for p in drawn
        ]
        return tuple((first, second) for first, second in both)

    def draw(self, rng: np.random.Generator) -> PuzzleItem:
        """Return a random item in either direction."""
        first, second = self.names[int(rng.integers(self.pairs))]
        if rng.integers(2):
            return PuzzleItem((*first, FORWARDS), (), second)
        return PuzzleItem((*second, BACKWARDS), (), first)

    def group(self, item: PuzzleItem) -> Hashable:
        """Return the name that is asked for."""
        return item.answer

    def choose_split(self, item: PuzzleItem, seed: int) -> str:
        """Return "train" for a trained direction; "val" and "test" share the other items."""
        known = [first for first, _ in self.names[: self.pairs // 2]]
        if item.question[-1] == FORWARDS or item.answer in known:
            return "train"
        asked = [first for first, _ in self.names[self.pairs // 2 :]]
        return ("val", "test")[(asked.index(item.answer) + seed) % 2]

    def solve(self, question: Words) -> Words:
        """Return the other name, from the list of pairs."""
        name, direction = question[:-1], "".join(question[-1:])
        pairs = dict(self.names) if direction == FORWARDS else {b: a for a, b in self.names}
        if direction not in (FORWARDS, BACKWARDS) or name not in pairs:
            raise UnsolvablePuzzleError(f"no name of a pair, and its direction: {question}")
        return pairs[name]
