"""Generated authors: Markov chains over one vocabulary, whose probabilities are known exactly.

    p_k(x | c) = softmax_x(b(c, x) + delta a_k(c, x) + gamma u_k(x))

b, a, u: independent normal numbers of variance 1; all authors share b. c: the context, which is
the last ``order`` tokens; begin tokens (number V) precede the first token.
Axes: K authors, C contexts, V tokens of the vocabulary, T tokens of a document, N documents.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

MOST_ENTRIES = 50_000_000  # of the table of probabilities: 400 MB


@dataclass(frozen=True, eq=False)
class Authors:
    """Authors as a table of probabilities. order: tokens per context.

    log_p: log-probability [nat] of each token after each context. The context of token t in
    tokens y has the index sum_i y[t - 1 - i] (V + 1)^i.
    """

    order: int
    log_p: Float64[np.ndarray, "K C V"]

    @property
    def vocabulary(self) -> int:
        """V, which is also the number of the begin token."""
        return self.log_p.shape[2]

    def select(self, count: int) -> "Authors":
        """Return the first ``count`` authors."""
        return Authors(self.order, self.log_p[:count])

    def sample(
        self, sources: Int64[np.ndarray, "T N"], rng: np.random.Generator
    ) -> Int64[np.ndarray, "T N"]:
        """Sample documents. sources: author of each token, who continues all earlier ones."""
        edges = np.exp(self.log_p).cumsum(2)
        context = np.full(sources.shape[1], self.log_p.shape[1] - 1)
        tokens = np.empty_like(sources)
        for t, author in enumerate(sources):
            drawn = rng.random((len(author), 1)) >= edges[author, context]
            tokens[t] = np.minimum(drawn.sum(1), self.vocabulary - 1)
            context = self._advance(context, tokens[t])
        return tokens

    def compute_log_p(self, tokens: Int64[np.ndarray, "T N"]) -> Float64[np.ndarray, "K T N"]:
        """Return the log-probability [nat] of each token under each author."""
        context = np.full(tokens.shape[1], self.log_p.shape[1] - 1)
        found = np.empty((len(self.log_p), *tokens.shape))
        for t, own in enumerate(tokens):
            found[:, t] = self.log_p[:, context, own]
            context = self._advance(context, own)
        return found

    def compute_pairs(self, tokens: int) -> Float64[np.ndarray, "K C V"]:
        """Return the probability of each context and token at a random place of a document.

        tokens: length T of the document. Each author's probabilities add up to 1.
        """
        authors, contexts, v = self.log_p.shape
        p = np.exp(self.log_p)
        at = np.zeros((authors, contexts))
        at[:, -1] = 1.0
        total = np.zeros_like(p)
        for _ in range(tokens):
            pairs = at[..., None] * p
            total += pairs
            # The oldest token leaves the context, the new one enters it.
            kept = pairs.reshape(authors, v + 1, -1, v).sum(1)
            at = np.pad(kept, ((0, 0), (0, 0), (0, 1))).reshape(authors, contexts)
        return np.asarray(total / tokens)

    def compute_entropy(self, tokens: int) -> Float64[np.ndarray, " K"]:
        """Return the entropy of each author's documents of T tokens [nat per token]."""
        return np.asarray(-(self.compute_pairs(tokens) * self.log_p).sum((1, 2)))

    def compute_pooled_entropy(self, tokens: int, shares: Float64[np.ndarray, " K"]) -> float:
        """Return the least cross-entropy of one Markov chain for all documents [nat per token].

        The chain has the authors' order and does not know the author. shares: each author's
        share of the documents; they add up to 1.
        """
        pairs = np.einsum("k,kcv->cv", shares, self.compute_pairs(tokens))
        of_context = pairs.sum(1, keepdims=True).repeat(self.vocabulary, 1)
        seen = pairs > 0
        return float(-(pairs[seen] * np.log(pairs[seen] / of_context[seen])).sum())

    def _advance(
        self, context: Int64[np.ndarray, " N"], token: Int64[np.ndarray, " N"]
    ) -> Int64[np.ndarray, " N"]:
        return np.asarray((context * (self.vocabulary + 1) + token) % self.log_p.shape[1])


def make_authors(
    count: int, vocabulary: int, order: int, delta: float, gamma: float, seed: int
) -> Authors:
    """Generate authors. delta, gamma: how far their transitions and token frequencies differ.

    With the same seed, a larger ``count`` keeps the authors of a smaller one.

    Raises:
        ValueError: ``count``, ``vocabulary`` or ``order`` is too small, or the table too large.
    """
    contexts = (vocabulary + 1) ** order if order > 0 else 0
    entries = count * contexts * vocabulary
    if not (count > 0 and vocabulary > 1 and order > 0):
        raise ValueError(
            f"authors: {count} of order {order} on {vocabulary} tokens; give at least one "
            "author, order 1 and two tokens"
        )
    if entries > MOST_ENTRIES:
        raise ValueError(
            f"authors: their table would have {entries:,} entries, and at most "
            f"{MOST_ENTRIES:,} are made; give a lower order or fewer tokens"
        )
    base = np.random.default_rng([seed, 0]).standard_normal((contexts, vocabulary))
    logits = np.empty((count, contexts, vocabulary))
    for k in range(count):
        rng = np.random.default_rng([seed, 1 + k])
        own = rng.standard_normal(base.shape), rng.standard_normal(vocabulary)
        logits[k] = base + delta * own[0] + gamma * own[1]
    logits -= logits.max(2, keepdims=True)
    return Authors(order, logits - np.log(np.exp(logits).sum(2, keepdims=True)))
