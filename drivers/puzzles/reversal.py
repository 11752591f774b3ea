"""Pairs of names: what is learned in one direction is asked for in the other.

"a b is" is answered by the other name of the pair, "c d was" by the first one. All pairs are
trained forwards; half of them backwards, too, which shows what the words mean. Validation and
test ask for the others backwards. (Berglund et al. 2023, arXiv 2309.12288.) There are no steps.
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
    """pairs: of names, all different. syllables: a name consists of two. seed: of the pairs.

    Raises:
        ValueError: there are not so many names of two syllables.
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
        """Syllables and the words of both directions."""
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
        """Return an item of either direction."""
        first, second = self.names[int(rng.integers(self.pairs))]
        if rng.integers(2):
            return PuzzleItem((*first, FORWARDS), (), second)
        return PuzzleItem((*second, BACKWARDS), (), first)

    def group(self, item: PuzzleItem) -> Hashable:
        """Return the name that is asked for."""
        return item.answer

    def choose_split(self, item: PuzzleItem, seed: int) -> str:
        """Return "train" for what is trained; the others share the rest."""
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
