"""Metrics of answers: distance to true shares, ranks, calibration, detection.

Shares of K corpora are distributions: each row sums to one. Detection scores are larger for
documents further outside the distribution. scipy and scikit-learn are imported late, for their
import takes a second.

Axes: N documents, K corpora.

The linear datamodeling score: do scores predict the effect of training on subsets?

A method gives each of K corpora a score for a document. The sum over the corpora of a subset
predicts the document's log-likelihood under a language model that was trained on the subset;
the score of the method is Spearman's correlation of both over all subsets (Park et al. 2023,
arXiv 2303.14186). Axes: S subsets, K corpora, N documents, R draws.

From scores of any scale to shares of the corpora.

Pure documents: a softmax with one factor a, fitted on documents whose corpus is known. It keeps
the corpus with the largest score.

    p_k = softmax_k(a s_k / c)        c: standard deviation of scores around a document's mean

Composed documents, whose parts add up: p_k = max(s_k, 0) / sum_j max(s_j, 0).
Axes: K corpora, N documents.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from tasks.attribution.retrain import count_corpora, list_subsets

BINS = 15  # of confidence, equally wide
FOUND = 0.95  # share of foreign documents found at which FPR95 is read
SUM_ERROR = 1e-6


def check_shares(shares: Float64[np.ndarray, "N K"], name: str) -> None:
    """Check that each row is a distribution.

    Raises:
        ValueError: there is no document, a share is below 0 or not finite, or a row does not
            sum to one.
    """
    if not shares.size:
        raise ValueError(f"{name}: shape {shares.shape} holds no share; give documents")
    off = np.abs(shares.sum(1) - 1)
    if not np.isfinite(shares).all() or (shares < 0).any() or off.max() > SUM_ERROR:
        raise ValueError(
            f"{name}: shares of a document are numbers from 0 that sum to 1; the least is "
            f"{shares.min():g}, the sum furthest from 1 is {shares.sum(1)[off.argmax()]:g}; "
            "divide each row by its sum"
        )


def measure_top1(
    scores: Float64[np.ndarray, "N K"], labels: Int64[np.ndarray, " N"]
) -> Float64[np.ndarray, " N"]:
    """Return for each document 1 if its corpus has the largest score, else 0.

    If m scores are equally large it counts 1/m, the expectation of a random choice among them.
    """
    best = scores == scores.max(1, keepdims=True)
    right = best[np.arange(len(labels)), labels]
    return np.asarray(right / best.sum(1), np.float64)


def measure_total_variation(
    shares: Float64[np.ndarray, "N K"], truth: Float64[np.ndarray, "N K"]
) -> Float64[np.ndarray, " N"]:
    """Return the total variation of each document: sum_k |p_k - q_k| / 2, from 0 to 1."""
    check_shares(shares, "shares")
    check_shares(truth, "truth")
    return np.asarray(np.abs(shares - truth).sum(1) / 2)


def measure_divergence(
    shares: Float64[np.ndarray, "N K"], truth: Float64[np.ndarray, "N K"]
) -> Float64[np.ndarray, " N"]:
    """Return the Jensen-Shannon divergence of each document [nat], from 0 to log 2.

    JSD(p, q) = KL(p || m)/2 + KL(q || m)/2,   m = (p + q)/2
    """
    from scipy.special import rel_entr

    check_shares(shares, "shares")
    check_shares(truth, "truth")
    mean = (shares + truth) / 2
    each = (rel_entr(shares, mean) + rel_entr(truth, mean)).sum(1) / 2
    return np.asarray(np.maximum(each, 0), np.float64)  # rounding may go below


def correlate_ranks(
    first: Float64[np.ndarray, "N K"], second: Float64[np.ndarray, "N K"]
) -> Float64[np.ndarray, " N"]:
    """Return Spearman's correlation of each row; ties share their mean rank.

    NaN where all values of a row are equal on one side, so that they have no order.
    """
    from scipy.stats import rankdata

    a, b = (rankdata(x, axis=1) - (x.shape[1] + 1) / 2 for x in (first, second))
    norm = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    shared = (a * b).sum(1)
    return np.asarray(np.divide(shared, norm, out=np.full(len(a), np.nan), where=norm > 0))


def measure_calibration(
    shares: Float64[np.ndarray, "N K"], labels: Int64[np.ndarray, " N"], bins: int = BINS
) -> float:
    """Return the expected calibration error (ECE; Guo et al. 2017, arXiv:1706.04599).

    ECE = sum_b |B_b|/N |accuracy(B_b) - mean confidence(B_b)|, where bin b of B holds the
    documents whose largest share lies in (b/B, (b+1)/B]. Accuracy: :func:`measure_top1`.
    """
    check_shares(shares, "shares")
    confidence = shares.max(1)
    gap = measure_top1(shares, labels) - confidence
    at = np.ceil(confidence * bins).astype(int).clip(1, bins) - 1
    return float(np.abs(np.bincount(at, gap, bins)).sum() / len(gap))


@dataclass(frozen=True, kw_only=True)
class Detection:
    """How well scores tell foreign documents from known ones; foreign is the positive class.

    auroc: probability that a foreign document has the larger score; equal scores count half.
    aupr: average precision; at chance, the share of foreign documents.
    fpr95: share of known documents taken for foreign at the threshold that finds 95 % of the
        foreign ones.
    known, foreign: numbers of documents.
    """

    auroc: float
    aupr: float
    fpr95: float
    known: int
    foreign: int


def measure_detection(
    known: Float64[np.ndarray, " N"], foreign: Float64[np.ndarray, " M"]
) -> Detection:
    """Return how well scores tell M foreign documents from N known ones.

    Raises:
        ValueError: one side has no document, or a score is not finite.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    fpr, tpr = trace_roc(known, foreign)
    scores = np.concatenate([known, foreign])
    positive = np.arange(len(scores)) >= len(known)
    return Detection(
        auroc=float(roc_auc_score(positive, scores)),
        aupr=float(average_precision_score(positive, scores)),
        fpr95=float(fpr[np.searchsorted(tpr, FOUND)]),
        known=len(known),
        foreign=len(foreign),
    )


