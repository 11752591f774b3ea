"""Scores of how far a document is out of the distribution of protected ones; larger: further.

    softmax       1 - max_k softmax(z)_k                      Hendrycks and Gimpel 2017
    energy        -tau log sum_k exp(z_k / tau)               Liu et al. 2020
    Mahalanobis   min_k d_k,  d_k = (x - m_k)' S^-1 (x - m_k) Lee et al. 2018
    relative      min_k d_k - d_0, d_0 of one Gaussian for all  Ren et al. 2021
    neighbours    |x - x_(k)|, the k-th nearest of the bank, both of length 1   Sun et al. 2022
    cosine        -max_i cos(x, x_i) over the bank, times |x|   Tack et al. 2020
    perplexity    exp(nats / tokens) of the language model
    zlib          nats by the bytes of the compressed document   Carlini et al. 2021

Functions of arrays alone: the logits, features or nats of any model.
Axes: N documents, M of the bank, D features, K corpora, T tokens.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

NEIGHBOURS = 10


def score_softmax(logits: Float64[np.ndarray, "N K"]) -> Float64[np.ndarray, " N"]:
    """Return one less the largest probability: from 0 to 1 - 1/K."""
    shifted = logits - logits.max(1, keepdims=True)
    return np.asarray(1 - 1 / np.exp(shifted).sum(1))


def score_energy(logits: Float64[np.ndarray, "N K"]) -> Float64[np.ndarray, " N"]:
    """Return the free energy of the logits, at temperature 1."""
    most = logits.max(1)
    return np.asarray(-(most + np.log(np.exp(logits - most[:, None]).sum(1))))


@dataclass(frozen=True, eq=False)
class Gaussians:
    """A Gaussian for each corpus, with one covariance for all, and one Gaussian for all.

    mean, precision: of the corpora. all_mean, all_precision: of all features together.
    """

    mean: Float64[np.ndarray, "K D"]
    precision: Float64[np.ndarray, "D D"]
    all_mean: Float64[np.ndarray, " D"]
    all_precision: Float64[np.ndarray, "D D"]


def fit_gaussians(
    features: Float64[np.ndarray, "N D"],
    labels: Int64[np.ndarray, " N"],
    shrinkage: float | None = None,
) -> Gaussians:
    """Return the Gaussians of features. labels: 0 ... K-1, each of at least one document.

    shrinkage: s of the covariance (1 - s) S + s tr(S)/D I; None: the s of Ledoit and Wolf
        (2004), which has the least expected error.

    Raises:
        ValueError: a feature is not finite, or a corpus has no document.
    """
    _require_finite(features, "features of the bank")
    counts = np.bincount(labels)
    if not counts.all():
        raise ValueError(
            f"corpora {np.flatnonzero(counts == 0).tolist()} of {len(counts)} have no document "
            "in the bank; number the corpora 0 ... K-1 and give documents of each"
        )
    mean = np.stack([features[labels == k].mean(0) for k in range(len(counts))])
    centre = features.mean(0)
    return Gaussians(
        mean=mean,
        precision=_invert_covariance(features - mean[labels], shrinkage),
        all_mean=centre,
        all_precision=_invert_covariance(features - centre, shrinkage),
    )


def score_mahalanobis(
    fit: Gaussians, features: Float64[np.ndarray, "N D"]
) -> Float64[np.ndarray, " N"]:
    """Return the squared distance to the nearest corpus."""
    return np.asarray(
        np.min([_square(features - mean, fit.precision) for mean in fit.mean], axis=0)
    )


def score_relative(
    fit: Gaussians, features: Float64[np.ndarray, "N D"]
) -> Float64[np.ndarray, " N"]:
    """Return the squared distance to the nearest corpus, less that to all of them."""
    whole = _square(features - fit.all_mean, fit.all_precision)
    return np.asarray(score_mahalanobis(fit, features) - whole)


def score_neighbours(
    bank: Float64[np.ndarray, "M D"],
    features: Float64[np.ndarray, "N D"],
    neighbours: int = NEIGHBOURS,
) -> Float64[np.ndarray, " N"]:
    """Return the distance to the k-th nearest of the bank, all of length 1: from 0 to 2.

    Raises:
        ValueError: the bank has fewer than k documents.
    """
    from sklearn.neighbors import NearestNeighbors

    if not 1 <= neighbours <= len(bank):
        raise ValueError(
            f"neighbours is {neighbours}, of a bank of {len(bank)} documents; give a whole "
            "number from 1 up to these"
        )
    nearest = NearestNeighbors(n_neighbors=neighbours).fit(normalise(bank))
    distances, _ = nearest.kneighbors(normalise(features))
    return np.asarray(distances[:, -1], np.float64)


def score_cosine(
    bank: Float64[np.ndarray, "M D"], features: Float64[np.ndarray, "N D"], by_length: bool
) -> Float64[np.ndarray, " N"]:
    """Return the negative cosine to the nearest of the bank: from -1 to 1.

    by_length: times the length of the features, which is large for what a contrastive
        projector has learned.
    """
    cosine = (normalise(features) @ normalise(bank).T).max(1)
    return np.asarray(-cosine * (np.linalg.norm(features, axis=1) if by_length else 1.0))


def score_perplexity(nats: Float64[np.ndarray, " N"], tokens: int) -> Float64[np.ndarray, " N"]:
    """Return the perplexity. nats: -log p of each document of so many tokens."""
    return np.asarray(np.exp(nats / tokens))


def score_compressed(
    nats: Float64[np.ndarray, " N"], tokens: Int64[np.ndarray, "T N"]
) -> Float64[np.ndarray, " N"]:
    """Return the nats of each document by the bytes that zlib makes of it.

    A document that any compressor finds simple counts as less of a surprise. A token is a byte,
    or as many as the largest of all tokens takes.
    """
    kind = np.min_scalar_type(int(tokens.max(initial=0)))
    packed = tokens.T.astype(kind)
    return np.asarray(nats / [len(zlib.compress(own.tobytes(), 9)) for own in packed])


def normalise(features: Float64[np.ndarray, "N D"]) -> Float64[np.ndarray, "N D"]:
    """Return features of length 1.

    Features of 0, such as those of a document without a spike, stay 0: at a distance of 1 from
    all others, and at a right angle to them.

    Raises:
        ValueError: one is not finite.
    """
    _require_finite(features, "features")
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(length > 0, length, 1.0))


def _invert_covariance(
    centred: Float64[np.ndarray, "N D"], shrinkage: float | None
) -> Float64[np.ndarray, "D D"]:
    from sklearn.covariance import LedoitWolf, ShrunkCovariance

    fit = (
        LedoitWolf(assume_centered=True)
        if shrinkage is None
        else ShrunkCovariance(shrinkage=shrinkage, assume_centered=True)
    )
    return np.asarray(fit.fit(centred).precision_, np.float64)


def _square(
    x: Float64[np.ndarray, "N D"], precision: Float64[np.ndarray, "D D"]
) -> Float64[np.ndarray, " N"]:
    return np.asarray(np.einsum("nd,de,ne->n", x, precision, x))


def _require_finite(features: Float64[np.ndarray, "N D"], name: str) -> None:
    if bad := int((~np.isfinite(features)).any(1).sum()):
        raise ValueError(
            f"{name}: {bad} of {len(features)} documents have a value that is not finite; the "
            "model that made them has diverged: train it with a lower lr"
        )
