"""The parts of ``neuro bench hybrids``: what cells reach as rows, findings and picture."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from neuro.plot import INK, LINE, MUTED
from tasks.bench.options import BenchOptions, MeasurePart
from tasks.bench.plot import STYLE
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.language.bench.cells import (
    FULL,
    QUICK,
    SOFTMAX,
    TEXT,
    TRAINED,
    VARIANTS,
    Part,
    Scale,
    name_ratio,
)
from tasks.language.bench.findings import judge_recall, judge_text
from tasks.language.bench.train import (
    FILE,
    SECONDS,
    Found,
    estimate_seconds,
    list_missing,
    train_all,
)
from tasks.language.recall import count_choices
from tasks.measures.statistics import summarise_seeds
from tasks.report.figures import save_png
from tasks.report.tables import make_table

BITS = "bits per byte"


def choose_scale(options: BenchOptions) -> Scale:
    """Return how large what is options for is."""
    return QUICK if options.quick else FULL


def measure(part: Part, options: BenchOptions) -> Iterator[Row]:
    """Yield right answers on synthetic recall, or bits per byte on text, and what they show."""
    scale = choose_scale(options)
    trained = train_all(part, scale, options.out, options.workers)
    for task in TRAINED[part]:
        yield from make_rows(trained, scale, task)
    yield from (judge_recall if part == "recall" else judge_text)(trained, scale)


PARTS: dict[str, MeasurePart] = {part: partial(measure, part) for part in TRAINED}


def make_rows(trained: Found, scale: Scale, task: str) -> Iterator[Row]:
    """Yield a row a stack, beside softmax attention alone."""
    shares = task != TEXT
    factor, better = (100.0, "higher") if shares else (1.0, "lower")
    reference = (SOFTMAX, scale.layers)
    sides = {
        stack: asdict(summarise_seeds(factor * value for value in own[task]))
        for stack, own in trained.items()
    }
    theirs = sides[reference]
    for stack, ours in sides.items():
        ratio = name_ratio(scale.layers, stack[1])
        yield Row(
            case=task,
            subject=SOFTMAX if stack == reference else f"{VARIANTS[stack[0]]} {ratio}",
            peer=SOFTMAX,
            unit="% right" if shares else BITS,
            ours=ours["mean"],
            theirs=theirs["mean"],
            ratio=find_ratio(ours["mean"], theirs["mean"], better),
            conditions={
                "mixer": VARIANTS.get(stack[0], SOFTMAX),
                "ratio": ratio,
                "better": better,
                "chance": 100 / count_choices(scale.sizes)[task] if shares else None,
                "ours": ours,
                "theirs": theirs,
                "cpu_seconds": float(np.mean(trained[stack][SECONDS])),
                "scale": repr(scale),
                "versions": list_versions("torch"),
            },
        )


def announce(options: BenchOptions) -> str:
    """Return what is about to be trained, and how long that takes on this machine."""
    scale = choose_scale(options)
    parts = [p for p in TRAINED if not options.parts or p in options.parts]
    every = [len(list_missing(p, scale, options.out)) for p in parts]
    missing = [cell for p in parts for cell in list_missing(p, scale, options.out)]
    seconds = estimate_seconds(missing, scale)
    amounts = " and ".join(f"{n} of {p}" for n, p in zip(every, parts, strict=True))
    return (
        f"{amounts} trainings are to be made, about {seconds / 60:.0f} CPU minutes, "
        f"{seconds / 60 / options.workers:.0f} minutes with --workers {options.workers}; each "
        f"is kept in {options.out / FILE}, and the same command goes on after an interruption"
        f"{'; networks too small to judge' if options.quick else ''}"
    )


# Colours that people with any sight tell apart (Okabe and Ito 2008), and marks.
LINES = (
    *(("#999999", "o-"), ("#E69F00", "s-"), ("#56B4E9", "^-")),
    *(("#009E73", "D-"), ("#D55E00", "v-"), ("#CC79A7", "x-")),
)
ASIDE = 0.05  # by which lines stand beside each other


def list_figures(rows: list[Row]) -> list[Row]:
    """Return the rows of stacks, without those of findings."""
    return [row for row in rows if "mixer" in row.conditions]


def tabulate(part: str, rows: list[Row]) -> Iterator[Table]:  # noqa: ARG001
    """Yield a table a task: a line a mixer, a column a ratio, mean ± deviation over seeds."""
    shown = list_figures(rows)
    ratios = list(dict.fromkeys(row.conditions["ratio"] for row in shown))
    for case in dict.fromkeys(row.case for row in shown):
        own = [row for row in shown if row.case == case]
        out = make_table(f"{case} [{own[0].unit}], linear : softmax layers", "mixer", *ratios)
        for mixer in dict.fromkeys(row.conditions["mixer"] for row in own):
            cells = {
                r.conditions["ratio"]: _cell(r) for r in own if r.conditions["mixer"] == mixer
            }
            out.add_row(mixer, *(cells.get(ratio, "") for ratio in ratios))
        about = own[0].conditions
        chance = "" if about["chance"] is None else f", a guess: {about['chance']:.3g}"
        seeds = len(about["ours"]["seeds"])
        out.caption = f"mean ± deviation, seeds: {seeds}, {about['better']} is better{chance}"
        yield out


def _cell(row: Row) -> str:
    sd = row.conditions["ours"]["sd"]
    digits = 1 if row.conditions["better"] == "higher" else 3
    spread = "" if sd is None else f" ± {sd:.{digits}f}"
    return f"{row.ours:.{digits}f}{spread}"


@mpl.rc_context(STYLE)
def draw(rows: list[Row], path: Path) -> None:
    """Draw a panel a task: what each mixer reaches against the ratio, means and seeds."""
    shown = list_figures(rows)
    cases = list(dict.fromkeys(row.case for row in shown))
    figure = Figure((3.4 * len(cases), 3.8), layout="constrained")
    panels = figure.subplots(1, len(cases), squeeze=False)[0]
    for ax, case in zip(panels, cases, strict=True):
        _draw_case(ax, [row for row in shown if row.case == case])
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=8, fontsize=8
    )
    save_png(figure, path)


def _draw_case(ax: Axes, rows: list[Row]) -> None:
    linear = [row for row in rows if row.conditions["mixer"] != SOFTMAX]
    ratios = list(dict.fromkeys(row.conditions["ratio"] for row in linear))
    mixers = list(dict.fromkeys(row.conditions["mixer"] for row in linear))
    for k, (mixer, (colour, form)) in enumerate(zip(mixers, LINES, strict=False)):
        own = [row for row in linear if row.conditions["mixer"] == mixer]
        places = [
            ratios.index(row.conditions["ratio"]) + ASIDE * (k - len(mixers) / 2) for row in own
        ]
        means = [float(row.ours or 0) for row in own]
        ax.plot(places, means, form, color=colour, markersize=4, linewidth=1.2, label=mixer)
        _mark_seeds(ax, places, own, colour)
    (top,) = (row for row in rows if row.conditions["mixer"] == SOFTMAX)
    level = float(top.ours or 0)
    ax.axhline(level, color=INK, linewidth=1, linestyle="--", label=SOFTMAX)
    _mark_seeds(ax, [float(len(ratios))], [top], INK)
    if (chance := top.conditions["chance"]) is not None:
        ax.axhline(chance, color=MUTED, linewidth=1, linestyle=":", label="guess")
        ax.set_ylim(-3, 103)
    ax.set_xticks(range(len(ratios) + 1), [*ratios, SOFTMAX])
    ax.set(title=top.case, ylabel=top.unit, xlabel="linear : softmax layers")
    ax.grid(axis="y", color=LINE, linewidth=0.5)


def _mark_seeds(ax: Axes, places: Sequence[float], rows: Sequence[Row], colour: str) -> None:
    """Mark what each seed reached: a training that learnt late is far from the others."""
    for place, row in zip(places, rows, strict=True):
        seeds = row.conditions["ours"]["seeds"]
        ax.plot([place] * len(seeds), seeds, "o", color=colour, markersize=3, alpha=0.45)
