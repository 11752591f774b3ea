"""Packed ternary products against the plain ones of NumPy."""

import numpy as np
import pytest

from neuro.ops.ternary import (
    LARGEST,
    has_dot_product,
    map_packed,
    multiply_packed,
    pack_ternary,
)

WAYS = [False, True] if has_dot_product() else [False]
SIZES = [(1, 1, 1), (2, 3, 5), (3, 7, 128), (1, 5, 131), (4, 2, 1027), (0, 3, 8), (2, 0, 8)]


def draw(tokens: int, outputs: int, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ternary weights (M N) and whole numbers of 8 bits (T N)."""
    rng = np.random.default_rng(inputs)
    weight = rng.integers(-1, 2, (outputs, inputs)).astype(np.int8)
    return weight, rng.integers(-128, 128, (tokens, inputs)).astype(np.int8)


def unpack_ternary(packed: np.ndarray, columns: int) -> np.ndarray:
    """Return unpacked weights, M N; the inverse of pack_ternary."""
    codes = np.concatenate([packed >> shift & 3 for shift in (0, 2, 4, 6)], axis=1)
    return codes[:, :columns].astype(np.int8) - 1


def test_four_weights_stand_in_a_byte_the_first_in_its_lowest_bits() -> None:
    weight = np.array([[-1, 0, 1, 1, 0, -1]], np.int8)  # J = 2: columns 0, 2, 4, 6 in byte 0
    packed = pack_ternary(weight)
    assert packed.tolist() == [[0 | 2 << 2 | 1 << 4 | 1 << 6, 1 | 2 << 2 | 0 << 4 | 1 << 6]]
    assert unpack_ternary(packed, 6).tolist() == weight.tolist()


@pytest.mark.parametrize("sizes", SIZES)
def test_unpacking_gives_back_what_was_packed(sizes: tuple[int, int, int]) -> None:
    weight, _ = draw(*sizes)
    packed = pack_ternary(weight)
    assert packed.shape == (sizes[1], -(-sizes[2] // 4))
    np.testing.assert_array_equal(unpack_ternary(packed, sizes[2]), weight)
    assert not unpack_ternary(packed, 4 * packed.shape[1])[:, sizes[2] :].any()


def test_other_weights_and_too_many_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="2 weights are not -1, 0 or 1, the first 2"):
        pack_ternary(np.array([[0, 2, -2]], np.int8))
    pack_ternary(np.zeros((1, LARGEST), np.int8))
    with pytest.raises(ValueError, match="more than 262,144 columns"):
        pack_ternary(np.zeros((1, LARGEST + 1), np.int8))


@pytest.mark.parametrize("dot", WAYS)
@pytest.mark.parametrize("sizes", SIZES)
def test_products_are_those_of_whole_numbers(sizes: tuple[int, int, int], dot: bool) -> None:
    weight, x = draw(*sizes)
    found = multiply_packed(pack_ternary(weight), x, dot=dot)
    np.testing.assert_array_equal(found, x.astype(int) @ weight.T.astype(int))


@pytest.mark.parametrize("dot", WAYS)
@pytest.mark.parametrize("weight", [-1, 1])
def test_the_largest_sums_stay_within_32_bits(weight: int, dot: bool) -> None:
    packed = pack_ternary(np.full((1, LARGEST), weight, np.int8))
    found = multiply_packed(packed, np.full((1, LARGEST), -128, np.int8), dot=dot)
    assert found.tolist() == [[-128 * LARGEST * weight]]


def expect_map(
    weight: np.ndarray, x: np.ndarray, scales: list[np.ndarray], ticks: int, threshold: float
) -> np.ndarray:
    """Return the map of scaled and quantised inputs, in float32 step by step."""
    inverse, gain = scales
    values = x * inverse[:, None] * gain
    if ticks:
        size = np.full((len(x), 1), threshold, np.float32)
        half = np.float32(threshold) / np.float32(2)
        count = np.floor((abs(values) + half) / np.float32(threshold))
        whole = np.sign(values) * np.minimum(count, ticks)
    else:
        size = np.maximum(abs(values).max(1, keepdims=True), np.float32(1e-5)) / np.float32(127)
        whole = np.clip(np.rint(values / size), -128, 127)
    sums = whole.astype(int) @ weight.T.astype(int)
    return sums.astype(np.float32) * (np.float32(0.3) * size)


@pytest.mark.parametrize("dot", WAYS)
@pytest.mark.parametrize("ticks", [0, 1, 4])
@pytest.mark.parametrize("inputs", [1, 5, 131])
def test_a_map_of_floats_is_that_of_numpy_bit_for_bit(
    inputs: int, ticks: int, dot: bool
) -> None:
    weight, _ = draw(3, 4, inputs)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, inputs)).astype(np.float32)
    x[1] = 0  # a silent token
    scales = [rng.uniform(0.5, 2, n).astype(np.float32) for n in (3, inputs)]
    packed = pack_ternary(weight)
    found = map_packed(packed, x, *scales, scale=0.3, ticks=ticks, threshold=0.5, dot=dot)
    want = expect_map(weight, x, scales, ticks, 0.5)
    np.testing.assert_array_equal(found, want)
    assert not found[1].any()


def test_a_token_with_nan_has_no_other_answers_and_spoils_no_other_token() -> None:
    weight, _ = draw(1, 4, 6)
    x, one = np.ones((2, 6), np.float32), np.ones(6, np.float32)
    x[0, 3] = np.nan
    for ticks in (0, 2):
        found = map_packed(pack_ternary(weight), x, one[:2], one, scale=1.0, ticks=ticks)
        assert np.isnan(found[0]).all()
        assert np.isfinite(found[1]).all()
