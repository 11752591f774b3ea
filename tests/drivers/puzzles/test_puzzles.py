"""Generated puzzles: their answers by other means, their splits, what is refused."""

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from drivers.puzzles import (
    Hops,
    ModularAddition,
    Multiplication,
    Puzzle,
    PuzzleItem,
    Reachability,
    Reversal,
    Sudoku,
    UnsolvablePuzzleError,
    draw_splits,
    list_repeated,
    list_wrong_items,
)
from drivers.puzzles.reachability import measure_distance
from drivers.puzzles.sudoku import iterate_solutions, list_grids

SOME = (
    *(Reachability(), Multiplication(), Multiplication(digits=3), ModularAddition(operands=3)),
    *(Hops(hops=2, length=16), Sudoku(holes=6)),
)
COUNTS = {"train": 40, "val": 8, "test": 8}
every = pytest.mark.parametrize("puzzle", SOME, ids=lambda p: type(p).__name__)


@every
def test_splits_share_no_group_and_follow_from_the_seed(puzzle: Puzzle) -> None:
    found = draw_splits(puzzle, COUNTS, 0)
    assert {split: len(own) for split, own in found.items()} == COUNTS
    groups = [{puzzle.group(item) for item in own} for own in found.values()]
    for one, other in itertools.combinations(groups, 2):
        assert not one & other
    assert list_repeated(found) == []
    assert found == draw_splits(puzzle, COUNTS, 0)
    assert found["test"] != draw_splits(puzzle, COUNTS, 1)["test"]


@every
def test_a_test_split_does_not_depend_on_the_number_of_training_items(puzzle: Puzzle) -> None:
    fewer = draw_splits(puzzle, {**COUNTS, "train": 20}, 0)
    more = draw_splits(puzzle, COUNTS, 0)
    assert fewer["test"] == more["test"]
    assert fewer["train"] == more["train"][:20]


@every
def test_questions_have_one_length_and_known_words(puzzle: Puzzle) -> None:
    items = draw_splits(puzzle, COUNTS, 0)["train"]
    assert len({len(item.question) for item in items}) == 1
    words = {w for i in items for part in (i.question, *i.steps, i.answer) for w in part}
    assert words <= set(puzzle.symbols)
    assert len(set(puzzle.symbols)) == len(puzzle.symbols)


@every
def test_a_wrong_answer_is_found_by_the_solver(puzzle: Puzzle) -> None:
    item = puzzle.draw(np.random.default_rng(0))
    wrong = next(w for w in puzzle.symbols if w != item.answer[0])
    changed = item._replace(answer=(wrong, *item.answer[1:]))
    assert list_wrong_items(puzzle, (item,)) == []
    (told,) = list_wrong_items(puzzle, (item, changed))
    assert told.startswith(f"item 1: the answer is {' '.join(item.answer)}, not {wrong}")


@given(st.integers(0, 2**31))
@settings(max_examples=20)
def test_the_way_of_a_graph_is_its_only_evidence(seed: int) -> None:
    item = Reachability().draw(np.random.default_rng(seed))
    *text, _, one, other, _, root = item.question
    edges = list(zip(text[::2], text[1::2], strict=True))
    assert len(set(edges)) == len(edges) == 14
    way = [root, *(w for (w,) in item.steps)]
    assert all(pair in edges for pair in itertools.pairwise(way))
    assert way[-1] == item.answer[0]
    assert measure_distance(edges, root, way[-1]) == len(item.steps) in (2, 3, 4)
    (wrong,) = {one, other} - {item.answer[0]}
    assert measure_distance(edges, root, wrong) is None
    # The other target is as deep below some other node, and no edge closes a circle.
    nodes = {n for edge in edges for n in edge}
    depths = [measure_distance(edges, n, wrong) for n in nodes - {wrong}]
    assert len(item.steps) in depths
    assert all(measure_distance(edges, b, a) is None for a, b in edges)


def test_neither_place_nor_name_tells_the_reachable_target() -> None:
    items = draw_splits(Reachability(), {"train": 600}, 0)["train"]
    first = sum(item.question[-4] == item.answer[0] for item in items)
    assert abs(first - 300) < 60  # 5 standard deviations
    assert max(Counter(item.answer for item in items).values()) < 90
    indegree = 0
    for item in items:
        heads = item.question[1:-5:2]
        (wrong,) = set(item.question[-4:-2]) - set(item.answer)
        indegree += heads.count(item.answer[0]) - heads.count(wrong)
    assert abs(indegree) < 120


def test_products_by_hand() -> None:
    puzzle = Multiplication(digits=3)
    assert puzzle.solve(tuple("321*654=")) == tuple("880650"), "123 x 456 = 056088"
    items = draw_splits(puzzle, {"train": 50}, 0)["train"]
    for item in items:
        a, b = (int("".join(item.question[k : k + 3])[::-1]) for k in (0, 4))
        parts = [int("".join(w for w in s if w.isdecimal())[::-1]) for s in item.steps]
        one, two, three = (a * int(d) * 10**k for k, d in enumerate(f"{b}"[::-1]))
        assert parts == [one, two, one + two, three]
        assert int("".join(item.answer)[::-1]) == a * b
    assert [s[0] for s in items[0].steps[1:]] == ["+", ":", "+"]


