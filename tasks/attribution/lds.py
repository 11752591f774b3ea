"""The linear datamodeling score: whether scores predict what training on subsets does.

A method gives each of K corpora a score for a document. The sum over the corpora of a subset
predicts the document's log-likelihood under a language model that was trained on the subset;
the score of the method is Spearman's correlation of both over all subsets (Park et al. 2023,
arXiv 2303.14186). Axes: S subsets, K corpora, N documents, R draws.
"""

import numpy as np
from jaxtyping import Float64

from tasks.attribution.metrics import correlate_ranks
from tasks.attribution.shapley import count_corpora, list_subsets

TINY = 1e-300


def predict_values(scores: Float64[np.ndarray, "K N"]) -> Float64[np.ndarray, "S N"]:
    """Return the sum of the scores of each subset's corpora; the empty one has 0."""
    return np.asarray(list_subsets(len(scores)).astype(float) @ scores)


def measure_lds(
    scores: Float64[np.ndarray, "K N"], values: Float64[np.ndarray, "S N"]
) -> Float64[np.ndarray, " N"]:
    """Return the score of each document; 0 where one side is constant, and predicts nothing.

    values: log-likelihoods [nat] under the language models of all subsets, in the order of
    :func:`tasks.attribution.shapley.list_subsets`.

    Raises:
        ValueError: the values are not those of the subsets of these corpora, or a number is
            not finite.
    """
    if count_corpora(values) != len(scores):
        raise ValueError(
            f"scores of {len(scores)} corpora beside values of {len(values)} subsets; give "
            f"{2 ** len(scores)} values a document"
        )
    if not (np.isfinite(scores).all() and np.isfinite(values).all()):
        raise ValueError("scores or values are not finite, and have no order; leave these out")
    # Sums that differ by rounding alone are equal ranks, not an order.
    predicted = np.round(predict_values(scores) / max(np.abs(scores).max(), TINY), 9)
    return np.nan_to_num(correlate_ranks(predicted.T, values.T))
