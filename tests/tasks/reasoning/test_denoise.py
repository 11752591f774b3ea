"""Filling hidden tokens with guesses made by hand: orders, steps, temperature."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from tasks.reasoning.config import ORDERS, Order
from tasks.reasoning.denoise import GIVEN, Denoising, fill_hidden, share_steps

# Words of two texts; the first of each is given.
TOKENS = torch.tensor([[5, 6], [1, 2], [2, 3], [3, 4], [4, 1]])
HIDDEN = torch.tensor([[False, False], *[[True, True]] * 4])
SURE = torch.tensor([[9.0, 9.0], [1.0, 4.0], [3.0, 2.0], [4.0, 1.0], [2.0, 3.0]])


def guess_truth(_: Tensor, __: Tensor) -> Tensor:
    """Return logits of the true words, with the confidences in SURE."""
    return torch.nn.functional.one_hot(TOKENS, 7) * SURE[..., None]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fill(how: Denoising, seed: int = 0) -> list[list[int]]:
    """Check the filled words; return the steps of each text."""
    text = fill_hidden(guess_truth, TOKENS, HIDDEN, rng(seed), how)
    assert torch.equal(text.tokens, TOKENS)
    return text.step.T.tolist()


def test_the_surest_guesses_stay_first() -> None:
    assert fill(Denoising()) == [[GIVEN, 3, 1, 0, 2], [GIVEN, 0, 2, 3, 1]]
    assert fill(Denoising(steps=2)) == [[GIVEN, 1, 0, 0, 1], [GIVEN, 0, 1, 1, 0]]
    assert fill(Denoising(steps=3)) == [[GIVEN, 2, 0, 0, 1], [GIVEN, 0, 1, 2, 0]]
    assert fill(Denoising(steps=1)) == [[GIVEN, 0, 0, 0, 0]] * 2


def test_the_first_places_are_filled_first_and_random_ones_by_the_seed() -> None:
    assert fill(Denoising(order="left")) == [[GIVEN, 0, 1, 2, 3]] * 2
    one, again, other = (fill(Denoising(order="random"), seed) for seed in (1, 1, 2))
    assert one == again != other
    assert all(sorted(steps) == [GIVEN, 0, 1, 2, 3] for steps in (*one, *other))


def test_of_equally_sure_guesses_the_first_stay() -> None:
    """An unstable sort would exchange equal guesses once there are more than 16 places."""
    hidden, tokens = torch.ones(40, 2, dtype=torch.bool), torch.zeros(40, 2).long()
    text = fill_hidden(lambda *_: torch.zeros(40, 2, 3), tokens, hidden, rng(), Denoising())
    assert text.step.T.tolist() == [list(range(40))] * 2


def test_every_place_is_equally_likely_in_random_order() -> None:
    many = 2000
    hidden, tokens = torch.ones(3, many, dtype=torch.bool), torch.zeros(3, many).long()
    logits = torch.zeros(3, many, 2)
    text = fill_hidden(
        lambda *_: logits, tokens, hidden, rng(), Denoising(order="random", steps=3)
    )
    for step in range(3):
        share = (text.step == step).double().mean(1)
        assert share.tolist() == pytest.approx([1 / 3] * 3, abs=0.05)


@pytest.mark.parametrize("order", ORDERS)
def test_a_guess_sees_what_was_filled_and_nothing_that_is_hidden(order: Order) -> None:
    seen = list[tuple[Tensor, Tensor]]()

    def guess(tokens: Tensor, hidden: Tensor) -> Tensor:
        seen.append((tokens, hidden))
        return guess_truth(tokens, hidden)

    fill_hidden(guess, TOKENS, HIDDEN, rng(), Denoising(order=order))
    assert [int(hidden.sum()) for _, hidden in seen] == [8, 6, 4, 2]
    for tokens, hidden in seen:
        assert torch.equal(tokens, TOKENS.masked_fill(hidden, 0))
    for (_, before), (_, after) in pairwise(seen):
        assert not (after & ~before).any()


def test_temperature_draws_words_by_their_probability() -> None:
    many = 4000
    p = torch.tensor([0.6, 0.3, 0.1])
    hidden, tokens = torch.ones(1, many, dtype=torch.bool), torch.zeros(1, many).long()
    for temperature in (1.0, 0.5):
        text = fill_hidden(
            lambda *_: p.log().expand(1, many, 3),
            tokens,
            hidden,
            rng(3),
            Denoising(temperature=temperature),
        )
        want = p ** (1 / temperature) / (p ** (1 / temperature)).sum()
        share = text.tokens[0].bincount() / many
        assert share.tolist() == pytest.approx(want.tolist(), abs=0.025)
    assert fill(Denoising(temperature=1e-9)) == fill(Denoising())


def test_it_is_as_sure_of_an_unlikely_word_as_that_is_likely() -> None:
    """A high temperature can draw an unlikely word, whose guess is then not kept first."""
    logits = torch.tensor([[0.0, math.log(9.0)], [0.0, math.log(3.0)]])[:, None]
    hidden, tokens = torch.ones(2, 1, dtype=torch.bool), torch.zeros(2, 1).long()
    found = set[tuple[int, ...]]()
    for seed in range(60):
        text = fill_hidden(
            lambda *_: logits, tokens, hidden, rng(seed), Denoising(temperature=3.0, steps=2)
        )
        found.add((*text.tokens[:, 0].tolist(), *text.step[:, 0].tolist()))
    assert {(1, 1, 0, 1), (1, 0, 0, 1), (0, 1, 1, 0)} <= found


@pytest.mark.parametrize(
    ("hidden", "steps", "shares"),
    [(4, 0, [1] * 4), (4, 4, [1] * 4), (5, 2, [3, 2]), (7, 3, [3, 2, 2]), (3, 1, [3])],
)
def test_steps_share_the_tokens(hidden: int, steps: int, shares: list[int]) -> None:
    assert share_steps(hidden, steps) == shares


def test_what_cannot_be_filled_so_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"steps is -1; give a number >= 0; temperature is -1\.0"
    ):
        Denoising(steps=-1, temperature=-1.0)
    with pytest.raises(ValueError, match="5 steps for 4 hidden tokens"):
        fill(Denoising(steps=5))
    uneven = HIDDEN.clone()
    uneven[1, 0] = False
    with pytest.raises(ValueError, match="between 3 and 4 tokens of a sample"):
        fill_hidden(guess_truth, TOKENS, uneven, rng(), Denoising())
