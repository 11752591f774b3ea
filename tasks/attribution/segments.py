"""Composed documents: two or three segments, each of another author than the one before.

The number of segments, the places of the switches and the authors are uniform. So the author
of the tokens is a Markov chain on (switches left, author): with m switches and n tokens left, a
switch comes before the next token with a probability of m / n.
Axes: T tokens, N documents.
"""

import numpy as np
from jaxtyping import Int64

SWITCHES = (1, 2)  # in a composed document, equally often


def draw_segments(
    tokens: int, documents: int, authors: int, rng: np.random.Generator
) -> Int64[np.ndarray, "T N"]:
    """Return the author of each token."""
    author = rng.integers(authors, size=documents)
    left = rng.choice(SWITCHES, documents)
    sources = np.empty((tokens, documents), np.int64)
    for t in range(tokens):
        if t:
            switches = rng.random(documents) * (tokens - t) < left
            other = (author + rng.integers(1, authors, documents)) % authors
            author, left = np.where(switches, other, author), left - switches
        sources[t] = author
    return sources
