"""Exact Shapley values of K corpora, by the values of all 2^K subsets of them.

    phi_k = sum over S without k of |S|! (K - 1 - |S|)! / K! (v(S + k) - v(S))

Axes: S subsets, K corpora. Subset number s holds corpus k where bit k of s is 1, so that the
first subset is empty and the last one holds all (Shapley 1953).
"""

from math import factorial

import numpy as np
from jaxtyping import Bool, Float64


def list_subsets(corpora: int) -> Bool[np.ndarray, "S K"]:
    """Return which corpora each subset holds; the empty one is first, all corpora are last.

    Raises:
        ValueError: there is no corpus.
    """
    if corpora < 1:
        raise ValueError(f"subsets of {corpora} corpora; give at least one corpus")
    return np.asarray(np.arange(2**corpora)[:, None] >> np.arange(corpora) & 1, bool)


def drop_one(corpora: int) -> list[int]:
    """Return the number of the subset without corpus k, for each k."""
    return [2**corpora - 1 - 2**k for k in range(corpora)]


def count_corpora(values: Float64[np.ndarray, "S ..."]) -> int:
    """Return the number of corpora of which these are the values of all subsets.

    Raises:
        ValueError: their number is no power of two.
    """
    subsets = len(values)
    corpora = subsets.bit_length() - 1
    if corpora < 1 or 2**corpora != subsets:
        raise ValueError(
            f"{subsets} values are not those of all subsets of some corpora; give 2, 4, 8, ... "
            "in the order of list_subsets"
        )
    return corpora


def compute_shapley(values: Float64[np.ndarray, "S ..."]) -> Float64[np.ndarray, "K ..."]:
    """Return the share of each corpus in v(all) - v(none), in the unit of the values.

    values: of all subsets in the order of :func:`list_subsets`; further axes are games of
    their own.

    Raises:
        ValueError: the number of values is no power of two.
    """
    corpora = count_corpora(values)
    held = list_subsets(corpora)
    sizes = held.sum(1)
    by_size = [
        factorial(n) * factorial(corpora - 1 - n) / factorial(corpora) for n in range(corpora)
    ]
    weights = np.zeros((corpora, len(values)))
    for k in range(corpora):
        weights[k, held[:, k]] = [by_size[n - 1] for n in sizes[held[:, k]]]
        weights[k, ~held[:, k]] = [-by_size[n] for n in sizes[~held[:, k]]]
    return np.asarray(np.tensordot(weights, values, 1))


def compute_drops(values: Float64[np.ndarray, "S ..."]) -> Float64[np.ndarray, "K ..."]:
    """Return v(all) - v(all but k), for each corpus; values: as above."""
    return np.asarray(values[-1] - values[drop_one(count_corpora(values))])
