from itertools import product

import numpy as np
import pytest
from jaxtyping import Float64, Int64

from drivers.text import Authors, make_authors


def list_all(vocabulary: int, tokens: int) -> Int64[np.ndarray, "T N"]:
    """Every document of so many tokens."""
    return np.array(list(product(range(vocabulary), repeat=tokens))).T


def compute_slowly(authors: Authors, document: tuple[int, ...]) -> Float64[np.ndarray, " K"]:
    """Log-probabilities of a document, with contexts as tuples."""
    begin, order = authors.vocabulary, authors.order
    read, total = (begin,) * order, np.zeros(len(authors.log_p))
    for token in document:
        number = sum(y * (begin + 1) ** i for i, y in enumerate(reversed(read)))
        total += authors.log_p[:, number, token]
        read = (*read, token)[-order:]
    return total


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_are_those_of_each_token_behind_its_context(order: int) -> None:
    authors = make_authors(2, 3, order, 0.7, 0.5, seed=1)
    every = list_all(3, 4)
    log_p = authors.compute_log_p(every).sum(1)
    for n in range(0, every.shape[1], 7):
        document = tuple(every[:, n].tolist())
        np.testing.assert_allclose(log_p[:, n], compute_slowly(authors, document))
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1.0)


@pytest.mark.parametrize("order", [1, 2])
def test_entropies_are_those_of_all_documents(order: int) -> None:
    authors, tokens = make_authors(3, 2, order, 0.9, 0.4, seed=2), 5
    log_p = authors.compute_log_p(list_all(2, tokens))
    p = np.exp(log_p.sum(1))
    entropy = authors.compute_entropy(tokens)
    np.testing.assert_allclose(entropy, -(p * log_p.sum(1)).sum(1) / tokens)

    shares = np.array([0.5, 0.3, 0.2])
    of_mixture = shares @ p
    pairs = np.einsum("k,kcv->cv", shares, authors.compute_pairs(tokens))
    with np.errstate(invalid="ignore"):  # contexts that never come
        pooled = np.log(pairs / pairs.sum(1, keepdims=True))
    best = np.where(np.isnan(pooled), -np.log(2.0), pooled)[None]

    def measure(table: Float64[np.ndarray, "1 C V"]) -> float:
        own = Authors(order, table).compute_log_p(list_all(2, tokens))[0].sum(0)
        return float(-(of_mixture * own).sum() / tokens)

    found = authors.compute_pooled_entropy(tokens, shares)
    assert found == pytest.approx(measure(best))
    rng = np.random.default_rng(0)
    for _ in range(20):  # no other chain does better
        moved = best + 0.1 * rng.standard_normal(best.shape)
        moved -= np.log(np.exp(moved).sum(2, keepdims=True))
        assert measure(moved) > found
    assert found > float(shares @ entropy)
    alone = np.array([0.0, 1.0, 0.0])
    assert authors.compute_pooled_entropy(tokens, alone) == pytest.approx(entropy[1])


def test_pairs_of_one_token_are_those_behind_the_begin() -> None:
    authors = make_authors(2, 4, 2, 1.0, 0.0, seed=0)
    pairs = authors.compute_pairs(1)
    np.testing.assert_allclose(pairs[:, -1], np.exp(authors.log_p[:, -1]))
    np.testing.assert_allclose(pairs.sum((1, 2)), 1.0)
    assert not pairs[:, :-1].any()


def test_samples_are_as_frequent_as_they_are_probable() -> None:
    authors, n = make_authors(2, 2, 2, 1.0, 1.0, seed=3), 40_000
    sources = np.tile(np.repeat([0, 1], n // 2), (3, 1))
    drawn = authors.sample(sources, np.random.default_rng(0))
    numbers = 4 * drawn[0] + 2 * drawn[1] + drawn[2]
    p = np.exp(authors.compute_log_p(list_all(2, 3)).sum(1))
    for k in range(2):
        counts = np.bincount(numbers[sources[0] == k], minlength=8)
        spread = np.sqrt(n / 2 * p[k] * (1 - p[k]))
        assert (np.abs(counts - n / 2 * p[k]) < 4 * spread + 1).all()


def test_authors_follow_from_the_seed_and_not_from_their_number() -> None:
    three, two = (make_authors(k, 5, 1, 0.6, 0.3, seed=4) for k in (3, 2))
    np.testing.assert_array_equal(three.log_p[:2], two.log_p)
    np.testing.assert_array_equal(three.select(2).log_p, two.log_p)
    assert not np.allclose(two.log_p, make_authors(2, 5, 1, 0.6, 0.3, seed=5).log_p)


def test_without_delta_and_gamma_all_authors_are_the_same() -> None:
    authors = make_authors(3, 5, 1, 0.0, 0.0, seed=0)
    np.testing.assert_array_equal(authors.log_p[0], authors.log_p[2])
    apart = make_authors(2, 5, 1, 0.0, 1.0, seed=0).log_p
    ratio = apart[0] - apart[1]  # gamma alone shifts tokens alike behind every context
    np.testing.assert_allclose(
        np.diff(ratio, axis=1), np.broadcast_to(np.diff(ratio[0]), (6, 4))
    )


@pytest.mark.parametrize(
    ("count", "vocabulary", "order", "told"),
    [
        (0, 4, 1, "give at least one author"),
        (2, 1, 1, "two tokens"),
        (2, 4, 0, "order 1"),
        (2, 256, 3, "would have 8,690,"),
    ],
)
def test_what_cannot_be_made_is_refused(
    count: int, vocabulary: int, order: int, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        make_authors(count, vocabulary, order, 1.0, 1.0, seed=0)
