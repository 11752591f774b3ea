"""What the answers of a seed are worth against the three truths, and the innocent models.

T1: shares of segments. T2: the posterior by the generators. T3: values of retrained language
models, averaged over all other seeds, so that no method is judged by the model that it reads.
Axes: S subsets, K corpora, N documents.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float64, Int64, Shaped

from tasks.attribution.answers import (
    Answer,
    answer_by_chains,
    find_true_shares,
    fit_text_models,
)
from tasks.attribution.bench.settings import AttributionCase
from tasks.attribution.bench.train import (
    ASKED,
    GAP,
    LOG_P,
    SAMPLED,
    SECONDS,
    Found,
    Values,
    load_asked,
)
from tasks.attribution.causes import COSINE, INFLUENCE, TRACIN, TRAK
from tasks.attribution.config import AttributionConfig
from tasks.attribution.documents import Documents, count_documents, find_authors, load
from tasks.attribution.evaluate import ORACLE, measure_answers
from tasks.attribution.metrics import (
    correlate_ranks,
    divide_gains,
    fit_factor,
    make_shares,
    measure_lds,
)
from tasks.attribution.retrain import compute_drops, compute_shapley, drop_one
from tasks.runs.task import Metric

LDS = Metric(name="lds", format=".3f")
LDS_SAMPLED = Metric(name="lds_sampled", format=".3f")
RANKS_OF_CAUSES = Metric(name="spearman_to_shapley", format=".3f")
INNOCENT = Metric(name="innocent", better="lower", format=".1%")
GUILTY = Metric(name="guilty", format=".1%")
RATIO, SHAPLEY = "likelihood ratio", "Shapley values of another seed"
TRUE = "true shares (T1)"
EQUAL = "equal shares"
SCORED = (TRACIN, COSINE, TRAK, INFLUENCE, RATIO, SHAPLEY)  # scores, not shares
TEXT = {"n-gram", "naive Bayes", ORACLE}
DRAWN = 60  # composed documents of the picture
Measured = dict[str, dict[str, list[float]]]  # by method and metric, one a seed


def stack_values(models: Mapping[int, Values]) -> Float64[np.ndarray, "S N"]:
    """Return log p [nat] of the documents under the models of all subsets, of one seed."""
    rows = [np.asarray(models[subset][LOG_P])[:, 0] for subset in sorted(models)]
    return np.asarray(np.stack(rows))


def list_answers(
    config: AttributionConfig, values: Values, further: Mapping[str, Float64[np.ndarray, "N K"]]
) -> dict[str, Float64[np.ndarray, "N K"]]:
    """Return what each method says of all documents, by what reads a model and further ones."""
    kept = (LOG_P, SAMPLED, GAP, SECONDS)
    own = {k: np.asarray(v) for k, v in values.items() if k not in kept}
    n = sum(count_documents(config)[part] for part in ASKED) + len(values[SAMPLED])
    wrong = [name for name, x in {**own, **further}.items() if x.shape != (n, config.protected)]
    if wrong:
        raise ValueError(f"answers of {', '.join(wrong)} are not of {n} documents; train again")
    return {**further, **own}


def split_asked(
    config: AttributionConfig, rows: Shaped[np.ndarray, "N ..."]
) -> list[Shaped[np.ndarray, "n ..."]]:
    """Return the rows of validation, pure, composed and sampled documents."""
    counts = [count_documents(config)[part] for part in ASKED]
    return np.split(rows, np.cumsum(counts))


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
    else:  # a file keeps six digits of each share
        pure, composed = (x / x.sum(1, keepdims=True) for x in (pure, composed))
    return Answer(pure, pure), Answer(composed, composed)


def answer_by_text(
    config: AttributionConfig, asked: Documents
) -> dict[str, tuple[Answer, Answer, Answer]]:
    """Return what text models fitted on the probe's documents say, and the generators.

    Of pure, composed and sampled documents. asked: as of :func:`..train.load_asked`.
    """
    chains = fit_text_models(config)
    if config.source == "authors":
        chains[ORACLE] = find_authors(config).select(config.protected)
    places = torch.arange(len(asked)).numpy()
    _, *parts = (asked.select(torch.from_numpy(x)) for x in split_asked(config, places))
    found = {}
    for name, own in chains.items():
        pure, composed, sampled = (answer_by_chains(own, part) for part in parts)
        found[name] = pure, composed, sampled
    return found


def judge_answers(
    config: AttributionConfig, values: Values, further: Mapping[str, Float64[np.ndarray, "N K"]]
) -> tuple[dict[str, dict[str, float]], dict[str, Float64[np.ndarray, "_ K"]]]:
    """Return the metrics against T1 and T2 by method, and the scores of all but validation.

    further: scores of methods beside those that read the model.
    """
    said = list_answers(config, values, further)
    answers = {name: make_answers(config, name, rows) for name, rows in said.items()}
    scores = {n: np.concatenate(split_asked(config, rows)[1:]) for n, rows in said.items()}
    text, counts = (
        answer_by_text(config, load_asked(config, values[SAMPLED])),
        count_documents(config),
    )
    for name, (pure, composed, sampled) in text.items():
        answers[name] = pure, composed
        scores[name] = np.concatenate([pure.pure, composed.shares, sampled.shares])
    even = np.full_like(next(iter(scores.values())), 1 / config.protected)
    first, second, _ = np.split(even, np.cumsum([counts["test"], counts["composed"]]))
    answers[EQUAL], scores[EQUAL] = (Answer(first, first), Answer(second, second)), even
    oracle = answers[ORACLE][1].shares if ORACLE in answers else None
    return {
        name: measure_answers(config, pure, composed, oracle)
        for name, (pure, composed) in answers.items()
    }, scores


def judge_causes(case: AttributionCase, found: Found) -> Measured:
    """Return the metrics of all methods, one a seed, with those against T3.

    With one seed, T3 is of the models that the methods read.
    """
    config, out = case.config, Measured()
    values = {seed: stack_values(models) for seed, models in found.items()}
    labels = load(config, "test").labels.numpy()
    first, corpora = count_documents(config)["val"], range(config.protected)
    known = count_documents(config)["test"] + count_documents(config)["composed"]
    for seed, models in found.items():
        others = [own for s, own in values.items() if s != seed] or [values[seed]]
        truth = np.mean(others, 0)[:, first:]
        own = values[seed]
        further = {RATIO: compute_drops(own).T, SHAPLEY: compute_shapley(own).T}
        metrics, scores = judge_answers(config, models[case.last_subset], further)
        parts = load(config, "test"), load(config, "composed")
        scores[TRUE] = np.concatenate([find_true_shares(x, config.protected) for x in parts])
        shapley = compute_shapley(truth).T
        innocent = find_named(case, models, own, labels)
        for name in TEXT & {*scores}:  # they read no model, so all of them are alike
            rows = scores[name][: len(labels)]
            rate = float(np.mean([find_rate(rows[labels == k], k) for k in corpora]))
            innocent[name] = {INNOCENT.name: rate, GUILTY.name: rate}
        for name, rows in scores.items():
            each = measure_lds(rows.T, truth[:, : len(rows)])
            ranks = np.nan_to_num(correlate_ranks(rows[:known], shapley[:known]))
            reached = {
                **metrics.get(name, {}),
                LDS.name: float(each[:known].mean()),
                **({LDS_SAMPLED.name: float(each[known:].mean())} if known < len(rows) else {}),
                RANKS_OF_CAUSES.name: float(ranks.mean()),
                **innocent.get(name, {}),
            }
            for metric, value in reached.items():
                out.setdefault(name, {}).setdefault(metric, []).append(value)
    return out


def find_named(
    case: AttributionCase,
    models: Mapping[int, Values],
    values: Float64[np.ndarray, "S N"],
    labels: Int64[np.ndarray, " pure"],
) -> dict[str, dict[str, float]]:
    """Return how often corpus k is named for its own documents: the largest score, above 0.

    By models that never read corpus k ("innocent"), and by one that has read all ("guilty");
    means over the corpora. The likelihood ratio of an innocent model to one that is retrained
    without k is that of a model to itself: 0.
    """
    config, rates = case.config, dict[str, dict[str, list[float]]]()
    first = count_documents(config)["val"]
    subsets = drop_one(config.protected)
    for k, subset in enumerate(subsets):
        which = first + np.flatnonzero(labels == k)
        for metric, at in ((INNOCENT, subset), (GUILTY, case.last_subset)):
            ratios = [values[at] - values[at & ~(1 << j)] for j in range(config.protected)]
            said = list_answers(config, models[at], {RATIO: np.stack(ratios, 1)})
            for name, rows in said.items():
                own = rates.setdefault(name, {}).setdefault(metric.name, [])
                own.append(find_rate(rows[which], k))
    return {
        name: {metric: float(np.mean(each)) for metric, each in own.items()}
        for name, own in rates.items()
        if INNOCENT.name in own
    }


def find_rate(rows: Float64[np.ndarray, "N K"], corpus: int) -> float:
    """Return the share of documents for which a corpus has the largest score, above 0."""
    return float(((rows.argmax(1) == corpus) & (rows[:, corpus] > 0)).mean())


def judge_seeds(
    case: AttributionCase, found: Found, configs: Mapping[int, AttributionConfig]
) -> Measured:
    """Return the metrics against T1 and T2 of all methods, one a seed."""
    out = Measured()
    for seed, models in found.items():
        metrics, _ = judge_answers(configs[seed], models[case.last_subset], {})
        for name, reached in metrics.items():
            for metric, value in reached.items():
                out.setdefault(name, {}).setdefault(metric, []).append(value)
    return out


def pair_causes(case: AttributionCase, found: Found) -> list[list[float]]:
    """Return (T1, T3) of each corpus of some composed documents, seeds averaged.

    T3: each Shapley value above 0, divided by the sum of these.
    """
    config = case.config
    values = np.mean([stack_values(models) for models in found.values()], 0)
    _, _, shapley, _ = split_asked(config, compute_shapley(values).T)
    truth = find_true_shares(load(config, "composed"), config.protected)
    pairs = np.stack([truth[:DRAWN], divide_gains(shapley.T).T[:DRAWN]], 2).reshape(-1, 2)
    return [[float(x) for x in pair] for pair in pairs.round(4)]
