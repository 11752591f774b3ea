"""Verdicts on published findings: numbers in, sentences out."""

import numpy as np
import pytest

from tasks.bench.claim import FAILS, HOLDS, OPEN
from tasks.bench.rows import Row
from tasks.language.bench.cells import VARIANTS, Scale
from tasks.language.bench.findings import average_recall, judge_recall, judge_text
from tasks.language.bench.train import Found

SEEDS = 3
DEEP = Scale(layers=8, softmax=(0, 1, 2, 4))


def make_recall(values: dict[tuple[str, int], float]) -> Found:
    """Return shares that differ a little from seed to seed and from task to task.

    values: mean in percent by variant and softmax layers; others have 50.
    """
    found: Found = {}
    for variant in VARIANTS:
        for softmax in DEEP.softmax:
            mean = values.get((variant, softmax), 50.0) / 100
            found[variant, softmax] = {
                task: [mean + shift + 0.001 * seed for seed in range(SEEDS)]
                for task, shift in (("MQAR", 0.0), ("needles", 0.1), ("tracking", -0.1))
            }
    return found


def by_case(rows: list[Row], start: str) -> Row:
    (found,) = [row for row in rows if row.case.startswith(f"finding: {start}")]
    return found


def test_recall_is_the_mean_of_the_tasks() -> None:
    found = average_recall(make_recall({("gla", 2): 70.0}))
    np.testing.assert_allclose(found["gla", 2], [70.0, 70.1, 70.2])


def test_recall_that_rises_and_saturates_is_found() -> None:
    level = {0: 20.0, 1: 60.0, 2: 90.0, 4: 91.0}
    rows = list(
        judge_recall(make_recall({(v, n): level[n] for v in VARIANTS for n in level}), DEEP)
    )
    whole = by_case(rows, "recall rises from pure to 3:1")
    assert (whole.subject, whole.peer) == ("3:1", "pure")
    assert [whole.ours, whole.theirs] == pytest.approx([90.1, 20.1])
    assert whole.conditions["pairs"] == 18
    most = by_case(rows, "recall rises from pure to 1:1")
    assert [most.ours, most.theirs] == pytest.approx([91.1, 20.1])
    assert (most.subject, most.peer, most.conditions["pairs"]) == ("1:1", "pure", 18)
    steps = [r for r in rows if "each step" in r.case]
    assert [(r.subject, r.peer) for r in steps] == [("7:1", "pure"), ("3:1", "7:1")]
    flat = by_case(rows, "recall is saturated")
    assert (flat.subject, flat.peer) == ("1:1", "3:1")
    assert flat.ours == pytest.approx(91.1)
    assert {r.conditions["verdict"] for r in (whole, most, *steps, flat)} == {HOLDS}
    ranks = by_case(rows, "ranks")
    assert (ranks.ours, ranks.note.endswith("all mixers are alike")) == (None, True)


@pytest.mark.parametrize(
    ("start", "better", "worse", "softmax", "pairs"),
    [
        ("selective gates", "gla hgrn2 gdn", "retnet", (1, 2, 4), 9),
        ("hierarchical", "hgrn2", "gla", (1, 2, 4), 9),
        ("controlled forgetting", "gdn", "deltanet", (1, 2, 4), 9),
        ("MQAR, pure stacks: the delta rule", "deltanet gdn", "retnet gla", (0,), 6),
        ("pure stacks: a matrix", "hgrn2", "hgrn", (0,), 9),
    ],
)
def test_mixers_are_compared_where_it_is_told(
    start: str, better: str, worse: str, softmax: tuple[int, ...], pairs: int
) -> None:
    high = {(v, n): 80.0 for v in better.split() for n in softmax}
    low = {(v, n): 30.0 for v in worse.split() for n in softmax}
    row = by_case(list(judge_recall(make_recall(high | low), DEEP)), start)
    assert [row.ours, row.theirs] == pytest.approx([80.1, 30.1])
    assert (row.conditions["pairs"], row.conditions["verdict"]) == (pairs, HOLDS)
    row = by_case(list(judge_recall(make_recall({}), DEEP)), start)
    assert row.conditions["verdict"] == OPEN


def test_ranks_of_pure_mixers_are_correlated_with_those_at_three_to_one() -> None:
    rising = {(v, 0): 10.0 + k for k, v in enumerate(VARIANTS)}
    falling = {(v, 2): 60.0 - k for k, v in enumerate(VARIANTS)}
    row = by_case(list(judge_recall(make_recall(rising | falling), DEEP)), "ranks")
    assert row.ours == pytest.approx(-1)
    assert "Spearman -1.00 (p = 0.0028)" in row.note


def test_bits_per_byte_are_compared_in_percent_of_the_pure_stack() -> None:
    found: Found = {
        (v, n): {"text": [(3.0 + k) * factor for _ in range(SEEDS)]}
        for k, v in enumerate(VARIANTS)
        for n, factor in ((0, 1.0), (1, 0.995), (2, 1.0), (4, 0.97))
    }
    rows = list(judge_text(found, DEEP))
    assert [(r.subject, r.peer) for r in rows] == [(n, "pure") for n in ("7:1", "3:1", "1:1")]
    assert [r.ours for r in rows] == pytest.approx([99.5, 100, 97])
    assert [r.conditions["verdict"] for r in rows] == [HOLDS, HOLDS, FAILS]
    assert {r.conditions["pairs"] for r in rows} == {18}
