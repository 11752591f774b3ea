"""Which language models are probed: those that know more than one n-gram of all their texts.

    gap closed = (H_pooled - NLL) / (H_pooled - H_aware)                      [nat a token each]

H_aware: entropy of the documents for a reader who is told the corpus. H_pooled: cross-entropy
of the best n-gram of the same order that is not told. A model that closes less than half of the
gap holds too little of the corpora for a probe to read, so it is refused.
"""

from dataclasses import dataclass

import numpy as np

from neuro.io.run_folder import RunError
from tasks.attribution.chains import choose_chains
from tasks.attribution.config import LEAST_GAP, AttributionConfig
from tasks.attribution.documents import find_authors, load
from tasks.attribution.language_model import SourceModel
from tasks.attribution.lm_training import measure_nats


@dataclass(frozen=True, kw_only=True)
class Gap:
    """What a language model has learned, between two bounds [nat a token].

    pooled, aware: without and with the corpus. nats: of the model on held-out documents.
    exact: whether the bounds are those of the generators, and not of n-grams fitted on what the
    model reads.
    """

    pooled: float
    aware: float
    nats: float
    exact: bool

    @property
    def closed(self) -> float:
        """The share of the gap that the model closes; above 1 it knows more than both."""
        return (self.pooled - self.nats) / (self.pooled - self.aware)


def measure_gap(config: AttributionConfig, lm: SourceModel) -> Gap:
    """Return what a language model has learned of the corpora that it reads.

    Raises:
        ValueError: an n-gram that is told the corpus is no better than one that is not.
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
    """Return the exact (pooled, aware) entropies [nat a token] of generated authors."""
    authors, shares = find_authors(config).select(config.seen), np.array(config.of_seen)
    aware = float(shares @ authors.compute_entropy(config.tokens))
    return authors.compute_pooled_entropy(config.tokens, shares), aware


def fit_entropies(config: AttributionConfig) -> tuple[float, float]:
    """Return (pooled, aware) cross-entropies [nat a token] of fitted n-grams.

    They are fitted on what the language model reads, and measured on its held-out documents.
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
        RunError: it closes less than half of the gap.
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
