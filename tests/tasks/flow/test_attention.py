"""Hybrid attention against a loop in float64: values, state, gradients, steps, causality."""

from dataclasses import dataclass
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor
from torch.nn import functional as F

from tasks.flow.attention import attend_inside, run_hybrid, run_hybrid_recurrence

SIZES = [(1, 1, 1, 1, 1), (1, 2, 4, 2, 3), (5, 2, 3, 2, 4), (4, 3, 1, 1, 2)]  # I B N H K


@dataclass
class Case:
    q: Tensor
    k: Tensor
    v: Tensor
    g: Tensor
    state: Tensor

    def all(self) -> tuple[Tensor, ...]:
        return self.q, self.k, self.v, self.g, self.state


def draw(images: int, samples: int, tokens: int, heads: int, keys: int, seed: int = 0) -> Case:
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng, dtype=torch.float64)

    shape = (images, samples, tokens, heads, keys)
    values = keys + 1  # so that keys and values differ in width
    return Case(
        normal(*shape),
        normal(*shape),
        normal(*shape[:-1], values),
        F.logsigmoid(normal(*shape[:-1])),
        normal(samples, heads, keys, values),
    )


@pytest.mark.parametrize(("sizes", "with_state"), list(product(SIZES, (False, True))))
def test_it_equals_the_loop_in_values_state_and_gradients(
    sizes: tuple[int, ...], with_state: bool
) -> None:
    found = []
    for run in (run_hybrid, run_hybrid_recurrence):
        inputs = [x.requires_grad_() for x in draw(*sizes).all()]
        y, s = run(*inputs[:4], inputs[4] if with_state else None)
        (y.sin().sum() + s.cos().sum()).backward()
        found.append([y, s, *(x.grad for x in inputs[: 4 + with_state])])
    for fast, slow in zip(*found, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-12)


@given(
    images=st.integers(1, 5),
    cuts=st.lists(st.integers(1, 4), max_size=3),
    seed=st.integers(0, 10**6),
)
def test_a_run_in_parts_is_one_run(images: int, cuts: list[int], seed: int) -> None:
    case = draw(images, 2, 3, 2, 2, seed)
    whole, end = run_hybrid(*case.all())
    state, parts = case.state, []
    edges = sorted({0, images, *(c for c in cuts if c < images)})
    for low, high in pairwise(edges):
        y, state = run_hybrid(*(x[low:high] for x in case.all()[:4]), state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, end, rtol=1e-12, atol=1e-12)


def test_no_image_sees_a_later_one_and_every_later_one_sees_it() -> None:
    case = draw(4, 1, 2, 1, 2)
    for i in range(4):
        inputs = [x.clone().requires_grad_() for x in case.all()[:4]]
        y, _ = run_hybrid(*inputs, case.state)
        y[i].sum().backward()
        reached = [[bool(own.any()) for own in x.grad] for x in inputs]  # type: ignore[union-attr]
        until_now = [k <= i for k in range(4)]
        assert reached == [[k == i for k in range(4)], until_now, until_now, until_now]


def test_samples_do_not_see_each_other() -> None:
    case = draw(3, 2, 2, 2, 2)
    both, end = run_hybrid(*case.all())
    for b in range(2):
        own = [x[:, b : b + 1] for x in case.all()[:4]]
        y, s = run_hybrid(*own, case.state[b : b + 1])
        torch.testing.assert_close(y[:, 0], both[:, b])
        torch.testing.assert_close(s[0], end[b])


def test_by_hand() -> None:
    """One head, one channel: two images of two tokens."""
    one = torch.ones(2, 1, 2, 1, 1, dtype=torch.float64)
    q, k, v = 2 * one, 3 * one, one.clone()
    v[0, 0, 0] = 5  # image 1 has values 5 and 1, whose mean is 3
    g = torch.log(torch.tensor([[0.5, 0.125], [0.5, 0.5]], dtype=torch.float64))[
        :, None, :, None
    ]
    y, s = run_hybrid(q, k, v, g)
    written = 3 * 5 + 3 * 1
    # What image 1 writes does not decay within it; token 1 of image 2 reads half, token 2 a
    # quarter of it.
    assert y[:, 0, :, 0, 0].tolist() == [
        pytest.approx([3, 3]),
        pytest.approx([1 + 2 * 0.5 * written, 1 + 2 * 0.25 * written]),
    ]
    assert float(s) == pytest.approx(0.5 * written + 6)  # the mean decay of image 2 is 1/2


def test_without_a_past_it_is_softmax_attention() -> None:
    case = draw(3, 2, 4, 2, 3)
    y, _ = run_hybrid(*case.all()[:4])
    inside = attend_inside(case.q, case.k, case.v)
    torch.testing.assert_close(y[0], inside[0])
    weights = torch.einsum("ibnhk,ibmhk->ibhnm", case.q, case.k).softmax(-1)
    want = torch.einsum("ibhnm,ibmhv->ibnhv", weights, case.v)
    torch.testing.assert_close(inside, want)


def test_a_state_of_another_batch_is_refused() -> None:
    case = draw(2, 3, 2, 2, 2)
    with pytest.raises(ValueError, match=r"the state has shape \(2, 2, 2, 3\), and these"):
        run_hybrid(*case.all()[:4], case.state[:2])