def trace_roc(
    known: Float64[np.ndarray, " N"], foreign: Float64[np.ndarray, " M"]
) -> tuple[Float64[np.ndarray, " P"], Float64[np.ndarray, " P"]]:
    """Return shares of known and of foreign documents at or above each score, largest first.

    The curve begins at (0, 0) and ends at (1, 1).

    Raises:
        ValueError: one side has no document, or a score is not finite.
    """
    from sklearn.metrics import roc_curve

    scores = np.concatenate([known, foreign])
    bad = int((~np.isfinite(scores)).sum())
    if bad or not len(known) or not len(foreign):
        raise ValueError(
            f"{bad} of {len(scores)} scores are not finite, of {len(known)} known and "
            f"{len(foreign)} foreign documents; detection takes finite scores of both"
        )
    positive = np.arange(len(scores)) >= len(known)
    fpr, tpr, _ = roc_curve(positive, scores, drop_intermediate=False)
    return np.asarray(fpr, np.float64), np.asarray(tpr, np.float64)


TINY = 1e-300


def measure_lds(
    scores: Float64[np.ndarray, "K N"], values: Float64[np.ndarray, "S N"]
) -> Float64[np.ndarray, " N"]:
    """Return the score of each document; 0 where one side is constant and predicts nothing.

    values: log-likelihoods [nat] under the language models of all subsets, in the order of
    :func:`tasks.attribution.retrain.list_subsets`.

    Raises:
        ValueError: the number of values is not that of the subsets, or a number is not finite.
    """
    if count_corpora(values) != len(scores):
        raise ValueError(
            f"scores of {len(scores)} corpora beside values of {len(values)} subsets; give "
            f"{2 ** len(scores)} values a document"
        )
    if not (np.isfinite(scores).all() and np.isfinite(values).all()):
        raise ValueError("scores or values are not finite, and have no order; leave these out")
    # Sums that differ only by rounding must share a rank.
    sums = list_subsets(len(scores)).astype(float) @ scores
    predicted = np.round(sums / max(np.abs(scores).max(), TINY), 9)
    return np.nan_to_num(correlate_ranks(predicted.T, values.T))


MOST = 1e3  # of the factor a


def fit_factor(scores: Float64[np.ndarray, "K N"], labels: Int64[np.ndarray, " N"]) -> float:
    """Return the a / c >= 0 that maximises the likelihood of the documents' corpora.

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
    """Return each corpus' share of the positive scores; equal shares if none is positive."""
    gains = np.maximum(scores, 0)
    total = gains.sum(0)
    even = np.full_like(gains, 1 / len(gains))
    return np.divide(gains, total, out=even, where=total > 0)
