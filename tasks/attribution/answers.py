"""The answer of every method: the shares of the corpora, per document and per token.

Axes: T tokens, N documents, K protected corpora.

N-grams fitted on texts of each corpus: what the text alone says, without a language model.

    p_k(x | c) = (n_k(c, x) + alpha) / (n_k(c) + alpha V)

n: counts in the training documents. alpha: maximises the likelihood of held-out documents.
Order 0 is naive Bayes.
Axes: K corpora, T tokens, N documents, M held-out documents, V tokens of the vocabulary.

Which language models are probed: those that know more than one n-gram of all their texts.

    gap closed = (H_pooled - NLL) / (H_pooled - H_aware)           [each in nat per token]

H_aware: entropy of the documents given their corpus. H_pooled: cross-entropy of the best n-gram
of the same order that does not know the corpus. A model that closes less than half of the gap
has learned too little about the corpora for a probe to read, so it is refused.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from drivers.text import Authors
from neuro.io.run_folder import RunError
from tasks.attribution.config import LEAST_GAP, AttributionConfig
from tasks.attribution.documents import Documents, compute_posterior, find_authors, load
from tasks.attribution.model import BATCH, SourceModel, read_states
from tasks.attribution.training import ask_probe, measure_nats

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
    """Return the n-grams with the alpha that makes the validation documents most likely."""
    tokens, labels = val

    def measure(chains: Authors) -> float:
        log_p = chains.compute_log_p(tokens)
        return float(np.take_along_axis(log_p, labels[None, None], 0).mean())

    made = [fit_chains(train, corpora, config.vocabulary, order, alpha) for alpha in ALPHAS]
    return max(made, key=measure)


NEIGHBOURS = 20


@dataclass(frozen=True, eq=False)
class Answer:
    """The shares of the corpora that a method assigns to documents.

    pure: shares per document, for documents of one corpus.
    shares: shares per document, for composed documents.
    along: shares per token of composed documents; None if the method has no answer per token.
    """

    pure: Float64[np.ndarray, "N K"]
    shares: Float64[np.ndarray, "N K"]
    along: Float64[np.ndarray, "T N K"] | None = None


def find_true_shares(documents: Documents, corpora: int) -> Float64[np.ndarray, "N K"]:
    """Return T1: the share of each corpus in the tokens of each document."""
    return F.one_hot(documents.sources, corpora).double().mean(0).numpy()


def answer_by_chains(chains: Authors, documents: Documents) -> Answer:
    """Return the posteriors under n-grams, or under the generators themselves, which is T2.

    Pure documents get theirs from Bayes' rule with equal priors, composed ones from
    :func:`tasks.attribution.documents.compute_posterior`.
    """
    log_p = chains.compute_log_p(documents.tokens.numpy())
    along = compute_posterior(log_p)
    return Answer(_normalise(log_p.sum(1).T), along.mean(0), along)


def answer_by_probe(model: nn.Module, documents: Documents) -> Answer:
    """Return a probe's answer; its probabilities also serve as shares of composed documents."""
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
    """Return the share of each corpus among the most similar training documents.

    A document is represented by the mean output of the last block; similarity is the cosine.
    """
    train = load(config, "train")
    known, asked = embed(lm, train), embed(lm, documents)
    nearest = (asked @ known.T).topk(min(NEIGHBOURS, len(known))).indices
    votes = F.one_hot(train.labels[nearest], config.protected).double().mean(1).numpy()
    return Answer(votes, votes)


@torch.no_grad()
def embed(lm: SourceModel, documents: Documents) -> Float[Tensor, "N D"]:
    """Return the mean output of the last block, normalised to length 1, on the CPU."""
    device = lm.embedding.weight.device
    parts = torch.split(documents.tokens, BATCH, 1)
    means = [read_states(lm, some.to(device)).residual[-1].mean(0) for some in parts]
    return F.normalize(torch.cat(means).float().cpu(), dim=1)


def _normalise(logits: Float64[np.ndarray, "*N K"]) -> Float64[np.ndarray, "*N K"]:
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(p / p.sum(-1, keepdims=True))


@dataclass(frozen=True, kw_only=True)
class Gap:
    """What a language model has learned, between two bounds [nat per token].

    pooled, aware: cross-entropy of readers that do not know and know the corpus.
    nats: cross-entropy of the model on held-out documents.
    exact: whether the bounds come from the generators; else from n-grams fitted on the
        documents that the model reads.
    """

    pooled: float
    aware: float
    nats: float
    exact: bool

    @property
    def closed(self) -> float:
        """The share of the gap that the model closes; above 1 it beats both bounds."""
        return (self.pooled - self.nats) / (self.pooled - self.aware)


def measure_gap(config: AttributionConfig, lm: SourceModel) -> Gap:
    """Return what a language model has learned about the corpora that it reads.

    Raises:
        ValueError: an n-gram that knows the corpus is no better than one that does not.
    """
    exact = config.source == "authors"
    pooled, aware = compute_entropies(config) if exact else fit_entropies(config)
    if not aware < pooled:
        raise ValueError(
            f"an n-gram of order {config.order} needs {pooled:.4f} nat a token, and "
            f"{aware:.4f} if it is told the corpus, so the corpora do not differ for it; give "
            "a larger delta or gamma, other corpora, or more documents"
        )
    return Gap(pooled=pooled, aware=aware, nats=measure_nats(config, lm), exact=exact)


def compute_entropies(config: AttributionConfig) -> tuple[float, float]:
    """Return the exact (pooled, aware) entropies [nat per token] of generated authors."""
    authors, shares = find_authors(config).select(config.seen), np.array(config.of_seen)
    aware = float(shares @ authors.compute_entropy(config.tokens))
    return authors.compute_pooled_entropy(config.tokens, shares), aware


def fit_entropies(config: AttributionConfig) -> tuple[float, float]:
    """Return (pooled, aware) cross-entropies [nat per token] of fitted n-grams.

    They are fitted on the language model's training documents and measured on its held-out
    ones.
    """
    train, val = load(config, "lm_train"), load(config, "lm_val")
    found = []
    for told in (False, True):
        some, own = (
            (part.tokens.numpy(), (part.labels * int(told)).numpy()) for part in (train, val)
        )
        chains = choose_chains(config, some, own, config.seen if told else 1, config.order)
        log_p = np.take_along_axis(chains.compute_log_p(own[0]), own[1][None, None], 0)
        found.append(-float(log_p.mean()))
    return found[0], found[1]


def require_learned(config: AttributionConfig, lm: SourceModel) -> Gap:
    """Return what a language model has learned.

    Raises:
        RunError: the model closes less than half of the gap.
    """
    gap = measure_gap(config, lm)
    if not gap.closed >= LEAST_GAP:
        cures = "give more lm_epochs or documents, another lm_lr, or a wider language model"
        if config.source == "authors":
            cures += "; or a larger delta or gamma, so that the authors differ more"
        raise RunError(
            f"the language model closes {gap.closed:.0%} of the gap from a pooled n-gram "
            f"({gap.pooled:.3f} nat a token) to one that is told the corpus ({gap.aware:.3f}): "
            f"it needs {gap.nats:.3f}; it is probed from {LEAST_GAP:.0%} on. {cures}"
        )
    return gap