def test_both_orders_of_factors_are_in_one_split() -> None:
    puzzle = Multiplication(digits=2)
    one, other = (PuzzleItem(tuple(q), (), ()) for q in ("21*43=", "43*21="))
    for seed in range(20):
        assert puzzle.choose_split(one, seed) == puzzle.choose_split(other, seed)


def test_running_sums_by_hand() -> None:
    item = ModularAddition(operands=3, modulus=7).draw(np.random.default_rng(0))
    a, b, c = (int(w) for w in item.question[:3])
    assert item.steps == ((str((a + b) % 7),), (str((a + b + c) % 7),))
    assert ModularAddition().solve(("9", "9", "4", "=")) == ("2",)


def test_hops_by_hand() -> None:
    # The last a stands at 4 before; behind it c, whose last place before is 1; behind it b.
    assert Hops(hops=1, length=7).solve(tuple("dcbdaca")) == ("c",)
    assert Hops(hops=2, length=7).solve(tuple("dcbdaca")) == ("b",)
    with pytest.raises(UnsolvablePuzzleError, match="hop 3 of 3 finds no earlier word"):
        Hops(hops=3, length=7).solve(tuple("dcbdaca"))
    item = Hops(hops=4).draw(np.random.default_rng(0))
    assert len(item.steps) == 4
    assert Hops(hops=4).solve(item.question) == item.answer == item.steps[-1]


def test_there_are_288_grids_and_a_sudoku_has_one_solution() -> None:
    assert len(set(list_grids())) == 288
    item = Sudoku(holes=8).draw(np.random.default_rng(0))
    assert list(iterate_solutions(item.question)) == [item.answer]
    cells = list(item.question)
    for cell, digit in item.steps:
        assert cells[int(cell[1:])] == "."
        cells[int(cell[1:])] = digit
    assert tuple(cells) == item.answer
    assert item.question.count(".") == len(item.steps) == 8


@pytest.mark.parametrize(
    ("puzzle", "question", "told"),
    [
        (Sudoku(), "12.." + "34.." + "..1." + "....", "more than one solution"),
        (Sudoku(), "11.." + "...." + "...." + "....", "no solution"),
        (Sudoku(), "123", "no grid of 16 cells"),
        (Multiplication(), "12*3=", "no product of 2 digits by 2"),
        (ModularAddition(), "12+", "no sum"),
        (Reachability(), "12?34>1", "0 of the targets 3 and 4 can be reached from 1"),
        (Reachability(), "1314?34>1", "2 of the targets 3 and 4 can be reached from 1"),
        (Reachability(), "123?34>1", "no edges, targets and root"),
        (Reversal(), "ab", "no name of a pair"),
        (ModularAddition(), "=", "no sum of numbers below 10"),
        (ModularAddition(modulus=5), "17=", "no sum of numbers below 5: 1 7 ="),
        *((puzzle, "", "^no ") for puzzle in SOME),
    ],
)
def test_an_unsolvable_puzzle_is_refused(puzzle: Puzzle, question: str, told: str) -> None:
    with pytest.raises(UnsolvablePuzzleError, match=told):
        puzzle.solve(tuple(question))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Reachability(nodes=8), "nodes is 8; give a number >= 10"),
        (lambda: Reachability(nodes=13), "nodes is 13; give an even number"),
        (lambda: Reachability(least=0, edges=3), "least is 0.*edges is 3; give a number >= 10"),
        (lambda: Multiplication(digits=0), "digits is 0; give a number >= 1"),
        (lambda: ModularAddition(operands=1), "operands is 1; give a number >= 2"),
        (lambda: Hops(hops=0), "hops is 0; give a number >= 1"),
        (lambda: Hops(alphabet=27), "give at most 26 letters"),
        (lambda: Sudoku(holes=13), "give at most 12"),
        (lambda: Reversal(pairs=300), "need 600 names, and two of 20 syllables make 400"),
    ],
)
def test_sizes_that_do_not_exist_are_refused(make: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()


def test_more_items_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.puzzles.reachability.TRIES", 5)  # 60 take seconds
    with pytest.raises(ValueError, match=r"found \d\d of 500 in train.* ask for fewer items"):
        draw_splits(Multiplication(digits=1), {"train": 500, "test": 1}, 0)
    with pytest.raises(ValueError, match="100 edges do not fit 12 nodes"):
        Reachability(edges=100).draw(np.random.default_rng(0))
    with pytest.raises(ValueError, match="12 hops hardly ever fit 25 words; give more words"):
        Hops(hops=12, length=25, alphabet=26).draw(np.random.default_rng(0))


def test_pairs_are_asked_for_backwards_only_where_they_were_learned_forwards() -> None:
    puzzle = Reversal(pairs=20, syllables=8)
    found = draw_splits(puzzle, {"train": 30, "val": 5, "test": 5}, 0)
    assert len({name for pair in puzzle.names for name in pair}) == 40
    train = found["train"]
    assert {w for item in train for w in (*item.question, *item.answer)} == {*puzzle.symbols}
    assert Counter(item.question[-1] for item in train) == {"is": 20, "was": 10}
    known = {item.question[:-1]: item.answer for item in train if item.question[-1] == "is"}
    for item in (*found["val"], *found["test"]):
        assert item.question[-1] == "was"
        assert known[item.answer] == item.question[:-1]
        assert item.answer not in {i.answer for i in train if i.question[-1] == "was"}
