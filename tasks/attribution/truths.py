"""What methods say of documents, against three truths, seed by seed.

T1: shares of segments. T2: the posterior by the generators. T3: values of retrained language
models, averaged over all other seeds, so that no method is judged by the model that it reads.
Axes: S subsets, K corpora, N documents, A documents with those for validation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float64, Int64, Shaped

from tasks.attribution.answers import (
    Answer,
    answer_by_chains,
    find_true_shares,
    fit_text_models,
)
from tasks.attribution.causes import COSINE, INFLUENCE, TRACIN, TRAK
from tasks.attribution.config import AttributionConfig
from tasks.attribution.documents import (
    Documents,
    Part,
    count_documents,
    find_authors,
    load,
)
from tasks.attribution.evaluate import ORACLE, measure_answers
from tasks.attribution.metrics import (
    correlate_ranks,
    divide_gains,
    fit_factor,
    make_shares,
    measure_lds,
)
from tasks.attribution.retrain import compute_drops, compute_shapley
from tasks.runs.task import Metric

LDS = Metric(name="lds", format=".3f")
LDS_SAMPLED = Metric(name="lds_sampled", format=".3f")
RANKS_OF_CAUSES = Metric(name="spearman_to_shapley", format=".3f")
INNOCENT = Metric(name="innocent", better="lower", format=".1%")
GUILTY = Metric(name="guilty", format=".1%")
AGAINST_CAUSES = (LDS, LDS_SAMPLED, RANKS_OF_CAUSES, INNOCENT, GUILTY)
RATIO, SHAPLEY = "likelihood ratio", "Shapley values of another seed"
TRUE = "true shares (T1)"
EQUAL = "equal shares"
SCORED = (TRACIN, COSINE, TRAK, INFLUENCE, RATIO, SHAPLEY)  # scores, not shares
TEXT = ("n-gram", "naive Bayes", ORACLE)
ASKED: tuple[Part, ...] = ("val", "test", "composed")  # in this order
Rows = Mapping[str, Float64[np.ndarray, "N K"]]  # by method
Values = dict[str, dict[str, float]]  # by method and metric


@dataclass(frozen=True, kw_only=True, eq=False)
class SeedAnswers:
    """What the methods of one seed say of the documents of :func:`load_asked`.

    config: of the language model. rows: scores or shares by each method that reads a language
    model. sampled: documents that a language model has drawn. log_p: log p [nat] under the
    language models of all subsets; None: only the one of all corpora was trained. innocent: how
    often each method names a corpus for its documents if the language model never read it.
    """

    config: AttributionConfig
    rows: Rows
    sampled: Int64[torch.Tensor, "T n"]
    log_p: Float64[np.ndarray, "S N"] | None = None
    innocent: Mapping[str, float] = field(default_factory=dict)


def load_asked(config: AttributionConfig, sampled: Int64[torch.Tensor, "T n"]) -> Documents:
    """Return the documents that every method is asked about.

    They are for validation, pure, composed, and drawn from a language model: of corpus -1.
    """
    parts = [*(load(config, part) for part in ASKED)]
    parts.append(Documents(sampled, torch.full_like(sampled, -1)))
    return Documents(
        torch.cat([part.tokens for part in parts], 1),
        torch.cat([part.sources for part in parts], 1),
    )


def split_asked(
    config: AttributionConfig, rows: Shaped[np.ndarray, "N ..."]
) -> list[Shaped[np.ndarray, "n ..."]]:
    """Return the rows of validation, pure, composed and sampled documents."""
    counts = count_documents(config)
    return np.split(rows, np.cumsum([counts[part] for part in ASKED]))


def judge_seeds(found: Mapping[int, SeedAnswers]) -> dict[str, dict[str, dict[int, float]]]:
    """Return the metrics by method, metric and seed, with those against T3 where it is known.

    With one seed, T3 is of the models that the methods read.
    """
    out: dict[str, dict[str, dict[int, float]]] = {}
    values = {seed: own.log_p for seed, own in found.items() if own.log_p is not None}
    for seed, own in found.items():
        metrics, scores = judge_shares(own)
        causes = Values()
        if seed in values:
            others = [log_p for s, log_p in values.items() if s != seed] or [values[seed]]
            causes = judge_causes(own, scores, np.mean(others, 0))
        for name in {**metrics, **causes}:
            for metric, value in {**metrics.get(name, {}), **causes.get(name, {})}.items():
                out.setdefault(name, {}).setdefault(metric, {})[seed] = value
    return out


def judge_shares(own: SeedAnswers) -> tuple[Values, Rows]:
    """Return the metrics against T1 and T2 by method, and the scores of all but validation."""
    config, further = own.config, {}
    if own.log_p is not None:
        further = {RATIO: compute_drops(own.log_p).T, SHAPLEY: compute_shapley(own.log_p).T}
    said = {**further, **own.rows}
    answers = {name: make_answers(config, name, rows) for name, rows in said.items()}
    scores = {name: np.concatenate(split_asked(config, x)[1:]) for name, x in said.items()}
    for name, (pure, composed, sampled) in answer_by_text(own).items():
        answers[name] = pure, composed
        scores[name] = np.concatenate([pure.pure, composed.shares, sampled.shares])
    oracle = answers[ORACLE][1].shares if ORACLE in answers else None
    return {
        name: measure_answers(config, pure, composed, oracle)
        for name, (pure, composed) in answers.items()
    }, scores


def make_answers(
    config: AttributionConfig, name: str, rows: Float64[np.ndarray, "N K"]
) -> tuple[Answer, Answer]:
    """Return the shares of pure and of composed documents; scores become such.

    See :mod:`tasks.attribution.metrics`; the factor is fitted on the validation documents.
    """
    val, pure, composed, _ = split_asked(config, rows)
    if name in SCORED:
        factor = fit_factor(val.T, load(config, "val").labels.numpy())
        pure, composed = make_shares(pure.T, factor).T, divide_gains(composed.T).T
    return Answer(pure, pure), Answer(composed, composed)


def answer_by_text(own: SeedAnswers) -> dict[str, list[Answer]]:
    """Return what needs no language model: text models, the generators, and equal shares.

    Of pure, composed and sampled documents. Text models are fitted on the probe's documents.
    """
    config, chains = own.config, fit_text_models(own.config)
    if config.source == "authors":
        chains[ORACLE] = find_authors(config).select(config.protected)
    asked = load_asked(config, own.sampled)
    _, *places = split_asked(config, np.arange(len(asked)))
    parts = [asked.select(torch.from_numpy(place)) for place in places]
    even = [np.full((len(part), config.protected), 1 / config.protected) for part in parts]
    return {
        **{name: [answer_by_chains(c, part) for part in parts] for name, c in chains.items()},
        EQUAL: [Answer(shares, shares) for shares in even],
    }


def judge_causes(own: SeedAnswers, scores: Rows, values: Float64[np.ndarray, "S A"]) -> Values:
    """Return the metrics against T3 by method.

    scores: of all documents but those for validation. values: log p [nat] of all documents
    under the language models of all subsets.
    """
    config, out = own.config, Values()
    counts, labels = count_documents(config), load(config, "test").labels.numpy()
    truth, known = values[:, counts["val"] :], counts["test"] + counts["composed"]
    shapley = compute_shapley(truth).T
    parts = load(config, "test"), load(config, "composed")
    true = np.concatenate([find_true_shares(part, config.protected) for part in parts])
    for name, rows in {**scores, TRUE: true}.items():
        each = measure_lds(rows.T, truth[:, : len(rows)])
        ranks = np.nan_to_num(correlate_ranks(rows[:known], shapley[:known]))
        out[name] = {LDS.name: float(each[:known].mean())}
        out[name][RANKS_OF_CAUSES.name] = float(ranks.mean())
        if known < len(rows):
            out[name][LDS_SAMPLED.name] = float(each[known:].mean())
        test = rows[: len(labels)]
        named = [measure_named(test[labels == k], k) for k in range(config.protected)]
        guilty = float(np.mean(named))
        # The text alone does not depend on what a model has read. Of a model that never read k,
        # the likelihood ratio to a model retrained without k is that to itself: 0.
        innocent = {**own.innocent, **dict.fromkeys(TEXT, guilty), RATIO: 0.0}
        if name in innocent:
            out[name] |= {INNOCENT.name: innocent[name], GUILTY.name: guilty}
    return out


def measure_named(rows: Float64[np.ndarray, "N K"], corpus: int) -> float:
    """Return the share of documents for which a corpus has the largest score, above 0."""
    return float(((rows.argmax(1) == corpus) & (rows[:, corpus] > 0)).mean())
