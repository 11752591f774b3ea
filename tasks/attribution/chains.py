"""N-grams fitted on texts of each corpus: what the text alone says, without a language model.

    p_k(x | c) = (n_k(c, x) + alpha) / (n_k(c) + alpha V)

n: counts in the training documents. alpha: the one that held-out documents are likeliest with.
Order 0 is naive Bayes.
Axes: K corpora, T tokens, N documents, M held-out documents, V tokens of the vocabulary.
"""

import numpy as np
from jaxtyping import Int64

from drivers.text import Authors
from tasks.attribution.config import AttributionConfig

ALPHAS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
Labelled = tuple[Int64[np.ndarray, "T N"], Int64[np.ndarray, " N"]]  # tokens, corpora
HeldOut = tuple[Int64[np.ndarray, "T M"], Int64[np.ndarray, " M"]]


def fit_chains(
    train: Labelled, corpora: int, vocabulary: int, order: int, alpha: float
) -> Authors:
    """Return the n-gram of each corpus."""
    tokens, labels = train
    contexts = (vocabulary + 1) ** order
    counts = np.zeros((corpora, contexts, vocabulary))
    context = np.full(len(labels), contexts - 1)
    for own in tokens:
        np.add.at(counts, (labels, context, own), 1.0)
        context = (context * (vocabulary + 1) + own) % contexts
    counts += alpha
    return Authors(order, np.log(counts / counts.sum(2, keepdims=True)))


def choose_chains(
    config: AttributionConfig, train: Labelled, val: HeldOut, corpora: int, order: int
) -> Authors:
    """Return the n-grams, with the alpha of which the validation documents are likeliest."""
    tokens, labels = val

    def measure(chains: Authors) -> float:
        log_p = chains.compute_log_p(tokens)
        return float(np.take_along_axis(log_p, labels[None, None], 0).mean())

    made = [fit_chains(train, corpora, config.vocabulary, order, alpha) for alpha in ALPHAS]
    return max(made, key=measure)
