"""Two convolutions are one where what the second pads with zeros is zero in both."""

import itertools

import numpy as np
import torch
from torch.nn import functional as F

from neuro.graph import Conv1d
from neuro.graph.paths import fuse_chain


def is_zero_in_the_padding(size: int, first: Conv1d, padding: int) -> bool:
    """Say whether no window of ``first`` beyond its output meets a place of the input."""
    kernel, stride = first.weight.shape[2], first.stride
    windows = (size + 2 * first.padding - kernel) // stride + 1
    for k in [*range(-padding, 0), *range(windows, windows + padding)]:
        start = k * stride - first.padding
        if start < size and start + kernel > 0:
            return False
    return True


def test_two_convolutions_are_fused_exactly_where_that_changes_no_edge() -> None:
    rng = np.random.default_rng(0)
    found = []
    every = itertools.product(range(3, 8), range(1, 5), range(1, 5), range(3), range(3))
    for size, kernel, stride, padding, second_padding in every:
        first = Conv1d(weight=rng.normal(size=(1, 1, kernel)), stride=stride, padding=padding)
        second = Conv1d(weight=rng.normal(size=(1, 1, 1)), padding=second_padding)
        if size + 2 * padding < kernel:
            continue
        whole = fuse_chain((first, second), (1, size))
        found.append(whole is not None)
        assert found[-1] == is_zero_in_the_padding(size, first, second_padding)
        if whole is not None:
            x = torch.tensor(rng.normal(size=(1, 1, size)))
            middle = F.conv1d(x, torch.tensor(first.weight), stride=stride, padding=padding)
            want = F.conv1d(middle, torch.tensor(second.weight), padding=second_padding)
            have = F.conv2d(
                x[:, :, None],
                torch.tensor(whole.weight),
                stride=whole.stride,
                padding=whole.padding,
            )
            torch.testing.assert_close(have[:, :, 0], want, rtol=0, atol=1e-14)
    assert 300 < sum(found) < len(found) - 100
