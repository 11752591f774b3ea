"""Which tensors compiled loops read, and how work is shared between threads."""

import threading

import pytest
import torch
from torch.autograd import forward_ad

from neuro.ops.threads import MIN_SHARED_VALUES, can_read, run_in_shares


def test_floats_on_a_cpu_are_read_and_no_others() -> None:
    for dtype in (torch.float32, torch.float64):
        assert can_read(torch.zeros(2, dtype=dtype))
    for dtype in (torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64):
        assert not can_read(torch.zeros(2, dtype=dtype))
    assert not can_read(torch.zeros(2, device="meta"))


def test_nothing_is_read_where_derivatives_go_forward() -> None:
    with forward_ad.dual_level():
        assert not can_read(torch.zeros(2))
    assert can_read(torch.zeros(2))


def test_shares_cover_all_once_in_order_and_differ_by_one_at_most() -> None:
    for threads in (1, 2, 3, 7):
        torch.set_num_threads(threads)
        for many in (1, 2, 3, 10, 11):
            parts = run_in_shares(many, MIN_SHARED_VALUES, lambda low, high: (low, high))
            assert len(parts) == min(threads, many)
            assert [k for low, high in parts for k in range(low, high)] == [*range(many)]
            sizes = [high - low for low, high in parts]
            assert max(sizes) - min(sizes) <= 1


def test_few_values_and_nothing_at_all_stay_in_this_thread() -> None:
    torch.set_num_threads(3)
    here = threading.get_ident()

    def tell(low: int, high: int) -> tuple[int, int, int]:
        return low, high, threading.get_ident()

    assert run_in_shares(10, MIN_SHARED_VALUES - 1, tell) == [(0, 10, here)]
    assert run_in_shares(1, MIN_SHARED_VALUES, tell) == [(0, 1, here)]
    assert run_in_shares(0, 0, tell) == [(0, 0, here)]
    assert all(who != here for _, _, who in run_in_shares(10, MIN_SHARED_VALUES, tell))


def test_an_error_in_a_share_is_raised() -> None:
    torch.set_num_threads(2)

    def fail(low: int, _: int) -> None:
        if low:
            raise RuntimeError("share")

    with pytest.raises(RuntimeError, match="share"):
        run_in_shares(4, MIN_SHARED_VALUES, fail)
