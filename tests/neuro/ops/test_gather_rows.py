"""Sums of weight rows over spikes, against a dense product of NumPy."""

import numpy as np
import pytest

from neuro.ops.gather_rows import WIDTH, RowSpan, Train, add_rows, choose_width


def to_train(x: np.ndarray) -> Train:
    """Return the entries of x (S L J) that are not zero."""
    sample, row, neuron = np.nonzero(x)
    samples, length, _ = x.shape
    number = np.zeros((samples, length), int)
    np.add.at(number, (sample, row), 1)
    ends = np.cumsum(number).reshape(samples, length)
    at = np.concatenate([ends[:, :1] - number[:, :1], ends], axis=1)
    return Train(at, neuron.astype(np.int32), x[sample, row, neuron])


def test_a_block_is_256_targets_where_that_divides_them() -> None:
    found = {n: choose_width(n) for n in (1, 255, 256, 257, 512, 700, 1024)}
    assert found == {1: 1, 255: 255, 256: 256, 257: 257, 512: 256, 700: 700, 1024: 256}
    assert WIDTH == 256


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("targets", [1, 3, 256, 512])
@pytest.mark.parametrize("active", [0, 1, 3, 4, 5, 8, 11])
def test_rows_of_all_spikes_are_added_to_what_is_there(
    active: int, targets: int, dtype: type
) -> None:
    rng = np.random.default_rng(active)
    samples, length, inputs = 2, 3, 11
    x = np.zeros((samples, length, inputs), dtype)
    for row in x.reshape(-1, inputs):
        row[rng.permutation(inputs)[:active]] = rng.integers(-3, 4, active)
    weight = rng.integers(-8, 9, (inputs, targets)).astype(dtype)  # sums are exact
    width = choose_width(targets)
    rows = np.ascontiguousarray(weight.reshape(inputs, -1, width).transpose(1, 0, 2))
    start = rng.integers(-8, 9, (samples * length, targets // width, width)).astype(dtype)
    values = start.copy()
    add_rows(values, RowSpan(0, length, 0), to_train(x), rows)
    want = start.reshape(-1, targets) + x.reshape(-1, inputs) @ weight
    np.testing.assert_array_equal(values.reshape(-1, targets), want)


def test_a_span_takes_some_rows_of_a_longer_train() -> None:
    x = np.arange(1.0, 11.0).reshape(2, 5, 1)
    values = np.zeros((2 * 3, 1, 1))
    add_rows(values, RowSpan(1, 3, 2), to_train(x), np.ones((1, 1, 1)))
    assert values.ravel().tolist() == [0, 4, 5, 0, 9, 10]


def test_weights_that_are_not_finite_reach_only_who_is_fed() -> None:
    rows = np.array([[[np.nan, 1.0], [2.0, np.inf]]])
    values = np.zeros((2, 1, 2))
    add_rows(values, RowSpan(0, 2, 0), to_train(np.array([[[0.0, 0.0], [0.0, 1.0]]])), rows)
    assert values.reshape(-1).tolist() == [0, 0, 2, np.inf]
