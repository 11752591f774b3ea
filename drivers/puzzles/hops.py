"""p-hop induction: p times, go to the word after the previous occurrence of the present word.

(Sanford et al. 2024, arXiv 2402.09268.) The hops start at the last word of the sequence. No two
neighbours are equal, so every hop leads to an earlier place. The steps are the words that the
hops reach; the answer is the last of these.
"""

from dataclasses import dataclass

import numpy as np

from drivers.puzzles.puzzle import (
    Puzzle,
    PuzzleItem,
    UnsolvablePuzzleError,
    Words,
    require_sizes,
)

TRIES = 1000  # sequences to draw until one allows every hop


@dataclass(frozen=True, kw_only=True)
class Hops(Puzzle):
    """hops: p. length: words per question. alphabet: number of different letters, from a on.

    Raises:
        ValueError: a size is too small, or the alphabet has more than 26 letters.
    """

    hops: int = 4
    length: int = 64
    alphabet: int = 4

    def __post_init__(self) -> None:
        require_sizes(
            "Hops",
            hops=(self.hops, 1),
            length=(self.length, 2 * self.hops + 1),
            alphabet=(self.alphabet, 3),
        )
        if self.alphabet > 26:
            raise ValueError(f"Hops: alphabet is {self.alphabet}; give at most 26 letters")

    @property
    def symbols(self) -> Words:
        """The letters."""
        return tuple("abcdefghijklmnopqrstuvwxyz"[: self.alphabet])

    def draw(self, rng: np.random.Generator) -> PuzzleItem:
        """Return a random item in which every hop finds an earlier word.

        Raises:
            ValueError: ``length`` words hardly ever allow this number of hops.
        """
        for _ in range(TRIES):
            moves = rng.integers(1, self.alphabet, self.length)  # to another letter
            places = np.cumsum(moves) % self.alphabet
            question = tuple(self.symbols[k] for k in places)
            reached = self._hop(question)
            if reached is not None:
                return PuzzleItem(question, tuple((w,) for w in reached), (reached[-1],))
        raise ValueError(
            f"Hops: {self.hops} hops hardly ever fit {self.length} words; give more words, or "
            "fewer hops"
        )

    def _hop(self, question: Words) -> Words | None:
        """Return the words that the hops reach, or None if a hop finds no earlier word."""
        at, reached = len(question) - 1, list[str]()
        for _ in range(self.hops):
            before = [j for j in range(at) if question[j] == question[at]]
            if not before:
                return None
            at = before[-1] + 1
            reached.append(question[at])
        return tuple(reached)

    def solve(self, question: Words) -> Words:
        """Return the answer; one pass from the left notes where each letter last occurred."""
        if not question:
            raise UnsolvablePuzzleError("no letter to begin with: the question is empty")
        last: dict[str, int] = {}
        following = list[int | None]()  # index after the previous equal word
        for k, word in enumerate(question):
            following.append(None if word not in last else last[word] + 1)
            last[word] = k
        at: int | None = len(question) - 1
        for hop in range(self.hops):
            at = None if at is None else following[at]
            if at is None:
                raise UnsolvablePuzzleError(
                    f"hop {hop + 1} of {self.hops} finds no earlier word in {''.join(question)}"
                )
        return (question[at],) if at is not None else ()
