"""Sums of several digits modulo a number; the steps are the running sums."""

from dataclasses import dataclass

import numpy as np

from drivers.puzzles.puzzle import (
    Puzzle,
    PuzzleItem,
    UnsolvablePuzzleError,
    Words,
    require_sizes,
)

EQUALS = "="


@dataclass(frozen=True, kw_only=True)
class ModularAddition(Puzzle):
    """operands: how many numbers to add. modulus: of the sum; the numbers are below it."""

    operands: int = 8
    modulus: int = 10

    def __post_init__(self) -> None:
        require_sizes("ModularAddition", operands=(self.operands, 2), modulus=(self.modulus, 2))

    @property
    def symbols(self) -> Words:
        """The numbers below the modulus, and the equals sign."""
        return (*(str(k) for k in range(self.modulus)), EQUALS)

    def draw(self, rng: np.random.Generator) -> PuzzleItem:
        """Return a random item."""
        numbers = rng.integers(self.modulus, size=self.operands)
        sums = [str(int(k)) for k in np.cumsum(numbers) % self.modulus]
        question = (*(str(int(k)) for k in numbers), EQUALS)
        return PuzzleItem(question, tuple((s,) for s in sums[1:]), (sums[-1],))

    def solve(self, question: Words) -> Words:
        """Return the sum of the numbers, with one modulo at the end."""
        numbers = question[:-1]
        if question[-1:] != (EQUALS,) or not numbers or set(numbers) - {*self.symbols[:-1]}:
            raise UnsolvablePuzzleError(
                f"no sum of numbers below {self.modulus}: {' '.join(question)}"
            )
        return (str(sum(int(word) for word in numbers) % self.modulus),)
