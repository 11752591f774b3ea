"""The bound of masked diffusion, by enumeration of masks, orders and answers.

An inconsistent table model guesses each place from the visible words with random logits, so no
joint distribution need exist. A consistent one has the conditionals of a joint distribution.
"""

import math
from collections.abc import Callable, Iterator
from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from tasks.reasoning.masking import (
    LEAST_RATE,
    Guess,
    compute_hidden_loss,
    draw_masks,
    draw_masks_of,
    estimate_bound,
    find_rate,
    guess_errors,
    require_one_count,
    weigh_hidden,
)

WORDS = 3
Text = tuple[int, ...]
LogP = Callable[[Text, Text], np.ndarray]  # (text, mask) -> log p of each word at each place


def make_inconsistent(n: int, seed: int) -> LogP:
    """Return a model with random logits for every set of visible words."""
    rng, known = np.random.default_rng(seed), dict[tuple[int, ...], np.ndarray]()

    def guess(text: Text, mask: Text) -> np.ndarray:
        seen = tuple(-1 if m else w for w, m in zip(text, mask, strict=True))
        if seen not in known:
            logits = rng.normal(size=(n, WORDS)) * 2
            known[seen] = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        return known[seen]

    return guess


def make_consistent(joint: np.ndarray) -> LogP:
    """Return a model with the conditionals of a joint distribution (WORDS, WORDS, ...)."""

    def guess(text: Text, mask: Text) -> np.ndarray:
        seen = joint[tuple(slice(None) if m else slice(w, w + 1) for w, m in zip(text, mask))]  # noqa: B905
        out = np.zeros((joint.ndim, WORDS))
        for place in range(joint.ndim):
            others = tuple(k for k in range(joint.ndim) if k != place)
            own = seen.sum(others) / seen.sum()
            out[place] = np.log(own if mask[place] else np.eye(WORDS)[text[place]] + 1e-300)
        return out

    return guess


def draw_joint(n: int, seed: int) -> np.ndarray:
    joint = np.random.default_rng(seed).random((WORDS,) * n) + 0.02
    return joint / joint.sum()


def as_guess(log_p: LogP) -> Guess:
    """Return a table as a function of tensors (T B)."""

    def guess(tokens: Tensor, hidden: Tensor) -> Tensor:
        columns = zip(tokens.T.tolist(), hidden.int().T.tolist(), strict=True)
        rows = [log_p(tuple(text), tuple(mask)) for text, mask in columns]
        return torch.from_numpy(np.stack(rows, 1))

    return guess


def list_masks(n: int) -> Iterator[Text]:
    yield from (m for m in product((0, 1), repeat=n) if any(m))


def say_in_order(log_p: LogP, text: Text, order: Text) -> float:
    """Return -log p of a text when its words are said one by one in ``order``."""
    mask, total = [1] * len(text), 0.0
    for place in order:
        total -= log_p(text, tuple(mask))[place, text[place]]
        mask[place] = 0
    return total


def average_orders(log_p: LogP, text: Text) -> float:
    orders = list(permutations(range(len(text))))
    return float(np.mean([say_in_order(log_p, text, order) for order in orders]))


def integrate_loss(log_p: LogP, text: Text, least: float) -> float:
    """Return n times the expected loss: sum over all masks, Gauss-Legendre over p.

    The result is exact up to rounding, because the integrand is a polynomial in p: each CE has
    the weight 1 / p, and the probability of its mask has a factor p.
    """
    n = len(text)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    tokens = torch.tensor(text)[:, None]
    total = 0.0
    for node, weight in zip(nodes, weights, strict=True):
        t = torch.tensor([(node + 1) / 2], dtype=torch.float64)
        rate = find_rate(t) if least else t
        for mask in list_masks(n):
            hidden = torch.tensor(mask, dtype=torch.bool)[:, None]
            p = float(rate ** sum(mask) * (1 - rate) ** (n - sum(mask)))
            w = weigh_hidden(hidden, rate, torch.ones_like(hidden))
            logits = as_guess(log_p)(tokens, hidden)
            total += weight / 2 * p * float(compute_hidden_loss(logits, tokens, w))
    return n * total


def weigh_in_closed_form(n: int, k: int) -> float:
    """Return 1/(1 - e) times the integral of p^(k-1) (1-p)^(n-k) over p from e to 1."""
    power = np.polynomial.Polynomial([0, 1]) ** (k - 1)
    whole = (power * np.polynomial.Polynomial([1, -1]) ** (n - k)).integ()
    return float(whole(1.0) - whole(LEAST_RATE)) / (1 - LEAST_RATE)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_the_expected_loss_is_the_mean_over_all_orders(n: int) -> None:
    """Exact without the floor of the rate; with it, equal to weights in closed form."""
    log_p, text = make_inconsistent(n, 1), (2, 0, 1, 1)[:n]
    assert integrate_loss(log_p, text, 0.0) == pytest.approx(average_orders(log_p, text), 1e-6)
    closed = 0.0
    for mask in list_masks(n):
        errors = [-log_p(text, mask)[k, text[k]] for k in range(n) if mask[k]]
        closed += weigh_in_closed_form(n, sum(mask)) * sum(errors)
    floored = integrate_loss(log_p, text, LEAST_RATE)
    assert floored == pytest.approx(closed, 1e-6)
    assert floored == pytest.approx(average_orders(log_p, text), rel=n * LEAST_RATE)


