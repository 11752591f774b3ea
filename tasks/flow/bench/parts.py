"""The parts of ``neuro bench flow``: rows, tables and two pictures.

A row is an arm in a context. ARFlow with its own past stands beside SiT; in every other context
it stands beside itself with its own past, by the same weights. A difference is shown where the
exact sign-flip test of the pairs is below 5 %, which takes at least six pairs.
"""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from neuro.plot import ACCENT, INK, STYLE
from tasks.bench.options import BenchOptions, MeasurePart
from tasks.bench.results import announce_trainings
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.flow.bench.samples import draw_strips
from tasks.flow.bench.settings import (
    FULL,
    QUICK,
    FlowScale,
    Part,
    find_baseline,
    list_settings,
    make_config,
    name_arm,
)
from tasks.flow.bench.train import (
    FILE,
    FLOOR,
    SECONDS,
    TEST,
    FlowResults,
    count_cost,
    list_missing,
    train_all,
)
from tasks.flow.evaluate import FAD, FEATURE_FD, MATCH
from tasks.measures.statistics import judge_pairs, summarise_seeds
from tasks.report.figures import save_png
from tasks.report.tables import make_table

OWN = "own"
MEASURED = (FEATURE_FD, FAD, MATCH)


def choose_scale(options: BenchOptions) -> FlowScale:
    """Return how much is trained."""
    return QUICK if options.quick else FULL


def measure(part: Part, options: BenchOptions) -> Iterator[Row]:
    """Yield a row an arm and context."""
    scale = choose_scale(options)
    yield from make_rows(part, train_all(part, scale, options.out, options.workers), scale)


PARTS: dict[str, MeasurePart] = {part: partial(measure, part) for part in FULL.cases}


def make_rows(part: Part, results: FlowResults, scale: FlowScale) -> Iterator[Row]:
    """Yield a row an arm and context, beside its baseline."""
    case, found = scale.cases[part], results.found
    settings = {name_arm(s, scale): s for s in list_settings(part, scale)}
    for arm, own in found.items():
        config = make_config(settings[arm], scale)
        contexts = dict.fromkeys(name.partition(": ")[0] for name in own if ": " in name)
        for context in contexts:
            alone = context == OWN
            peer = find_baseline(settings[arm], scale) if alone else f"{arm}, own past"
            beside = found.get(peer if alone else arm)
            ours = own[f"{context}: {FEATURE_FD.name}"]
            theirs = None if beside is None else beside[f"{OWN}: {FEATURE_FD.name}"]
            other = None if theirs is None else float(np.mean(theirs))
            judged = None if theirs is None else judge_pairs(ours, theirs, "lower")
            yield Row(
                case=f"{part}: {case.title}",
                subject=arm if alone else f"{arm}, {context} past",
                peer=peer if theirs is not None else "",
                unit=FEATURE_FD.label,
                ours=float(np.mean(ours)),
                theirs=other,
                ratio=find_ratio(float(np.mean(ours)), other),
                conditions={
                    "line": f"{settings[arm].arm}{'' if alone else f', {context} past'}",
                    "reached": {
                        m.name: asdict(summarise_seeds(own[f"{context}: {m.name}"]))
                        for m in MEASURED
                        if f"{context}: {m.name}" in own
                    },
                    "compared": None if judged is None else asdict(judged),
                    "real": {FLOOR: own[FLOOR][0], TEST: own[TEST][0]},
                    "cost": count_cost(config),
                    SECONDS: sum(own[SECONDS]) if alone else 0.0,
                    "seeds": list(case.seeds),
                    "classes": config.classes,
                    "samples": results.samples.get(arm, {}).get(context, ""),
                    "versions": list_versions("torch"),
                },
            )


def tabulate(part: str, rows: list[Row]) -> Iterator[Table]:  # noqa: ARG001
    """Yield a table a part: a line an arm and context, what it reaches, what a sample costs."""
    for case in dict.fromkeys(row.case for row in rows):
        own = [row for row in rows if row.case == case]
        columns = [m.label for m in MEASURED]
        costs = ("parameters", "MACs a call", "calls", "images seen")
        out = make_table(case, "", *columns, "beside", "difference", "p", *costs)
        for row in own:
            out.add_row(
                row.subject, *_list_reached(row), *_list_compared(row), *_list_costs(row)
            )
        real, seeds = own[0].conditions["real"], len(own[0].conditions["seeds"])
        out.caption = (
            f"mean ± deviation of {seeds} seeds; p of the sign-flip test of pairs, feature FD; "
            f"real images: half against half {real[FLOOR]:.2f}, test against training part "
            f"{real[TEST]:.2f}"
        )
        yield out


