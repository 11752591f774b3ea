"""The product that skips zeros against the dense one of torch."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from neuro.ops import sparse_linear
from neuro.ops.sparse_linear import (
    MIN_ZERO_SHARE,
    apply_linear,
    arrange_in_blocks,
    arrange_weights,
    find_active,
    list_nonzero,
    store_by_input,
)


@pytest.fixture(autouse=True)
def no_least_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small products skip zeros, too."""
    monkeypatch.setattr(sparse_linear, "MIN_VALUES", 0)


def draw(rows: int, inputs: int, share: float, dtype: torch.dtype) -> torch.Tensor:
    """Return whole numbers, of which a share is not zero: sums are exact."""
    active = torch.rand(rows, inputs) < share
    return (active * torch.randint(1, 5, (rows, inputs))).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"),
    [(1, 1, 1), (3, 64, 5), (5, 67, 256), (2, 130, 512), (4, 9, 3)],
)
@pytest.mark.parametrize("share", [0.0, 0.1])
def test_products_and_gradients_are_those_of_torch(
    rows: int, inputs: int, outputs: int, share: float, dtype: torch.dtype
) -> None:
    x, weight = draw(rows, inputs, share, dtype), torch.randint(-4, 5, (outputs, inputs))
    bias = torch.randint(-4, 5, (outputs,)).to(dtype)
    flow = torch.randint(-4, 5, (rows, outputs)).to(dtype)
    found = []
    for product in (apply_linear, F.linear):
        own = [t.clone().requires_grad_() for t in (x, weight.to(dtype), bias)]
        y = product(*own)
        y.backward(flow)
        found.append([y.detach(), *(t.grad for t in own)])
    for have, want in zip(*found, strict=True):
        assert torch.equal(have, want)


@pytest.mark.parametrize("size", [1, 63, 64, 65, 200])
def test_entries_that_are_not_zero_are_listed_row_by_row(size: int) -> None:
    x = np.random.default_rng(size).normal(size=(3, size)) * (np.arange(size) % 3 == 0)
    x[1] = 0
    x[2, -1] = np.nan
    train = list_nonzero(x, x.size)
    row, neuron = np.nonzero(x)
    np.testing.assert_array_equal(train.neuron, neuron)
    np.testing.assert_array_equal(train.value, x[row, neuron])
    assert train.at.tolist() == [[0, *np.cumsum(np.bincount(row, minlength=3)).tolist()]]
    assert list_nonzero(x, int(train.at[0, -1])).at.size == 4
    assert list_nonzero(x, int(train.at[0, -1]) - 1).at.size == 0


def test_zeros_are_skipped_from_four_fifths_of_them_on() -> None:
    x, weight = torch.zeros(1, 100), torch.zeros(3, 100)
    assert MIN_ZERO_SHARE == 0.8
    x[0, :19] = 1
    assert find_active(x, weight) is not None
    x[0, :21] = 1
    assert find_active(x, weight) is None
    x[:] = 0
    assert find_active(x, weight).at.tolist() == [[0, 0]]
    assert find_active(x.double(), weight) is None  # torch refuses it
    assert find_active(x.bfloat16(), weight.bfloat16()) is None


def test_a_zero_times_what_is_not_finite_is_zero_here() -> None:
    x, weight = torch.zeros(2, 10), torch.ones(3, 10)
    x[0, 1], weight[0, 2], weight[1, 1] = 1, torch.nan, torch.inf
    assert apply_linear(x, weight, None).tolist() == [[1, torch.inf, 1], [0, 0, 0]]


def test_blocks_hold_the_same_weights_by_input() -> None:
    weight = np.arange(6 * 37.0).reshape(6, 37)
    blocks = arrange_in_blocks(weight, 3)
    assert blocks.shape == (2, 37, 3)
    np.testing.assert_array_equal(blocks.transpose(0, 2, 1).reshape(6, 37), weight)


def test_weights_stored_by_input_are_the_same_and_few_outputs_stay() -> None:
    net = nn.Sequential(nn.Linear(5, 64), nn.Linear(64, 63))
    weight = net[0].weight
    before = [layer.weight.detach().clone() for layer in net]
    assert store_by_input(net) is net
    assert net[0].weight is weight  # what an optimizer holds
    assert arrange_weights(weight).ctypes.data == weight.data_ptr()  # no copy
    assert [layer.weight.stride() for layer in net] == [(1, 64), (64, 1)]
    assert all(torch.equal(layer.weight, w) for layer, w in zip(net, before, strict=True))
    weight.sum().backward()
    assert weight.grad is not None
    x = draw(4, 5, 0.2, torch.float32)
    want = F.linear(x, before[0])
    torch.testing.assert_close(apply_linear(x, net[0].weight, None), want, rtol=0, atol=1e-5)


def test_gradients_of_gradients_are_right() -> None:
    x = draw(3, 20, 0.1, torch.float64).requires_grad_()
    weight = torch.randn(2, 20, dtype=torch.float64, requires_grad=True)
    assert type(apply_linear(x, weight, None).grad_fn).__name__ == "_LinearBackward"
    of_both, fixed = (x, weight), x.detach()
    assert torch.autograd.gradgradcheck(lambda x, w: apply_linear(x, w, None) ** 2, of_both)
    assert torch.autograd.gradgradcheck(lambda w: apply_linear(fixed, w, None) ** 2, weight)
