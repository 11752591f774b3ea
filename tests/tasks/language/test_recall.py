"""Synthetic recall: simple programs answer the sequences; draws follow their description."""

from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from tasks.language.data import NOTHING
from tasks.language.recall import (
    FILLER,
    NEEDLE,
    POWER,
    QUERY,
    SET,
    TASKS,
    Draw,
    RecallSizes,
    Sequences,
    count_choices,
    draw_mqar,
    draw_needles,
    draw_tracking,
)

MANY = 6_000
SMALL = RecallSizes(tokens=24, keys=6, values=5, pairs=4, needles=3, chains=2, hops=1)
EVERY = st.builds(
    RecallSizes,
    tokens=st.integers(60, 71),
    keys=st.integers(12, 20),
    values=st.integers(12, 20),
    pairs=st.integers(1, 12),
    needles=st.integers(1, 12),
    chains=st.integers(1, 4),
    hops=st.integers(0, 2),
)


def look_up(tokens: list[int], pairs: int) -> dict[int, int]:
    """Return the answers of MQAR by position, looked up in a dictionary of the pairs."""
    held = dict(zip(tokens[0 : 2 * pairs : 2], tokens[1 : 2 * pairs : 2], strict=True))
    rest = list(enumerate(tokens))[2 * pairs :]
    return {k: held[token] for k, token in rest if token != FILLER}


def read_statements(tokens: list[int], first_value: int) -> dict[int, int]:
    """Return the answers of the other tasks: execute the statements, then the questions."""
    held: dict[int, int] = {}
    found = {}
    for k, token in enumerate(tokens):
        if token in (NEEDLE, SET):
            name, source = tokens[k + 1], tokens[k + 2]
            assert name not in held  # names are distinct
            held[name] = source if source >= first_value else held[source]
        if token == QUERY:
            found[k + 1] = held[tokens[k + 1]]
    return found


def list_answers(drawn: Sequences, sample: int) -> dict[int, int]:
    y = drawn.y[:, sample]
    return {int(k): int(y[k]) for k in np.flatnonzero(y != NOTHING)}


@given(EVERY, st.integers(0, 99))
def test_a_reader_of_the_sequence_finds_each_answer_and_no_other(
    sizes: RecallSizes, seed: int
) -> None:
    numbers = {"MQAR": sizes.pairs, "needles": sizes.needles, "tracking": sizes.variables}
    for name, draw in TASKS.items():
        drawn = draw(np.random.default_rng(seed), sizes, 3)
        assert drawn.x.shape == drawn.y.shape == (sizes.tokens, 3)
        assert drawn.x.min() >= 0
        assert drawn.x.max() < sizes.vocabulary
        for sample in range(3):
            tokens = drawn.x[:, sample].tolist()
            known = (
                look_up(tokens, sizes.pairs)
                if name == "MQAR"
                else read_statements(tokens, sizes.first_value)
            )
            assert known == list_answers(drawn, sample)
            assert len(known) == numbers[name]
            assert all(sizes.first_value <= v < sizes.vocabulary for v in known.values())
            assert len(set(known.values())) == count_choices(sizes)[name]


@pytest.mark.parametrize("draw", TASKS.values(), ids=TASKS)
def test_a_seed_draws_the_same_and_another_one_draws_others(draw: Draw) -> None:
    one, same, other = (draw(np.random.default_rng(s), RecallSizes(), 4) for s in (1, 1, 2))
    assert np.array_equal(one.x, same.x)
    assert np.array_equal(one.y, same.y)
    assert not np.array_equal(one.x, other.x)
    assert len({tuple(column) for column in one.x.T}) == 4


def test_keys_and_values_are_all_drawn_alike_often() -> None:
    x = draw_mqar(np.random.default_rng(0), SMALL, MANY).x
    for row, first, number in ((0, 4, 6), (5, 10, 5)):
        counts = np.bincount(x[row] - first, minlength=number)
        assert len(counts) == number
        assert stats.chisquare(counts).pvalue > 1e-3


