"""Masked diffusion: which tokens of a text are hidden, and the loss of guessing them (LLaDA).

    t ~ U(0, 1)        p = (1 - e) t + e, e = 1e-3        each token is hidden with p
    loss = 1/n sum over hidden tokens of CE / p

n is the number of tokens that may be hidden. The expectation of n times the loss is (up to e)
an upper bound of -log p(text): the loss of saying the tokens one by one in some order, averaged
over all orders. Source: Nie et al. 2025, arXiv 2502.09992.
Axes: T tokens, B samples, V the vocabulary.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

LEAST_RATE = 1e-3  # e: keeps 1 / p finite
# (tokens T B, which of them are hidden T B) -> logits at every place (T B V)
Guess = Callable[[Tensor, Tensor], Tensor]


def find_rate(t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Return the probability p with which a token is hidden at time t."""
    return (1 - LEAST_RATE) * t + LEAST_RATE


def draw_masks(
    rng: np.random.Generator, may_hide: Bool[Tensor, "T B"]
) -> tuple[Bool[Tensor, "T B"], Float[Tensor, " B"]]:
    """Return (which tokens are hidden, the probability p of each sample)."""
    tokens, samples = may_hide.shape
    rate = find_rate(torch.from_numpy(rng.random(samples)))
    drawn = torch.from_numpy(rng.random((tokens, samples)))
    return may_hide & (drawn < rate), rate


def weigh_hidden(
    hidden: Bool[Tensor, "T B"], rate: Float[Tensor, " B"], may_hide: Bool[Tensor, "T B"]
) -> Float[Tensor, "T B"]:
    """Return the weight of each token in the loss: 1 / (n p) where it is hidden, else 0."""
    return hidden / (rate * may_hide.sum(0))


def compute_hidden_loss(
    logits: Float[Tensor, "T B V"],
    tokens: Int64[Tensor, "T B"],
    weight: Float[Tensor, "T B"],
) -> Float[Tensor, ""]:
    """Return the weighted sum of cross-entropies [nat] of each sample, mean over samples."""
    return (weight * guess_errors(logits, tokens)).sum(0).mean()


def guess_errors(
    logits: Float[Tensor, "T B V"], tokens: Int64[Tensor, "T B"]
) -> Float[Tensor, "T B"]:
    """Return the cross-entropy [nat] of each token."""
    return F.cross_entropy(
        logits.flatten(0, 1).float(), tokens.flatten(), reduction="none"
    ).view(tokens.shape)


def draw_masks_of(
    rng: np.random.Generator, may_hide: Bool[Tensor, "T B"], count: int
) -> Bool[Tensor, "T B"]:
    """Return masks that hide exactly ``count`` tokens of each sample, uniformly at random.

    Raises:
        ValueError: a sample has fewer tokens that may be hidden.
    """
    least = int(may_hide.sum(0).min())
    if not 1 <= count <= least:
        raise ValueError(
            f"{count} tokens of each sample are to be hidden, and 1 to {least} may be; give "
            "such a number"
        )
    drawn = torch.from_numpy(rng.random(tuple(may_hide.shape)))
    rank = drawn.masked_fill(~may_hide, 2.0).argsort(0).argsort(0)
    return rank < count


def estimate_bound(
    guess: Guess,
    tokens: Int64[Tensor, "T B"],
    may_hide: Bool[Tensor, "T B"],
    rng: np.random.Generator,
) -> Float[Tensor, " B"]:
    """Return an unbiased estimate of the upper bound of -log p of each sample [nat].

    Hides exactly k = 1, 2, ..., n of its n tokens, once for each k and with weight n / k; the
    estimate is the mean over k. So the number of hidden tokens adds no variance.

    Raises:
        ValueError: samples differ in n.
    """
    n = require_one_count(may_hide)
    total = torch.zeros(tokens.shape[1], dtype=torch.float64, device=tokens.device)
    for k in range(1, n + 1):
        hidden = draw_masks_of(rng, may_hide.cpu(), k).to(tokens.device)
        errors = guess_errors(guess(tokens, hidden), tokens).double()
        total += (errors * hidden).sum(0) / k
    return total


def require_one_count(may_hide: Bool[Tensor, "T B"]) -> int:
    """Return the number of tokens per sample that may be hidden.

    Raises:
        ValueError: samples differ in this number, or it is 0.
    """
    counts = may_hide.sum(0)
    least, most = int(counts.min()), int(counts.max())
    if least != most or not most:
        raise ValueError(
            f"between {least} and {most} tokens of a sample may be hidden; give samples with "
            "one number of them, at least 1"
        )
    return most
