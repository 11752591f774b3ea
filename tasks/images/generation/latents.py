"""Autoregressive spiking latents: the bits of a tick depend on those of earlier ticks.

    q(z[t] | x[<=t], z[<t])   the posterior, a Stack over [x[t], z[t-1]]
    p(z[t] | z[<t])           the prior, a Stack over z[t-1]            z[-1] = 0

The state of the Stack's neurons holds the past, so a draw costs one pass over T ticks. A Stack
returns k copies of each bit, which are spikes; drawing a bit picks one copy, and its
probability is their mean.
Axes: T ticks, B samples, Z bits, K copies, G features.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuro.nn.layers import Stack
from neuro.training.distributed import draw_shard

Bits = Float[Tensor, "T B Z"]
FIRST_OWN = 5  # first tick at which the prior may see its own bits in training
NOISE = 1e-3  # breaks ties between ones and zeros


def draw_indices(
    ticks: int, samples: int, bits: int, copies: int, generator: torch.Generator | None = None
) -> Int64[Tensor, "T B Z"]:
    """Draw the index of the copy to pick for each bit, on the CPU.

    generator: None uses torch's global one.
    """
    return torch.randint(copies, (ticks, samples, bits), generator=generator)


def pick_copies(copies: Float[Tensor, "T B ZK"], index: Int64[Tensor, "T B Z"]) -> Bits:
    """Return the copy at ``index`` of each bit."""
    per_bit = copies.reshape(*index.shape, -1)
    return per_bit.gather(-1, index.to(copies.device)[..., None])[..., 0]


def average_copies(copies: Float[Tensor, "T B ZK"], bits: int) -> Bits:
    """Return the probability of each bit."""
    return copies.reshape(*copies.shape[:-1], bits, -1).mean(-1)


def delay_by_tick(z: Bits) -> Bits:
    """Return z one tick later: zeros first, without the last tick."""
    return torch.cat([torch.zeros_like(z[:1]), z[:-1]])


@contextmanager
def evaluate_mode(module: nn.Module) -> Iterator[None]:
    """Run the block without gradient and with the running statistics of batch norms."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)


def sample(
    stack: Stack, features: Float[Tensor, "T B G"], index: Int64[Tensor, "T B Z"]
) -> Bits:
    """Draw latents tick by tick, in evaluation and without gradient."""
    z = features.new_zeros(index.shape[1:])
    state: Any = None
    out = []
    with evaluate_mode(stack):
        for x, picked in zip(features, index, strict=True):
            copies, state = stack(torch.cat([x, z], -1)[None], state)
            z = pick_copies(copies, picked[None])[0]
            out.append(z)
    return torch.stack(out)


def infer(
    posterior: Stack, features: Float[Tensor, "T B G"], index: Int64[Tensor, "T B Z"]
) -> tuple[Bits, Bits]:
    """Return (latents, their probabilities) from the features of the encoder.

    First draws the bits before each tick, without gradient and with the running statistics of
    the batch norms (the published code normalises each prefix separately). Then computes the
    latents from the same draws; in training it uses the statistics of the batch, so the two
    may differ.
    """
    past = delay_by_tick(sample(posterior, features, index))
    copies, _ = posterior(torch.cat([features, past], -1))
    return pick_copies(copies, index), average_copies(copies, index.shape[-1])


def sample_scheduled(prior: Stack, z: Bits, share: float) -> Bits:
    """Return the prior's input in training: z of the previous tick, sometimes its own.

    Scheduled sampling (Bengio et al. 2015) as published: from z[5] on, each tick of the whole
    batch is replaced with probability ``share`` by the prior's more probable value of each bit.
    """
    replaced = torch.rand(len(z), device="cpu") < share
    own = [t for t in replaced.nonzero().flatten().tolist() if t >= FIRST_OWN]
    out = delay_by_tick(z.detach())
    state: Any = None
    with evaluate_mode(prior):
        for t in range(min(max(own, default=-1) + 1, len(z) - 1)):  # up to the last own tick
            copies, state = prior(out[t : t + 1], state)
            if t in own:
                p = average_copies(copies, z.shape[-1])[0]
                noise = draw_shard(lambda samples: torch.randn(samples, z.shape[-1]), len(p))
                out[t + 1] = (p + NOISE * noise.to(p) > 0.5).to(p)
    return out
