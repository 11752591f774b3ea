"""The parts of ``neuro bench attribution``: rows, tables and a picture.

A row is a method. It stands beside the n-gram on the text alone, by pairs of the same seed: in
"causes" by the LDS, elsewhere by the total variation to T1. A difference is shown where the
exact sign-flip test is below 5 %, which takes six pairs or more. Seeds of "causes" share data.
"outside" is :mod:`tasks.attribution.bench.outside`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from neuro.plot import ACCENT, INK, STYLE
from tasks.attribution.bench import outside
from tasks.attribution.bench.judge import (
    GUILTY,
    INNOCENT,
    LDS,
    LDS_SAMPLED,
    RANKS_OF_CAUSES,
    Measured,
    judge_causes,
    judge_seeds,
    pair_causes,
)
from tasks.attribution.bench.settings import (
    FULL,
    QUICK,
    AttributionCase,
    AttributionScale,
    Part,
    list_settings,
    make_config,
)
from tasks.attribution.bench.train import FILE, GAP, SECONDS, Found, list_missing, train_all
from tasks.attribution.deployment import count_costs
from tasks.attribution.evaluate import ECE, JSD, RANKS, TV, TV_ORACLE
from tasks.attribution.retrain import count_cost
from tasks.bench.options import BenchOptions, MeasurePart
from tasks.bench.results import announce_trainings
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.measures.statistics import judge_pairs, summarise_seeds
from tasks.report.figures import save_png
from tasks.report.tables import make_table
from tasks.runs.task import ACCURACY, Metric

NGRAM = "n-gram"
AGAINST_TEXT = (ACCURACY, TV, TV_ORACLE, JSD, RANKS, ECE)
AGAINST_CAUSES = (LDS, LDS_SAMPLED, RANKS_OF_CAUSES, INNOCENT, GUILTY)
POINTS = "points"  # of T1 and T3
COST = "cost"  # of an arm, by part
COSTED = ("lm", "probe")


def choose_scale(options: BenchOptions) -> AttributionScale:
    """Return how much is trained."""
    return QUICK if options.quick else FULL


def measure(part: Part, options: BenchOptions) -> Iterator[Row]:
    """Yield a row a method."""
    scale = choose_scale(options)
    found = train_all(part, scale, options.out, options.workers)
    yield from make_rows(part, found, scale)


PARTS: dict[str, MeasurePart] = {
    **{part: partial(measure, part) for part in FULL.cases},
    outside.PART: outside.measure,
}


def judge(part: Part, found: Found, scale: AttributionScale) -> Measured:
    """Return the metrics of all methods of a part."""
    case = scale.cases[part]
    if case.retrained:
        return judge_causes(case, found)
    configs = {s.seed: make_config(s, scale) for s in list_settings(part, scale)}
    return judge_seeds(case, found, configs)


def make_rows(part: Part, found: Found, scale: AttributionScale) -> Iterator[Row]:
    """Yield a row a method beside the n-gram: by LDS, or by total variation."""
    case = scale.cases[part]
    metric, unit = (LDS, "LDS") if case.retrained else (TV, "total variation")
    measured = judge(part, found, scale)
    theirs = measured[NGRAM][metric.name]
    models = [own for seed in found.values() for own in seed.values()]
    for name, reached in measured.items():
        if metric.name not in reached:
            continue
        ours, alone = reached[metric.name], name == NGRAM
        judged = None if alone else judge_pairs(ours, theirs, metric.better)
        mean, other = float(np.mean(ours)), float(np.mean(theirs))
        yield Row(
            case=f"{part}: {case.title}",
            subject=name,
            peer="" if alone else NGRAM,
            unit=unit,
            ours=mean,
            theirs=None if alone else other,
            ratio=None if alone else find_ratio(mean, other, metric.better),
            conditions={
                "reached": {k: asdict(summarise_seeds(v)) for k, v in reached.items()},
                "compared": None if judged is None else asdict(judged),
                "models": len(models),
                GAP: asdict(
                    summarise_seeds(own[case.last_subset][GAP][0][0] for own in found.values())
                ),
                SECONDS: sum(own[SECONDS][0][0] for own in models),
                "seeds": list(case.seeds),
                "versions": list_versions("torch"),
                COST: _count_cost(case, name),
                **({POINTS: pair_causes(case, found)} if alone and case.retrained else {}),
            },
        )


def _count_cost(case: AttributionCase, method: str) -> dict[str, dict[str, int]] | None:
    """Return the cost of a method's language model and probe; None of one without a probe."""
    if method not in case.probes:
        return None
    found = count_costs(replace(case.config, arm=case.probes[method]))
    return {part: asdict(cost) for part, cost in found.items()}


def _tabulate_costs(title: str, rows: list[Row]) -> Table:
    heads = ("parameters", "MACs a document", "documents read")
    out = make_table(title, "", *(f"{head}, {part}" for part in COSTED for head in heads))
    for row in rows:
        if cost := row.conditions[COST]:
            told = [f"{n:,}" for part in COSTED for n in cost[part].values()]
            out.add_row(row.subject, *told)
    out.caption = (
        "each network is called once for a document; MACs of the spiking probe are those of "
        "its layers without spikes"
    )
    return out


