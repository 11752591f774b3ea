"""Fixed-point arithmetic against exact numbers."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, strategies as st

from lava_export.processes import fixed_point as fp

ONE = 2**fp.FRACTION
VALUES = st.integers(1 - fp.LIMIT, fp.LIMIT - 1)


def whole(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def round_away(x: Fraction) -> int:
    size = math.floor(abs(x) + Fraction(1, 2))
    return size if x >= 0 else -size


@given(x=st.integers(-(2**60), 2**60), bits=st.integers(0, 40))
def test_a_shift_rounds_half_away_from_zero(x: int, bits: int) -> None:
    assert fp.round_shift(whole(x), bits)[0] == round_away(Fraction(x, 2**bits))
    assert fp.round_shift(whole(3, -3, 1, -1), 1).tolist() == [2, -2, 1, -1]


@given(s=st.integers(1, 2**62))
@example(s=4_611_673_407_329_665_024)
def test_the_root_is_within_2_to_the_minus_16(s: int) -> None:
    assert fp.count_bits(whole(s))[0] == s.bit_length()
    root, j = fp.invert_square_root(whole(s))
    assert 2**23 - 64 < root[0] <= 2**24
    assert abs(root[0] * 2.0 ** (j[0] - 39) * math.sqrt(s) - 1) < 2**-16


@pytest.mark.parametrize("power", [0, 1, 2, 29, 30, 31, 32, 61, 62])
def test_roots_of_powers_of_two_are_found_from_either_side(power: int) -> None:
    for s in {2**power, max(2**power - 1, 1), min(2**power + 1, 2**62)}:
        root, j = fp.invert_square_root(whole(s))
        assert abs(root[0] * 2.0 ** (j[0] - 39) * math.sqrt(s) - 1) < 2**-16


@given(x=VALUES)
def test_the_logistic_function_is_a_table_with_lines_between(x: int) -> None:
    exact, found = 1 / (1 + math.exp(-x / ONE)), fp.logistic(whole(x))[0] / 2**fp.GATE
    assert abs(found - exact) < (1.7e-5 if abs(x) < 8 * ONE else 3.4e-4)
    if abs(x) >= 8 * ONE:
        assert found == (x > 0)
    assert fp.logistic(whole(-x))[0] == 2**fp.GATE - fp.logistic(whole(x))[0]
    product = Fraction(x * int(fp.logistic(whole(x))[0]), 2**fp.GATE)
    assert fp.silu(whole(x))[0] == round_away(product)


def test_the_logistic_function_is_the_table_at_its_entries() -> None:
    x = np.arange(-255, 256) * ONE // 32
    exact = np.rint(2**fp.GATE / (1 + np.exp(-x / ONE)))
    np.testing.assert_array_equal(fp.logistic(x), exact)
    assert fp.silu(whole(0)).tolist() == [0]
    ends = np.array([-8 * ONE, 8 * ONE])
    assert fp.logistic(ends).tolist() == [0, 2**fp.GATE]


@given(x=VALUES, ticks=st.integers(1, 9), threshold=st.integers(1, 2**20))
def test_counts_are_those_of_a_neuron_with_soft_reset(
    x: int, ticks: int, threshold: int
) -> None:
    v, fired = Fraction(abs(x)) + Fraction(threshold, 2), 0
    for _ in range(ticks):
        if v >= threshold:
            v, fired = v - threshold, fired + 1
    found = fp.count_spikes(whole(x), ticks, threshold)[0]
    assert found == (fired if x > 0 else -fired)


@given(x=st.lists(VALUES, min_size=1, max_size=20), shift=st.integers(8, 14))
def test_a_norm_is_that_of_its_row_to_a_few_units(x: list[int], shift: int) -> None:
    gain = 2.0**shift * np.sqrt(len(x)) * np.linspace(-1, 1, len(x))
    given_ = np.rint(gain).astype(np.int64)
    eps = 5
    found = fp.normalise(whole(*x)[None], given_, shift, eps)[0]
    exact = given_ / 2**shift * np.array(x) / math.sqrt(sum(a * a for a in x) + eps)
    np.testing.assert_allclose(found / ONE, exact, rtol=2**-15, atol=2 / ONE)


def test_silence_stays_silence_even_without_an_epsilon() -> None:
    zero = np.zeros((1, 4), np.int64)
    assert not fp.normalise(zero, whole(9, 9, 9, 9), 8, 0).any()
    rest = whole(2**fp.GATE, 2**fp.GATE)
    assert not fp.advance_gate(zero, zero[0, :2], rest).any()
    assert fp.multiply(whole(3 * ONE, ONE, -2 * ONE, ONE // 2)).tolist() == [-6 * ONE, ONE // 2]


@given(opens=VALUES, c=VALUES, h=VALUES, rest=st.integers(0, 2**fp.GATE))
def test_a_gate_moves_its_state_towards_the_candidate(
    opens: int, c: int, h: int, rest: int
) -> None:
    closed = int(fp.logistic(whole(-opens))[0])
    leave = round_away(Fraction(rest * closed, 2**fp.GATE))
    up = c * 2 ** (fp.STATE_FRACTION - fp.FRACTION)
    found = fp.advance_gate(whole(opens, c), whole(h), whole(rest))[0]
    assert found == h + round_away(Fraction(leave * (up - h), 2**fp.GATE))
    assert min(h, up) <= found <= max(h, up)
    assert fp.read_gate(whole(h))[0] == round_away(
        Fraction(h, 2 ** (fp.STATE_FRACTION - fp.FRACTION))
    )
