"""Products of two numbers; the steps are partial products and their running sums.

Digits are written from the last to the first, in fixed widths. 27 x 43 is "7 2 * 3 4 =", its
steps "1 8 0" (27 x 3) and "+ 0 8 0 1" (27 x 40), its answer "1 6 1 1". From the third partial
product on, a colon and the running sum of the earlier products precede the product.
(Deng et al. 2024, arXiv 2405.14838.)
"""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from drivers.puzzles.puzzle import (
    Puzzle,
    PuzzleItem,
    UnsolvablePuzzleError,
    Words,
    require_sizes,
)

TIMES, EQUALS, PLUS, SUM = "*", "=", "+", ":"


@dataclass(frozen=True, kw_only=True)
class Multiplication(Puzzle):
    """digits: number of digits of each factor, without leading zeros."""

    digits: int = 2

    def __post_init__(self) -> None:
        require_sizes("Multiplication", digits=(self.digits, 1))

    @property
    def symbols(self) -> Words:
        """The digits and the four marks."""
        return (*"0123456789", TIMES, EQUALS, PLUS, SUM)

    def draw(self, rng: np.random.Generator) -> PuzzleItem:
        """Return a random item."""
        n = self.digits
        a, b = (int(k) for k in rng.integers(10 ** (n - 1), 10**n, 2))
        question = (*write_digits(a, n), TIMES, *write_digits(b, n), EQUALS)
        steps, total = list[Words](), 0
        for k in range(n):
            part = a * (b // 10**k % 10) * 10**k
            if k > 1:
                steps.append((SUM, *write_digits(total, n + k)))
            steps.append((*((PLUS,) if k else ()), *write_digits(part, n + 1 + k)))
            total += part
        return PuzzleItem(question, tuple(steps), write_digits(a * b, 2 * n))

    def group(self, item: PuzzleItem) -> Hashable:
        """Return both factors, sorted, so that a x b and b x a are in one split."""
        n = self.digits
        return tuple(sorted((item.question[:n], item.question[n + 1 : -1])))

    def solve(self, question: Words) -> Words:
        """Return the digits of the product, computed with Python's integers."""
        n, text = self.digits, "".join(question)
        left, right, rest = text[:n], text[n + 1 : -1], text[n : n + 1] + text[-1:]
        if rest != TIMES + EQUALS or not (left + right).isdecimal() or len(right) != n:
            raise UnsolvablePuzzleError(f"no product of {n} digits by {n}: {text}")
        return write_digits(int(left[::-1]) * int(right[::-1]), 2 * n)


def write_digits(number: int, width: int) -> Words:
    """Return the digits of a number, the last one first.

    >>> write_digits(27, 3)
    ('7', '2', '0')
    """
    return tuple(f"{number:0{width}d}"[::-1])
