"""N-grams, smoothed as by Witten and Bell (1991), beside which a report shows language models.

    p(w | c) = (N(c w) + D(c) p(w | c')) / (N(c) + D(c))

N(c): how often context c occurs. D(c): number of different tokens after it. c': c without its
first token. The unigram is mixed with equal probabilities in the same way.
"""

from collections.abc import Iterable

import numpy as np
import torch

from tasks.language.data import NOTHING
from tasks.runs.task import Pair


def measure_ngrams(train: Iterable[Pair], test: Iterable[Pair], size: int) -> dict[str, float]:
    """Return the bits of all test tokens, by name.

    train, test: see :func:`tasks.language.data.batches`. size: of the vocabulary.
    """
    (*seen, after), (*read, target) = (_list_contexts(part, size) for part in (train, test))
    p, bits = np.full(len(target), 1 / size), dict[str, float]()
    for name, context, own in zip(("unigram", "bigram", "trigram"), seen, read, strict=True):
        pairs = context * size + after
        n, both = _count(context, own), _count(pairs, own * size + target)
        d = _count(np.unique(pairs) // size, own)
        p = np.where(n > 0, (both + d * p) / np.maximum(n + d, 1), p)
        bits[name] = float(-np.log2(p).sum())
    return bits


def _list_contexts(batches: Iterable[Pair], size: int) -> list[np.ndarray]:
    """Return the last 0, 1 and 2 tokens before each token as numbers, and the tokens."""
    x, y = (torch.cat(part).numpy() for part in zip(*batches, strict=True))
    before, due = np.vstack([np.zeros_like(x[:1]), x[:-1]]), y != NOTHING
    return [0 * x[due], x[due], (before * size + x)[due], y[due]]


def _count(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return how often each wanted number is among the values."""
    keys, counts = np.unique(values, return_counts=True)
    at = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[at] == wanted, counts[at], 0)
