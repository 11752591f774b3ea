from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from neuro.base.seeds import seeded
from neuro.base.units import Ticks
from neuro.nn.layers import Stack
from tasks.images.generation.config import GenerationConfig
from tasks.images.generation.latents import (
    average_copies,
    delay_by_tick,
    draw_indices,
    evaluate_mode,
    infer,
    pick_copies,
    sample,
    sample_scheduled,
)
from tasks.images.generation.layers import make_bernoulli

TICKS, B, BITS, COPIES = 9, 6, 5, 4
CONFIG = GenerationConfig(channels=(4, 8), latent=BITS, copies=COPIES, ticks=Ticks(TICKS))


def stack(inputs: int, seed: int = 0) -> Stack:
    """A stack whose norms have seen some batches, so that evaluation is not training."""
    with seeded(seed):
        made = make_bernoulli(inputs, CONFIG).double()
        for _ in range(20):
            made((torch.rand(TICKS, B, inputs) < 0.5).double())
    return made.eval()


def by_prefixes(net: Stack, given: Tensor, index: Tensor) -> Tensor:
    """Feed the whole past again at every tick, from the initial state, as published: O(T^2)."""
    z = torch.zeros_like(index, dtype=given.dtype)
    with torch.no_grad():
        for t in range(len(index)):
            past = torch.cat([torch.zeros_like(z[:1]), z[:t]])
            copies, _ = net(torch.cat([given[: t + 1], past], -1))
            for b in range(index.shape[1]):
                for i in range(BITS):
                    z[t, b, i] = copies[t, b, i * COPIES + index[t, b, i]]
    return z


@pytest.mark.slow
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_sampling_by_state_is_sampling_by_prefixes(seed: int) -> None:
    with seeded(seed):
        seen = (torch.rand(TICKS, B, BITS) < 0.4).double()
        index = draw_indices(TICKS, B, BITS, COPIES)
    posterior, prior = stack(2 * BITS, seed), stack(BITS, seed)
    z = sample(posterior, seen, index)
    assert torch.equal(z, by_prefixes(posterior, seen, index))
    assert 0.02 < z.mean() < 0.98
    nothing = seen.new_zeros(TICKS, B, 0)
    assert torch.equal(sample(prior, nothing, index), by_prefixes(prior, nothing, index))


def test_a_bit_is_one_of_its_copies_and_its_probability_their_mean() -> None:
    copies = torch.tensor([[[1.0, 0, 0, 0, 0, 1]]])  # T B (Z copies): 2 bits of 3 copies
    index = torch.tensor([[[0, 2]]])
    assert pick_copies(copies, index).tolist() == [[[1, 1]]]
    assert pick_copies(copies, 1 + 0 * index).tolist() == [[[0, 0]]]
    torch.testing.assert_close(average_copies(copies, 2), torch.full((1, 1, 2), 1 / 3))


def test_draws_are_uniform_over_the_copies_and_follow_a_generator() -> None:
    one, other = (
        draw_indices(200, 10, 5, 4, torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(one, other)
    share = torch.bincount(one.flatten(), minlength=4) / one.numel()
    assert (share - 0.25).abs().max() < 0.02


def test_a_shift_is_a_tick_of_silence_first() -> None:
    z = torch.arange(1.0, 4).reshape(3, 1, 1)
    assert delay_by_tick(z).flatten().tolist() == [0, 1, 2]


def test_in_evaluation_the_second_pass_of_the_posterior_gives_the_drawn_latents() -> None:
    posterior = stack(2 * BITS)
    with seeded(1):
        seen = (torch.rand(TICKS, B, BITS) < 0.4).double()
        index = draw_indices(TICKS, B, BITS, COPIES)
    z, q = infer(posterior, seen, index)
    assert torch.equal(z, sample(posterior, seen, index))
    assert set(q.unique().tolist()) <= {0.0, 0.25, 0.5, 0.75, 1.0}


def test_no_gradient_reaches_the_past_and_the_statistics_move_once() -> None:
    posterior = stack(2 * BITS).train()
    with seeded(1):
        seen = (torch.rand(TICKS, B, BITS) < 0.4).double().requires_grad_()
        index = draw_indices(TICKS, B, BITS, COPIES)
    before = int(posterior.get_buffer("norm_1.num_batches_tracked"))
    z, _ = infer(posterior, seen, index)
    assert posterior.training
    assert int(posterior.get_buffer("norm_1.num_batches_tracked")) == before + 1
    past = delay_by_tick(sample(posterior, seen, index))
    assert not past.requires_grad
    (flow,) = torch.autograd.grad(z[-1].sum(), seen)
    assert flow[-1].abs().sum() > 0


@pytest.mark.parametrize(("share", "kept"), [(0.0, 9), (1.0, 6)])
def test_from_the_sixth_latent_on_the_prior_may_hear_its_own(share: float, kept: int) -> None:
    prior = stack(BITS)
    with seeded(2):
        z = (torch.rand(TICKS, B, BITS) < 0.5).double().requires_grad_()
        past = sample_scheduled(prior, z, share)
    assert not past.requires_grad
    assert torch.equal(past[:kept], delay_by_tick(z.detach())[:kept])
    if share:
        state: Any = None
        for t in range(TICKS - 1):
            with torch.no_grad():
                copies, state = prior(past[t : t + 1], state)
            p = average_copies(copies, BITS)[0]
            if t >= 5:  # if ones and zeros are equally many, noise decides
                sure = p != 0.5
                assert torch.equal(past[t + 1][sure], (p > 0.5).double()[sure])


@pytest.mark.slow
def test_half_of_the_ticks_are_its_own_at_a_share_of_one_half() -> None:
    prior = stack(BITS)
    own = 0
    with seeded(0):
        for _ in range(60):
            z = 0.25 * torch.ones(TICKS, 1, BITS).double()  # which the prior never says
            own += int((sample_scheduled(prior, z, 0.5)[6:, 0, 0] != 0.25).sum())
    assert 60 <= own <= 120  # of 180


def test_evaluating_gives_the_mode_back_also_after_an_error() -> None:
    net = stack(BITS).train()
    with evaluate_mode(net):
        assert not net.training
        assert not torch.is_grad_enabled()
    assert net.training
    with pytest.raises(AttributeError, match="nothing"), evaluate_mode(net):
        net.get_submodule("nothing")
    assert net.training
    assert torch.is_grad_enabled()
