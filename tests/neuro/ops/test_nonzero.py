"""The bits of 64 neighbouring values that are not zero, against NumPy."""

import numpy as np
import pytest

from neuro.ops.jit import kernel
from neuro.ops.sparse_linear import WORD, find_lowest_bit, find_nonzero


@kernel
def find_bits(values: np.ndarray, first: int) -> int:
    """Return the bits of 64 values."""
    return find_nonzero(values, first)  # type: ignore[call-arg]


@kernel
def find_first(bits: np.uint64) -> int:
    """Return the place of the lowest bit."""
    return find_lowest_bit(bits)  # type: ignore[call-arg]


def expect_bits(values: np.ndarray) -> int:
    """Return the same, in Python."""
    return sum(1 << k for k, x in enumerate(values.tolist()) if x != 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_bit_says_whether_a_value_is_not_zero(dtype: type) -> None:
    rng = np.random.default_rng(0)
    for share in (0.0, 0.1, 0.5, 1.0):
        values = ((rng.random(200) < share) * rng.normal(size=200)).astype(dtype)
        for first in (0, 1, 37, 200 - WORD):
            want = expect_bits(values[first : first + WORD])
            assert int(np.uint64(find_bits(values, first))) == want
    assert int(np.uint64(find_bits(np.ones(WORD, dtype), 0))) == 2**64 - 1
    assert int(np.uint64(find_bits(np.zeros(WORD, dtype), 0))) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinity_count_and_no_sign_of_zero_does(dtype: type) -> None:
    values = np.zeros(WORD, dtype)
    smallest = np.finfo(dtype).smallest_subnormal
    values[[0, 1, 2, 3, 62, 63]] = [np.nan, np.inf, -np.inf, -0.0, smallest, -1.0]
    assert int(np.uint64(find_bits(values, 0))) == 0b111 + 2**62 + 2**63


def test_the_lowest_bit_is_found_at_each_place() -> None:
    for k in range(64):
        assert find_first(np.uint64(2**k)) == k
        assert find_first(np.uint64(2**64 - 2**k)) == k
