"""Autoregressive latents of spikes: each tick's bits are drawn knowing those before.

    q(z[t] | x[<=t], z[<t])   the posterior, a Stack over [x[t], z[t-1]]
    p(z[t] | z[<t])           the prior, a Stack over z[t-1]            z[-1] = 0

What came before is in the state of the Stack's neurons, so that a draw costs one pass over T
ticks; feeding the whole past again at every tick, as published, costs (T + 1) / 2 of them and
gives, in evaluation, the same spikes. A Stack puts out k copies of each bit, themselves spikes;
a bit is drawn by picking one of them, its probability is their mean.
Axes: T ticks, B samples, Z bits, K copies, G values given.
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
FIRST_OWN = 5  # tick from which on the prior may be given its own bits in training
NOISE = 1e-3  # decides between as many ones as zeros


def draw_indices(
    ticks: int, samples: int, bits: int, copies: int, generator: torch.Generator | None = None
) -> Int64[Tensor, "T B Z"]:
    """Return which of the copies each bit is picked from, on the CPU.

    generator: None takes torch's global one.
    """
    return torch.randint(copies, (ticks, samples, bits), generator=generator)


def pick_copies(copies: Float[Tensor, "T B ZK"], index: Int64[Tensor, "T B Z"]) -> Bits:
    """Return the copy of each bit that ``index`` names."""
    apart = copies.reshape(*index.shape, -1)
    return apart.gather(-1, index.to(copies.device)[..., None])[..., 0]


def average_copies(copies: Float[Tensor, "T B ZK"], bits: int) -> Bits:
    """Return the probability of each bit."""
    return copies.reshape(*copies.shape[:-1], bits, -1).mean(-1)


def delay_by_tick(z: Bits) -> Bits:
    """Return z a tick later: at the start zeros, the last tick left out."""
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


def sample(stack: Stack, given: Float[Tensor, "T B G"], index: Int64[Tensor, "T B Z"]) -> Bits:
    """Return latents drawn tick by tick, in evaluation and without gradient."""
    z = given.new_zeros(index.shape[1:])
    state: Any = None
    out = []
    with evaluate_mode(stack):
        for seen, which in zip(given, index, strict=True):
            copies, state = stack(torch.cat([seen, z], -1)[None], state)
            z = pick_copies(copies, which[None])[0]
            out.append(z)
    return torch.stack(out)


def infer(
    posterior: Stack, seen: Float[Tensor, "T B G"], index: Int64[Tensor, "T B Z"]
) -> tuple[Bits, Bits]:
    """Return (latents, their probabilities) for what the encoder saw.

    The bits before each tick are drawn first, without gradient. In training it is drawn with
    the running statistics of the batch norms (the published code norms each prefix by itself),
    and the latents then, by the same draws, with those of the batch: they may differ.
    """
    past = delay_by_tick(sample(posterior, seen, index))
    copies, _ = posterior(torch.cat([seen, past], -1))
    return pick_copies(copies, index), average_copies(copies, index.shape[-1])


def sample_scheduled(prior: Stack, z: Bits, share: float) -> Bits:
    """Return the prior's input in training: z of the tick before, now and then its own.

    Scheduled sampling (Bengio et al. 2015) as published: from z[5] on, a tick of the whole
    batch is replaced, with probability ``share``, by the more probable value of each bit under
    the prior.
    """
    drawn = torch.rand(len(z), device="cpu") < share
    own = [t for t in drawn.nonzero().flatten().tolist() if t >= FIRST_OWN]
    out = delay_by_tick(z.detach())
    state: Any = None
    with evaluate_mode(prior):
        for t in range(min(max(own, default=-1) + 1, len(z) - 1)):  # none but those that count
            copies, state = prior(out[t : t + 1], state)
            if t in own:
                p = average_copies(copies, z.shape[-1])[0]
                noise = draw_shard(lambda samples: torch.randn(samples, z.shape[-1]), len(p))
                out[t + 1] = (p + NOISE * noise.to(p) > 0.5).to(p)
    return out
