"""The Frechet distance of two sets of features, each approximated by a Gaussian.

Axes: N samples, D features.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Gaussian(NamedTuple):
    """Mean and covariance of features, float64."""

    mean: Float[np.ndarray, " D"]
    covariance: Float[np.ndarray, "D D"]


def fit_gaussian(features: Float[np.ndarray, "N D"]) -> Gaussian:
    """Return mean and unbiased covariance of N > 1 samples."""
    x = features.astype(np.float64)
    return Gaussian(x.mean(0), np.atleast_2d(np.cov(x, rowvar=False)))


def compute_distance(a: Gaussian, b: Gaussian) -> float:
    """Return the Frechet distance of two Gaussians of means m, n and covariances S, R.

    d = |m - n|^2 + tr(S) + tr(R) - 2 tr((S^1/2 R S^1/2)^1/2)
    """
    values, vectors = np.linalg.eigh((a.covariance + a.covariance.T) / 2)
    root = vectors * np.sqrt(values.clip(min=0)) @ vectors.T  # rounding makes some negative
    inner = root @ b.covariance @ root
    shared = np.sqrt(np.linalg.eigvalsh((inner + inner.T) / 2).clip(min=0)).sum()
    offset = np.square(a.mean - b.mean).sum()
    return float(offset + a.covariance.trace() + b.covariance.trace() - 2 * shared)