def test_queries_of_mqar_come_soon_as_often_as_the_power_law_says() -> None:
    sizes = RecallSizes(tokens=14, keys=4, values=4, pairs=2, needles=1, chains=1, hops=0)
    x = draw_mqar(np.random.default_rng(0), sizes, MANY).x
    assert not x[5::2].any()  # only every second token is a query
    taken = [tuple(np.flatnonzero(column)) for column in x[4::2].T]
    p = np.arange(1, 6.0) ** (POWER - 1)
    p /= p.sum()
    counts = Counter(taken)
    pairs = list(combinations(range(5), 2))
    assert set(counts) == set(pairs)
    # Two draws without replacement: i then j, or j then i.
    expected = [p[i] * p[j] * (1 / (1 - p[i]) + 1 / (1 - p[j])) for i, j in pairs]
    observed = [counts[pair] for pair in pairs]
    assert stats.chisquare(observed, MANY * np.array(expected)).pvalue > 1e-3


def test_needles_stand_in_each_of_their_places_alike_often() -> None:
    sizes = RecallSizes(tokens=13, keys=3, values=3, pairs=1, needles=2, chains=1, hops=0)
    drawn = draw_needles(np.random.default_rng(0), sizes, MANY)
    places = Counter(tuple(np.flatnonzero(column)) for column in (drawn.x == NEEDLE).T)
    # 13 tokens: 4 of questions, 6 of needles, 3 of noise, so 2 of 5 places.
    arranged = {(i, j + 2) for i, j in combinations(range(5), 2)}
    assert set(places) == arranged
    assert stats.chisquare([*places.values()]).pvalue > 1e-3
    first = drawn.x[-3] == drawn.x.T[np.arange(MANY), np.argmax(drawn.x == NEEDLE, 0) + 1]
    assert abs(first.mean() - 0.5) < 4 * 0.5 / MANY**0.5  # questions come in any order


def test_noise_around_needles_shows_their_keys_before_other_values() -> None:
    sizes = RecallSizes(tokens=60, keys=8, values=8, pairs=1, needles=3, chains=1, hops=0)
    drawn = draw_needles(np.random.default_rng(0), sizes, 50)
    misled = 0
    for sample in range(50):
        tokens = drawn.x[:54, sample].tolist()
        held = {tokens[k + 1]: tokens[k + 2] for k, t in enumerate(tokens) if t == NEEDLE}
        follow = pairwise(tokens)
        misled += sum(a in held and b >= sizes.first_value and b != held[a] for a, b in follow)
    assert misled > 100
    assert not (drawn.x == FILLER).any()


def test_statements_of_chains_are_mixed_in_every_order_alike_often() -> None:
    sizes = RecallSizes(tokens=20, keys=4, values=2, pairs=1, needles=1, chains=2, hops=1)
    x = draw_tracking(np.random.default_rng(0), sizes, MANY).x
    targets, sources = x[1:12:3], x[2:12:3]
    assert (x[0:12:3] == SET).all()
    from_value = sources >= sizes.first_value
    heads = np.where(from_value, targets, sources)  # the variable that its chain begins with
    orders = Counter(map(tuple, (heads != heads[0]).T.astype(int)))
    assert sorted(orders) == [(0, 0, 1, 1), (0, 1, 0, 1), (0, 1, 1, 0)]
    assert stats.chisquare([*orders.values()]).pvalue > 1e-3


def test_what_does_not_fit_is_refused_all_at_once() -> None:
    assert RecallSizes(tokens=60, keys=12, values=15, pairs=12).vocabulary == 4 + 12 + 15
    with pytest.raises(ValueError) as told:  # noqa: PT011
        RecallSizes(tokens=47, keys=11, values=3, pairs=12, needles=0, chains=4, hops=2)
    assert str(told.value) == (
        "recall: needles must be >= 1, got 0; pairs need 48 tokens, there are 47; "
        "chains and hops need 60 tokens, there are 47; pairs need 12 keys, there are 11; "
        "chains and hops need 12 keys, there are 11; pairs need 12 values, there are 3; "
        "chains need 4 values, there are 3; ask for less, or give more of them"
    )
