from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from tasks.measures.statistics import (
    compare_paired,
    compare_rates,
    compute_sign_flip_p,
    name_test,
    stack_seeds,
    summarise,
)


def test_a_mean_of_seeds_has_the_deviation_of_their_means() -> None:
    found = summarise(np.array([[1.0, 0, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]]))
    assert found.seeds == (0.5, 0.75, 1.0)
    assert (found.mean, found.sd) == (0.75, 0.25)
    assert summarise(np.array([[1.0, 0.0]])).sd is None


def test_a_rate_is_of_all_units_of_a_seed() -> None:
    found = summarise(
        np.array([[1.0, 0], [2, 1], [0, 0]]), np.array([[0.5, 1.5], [2, 4], [0, 0]])
    )
    assert found.seeds[:2] == (0.5, 0.5)
    assert np.isnan(found.seeds[2])


def test_rates_differ_by_what_units_drawn_anew_say() -> None:
    ours, theirs = np.array([[1.0, 0], [0, 0]]), np.array([[1.0, 3]])
    driven, less = np.array([[1.0, 4], [2, 8]]), np.array([[0.5, 1.5]])
    found = compare_rates(ours, driven, theirs, less)
    assert found.difference == pytest.approx((1 / 5 + 0) / 2 - 4 / 2)
    # One draw of four is the first unit twice, one the second twice.
    assert found.low == pytest.approx((0 + 0) / 2 - 3 / 1.5)
    assert found.high == pytest.approx((1 / 1 + 0) / 2 - 1 / 0.5)
    other = compare_rates(theirs, less, ours, driven)
    assert (other.low, other.high) == (-found.high, -found.low)


def test_the_interval_of_rates_is_that_of_scipy() -> None:
    rng = np.random.default_rng(5)
    hits, driven = rng.integers(0, 3, (2, 1, 30)).astype(float), rng.uniform(0.1, 1, (2, 1, 30))
    found = compare_rates(hits[0], driven[0], hits[1], driven[1])
    theirs = stats.bootstrap(
        (hits[0, 0], driven[0, 0], hits[1, 0], driven[1, 0]),
        lambda a, b, c, d, axis: a.sum(axis) / b.sum(axis) - c.sum(axis) / d.sum(axis),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found.low == pytest.approx(theirs.low, abs=0.05)
    assert found.high == pytest.approx(theirs.high, abs=0.05)


def test_rates_without_anything_driven_have_no_interval() -> None:
    ours, driven = np.array([[1.0, 0]]), np.array([[0.0, 1.0]])
    assert compare_rates(ours, driven, ours, driven).low is None  # the first unit twice
    one = compare_rates(ours[:, 1:], driven[:, 1:], ours[:, 1:], driven[:, 1:])
    assert (one.difference, one.low, one.high) == (0, None, None)


def test_a_course_counts_once_however_many_seeds_drive_it() -> None:
    ours = np.array([[1.0, 1, 1, 1, 1, 0, 1], [1, 1, 1, 1, 0, 0, 1]])
    theirs = np.array([[0.0, 0, 0, 0, 0, 1, 1]])
    found = compare_paired(ours, theirs)
    assert (found.more, found.fewer) == (5, 1)  # the last course is a tie
    assert found.p == pytest.approx(2 * (1 + 6) / 2**6)  # exact: of 6, at most 1 the other way
    assert found.difference == pytest.approx((4 + 0.5 - 1) / 7)


def test_the_interval_is_students() -> None:
    ours = np.array([[1.0, 2, 3, 4, 5, 6], [3, 2, 1, 4, 5, 6]])
    theirs = np.array([[0.0, 1, 1, 5, 2, 2]])
    found = compare_paired(ours, theirs)
    want = stats.ttest_rel(ours.mean(0), theirs[0]).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((want.low, want.high))


def test_one_yes_or_no_each_is_mcnemars_test() -> None:
    ours, theirs = np.array([[1.0] * 9 + [0]]), np.array([[0.0] * 8 + [1, 1]])
    # 8 courses that only we complete, one that only they do.
    assert compare_paired(ours, theirs).p == pytest.approx(2 * (1 + 9) / 2**9)


def test_equals_do_not_differ() -> None:
    some = np.array([[0.1, 0.7], [0.2, 0.1]])
    found = compare_paired(some, some[::-1])
    assert (found.more, found.fewer, found.p) == (0, 0, 1.0)
    assert (found.low, found.difference, found.high) == (0, 0, 0)
    # (0.1 + 0.2) / 2 and 0.15 differ by a rounding alone.
    assert compare_paired(np.array([[0.1], [0.2]]), np.array([[0.15]])).fewer == 0


def test_one_unit_has_no_interval() -> None:
    found = compare_paired(np.array([[2.0]]), np.array([[1.0]]))
    assert (found.low, found.high, found.p) == (None, None, 1.0)


@settings(max_examples=15)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=8))
def test_who_is_first_does_not_matter(pairs: list[tuple[bool, bool]]) -> None:
    first, second = np.array(pairs, float).T[:, None]
    one, other = compare_paired(first, second), compare_paired(second, first)
    assert (one.difference, one.p) == (-other.difference, other.p)
    assert (one.more, one.fewer) == (other.fewer, other.more)


def test_seeds_are_rows() -> None:
    stacked = stack_seeds({"a": [[1.0, 2.0], [3.0, 4.0]], "b": [1.0, 3.0]})
    assert {k: v.tolist() for k, v in stacked.items()} == {
        "a": [[1, 2], [3, 4]],
        "b": [[1], [3]],
    }


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_the_sign_flip_test_counts_all_choices_of_signs(n: int) -> None:
    d = np.random.default_rng(n).normal(0.3, 1.0, n)
    counted = sum(
        abs(np.dot(signs, d)) >= abs(d.sum()) - 1e-12 for signs in product((-1, 1), repeat=n)
    )
    assert compute_sign_flip_p(list(d)) == counted / 2**n


def test_the_sign_flip_test_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    d = np.random.default_rng(0).normal(0.5, 1.0, 9)
    found = stats.permutation_test((d,), np.mean, permutation_type="samples")
    assert compute_sign_flip_p(list(d)) == pytest.approx(found.pvalue)


def test_many_seeds_are_drawn_and_no_p_is_zero() -> None:
    d = np.ones(40)
    assert compute_sign_flip_p(list(d)) == 1e-5
    assert compute_sign_flip_p(list(np.tile([1.0, -1.0], 20))) == 1.0


def test_the_name_of_the_test_says_whether_it_is_exact() -> None:
    assert name_test(16) == "exact sign-flip test, two-sided"
    assert name_test(17) == "sign-flip test by 100,000 draws, two-sided"
