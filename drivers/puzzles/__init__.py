"""Puzzles: questions with steps and answers, generated and checked, or read from files."""

from drivers.puzzles.addition import ModularAddition
from drivers.puzzles.files import read_items, read_splits, split_words
from drivers.puzzles.hops import Hops
from drivers.puzzles.multiplication import Multiplication
from drivers.puzzles.puzzle import (
    Puzzle,
    PuzzleItem,
    UnsolvablePuzzleError,
    draw_splits,
    list_repeated,
    list_wrong_items,
)
from drivers.puzzles.reachability import Reachability
from drivers.puzzles.reversal import Reversal
from drivers.puzzles.sudoku import Sudoku

__all__ = [
    "Hops",
    "ModularAddition",
    "Multiplication",
    "Puzzle",
    "PuzzleItem",
    "Reachability",
    "Reversal",
    "Sudoku",
    "UnsolvablePuzzleError",
    "draw_splits",
    "list_repeated",
    "list_wrong_items",
    "read_items",
    "read_splits",
    "split_words",
]
