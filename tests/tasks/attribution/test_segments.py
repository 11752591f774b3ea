"""Composed documents, and the exact posterior of the author of each token."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, strategies as st
from jaxtyping import Float64

from tasks.attribution.documents import SWITCHES, compute_posterior, draw_segments


def enumerate_posterior(
    log_p: Float64[np.ndarray, "K T N"], switches: tuple[int, ...]
) -> Float64[np.ndarray, "T N K"]:
    """Every segmentation, with its probability written out."""
    authors, tokens, documents = log_p.shape
    posterior = np.zeros((tokens, documents, authors))
    for path in product(range(authors), repeat=tokens):
        changes = sum(a != b for a, b in pairwise(path))
        if changes not in switches:
            continue
        places = np.prod([(tokens - 1 - i) / (i + 1) for i in range(changes)])
        prior = 1 / len(switches) / places / authors / (authors - 1) ** changes
        weight = prior * np.exp(log_p[list(path), range(tokens)].sum(0))
        for t, author in enumerate(path):
            posterior[t, :, author] += weight
    return posterior / posterior.sum(2, keepdims=True)


@given(
    authors=st.integers(2, 3),
    tokens=st.integers(3, 6),
    switches=st.sampled_from([(1, 2), (0, 1), (2,), (0,), (0, 2)]),
    seed=st.integers(0, 1000),
)
def test_the_posterior_is_that_of_all_segmentations(
    authors: int, tokens: int, switches: tuple[int, ...], seed: int
) -> None:
    log_p = 3 * np.random.default_rng(seed).standard_normal((authors, tokens, 2))
    np.testing.assert_allclose(
        compute_posterior(log_p, switches), enumerate_posterior(log_p, switches), atol=1e-12
    )


def test_without_evidence_all_authors_are_equally_probable() -> None:
    np.testing.assert_allclose(compute_posterior(np.zeros((4, 9, 2))), 0.25)


def test_far_probabilities_do_not_underflow() -> None:
    log_p = np.full((2, 60, 1), -900.0)
    log_p[0, :30] = log_p[1, 30:] = -1.0
    expected = np.repeat([[1.0, 0.0], [0.0, 1.0]], 30, 0)
    np.testing.assert_allclose(compute_posterior(log_p)[:, 0], expected, atol=1e-12)


def test_what_cannot_switch_is_refused() -> None:
    for shape in ((1, 9, 1), (2, 2, 1)):
        with pytest.raises(ValueError, match="give two authors or more, and more tokens"):
            compute_posterior(np.zeros(shape))


def test_documents_have_two_or_three_segments_at_uniform_places() -> None:
    tokens, n = 6, 20_000
    sources = draw_segments(tokens, n, 3, np.random.default_rng(0))
    switched = sources[1:] != sources[:-1]
    counts = np.bincount(switched.sum(0), minlength=4)
    assert counts[[0, 3]].tolist() == [0, 0]
    np.testing.assert_allclose(counts[list(SWITCHES)] / n, 0.5, atol=0.02)
    once = switched[:, switched.sum(0) == 1]
    np.testing.assert_allclose(once.mean(1), 1 / 5, atol=0.02)
    twice = switched[:, switched.sum(0) == 2]
    np.testing.assert_allclose(twice.mean(1), 2 / 5, atol=0.02)
    np.testing.assert_allclose(np.bincount(sources[-1]) / n, 1 / 3, atol=0.02)
