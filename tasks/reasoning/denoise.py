"""Sampling by masked diffusion: hidden tokens are filled in, step by step.

In each step the network guesses all hidden tokens at once, and some of these guesses stay:

    confidence   the most probable ones ("low-confidence remasking")
    random       randomly chosen ones
    left         the first ones

Source: Nie et al. 2025, arXiv 2502.09992. Axes: T tokens, B samples, V the vocabulary.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from tasks.reasoning.config import Order
from tasks.reasoning.masking import Guess, require_one_count

GIVEN = -1  # the step of a token that was not hidden


class FilledText(NamedTuple):
    """A filled text. step: the step that filled each token, from 0; GIVEN if not hidden."""

    tokens: Int64[Tensor, "T B"]
    step: Int64[Tensor, "T B"]


@dataclass(frozen=True, kw_only=True)
class Denoising:
    """How hidden tokens are filled.

    order: which guesses stay. steps: number of network calls; 0 means one per token.
    temperature: guesses are argmax(logits + temperature Gumbel), drawn in float64; 0: argmax.
        The confidence in a guess is its probability at temperature 1.

    Raises:
        ValueError: the steps or the temperature are negative.
    """

    order: Order = "confidence"
    steps: int = 0
    temperature: float = 0.0

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {value}; give a number >= 0"
            for name, value in (("steps", self.steps), ("temperature", self.temperature))
            if not value >= 0
        ]
        if wrong:
            raise ValueError(f"Denoising: {'; '.join(wrong)}")


def share_steps(hidden: int, steps: int) -> list[int]:
    """Return how many of the hidden tokens each step fills; ``steps`` 0 means one per step.

    The numbers differ by at most 1, larger ones first.

    Raises:
        ValueError: there are more steps than tokens, or fewer than 0.
    """
    if not 0 <= steps <= hidden:
        raise ValueError(
            f"{steps} steps for {hidden} hidden tokens: a step fills at least one; give 0 "
            f"(one token a step) to {hidden} steps"
        )
    steps = steps or hidden
    return [hidden // steps + (k < hidden % steps) for k in range(steps)]


def fill_hidden(
    guess: Guess,
    tokens: Int64[Tensor, "T B"],
    hidden: Bool[Tensor, "T B"],
    rng: torch.Generator,
    how: Denoising,
) -> FilledText:
    """Fill the hidden tokens of a text. Each step calls ``guess`` once.

    tokens: values at hidden places are ignored. rng: on the CPU, so that every device gets the
    same random numbers.

    Raises:
        ValueError: there are more steps than hidden tokens, or samples differ in the number of
            hidden tokens.
    """
    counts = share_steps(require_one_count(hidden), how.steps)
    tokens, left = tokens.masked_fill(hidden, 0), hidden.clone()
    step = torch.full_like(tokens, GIVEN)
    for k, count in enumerate(counts):
        logits = guess(tokens, left).double()
        guessed = _add_noise(logits, how.temperature, rng).argmax(-1)
        chosen = _choose_surest(_rank_places(how.order, logits, guessed, rng), left, count)
        tokens = torch.where(chosen, guessed, tokens)
        step = step.masked_fill(chosen, k)
        left = left & ~chosen
    return FilledText(tokens, step)


def _add_noise(
    logits: Float[Tensor, "T B V"], temperature: float, rng: torch.Generator
) -> Float[Tensor, "T B V"]:
    if not temperature:
        return logits
    drawn = torch.rand(logits.shape, generator=rng, dtype=torch.float64)
    noise = -torch.log(-torch.log(drawn.clamp(min=1e-300)))
    return logits + temperature * noise.to(logits.device)


def _rank_places(
    order: Order,
    logits: Float[Tensor, "T B V"],
    guessed: Int64[Tensor, "T B"],
    rng: torch.Generator,
) -> Float[Tensor, "T B"]:
    """Return the rank of each place: guesses of higher rank stay sooner."""
    if order == "confidence":
        return logits.softmax(-1).gather(-1, guessed[..., None])[..., 0]
    if order == "random":
        drawn = torch.rand(guessed.shape, generator=rng, dtype=torch.float64)
        return drawn.to(logits.device)
    places = torch.arange(len(guessed), 0, -1, dtype=logits.dtype, device=logits.device)
    return places[:, None].expand(guessed.shape)


def _choose_surest(
    rank: Float[Tensor, "T B"], left: Bool[Tensor, "T B"], count: int
) -> Bool[Tensor, "T B"]:
    """Return the ``count`` hidden places of highest rank; ties go to the first place."""
    places = rank.masked_fill(~left, -torch.inf).argsort(dim=0, descending=True, stable=True)
    return torch.zeros_like(left).scatter(0, places[:count], value=True)
