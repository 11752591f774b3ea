"""Composed documents: two or three segments, each of another author than the one before.

The number of segments, the places of the switches and the authors are uniform. So the author
of the tokens is a Markov chain on (switches left, author): with m switches and n tokens left, a
switch comes before the next token with a probability of m / n.
Axes: T tokens, N documents.
"""

import numpy as np
from jaxtyping import Float64, Int64

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


def compute_posterior(
    log_p: Float64[np.ndarray, "K T N"], switches: tuple[int, ...] = SWITCHES
) -> Float64[np.ndarray, "T N K"]:
    """Return the probability of each author of each token, in the light of the document.

    Forward-backward over (switches left, author). log_p: the logarithm [nat] of each author's
    probability of each token, behind all tokens before it. switches: how many there may be,
    all equally probable.

    Raises:
        ValueError: one author cannot switch, or a document is too short for its switches.
    """
    authors, tokens, documents = log_p.shape
    most = max(switches)
    if authors < 2 or tokens <= most:
        raise ValueError(
            f"{authors} authors and {tokens} tokens for {most} switches; give two authors or "
            "more, and more tokens than switches"
        )
    likelihood = np.exp(log_p - log_p.max(0)).transpose(1, 2, 0)  # T N K, up to a factor
    forward = np.empty((tokens, documents, most + 1, authors))
    first = np.isin(np.arange(most + 1), switches) / (len(switches) * authors)
    forward[0] = first[:, None] * likelihood[0, :, None]
    for t in range(1, tokens):
        forward[t] = _move(forward[t - 1], tokens - t) * likelihood[t, :, None]
        forward[t] /= forward[t].sum((1, 2), keepdims=True)
    backward = np.ones((documents, most + 1, authors))  # no switch is left at the last token
    posterior = np.empty((tokens, documents, authors))
    for t in reversed(range(tokens)):
        both = (forward[t] * backward).sum(1)
        posterior[t] = both / both.sum(1, keepdims=True)
        if t:
            backward = _move_back(backward * likelihood[t, :, None], tokens - t)
            backward /= backward.max((1, 2), keepdims=True)
    return posterior


def _move(p: Float64[np.ndarray, "N M K"], left: int) -> Float64[np.ndarray, "N M K"]:
    """Return the probabilities at the next token, of so many left."""
    m = np.minimum(np.arange(p.shape[1])[:, None] / left, 1)
    out = p * (1 - m)
    out[:, :-1] += (m * _spread(p))[:, 1:]
    return np.asarray(out)


def _move_back(p: Float64[np.ndarray, "N M K"], left: int) -> Float64[np.ndarray, "N M K"]:
    """Return the transpose of :func:`_move`, applied."""
    m = np.minimum(np.arange(p.shape[1])[:, None] / left, 1)
    out = p * (1 - m)
    out[:, 1:] += m[1:] * _spread(p)[:, :-1]
    return np.asarray(out)


def _spread(p: Float64[np.ndarray, "N M K"]) -> Float64[np.ndarray, "N M K"]:
    """Return what each author gets if all the others pass on what they have, evenly."""
    return np.asarray((p.sum(2, keepdims=True) - p) / (p.shape[2] - 1))
