"""How well each detector tells foreign documents from protected ones.

A detector compares a document with its bank: the documents that the probe was trained on.
Axes: T tokens, N documents, M others, D features, K corpora.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from jaxtyping import Float64, Int64
from matplotlib.figure import Figure
from torch import Tensor

from drivers.text import Authors
from neuro.plot import INK, STYLE
from tasks.attribution.answers import fit_text_models
from tasks.attribution.config import AttributionConfig
from tasks.attribution.detectors import (
    KINDS,
    NEIGHBOURS,
    Contrast,
    Foreign,
    Projector,
    Views,
    crop_tokens,
    fit_gaussians,
    list_foreign,
    load_foreign,
    load_known,
    project,
    score_compressed,
    score_cosine,
    score_energy,
    score_mahalanobis,
    score_neighbours,
    score_perplexity,
    score_relative,
    score_softmax,
    shuffle_tokens,
    train_filter,
)
from tasks.attribution.documents import Documents, find_authors, load
from tasks.attribution.metrics import Detection, measure_detection, trace_roc
from tasks.attribution.model import (
    BATCH,
    AttributionModel,
    SpikingProbe,
    compute_log_likelihood,
    read_states,
)
from tasks.report.figures import save_png
from tasks.runs.task import Picture, Table

CROPS = 103  # purpose of random draws
PICTURE = "roc.png"
ORACLE, N_GRAM = "oracle", "n-gram perplexity"
Tokens = Int64[Tensor, "T N"]
Detector = Callable[["ModelReading"], Float64[np.ndarray, " N"]]
Scores = Mapping[str, Float64[np.ndarray, " N"]]  # by detector


@dataclass(frozen=True, eq=False)
class ModelReading:
    """What a model computes for documents.

    nats: -log p under the language model.
    features, logits: means over the tokens in the probe; None without a probe.
    """

    tokens: Tokens
    nats: Float64[np.ndarray, " N"]
    features: Float64[np.ndarray, "N D"] | None
    logits: Float64[np.ndarray, "N K"] | None


@dataclass(frozen=True, eq=False)
class Compared:
    """Scores of the foreign documents of a kind, and of the known ones compared with them."""

    known: Scores
    foreign: Mapping[str, Float64[np.ndarray, " M"]]


@torch.no_grad()
def read_documents(model: AttributionModel, tokens: Tokens) -> ModelReading:
    """Return what a model computes for documents."""
    nats = -compute_log_likelihood(model.lm, Documents(tokens, torch.zeros_like(tokens)))
    if model.probe is None:
        return ModelReading(tokens, nats.numpy(), None, None)
    features, logits = _pool(model, tokens)
    return ModelReading(tokens, nats.numpy(), features, logits)


def pool_states(model: AttributionModel, tokens: Tokens) -> Float64[np.ndarray, "N D"]:
    """Return the mean over the tokens of the input of the probe's read-out.

    In a spiking probe these are the rates of its neurons.

    Raises:
        ValueError: the model has no probe.
    """
    return _pool(model, tokens)[0]


@torch.no_grad()
def _pool(
    model: AttributionModel, tokens: Tokens
) -> tuple[Float64[np.ndarray, "N D"], Float64[np.ndarray, "N K"]]:
    """Return (pooled states, logits)."""
    probe = model.probe
    if probe is None:
        raise ValueError('arm "lm" has no probe, whose states could be pooled; set another arm')
    device = model.lm.embedding.weight.device
    model.eval()
    pooled, answers = list[Tensor](), list[Tensor]()
    for some in torch.split(tokens, BATCH, 1):
        states = read_states(model.lm, some.to(device))
        if isinstance(probe, SpikingProbe):
            hidden = probe.fire(probe.code(states)[0])
        else:
            hidden = probe.read(states)[0]
        pooled.append(hidden.mean(0))
        answers.append(probe(states)[0].mean(0))
    return (
        np.asarray(torch.cat(pooled).double().cpu().numpy()),
        np.asarray(torch.cat(answers).double().cpu().numpy()),
    )


def make_views(config: AttributionConfig, model: AttributionModel, crops: int) -> Views:
    """Return the states of half-length crops of the probe's training documents."""
    train = load(config, "train")
    rng = np.random.default_rng([config.seed_of_data, CROPS])
    cut = crop_tokens(train.tokens, crops, max(2, config.tokens // 2), rng)
    both = [
        torch.from_numpy(pool_states(model, some.flatten(1))).float().view(*some.shape[1:], -1)
        for some in (cut, shuffle_tokens(cut, rng))
    ]
    return Views(both[0], both[1], train.labels)


def make_detectors(
    config: AttributionConfig, model: AttributionModel, contrast: Contrast
) -> dict[str, Detector]:
    """Return every detector by its name: of inner states, of the text, and the oracle.

    Detectors of inner states need a probe. The oracle knows the generators of the protected and
    of the foreign corpora, so it exists for generated authors only.
    """
    return {
        **(_detect_by_states(config, model, contrast) if model.probe is not None else {}),
        "perplexity": lambda read: score_perplexity(read.nats, len(read.tokens)),
        "perplexity / zlib": lambda read: score_compressed(read.nats, read.tokens.numpy()),
        **_detect_by_text(config),
    }


def _detect_by_states(
    config: AttributionConfig, model: AttributionModel, contrast: Contrast
) -> dict[str, Detector]:
    train = load(config, "train")
    bank, labels = pool_states(model, train.tokens), train.labels.numpy()
    gaussians = fit_gaussians(bank, labels)
    near = min(NEIGHBOURS, len(bank))
    views = make_views(config, model, contrast.crops)
    out: dict[str, Detector] = {
        "softmax": lambda read: score_softmax(_require(read.logits)),
        "energy": lambda read: score_energy(_require(read.logits)),
        "Mahalanobis": lambda read: score_mahalanobis(gaussians, _require(read.features)),
        "relative Mahalanobis": lambda read: score_relative(gaussians, _require(read.features)),
        "k-NN": lambda read: score_neighbours(bank, _require(read.features), near),
    }
    for kind in KINDS:
        made = train_filter(kind, views, contrast, config.seed_of_lm)
        own = project(made, bank)
        out[f"filter, {kind}"] = partial(_detect_by_filter, made, own, near)
        out[f"filter, {kind}, cosine"] = partial(_detect_by_cosine, made, own)
    return out


def _detect_by_filter(
    made: Projector, bank: Float64[np.ndarray, "M P"], near: int, read: ModelReading
) -> Float64[np.ndarray, " N"]:
    return score_neighbours(bank, project(made, _require(read.features)), near)


def _detect_by_cosine(
    made: Projector, bank: Float64[np.ndarray, "M P"], read: ModelReading
) -> Float64[np.ndarray, " N"]:
    return score_cosine(bank, project(made, _require(read.features)), by_length=True)


def _detect_by_text(config: AttributionConfig) -> dict[str, Detector]:
    """Return detectors on the text: -log of the mean of p_k(y) over n-grams k, per token.

    The oracle uses the generators instead, without dividing by the tokens, and subtracts the
    same quantity for all corpora that are not protected.
    """
    chains = fit_text_models(config)["n-gram"]
    out: dict[str, Detector] = {
        N_GRAM: lambda read: -_mix(chains, read.tokens, slice(None)) / len(read.tokens)
    }
    if config.source == "authors" and config.corpora > config.protected:
        authors = find_authors(config)
        own, rest = slice(config.protected), slice(config.protected, None)
        out[ORACLE] = lambda read: (
            _mix(authors, read.tokens, rest) - _mix(authors, read.tokens, own)
        )
    return out


def _mix(chains: Authors, tokens: Tokens, which: slice) -> Float64[np.ndarray, " N"]:
    log_p = chains.compute_log_p(tokens.numpy())[which].sum(1)
    return np.asarray(np.logaddexp.reduce(log_p) - np.log(len(log_p)))


def _require(values: Float64[np.ndarray, "N _"] | None) -> Float64[np.ndarray, "N _"]:
    if values is None:
        raise ValueError("a detector of inner states was given none; read with a probe")
    return values


def compare_foreign(
    config: AttributionConfig, model: AttributionModel
) -> dict[Foreign, Compared]:
    """Return the scores of every detector, by kind of foreign documents."""
    detectors = make_detectors(config, model, Contrast())
    known: dict[int, Scores] = {}
    out = dict[Foreign, Compared]()
    for kind in list_foreign(config):
        control = int(kind == "fresh")
        if control not in known:
            known[control] = _score(detectors, model, load_known(config, kind))
        foreign = _score(detectors, model, load_foreign(config, model.lm, kind))
        out[kind] = Compared(known[control], foreign)
    return out


def _score(
    detectors: Mapping[str, Detector], model: AttributionModel, tokens: Tokens
) -> Scores:
    read = read_documents(model, tokens)
    return {name: detect(read) for name, detect in detectors.items()}


def measure_foreign(
    compared: Mapping[Foreign, Compared],
) -> dict[str, dict[Foreign, Detection]]:
    """Return how well each detector finds each kind."""
    names = next(iter(compared.values())).known
    return {
        name: {
            kind: measure_detection(both.known[name], both.foreign[name])
            for kind, both in compared.items()
        }
        for name in names
    }


def tabulate_foreign(found: Mapping[str, Mapping[Foreign, Detection]]) -> Table:
    """Return a table with one row per detector and one column per kind."""
    kinds: Sequence[Foreign] = list(next(iter(found.values())))
    first = next(iter(found.values()))
    chance = ", ".join(
        f"{kind} {one.foreign / (one.foreign + one.known):.2f}" for kind, one in first.items()
    )
    return Table(
        title="Documents from outside",
        head=("detector", *kinds),
        rows=[
            (
                name,
                *(f"{d.auroc:.3f} / {d.aupr:.3f} / {d.fpr95:.0%}" for d in own.values()),
            )
            for name, own in found.items()
        ],
        caption="AUROC / AUPR / FPR95 against protected test documents. Free: of corpora that "
        "the language model has read; unseen: of others; spliced: protected and unseen; "
        "generated: by the language model under a protected and a free prompt. Fresh is a "
        "control: protected documents that the language model has not read against those that "
        f"it has; 0.5 means no memory. AUPR by chance: {chance}.",
    )


@mpl.rc_context(STYLE)
def draw_foreign(compared: Mapping[Foreign, Compared], folder: Path) -> Picture:
    """Draw the ROC curves of all detectors into a folder, one panel per kind."""
    figure = Figure((9.58, 2.9), layout="constrained")
    panels = figure.subplots(1, len(compared), sharey=True, squeeze=False)[0]
    colours = mpl.colormaps["tab20"](range(20))
    for ax, (kind, both) in zip(panels, compared.items(), strict=True):
        for colour, name in zip(colours, both.known, strict=False):  # at most 15 detectors
            fpr, tpr = trace_roc(both.known[name], both.foreign[name])
            ax.plot(fpr, tpr, color=colour, linewidth=1, label=name)
        ax.plot([0, 1], [0, 1], ":", color=INK, linewidth=0.8)
        ax.set(title=kind, xlabel="false positives", xticks=[0, 0.5, 1])
    panels[0].set(ylabel="found")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=7)
    save_png(figure, folder / PICTURE)
    return Picture(
        file=PICTURE,
        title="Documents from outside",
        caption="The share of foreign documents that a detector finds, over the share of "
        "protected ones that it takes for foreign; dotted: chance.",
    )
