"""4 x 4 Sudoku: a grid whose holes can be filled in only one way; each step fills one hole.

There are 288 solved grids. Splits share none of them, so that no test answer was trained on. A
step names a hole whose digit follows from the filled grid cells, and the digit.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from drivers.puzzles.puzzle import (
    Puzzle,
    PuzzleItem,
    UnsolvablePuzzleError,
    Words,
    require_sizes,
)

HOLE, DIGITS, CELLS = ".", "1234", range(16)
TRIES = 1000  # grids to try until one has all holes


def _list_peers(cell: int) -> frozenset[int]:
    row, column = divmod(cell, 4)
    return frozenset(
        k
        for k in CELLS
        if k != cell
        and (
            k // 4 == row
            or k % 4 == column
            or (k // 8 == row // 2 and k % 4 // 2 == column // 2)
        )
    )


PEERS = tuple(_list_peers(cell) for cell in CELLS)


@dataclass(frozen=True, kw_only=True)
class Sudoku(Puzzle):
    """holes: number of empty grid cells, 1 to 12 of 16."""

    holes: int = 8

    def __post_init__(self) -> None:
        require_sizes("Sudoku", holes=(self.holes, 1))
        if self.holes > 12:
            raise ValueError(
                f"Sudoku: holes is {self.holes}; with fewer than 4 digits there is "
                "more than one solution; give at most 12"
            )

    @property
    def symbols(self) -> Words:
        """The digits, the hole, and the names of the grid cells."""
        return (*DIGITS, HOLE, *(f"c{k}" for k in CELLS))

    def draw(self, rng: np.random.Generator) -> PuzzleItem:
        """Return a random item whose holes can be filled one by one.

        Raises:
            ValueError: this many holes can hardly ever be filled one by one.
        """
        grids = list_grids()
        for _ in range(TRIES):
            grid = grids[int(rng.integers(len(grids)))]
            cells = list(grid)
            for cell in rng.permutation(16):
                left = cells[cell]
                cells[cell] = HOLE
                if fill_in_order(tuple(cells)) is None:
                    cells[cell] = left
                if cells.count(HOLE) == self.holes:
                    return PuzzleItem(tuple(cells), fill_in_order(tuple(cells)) or (), grid)
        raise ValueError(
            f"Sudoku: {self.holes} holes can hardly ever be filled one by one; give fewer"
        )

    def group(self, item: PuzzleItem) -> Hashable:
        """Return the solution."""
        return item.answer

    def solve(self, question: Words) -> Words:
        """Return the only solution, found by trying all digits."""
        if len(question) != len(CELLS) or set(question) - {*DIGITS, HOLE}:
            raise UnsolvablePuzzleError(
                f"no grid of 16 cells with {DIGITS} or {HOLE}: {' '.join(question)}"
            )
        found = []
        for grid in iterate_solutions(question):
            found.append(grid)
            if len(found) > 1:
                raise UnsolvablePuzzleError(
                    f"more than one solution: {''.join(question)}; fill more cells"
                )
        if not found:
            raise UnsolvablePuzzleError(
                f"no solution: {''.join(question)}; a row, column or block excludes every digit"
            )
        return found[0]


def iterate_solutions(cells: Words) -> Iterator[Words]:
    """Yield the solved grids that agree with the filled grid cells."""
    for cell in CELLS:
        if cells[cell] != HOLE and any(cells[cell] == cells[k] for k in PEERS[cell]):
            return
    holes = [cell for cell in CELLS if cells[cell] == HOLE]
    if not holes:
        yield cells
        return
    cell = min(holes, key=lambda c: len(list_candidates(cells, c)))
    for digit in list_candidates(cells, cell):
        yield from iterate_solutions((*cells[:cell], digit, *cells[cell + 1 :]))


def list_candidates(cells: Words, cell: int) -> list[str]:
    """Return the digits that no other grid cell in its row, column or block has."""
    return [d for d in DIGITS if all(cells[k] != d for k in PEERS[cell])]


def fill_in_order(cells: Words) -> tuple[Words, ...] | None:
    """Return (name, digit) of each hole, in an order in which each hole has only one candidate.

    None if at some point no hole has exactly one candidate.
    """
    steps, now = list[Words](), list(cells)
    while HOLE in now:
        for cell in CELLS:
            left = list_candidates(tuple(now), cell) if now[cell] == HOLE else []
            if len(left) == 1:
                now[cell] = left[0]
                steps.append((f"c{cell}", left[0]))
                break
        else:
            return None
    return tuple(steps)


@cache
def list_grids() -> tuple[Words, ...]:
    """Return all 288 solved grids."""
    return tuple(iterate_solutions((HOLE,) * 16))