def tabulate(part: str, rows: list[Row]) -> Iterator[Table]:
    """Yield tables of a part: against the text's truths, against the causes, of costs.

    Of detectors: a table for each kind of documents from outside.
    """
    if part == outside.PART:
        yield from outside.tabulate(part, rows)
        return
    for case in dict.fromkeys(row.case for row in rows):
        own = [row for row in rows if row.case == case]
        about = own[0].conditions
        caption = (
            f"mean ± deviation of {len(about['seeds'])} seeds; language models of all corpora "
            f"close {about[GAP]['mean']:.0%} of the gap; {about['models']} language models and "
            f"their probes took {about[SECONDS] / 60:.1f} CPU minutes"
        )
        yield _tabulate_metrics(f"{case}, shares", own, AGAINST_TEXT, caption)
        if any(LDS.name in row.conditions["reached"] for row in own):
            told = (
                "LDS of held-out and of sampled documents, and Spearman's correlation of a "
                "document, against the models of other seeds; the difference is of LDS; "
                "innocent: documents of a corpus for which it is named by a model that never "
                "read it; guilty: by one that did"
            )
            yield _tabulate_metrics(f"{case}, causes", own, AGAINST_CAUSES, told)
        yield _tabulate_costs(f"{case}, costs", own)


def _tabulate_metrics(
    title: str, rows: list[Row], metrics: tuple[Metric, ...], caption: str
) -> Table:
    by = LDS if LDS.name in rows[0].conditions["reached"] else TV
    compared = by in metrics and any(row.conditions["compared"] for row in rows)
    beside = ("against", "difference", "p") if compared else ()
    out = make_table(title, "", *(m.label for m in metrics), *beside)
    for row in rows:
        reached = row.conditions["reached"]
        if any(m.name in reached for m in metrics):
            told = [_tell(m, reached.get(m.name)) for m in metrics]
            out.add_row(row.subject, *told, *(_list_compared(row) if compared else ()))
    out.caption = caption
    return out


def _tell(metric: Metric, summary: Mapping[str, Any] | None) -> str:
    if summary is None:
        return ""
    spread = "" if summary["sd"] is None else f" ± {metric.text(summary['sd'])}"
    return f"{metric.text(summary['mean'])}{spread}"


def _list_compared(row: Row) -> Iterator[str]:
    compared = row.conditions["compared"]
    yield row.peer
    yield "" if compared is None else f"{compared['difference']:+.3f}"
    yield "" if compared is None or compared["p"] is None else f"{compared['p']:.3f}"


def announce(options: BenchOptions) -> str:
    """Return what is about to be trained, what that costs, and where it is kept."""
    scale = choose_scale(options)
    parts: list[Part] = [p for p in scale.cases if not options.parts or p in options.parts]
    missing = sum(len(list_missing(p, scale, options.out)) for p in parts)
    every = sum(len(list_settings(p, scale)) for p in parts)
    told = announce_trainings(missing, every, options.out / FILE, options.quick)
    costs = [
        f"{part}: {count_cost(case.config, len(case.seeds)).describe()}"
        for part, case in ((p, scale.cases[p]) for p in parts)
        if case.retrained
    ]
    return "; ".join([told, *costs, *outside.announce(options)])


@mpl.rc_context(STYLE)
def draw(rows: list[Row], path: Path) -> list[Path]:
    """Draw each method's metric, a panel a part, and T3 over T1; points are seeds.

    Detectors have a picture of their own, whose name ends with that of the part where there
    are others. Return it.
    """
    own = [row for row in rows if row.unit != outside.UNIT]
    foreign = [row for row in rows if row not in own]
    beside = path.with_stem(f"{path.stem}-{outside.PART}") if own else path
    if foreign:
        outside.draw(foreign, beside)
    if own:
        _draw_methods(own, path)
    return [beside] if own and foreign else []


def _draw_methods(rows: list[Row], path: Path) -> None:
    cases = list(dict.fromkeys(row.case for row in rows))
    figure = Figure((9.58, 0.8 + 4.0 * len(cases)), layout="constrained")
    panels = figure.subplots(len(cases), 2, squeeze=False, width_ratios=(2, 1))
    for (ax, beside), case in zip(panels, cases, strict=True):
        own = [row for row in rows if row.case == case][::-1]
        names = [row.subject for row in own]
        ax.barh(names, [row.ours or 0.0 for row in own], color=ACCENT)
        metric = LDS if own[0].unit == "LDS" else TV
        for k, row in enumerate(own):
            seeds = row.conditions["reached"][metric.name]["seeds"]
            ax.plot(seeds, [k] * len(seeds), "o", color=INK, markersize=3)
        ax.set(xlabel=own[0].unit, title=case)
        _draw_points(beside, own)
    save_png(figure, path)


def _draw_points(ax: Axes, rows: list[Row]) -> None:
    """Draw T3 over T1 of composed documents; nothing where no subset was retrained."""
    points = [pair for row in rows for pair in row.conditions.get(POINTS, [])]
    ax.set_visible(bool(points))
    if points:
        ax.plot(*np.transpose(points), "o", color=ACCENT, markersize=2)
        ax.plot((0, 1), (0, 1), color=INK, linestyle=":")
        ax.set(xlabel="share of the segments (T1)", ylabel="share of the causes (T3)")
