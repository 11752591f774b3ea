"""Evaluation of attribution: pure documents, shares of composed ones, foreign documents.

The primary metric, fixed before any training, is ``total_variation``: the distance to the true
shares of composed documents. Axes: T tokens, N documents, K corpora.

The picture of shares along a document. Axes: T tokens, N documents, K corpora.

Operations of a spiking probe per document. Axes: T tokens, B documents.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from jaxtyping import Float64, Int64
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F

from neuro.io.run_folder import Run
from neuro.plot import STYLE
from tasks.attribution.answers import (
    Answer,
    Gap,
    answer_by_chains,
    answer_by_neighbours,
    answer_by_probe,
    find_true_shares,
    fit_text_models,
    measure_gap,
    require_learned,
)
from tasks.attribution.config import LEAST_GAP, AttributionConfig
from tasks.attribution.deployment import count_costs, count_probe_macs
from tasks.attribution.documents import (
    Documents,
    find_authors,
    find_segments,
    load,
    make_tokenizer,
)
from tasks.attribution.metrics import (
    correlate_ranks,
    measure_calibration,
    measure_divergence,
    measure_top1,
    measure_total_variation,
)
from tasks.attribution.model import (
    BATCH,
    AttributionModel,
    SpikingProbe,
    compute_log_likelihood,
    read_states,
    require_attribution,
)
from tasks.attribution.outside import (
    compare_foreign,
    draw_foreign,
    measure_foreign,
    tabulate_foreign,
)
from tasks.attribution.training import LOSS
from tasks.report.figures import save_png
from tasks.runs.share import track
from tasks.runs.task import ACCURACY, Findings, Metric, Picture, Table


@mpl.rc_context(STYLE)
def draw_shares(
    documents: Documents, along: Mapping[str, Float64[np.ndarray, "T N K"]], path: Path
) -> None:
    """Draw each method's shares along the document with the most switches."""
    sources, chosen = documents.sources, choose_example(documents)
    corpora = next(iter(along.values())).shape[2]
    truth = F.one_hot(sources, corpora).double().numpy()
    rows = {"true corpus": truth, **along}
    figure = Figure((6.4, 0.8 + 0.6 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (name, shares) in zip(axes, rows.items(), strict=True):
        ax.stackplot(np.arange(len(sources)), shares[:, chosen].T, step="post")
        ax.set_ylabel(name, rotation=0, ha="right", va="center")
        ax.set_yticks([])
        ax.set_ylim(0, 1)
        ax.set_xlim(0, len(sources) - 1)
    axes[-1].set_xlabel("token")
    save_png(figure, path)


def choose_example(documents: Documents) -> int:
    """Return the document with the most switches, the first of several."""
    sources = documents.sources
    return int((sources[1:] != sources[:-1]).sum(0).argmax())


def tabulate_example(
    config: AttributionConfig,
    pure: Documents,
    documents: Documents,
    answers: tuple[Answer, Answer],
) -> Table:
    """Return the first pure document, and a composed one segment by segment, with answers."""
    of_pure, answer = answers
    at, names = choose_example(documents), config.names[: config.protected]
    corpora = names or tuple(f"corpus {k + 1}" for k in range(config.protected))
    own = documents.select(torch.tensor([at]))
    tokens, along = own.tokens[:, 0].numpy(), np.asarray(answer.along)[:, at]

    def write(some: Int64[np.ndarray, " n"]) -> str:
        if config.source == "authors":
            return " ".join(map(str, some.tolist())) + " ..."
        text = make_tokenizer(config).decode(some).decode(errors="replace")
        return " ".join(text.split()) + " ..."

    first = find_segments(pure.sources[:, :1].numpy(), config)[0][1]
    text = write(pure.tokens[:READ, 0].numpy())
    rows: list[tuple[Any, ...]] = [("one source", text, corpora[first], *of_pure.pure[0])]
    rows += [
        (f"mixed, part {n}", write(tokens[a:b][:READ]), corpora[k], *along[a:b].mean(0))
        for n, (_, k, a, b) in enumerate(find_segments(own.sources.numpy(), config), 1)
    ]
    truth = find_true_shares(own, config.protected)[0]
    rows.append(("mixed, true shares", "", "", *truth))
    rows.append(("mixed, answered shares", "", "", *answer.shares[at]))
    return Table(
        title="Two texts and their sources",
        head=("", "text", "true source", *(f"answered: {name}" for name in corpora)),
        rows=[(*row[:3], *(f"{share:.0%}" for share in row[3:])) for row in rows],
        caption=(SYNTHETIC if config.source == "authors" else "")
        + f"Shown are the first {READ} tokens of each part. The probe learned from texts of "
        "one source, and its accuracy is of such texts alone. Mixed texts are harder: total "
        "variation is how far its shares of them are from the true ones.",
        example=True,
    )


@dataclass(frozen=True, kw_only=True)
class SpikingOperations:
    """Mean operations per document.

    events: events of the states, which are the input of the network.
    spikes: spikes of its neurons.
    synaptic: additions of a weight.
    updates: updates of neurons and of the read-out, one per token each.
    """

    events: float
    spikes: float
    synaptic: float
    updates: int


@torch.no_grad()
def measure_operations(model: AttributionModel, documents: Documents) -> SpikingOperations:
    """Return the operations of a spiking probe, as a mean over documents.

    Raises:
        TypeError: the probe is not a spiking one.
    """
    probe = model.probe
    if not isinstance(probe, SpikingProbe):
        raise TypeError(f"{type(probe).__name__} sends no spikes; take a model of arm alif")
    device, events, spikes = model.lm.embedding.weight.device, 0.0, 0.0
    hidden, corpora = probe.sizes
    for tokens in torch.split(documents.tokens, BATCH, 1):
        coded, _ = probe.code(read_states(model.lm, tokens.to(device)))
        events += float(coded.sum())
        spikes += float(probe.fire(coded).sum())
    events, spikes = events / len(documents), spikes / len(documents)
    return SpikingOperations(
        events=events,
        spikes=spikes,
        synaptic=events * hidden + spikes * (hidden + corpora),
        updates=len(documents.tokens) * (hidden + corpora),
    )


TV, TV_ALONG, TV_ORACLE, ECE = (
    Metric(name=name, better="lower", format=".3f", meaning=meaning)
    for name, meaning in {
        "total_variation": "distance to the true shares of mixed texts, from 0 to 1",
        "total_variation_along": "the same distance, for the mean answer along a text",
        "total_variation_to_oracle": "distance to the shares that the generators imply",
        "calibration_error": "gap between confidence and accuracy in texts of one corpus",
    }.items()
)
APART = "Jensen-Shannon divergence from the true shares"
JSD = Metric(name="jensen_shannon", better="lower", unit="nat", format=".3f", meaning=APART)
RANKS = Metric(name="spearman", format=".3f", meaning="rank correlation with the true shares")
LEARNED = "share of what can be learned about the corpora that the language model knows"
GAP = Metric(name="gap_closed", format=".1%", meaning=LEARNED)
OF_ANSWERS = (TV, TV_ALONG, TV_ORACLE, JSD, RANKS, ACCURACY, ECE)
METRICS = (*OF_ANSWERS, LOSS, GAP)
PROBE = "probe"
ORACLE = "oracle"
SYNTHETIC = "The texts are generated, one author per corpus: a number is a token. "
READ = 16  # tokens of the example that are shown, of each part
PICTURE = "shares.png"
OUTSIDE = "outside"  # name of the fact: how well each detector finds each kind of foreign text


def measure_answers(
    config: AttributionConfig,
    pure: Answer,
    composed: Answer,
    oracle: Float64[np.ndarray, "N K"] | None = None,
) -> dict[str, float]:
    """Return the metrics of the answers to both test parts. oracle: T2; None: unknown."""
    labels = load(config, "test").labels.numpy()
    truth = find_true_shares(load(config, "composed"), config.protected)
    ranks = correlate_ranks(composed.shares, truth)
    values = {
        TV.name: float(measure_total_variation(composed.shares, truth).mean()),
        JSD.name: float(measure_divergence(composed.shares, truth).mean()),
        # A document whose shares are all equal has no order.
        RANKS.name: float(np.nan_to_num(ranks).mean()),
        ACCURACY.name: float(measure_top1(pure.pure, labels).mean()),
        ECE.name: measure_calibration(pure.pure, labels),
    }
    if composed.along is not None:
        along = measure_total_variation(composed.along.mean(0), truth)
        values[TV_ALONG.name] = float(along.mean())
    if oracle is not None:
        to_oracle = measure_total_variation(composed.shares, oracle)
        values[TV_ORACLE.name] = float(to_oracle.mean())
    return values


def answer_all(
    config: AttributionConfig, model: AttributionModel
) -> dict[str, tuple[Answer, Answer]]:
    """Return each method's answers to (pure, composed) test documents, by method."""
    parts = load(config, "test"), load(config, "composed")
    chains = fit_text_models(config)
    if config.source == "authors":
        chains[ORACLE] = find_authors(config).select(config.protected)
    equal = [
        Answer(even, even)
        for even in (np.full((len(p), config.protected), 1 / config.protected) for p in parts)
    ]
    return {
        PROBE: (answer_by_probe(model, parts[0]), answer_by_probe(model, parts[1])),
        "k-NN": (
            answer_by_neighbours(config, model.lm, parts[0]),
            answer_by_neighbours(config, model.lm, parts[1]),
        ),
        **{
            name: (answer_by_chains(own, parts[0]), answer_by_chains(own, parts[1]))
            for name, own in track("models of text", chains.items())
        },
        "equal shares": (equal[0], equal[1]),
    }


def evaluate(run: Run, model: nn.Module) -> Findings:
    """Return the metrics of the arm, and those of text alone and of the oracle to compare.

    Raises:
        RunError: the language model behind a probe has not learned its corpora.
    """
    config, own = run.config, require_attribution(model)
    if config.is_lm:
        return _evaluate_lm(config, own, run.folder)
    check = require_learned if config.reads_trained_lm else measure_gap
    gap = check(config, own.lm)
    answers = answer_all(config, own)
    oracle = answers[ORACLE][1].shares if ORACLE in answers else None
    found = {
        name: measure_answers(config, pure, composed, oracle)
        for name, (pure, composed) in answers.items()
    }
    draw_shares(
        load(config, "composed"),
        {name: both[1].along for name, both in answers.items() if both[1].along is not None},
        run.folder / PICTURE,
    )
    facts, table, picture = _find_foreign(config, own, run.folder)
    return Findings(
        values={**found[PROBE], GAP.name: gap.closed},
        n=config.test,
        counted="documents of one corpus",
        notes={GAP.name: _tell_bounds(gap), TV.name: f"{config.composed:,} mixed documents"},
        facts={
            "arm": config.arm,
            "methods": found,
            "gap": {**vars(gap), "closed": gap.closed},
            "costs": {name: asdict(cost) for name, cost in count_costs(config).items()},
            OUTSIDE: facts,
        },
        tables=[
            tabulate_example(
                config, load(config, "test"), load(config, "composed"), answers[PROBE]
            ),
            *([_tabulate_oracle(found)] if ORACLE in found else []),
            table,
            _tabulate_costs(config),
            *_tabulate_operations(config, own),
        ],
        pictures=[
            Picture(
                file=PICTURE,
                title="Shares along a document",
                caption="The corpus of each token of a composed document, and what each method "
                "makes of it; colours are corpora.",
            ),
            picture,
        ],
        beside={name: x for name, x in found.items() if name not in (PROBE, ORACLE)},
    )


def _find_foreign(
    config: AttributionConfig, model: AttributionModel, folder: Path
) -> tuple[dict[str, Any], Table, Picture]:
    """Return the results of the foreign-document detectors: facts, a table and a picture."""
    compared = compare_foreign(config, model)
    found = measure_foreign(compared)
    facts = {
        name: {kind: asdict(one) for kind, one in own.items()} for name, own in found.items()
    }
    return facts, tabulate_foreign(found), draw_foreign(compared, folder)


def _evaluate_lm(config: AttributionConfig, model: AttributionModel, folder: Path) -> Findings:
    gap = measure_gap(config, model.lm)
    facts, table, picture = _find_foreign(config, model, folder)
    test = load(config, "test")
    nats = -float(compute_log_likelihood(model.lm, test).mean()) / config.tokens
    rows = [
        ("n-gram, not told the corpus", f"{gap.pooled:.4f}"),
        ("language model", f"{gap.nats:.4f}"),
        ("n-gram, told the corpus", f"{gap.aware:.4f}"),
    ]
    return Findings(
        values={LOSS.name: nats, GAP.name: gap.closed},
        n=len(test),
        counted="documents",
        notes={GAP.name: _tell_bounds(gap)},
        facts={
            "arm": config.arm,
            "gap": {**vars(gap), "closed": gap.closed},
            "costs": {name: asdict(cost) for name, cost in count_costs(config).items()},
            OUTSIDE: facts,
        },
        pictures=[picture],
        tables=[
            Table(
                title="What the language model has learned",
                head=("reader", "nat a token"),
                rows=rows,
                caption=f"On held-out documents; {_tell_bounds(gap)}. It closes "
                f"{gap.closed:.0%} of the gap, and is probed from {LEAST_GAP:.0%} on.",
            ),
            table,
            _tabulate_costs(config),
        ],
    )


def _tell_bounds(gap: Gap) -> str:
    return f"{'exact' if gap.exact else 'fitted n-grams as'} bounds"


def _tabulate_costs(config: AttributionConfig) -> Table:
    return Table(
        title="What it costs",
        head=("part", "parameters", "MACs a document", "documents read in training"),
        rows=[
            (name, f"{own.parameters:,}", f"{own.macs:,}", f"{own.documents:,}")
            for name, own in count_costs(config).items()
        ],
        caption="Each part is called once for a document. Documents count as often as they are "
        "read.",
    )


def _tabulate_operations(config: AttributionConfig, model: AttributionModel) -> list[Table]:
    """Return a table of spiking operations beside those of the LSTM; [] for other probes."""
    if not config.is_spiking:
        return []
    own = measure_operations(model, load(config, "test"))
    lstm = count_probe_macs(replace(config, arm="inner_probe"))
    dense = count_probe_macs(config)
    rows = [
        (
            "spiking probe: synaptic events",
            f"{own.synaptic:,.0f}",
            f"{own.synaptic / lstm:.1%}",
        ),
        ("spiking probe: updates of neurons", f"{own.updates:,}", f"{own.updates / lstm:.1%}"),
        ("the same layers without spikes: MACs", f"{dense:,}", f"{dense / lstm:.1%}"),
        ("LSTM of as many channels: MACs", f"{lstm:,}", "100.0%"),
    ]
    return [
        Table(
            title="Operations of the probe",
            head=("operation", "a document", "of the LSTM"),
            rows=rows,
            caption=f"Mean of {config.test:,} test documents: {own.events:,.0f} events of "
            f"{2 * len(config.layers) * config.width * config.tokens:,} that could be, and "
            f"{own.spikes:,.0f} spikes. A synaptic event is an addition.",
        )
    ]


def _tabulate_oracle(found: Mapping[str, Mapping[str, float]]) -> Table:
    return Table(
        title="The probe beside the best answer",
        head=("method", *(m.label for m in OF_ANSWERS)),
        rows=[(k, *(m.text(found[k][m.name]) for m in OF_ANSWERS)) for k in (PROBE, ORACLE)],
        caption="The oracle knows the generators of the texts, which no other reader does.",
    )