@given(seed=st.integers(0, 10_000))
def test_it_is_an_upper_bound_of_the_text_said_in_a_random_order(seed: int) -> None:
    log_p, text = make_inconsistent(3, seed), (0, 2, 1)
    each = [-say_in_order(log_p, text, order) for order in permutations(range(3))]
    of_mixture = -math.log(np.mean(np.exp(each)))
    assert average_orders(log_p, text) >= of_mixture - 1e-12


def test_guesses_that_fit_together_reach_the_likelihood_in_every_order() -> None:
    joint, text = draw_joint(3, 2), (1, 0, 2)
    want = -math.log(joint[text])
    log_p = make_consistent(joint)
    for order in permutations(range(3)):
        assert say_in_order(log_p, text, order) == pytest.approx(want)
    assert integrate_loss(log_p, text, 0.0) == pytest.approx(want, rel=1e-6)


def test_independent_words_reach_the_likelihood_with_every_mask() -> None:
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.4, 0.4, 0.2]])
    joint = np.einsum("a,b,c->abc", *p)
    tokens = torch.tensor([[1, 2], [2, 0], [0, 0]])
    every = torch.ones_like(tokens, dtype=torch.bool)

    def guess(t: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.log(p))[:, None].expand(*t.shape, 3)

    for seed in range(3):
        rng = np.random.default_rng(seed)
        own = sum(estimate_bound(guess, tokens, every, rng) for _ in range(150)) / 150
        want = [-math.log(joint[1, 2, 0]), -math.log(joint[2, 0, 0])]
        assert own.tolist() == pytest.approx(want, rel=0.1)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_in_a_fixed_order_all_answers_together_have_probability_1(order: Text) -> None:
    log_p = make_inconsistent(3, 5)
    texts = product(range(WORDS), repeat=3)
    total = sum(math.exp(-say_in_order(log_p, text, order)) for text in texts)
    assert total == pytest.approx(1)


def test_the_estimate_of_the_bound_has_no_bias() -> None:
    log_p, texts = make_inconsistent(3, 7), ((0, 1, 2), (2, 2, 0))
    tokens = torch.tensor(texts).T.contiguous()
    every = torch.ones_like(tokens, dtype=torch.bool)
    rng = np.random.default_rng(0)
    own = sum(estimate_bound(as_guess(log_p), tokens, every, rng) for _ in range(600)) / 600
    want = [average_orders(log_p, text) for text in texts]
    assert own.tolist() == pytest.approx(want, rel=0.05)


def test_the_drawn_masks_average_to_the_integral() -> None:
    """40,000 training masks of one text agree with the weights in closed form."""
    log_p, text, many = make_inconsistent(3, 9), (0, 1, 2), 40_000
    tokens = torch.tensor(text)[:, None].expand(3, many)
    every = torch.ones(3, many, dtype=torch.bool)
    hidden, rate = draw_masks(np.random.default_rng(3), every)
    logits = torch.zeros(3, many, WORDS, dtype=torch.float64)
    for mask in list_masks(3):
        same = (hidden == torch.tensor(mask, dtype=torch.bool)[:, None]).all(0)
        logits[:, same] = torch.from_numpy(log_p(text, mask))[:, None]
    found = 3 * float(compute_hidden_loss(logits, tokens, weigh_hidden(hidden, rate, every)))
    assert found == pytest.approx(integrate_loss(log_p, text, LEAST_RATE), rel=0.05)


def test_rates_weights_and_errors_are_exact() -> None:
    assert find_rate(torch.tensor([0.0, 0.5, 1.0])).tolist() == pytest.approx([1e-3, 0.5005, 1])
    hidden = torch.tensor([[True, False], [True, True], [False, False]])
    may = torch.tensor([[True, True], [True, True], [False, True]])
    weight = weigh_hidden(hidden, torch.tensor([0.5, 0.25]), may)
    assert weight.tolist() == [[1.0, 0.0], [1.0, pytest.approx(4 / 3)], [0.0, 0.0]]
    tokens, logits = torch.tensor([[0, 1], [1, 2], [2, 2]]), torch.zeros(3, 2, 3)
    assert guess_errors(logits, tokens).unique().tolist() == pytest.approx([math.log(3)])
    want = math.log(3) * (2 + 4 / 3) / 2
    assert float(compute_hidden_loss(logits, tokens, weight)) == pytest.approx(want)


def test_only_what_may_be_hidden_is_and_exactly_so_many() -> None:
    may = torch.tensor([[False] * 4000, *[[True] * 4000] * 4])
    hidden, rate = draw_masks(np.random.default_rng(0), may)
    assert not hidden[0].any()
    assert bool(((rate >= LEAST_RATE) & (rate <= 1)).all())
    assert float(hidden[1:].double().mean()) == pytest.approx(0.5, abs=0.02)
    for count in (1, 2, 4):
        chosen = draw_masks_of(np.random.default_rng(1), may, count)
        assert chosen.sum(0).unique().tolist() == [count]
        assert not chosen[0].any()
        share = chosen[1:].double().mean(1)
        assert share.tolist() == pytest.approx([count / 4] * 4, abs=0.03)
    with pytest.raises(ValueError, match="5 tokens of each sample are to be hidden, and"):
        draw_masks_of(np.random.default_rng(1), may, 5)


def test_samples_that_differ_in_their_hidden_tokens_are_refused() -> None:
    uneven = torch.tensor([[True, True], [True, False]])
    with pytest.raises(ValueError, match="between 1 and 2 tokens of a sample may be hidden"):
        require_one_count(uneven)
    with pytest.raises(ValueError, match="between 0 and 0"):
        require_one_count(torch.zeros(2, 2, dtype=torch.bool))
