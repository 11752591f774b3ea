"""Answers of every method: shares of the corpora in documents, and along them.

Axes: T tokens, N documents, K protected corpora.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.nn import functional as F

from drivers.text import Authors
from tasks.attribution.chains import choose_chains
from tasks.attribution.config import AttributionConfig
from tasks.attribution.documents import Documents, load
from tasks.attribution.language_model import BATCH, SourceModel, read_states
from tasks.attribution.loss import ask_probe
from tasks.attribution.segments import compute_posterior

NEIGHBOURS = 20


@dataclass(frozen=True, eq=False)
class Answer:
    """What a method says of documents.

    pure: of each document, if it is of one corpus. shares: of each document, if it is composed.
    along: of each token of a composed document; None where a method does not say.
    """

    pure: Float64[np.ndarray, "N K"]
    shares: Float64[np.ndarray, "N K"]
    along: Float64[np.ndarray, "T N K"] | None = None


def find_true_shares(documents: Documents, corpora: int) -> Float64[np.ndarray, "N K"]:
    """Return T1: the share of each corpus in the tokens of each document."""
    return F.one_hot(documents.sources, corpora).double().mean(0).numpy()


def answer_by_chains(chains: Authors, documents: Documents) -> Answer:
    """Return posteriors by n-grams, or by the generators themselves, which is T2.

    Pure documents by Bayes' rule with equal priors, composed ones by
    :func:`..segments.compute_posterior`.
    """
    log_p = chains.compute_log_p(documents.tokens.numpy())
    along = compute_posterior(log_p)
    return Answer(_normalise(log_p.sum(1).T), along.mean(0), along)


def answer_by_probe(model: nn.Module, documents: Documents) -> Answer:
    """Return what a probe says; of composed documents its answer is read as shares, too."""
    logits = ask_probe(model, documents).double().numpy()
    shares = _normalise(logits.mean(0))
    return Answer(shares, shares, _normalise(logits))


def fit_text_models(config: AttributionConfig) -> dict[str, Authors]:
    """Return the n-grams of the probe's training documents, by name."""
    train, val = (
        (part.tokens.numpy(), part.labels.numpy())
        for part in (load(config, "train"), load(config, "val"))
    )
    return {
        name: choose_chains(config, train, val, config.protected, order)
        for name, order in (("n-gram", config.order), ("naive Bayes", 0))
    }


def answer_by_neighbours(
    config: AttributionConfig, lm: SourceModel, documents: Documents
) -> Answer:
    """Return the corpora of the most similar training documents, as shares.

    A document is the mean of what the last block puts out; similar is a large cosine.
    """
    train = load(config, "train")
    known, asked = embed(lm, train), embed(lm, documents)
    nearest = (asked @ known.T).topk(min(NEIGHBOURS, len(known))).indices
    votes = F.one_hot(train.labels[nearest], config.protected).double().mean(1).numpy()
    return Answer(votes, votes)


@torch.no_grad()
def embed(lm: SourceModel, documents: Documents) -> Float[Tensor, "N D"]:
    """Return the mean of what the last block puts out, of length 1, on the CPU."""
    device = lm.embedding.weight.device
    parts = torch.split(documents.tokens, BATCH, 1)
    means = [read_states(lm, some.to(device)).residual[-1].mean(0) for some in parts]
    return F.normalize(torch.cat(means).float().cpu(), dim=1)


def _normalise(logits: Float64[np.ndarray, "*N K"]) -> Float64[np.ndarray, "*N K"]:
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(p / p.sum(-1, keepdims=True))
