"""Average pooling in channels-last order against torch."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from neuro.ops import avg_pool
from neuro.ops.avg_pool import apply_avg_pool, find_blocks


def draw(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return random images in channels-last order."""
    return torch.randn(shape, dtype=dtype).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 2, 3, (2, 3), (3, 1)])
@pytest.mark.parametrize("shape", [(2, 3, 6, 6), (1, 1, 5, 7), (3, 5, 3, 4), (0, 2, 6, 6)])
def test_means_and_gradients_are_those_of_torch_bit_for_bit(
    shape: tuple[int, ...], size: int | tuple[int, int], dtype: torch.dtype
) -> None:
    pool = nn.AvgPool2d(size)
    x = draw(*shape, dtype=dtype).requires_grad_()
    twin = x.detach().clone().requires_grad_()
    y, want = apply_avg_pool(x, pool), pool(twin)
    assert torch.equal(y, want)
    flow = torch.randn(want.shape, dtype=dtype)
    y.backward(flow)
    want.backward(flow)
    torch.testing.assert_close(
        x.grad, twin.grad, rtol=0, atol=1e-7 if dtype.itemsize == 4 else 0
    )


def test_the_compiled_loop_is_taken_for_plain_blocks_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = []
    loop = avg_pool.write_means
    monkeypatch.setattr(avg_pool, "write_means", lambda *a: (taken.append(1), loop(*a)))
    for pool in (nn.AvgPool2d(2), nn.AvgPool2d((2, 2), stride=(2, 2))):
        apply_avg_pool(draw(1, 2, 4, 4), pool)
    assert len(taken) == 2
    others = (
        nn.AvgPool2d(2, stride=1),
        nn.AvgPool2d(2, padding=1),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.AvgPool2d(2, divisor_override=3),
    )
    for pool in others:
        x = draw(1, 2, 5, 5)
        assert find_blocks(pool) is None
        assert torch.equal(apply_avg_pool(x, pool), pool(x))
    x = torch.randn(1, 2, 4, 4)  # channels first
    assert torch.equal(apply_avg_pool(x, nn.AvgPool2d(2)), F.avg_pool2d(x, 2))
    half = draw(1, 2, 4, 4).bfloat16()
    assert torch.equal(apply_avg_pool(half, nn.AvgPool2d(2)), F.avg_pool2d(half, 2))
    assert len(taken) == 2


def test_a_window_larger_than_the_image_is_left_to_torch_to_refuse() -> None:
    with pytest.raises(RuntimeError, match="too small"):
        apply_avg_pool(draw(1, 1, 2, 2), nn.AvgPool2d(3))


def test_nan_and_infinity_stay_in_their_windows() -> None:
    x = draw(1, 1, 4, 4)
    x[0, 0, 0, 0], x[0, 0, 3, 3] = torch.nan, torch.inf
    y = apply_avg_pool(x, nn.AvgPool2d(2))
    assert y[0, 0].isnan().tolist() == [[True, False], [False, False]]
    assert y[0, 0].isinf().tolist() == [[False, False], [False, True]]


def test_gradients_of_gradients_are_right() -> None:
    x = draw(1, 2, 5, 4, dtype=torch.float64).requires_grad_()
    pool = nn.AvgPool2d(2)
    assert torch.autograd.gradcheck(lambda x: apply_avg_pool(x, pool) ** 2, x)
    assert torch.autograd.gradgradcheck(lambda x: apply_avg_pool(x, pool) ** 2, x)
