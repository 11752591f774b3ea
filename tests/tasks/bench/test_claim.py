"""Verdicts on claims: numbers in, sentences out."""

import numpy as np
import pytest

from tasks.bench.claim import FAILS, HOLDS, OPEN, Claim
from tasks.bench.rows import Row


def claim(more: list[float], less: list[float], alike: float | None = None) -> Row:
    return Claim(
        name="n",
        first="a",
        second="b",
        unit="points",
        more=np.array(more),
        less=np.array(less),
        alike=alike,
    ).as_row()


@pytest.mark.parametrize(
    ("more", "less", "alike", "verdict"),
    [
        ([3.0, 4, 5] * 2, [1.0] * 6, None, HOLDS),
        ([1.0] * 6, [3.0, 4, 5] * 2, None, FAILS),
        ([1.0, 2, 3, 4, 5, 6], [0.0, 1, 1, 5, 2, 2], None, OPEN),  # t = 2.33, p = 0.07
        ([3.0, 0, 1] * 2, [1.0] * 6, None, OPEN),
        ([1.0] * 6, [1.0] * 6, None, OPEN),
        ([1.0], [0.0], None, OPEN),
        ([3.0] * 5, [1.0] * 5, None, OPEN),  # too few
        ([1.1, 1, 0.9] * 2, [1.0] * 6, 0.2, HOLDS),
        ([1.3, 1.4, 1.3] * 2, [1.0] * 6, 0.2, FAILS),
        ([0.7, 0.6, 0.7] * 2, [1.0] * 6, 0.2, FAILS),
        ([1.0, 1.8, 1.0] * 2, [1.0] * 6, 0.2, OPEN),
        ([1.0, 0.2, 1.0] * 2, [1.0] * 6, 0.2, OPEN),
    ],
)
def test_an_interval_decides(
    more: list[float], less: list[float], alike: float | None, verdict: str
) -> None:
    row = claim(more, less, alike)
    assert row.conditions["verdict"] == verdict
    assert row.note.endswith(f"{len(more)} pairs: {verdict}")


def test_a_finding_is_told_with_its_numbers() -> None:
    row = claim([3.0, 5.0] * 3, [1.0] * 6)
    # Half of Student's interval: 2.571 x 1.095 / sqrt 6.
    told = "n: a 4.00, b 1.00 points, difference +3.00 [+1.85, +4.15], 6 pairs: holds"
    assert row.note == told
    assert (row.ours, row.theirs, row.ratio) == (4.0, 1.0, None)
    assert claim([1.0], [0.0]).note.count("[") == 0
