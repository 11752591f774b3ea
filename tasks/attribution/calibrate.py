"""From scores of any scale to shares of the corpora.

Of a pure document, by one factor that is fitted on documents whose corpus is known:

    p_k = softmax_k(a s_k / c)        c: standard deviation of scores around a document's mean

so that a method names the same corpus before and after. Of a composed document, whose parts add
up, by what is above 0: p_k = max(s_k, 0) / sum_j max(s_j, 0).
Axes: K corpora, N documents.
"""

import numpy as np
from jaxtyping import Float64, Int64

MOST = 1e3  # of the factor a


def fit_factor(scores: Float64[np.ndarray, "K N"], labels: Int64[np.ndarray, " N"]) -> float:
    """Return a / c, with which the corpora of documents are likeliest; it is not negative.

    Raises:
        ValueError: a score is not finite.
    """
    from scipy.optimize import minimize_scalar  # late: it takes a second

    if not np.isfinite(scores).all():
        raise ValueError("scores that are not finite have no shares; look at the method")
    spread = float((scores - scores.mean(0)).std())
    if spread == 0:
        return 0.0

    def measure(root: float) -> float:
        shares = make_shares(scores, root**2 / spread)
        return -float(np.log(np.maximum(shares[labels, np.arange(len(labels))], 1e-300)).mean())

    found = minimize_scalar(measure, bounds=(0.0, MOST**0.5), method="bounded")
    return float(found.x) ** 2 / spread


def make_shares(
    scores: Float64[np.ndarray, "K N"], factor: float
) -> Float64[np.ndarray, "K N"]:
    """Return the shares of each document; they add up to 1."""
    logits = factor * (scores - scores.max(0))
    weights = np.exp(logits)
    return np.asarray(weights / weights.sum(0))


def divide_gains(scores: Float64[np.ndarray, "K N"]) -> Float64[np.ndarray, "K N"]:
    """Return each corpus' share of the scores above 0; equal shares where there is none."""
    gains = np.maximum(scores, 0)
    total = gains.sum(0)
    even = np.full_like(gains, 1 / len(gains))
    return np.divide(gains, total, out=even, where=total > 0)