def _list_reached(row: Row) -> Iterator[str]:
    for metric in MEASURED:
        own = row.conditions["reached"].get(metric.name)
        spread = "" if own is None or own["sd"] is None else f" ± {metric.text(own['sd'])}"
        yield "" if own is None else f"{metric.text(own['mean'])}{spread}"


def _list_compared(row: Row) -> Iterator[str]:
    compared = row.conditions["compared"]
    yield row.peer
    yield "" if compared is None else f"{compared['difference']:+.3f}"
    yield "" if compared is None or compared["p"] is None else f"{compared['p']:.2f}"


def _list_costs(row: Row) -> Iterator[str]:
    for name in ("parameters", "macs", "calls", "images"):
        yield f"{row.conditions['cost'][name]:,}"


def announce(options: BenchOptions) -> str:
    """Return what is about to be trained, and where it is kept."""
    scale = choose_scale(options)
    parts: list[Part] = [p for p in scale.cases if not options.parts or p in options.parts]
    missing = sum(len(list_missing(p, scale, options.out)) for p in parts)
    every = sum(len(list_settings(p, scale)) for p in parts)
    return announce_trainings(missing, every, options.out / FILE, options.quick)


@mpl.rc_context(STYLE)
def draw(rows: list[Row], path: Path) -> list[Path]:
    """Draw the feature-FD of each arm and context, a panel a part; points are seeds.

    Bars; of a part with several lengths of training, lines over the images seen. Returns the
    path of a second picture: samples of all arms, from the same noise.
    """
    cases = list(dict.fromkeys(row.case for row in rows))
    figure = Figure((9.58, 0.8 + 2.8 * len(cases)), layout="constrained")
    panels = figure.subplots(len(cases), 1, squeeze=False)[:, 0]
    for ax, case in zip(panels, cases, strict=True):
        own = [row for row in rows if row.case == case]
        floor = own[0].conditions["real"][FLOOR]
        if len({row.conditions["cost"]["images"] for row in own}) > 1:
            _draw_lines(ax, own)
            ax.axhline(floor, color=INK, linestyle=":")
            ax.set(ylabel="feature-FD (dotted: real halves)", title=case)
        else:
            _draw_bars(ax, own[::-1])
            ax.axvline(floor, color=INK, linestyle=":")
            ax.set(xlabel="feature-FD (dotted: real halves)", title=case)
    save_png(figure, path)
    samples = path.with_name(f"{path.stem}_samples.png")
    draw_strips(rows, samples)
    return [samples]


def _draw_bars(ax: Axes, rows: list[Row]) -> None:
    ax.barh([r.subject for r in rows], [r.ours or 0.0 for r in rows], color=ACCENT)
    for k, row in enumerate(rows):
        seeds = row.conditions["reached"][FEATURE_FD.name]["seeds"]
        ax.plot(seeds, [k] * len(seeds), "o", color=INK, markersize=3)


def _draw_lines(ax: Axes, rows: list[Row]) -> None:
    for k, line in enumerate(dict.fromkeys(row.conditions["line"] for row in rows)):
        own = [row for row in rows if row.conditions["line"] == line]
        seen = [row.conditions["cost"]["images"] for row in own]
        ax.plot(seen, [row.ours or 0.0 for row in own], color=f"C{k}", label=line)
        for x, row in zip(seen, own, strict=True):
            seeds = row.conditions["reached"][FEATURE_FD.name]["seeds"]
            ax.plot([x] * len(seeds), seeds, "o", color=f"C{k}", markersize=3)
    every = sorted({row.conditions["cost"]["images"] for row in rows})
    ax.set(xscale="log", yscale="log", xlabel="images seen in training")
    ax.set_xticks(every, [f"{seen:,}" for seen in every], minor=False)
    ax.set_xticks([], minor=True)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.legend()
