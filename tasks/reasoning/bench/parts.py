"""The parts of ``neuro bench reasoning``: rows, tables and a picture.

An arm stands beside no chain of thought, and beside pauses with the same curriculum: same
seeds, items, batches and initial weights. A difference is shown where the exact sign-flip test
of the pairs is below 5 %, which takes at least six pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from neuro.plot import ACCENT, INK, STYLE
from tasks.bench.options import BenchOptions, MeasurePart
from tasks.bench.results import announce_trainings
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.measures.statistics import judge_pairs, summarise_seeds
from tasks.reasoning.bench.settings import (
    FULL,
    QUICK,
    Part,
    ReasoningScale,
    ReasoningSetting,
    list_settings,
    make_config,
)
from tasks.reasoning.bench.train import (
    EXIT,
    EXIT_DEPTH,
    FILE,
    RECALLED,
    SECONDS,
    STOPPED,
    BySeed,
    Found,
    count_cost,
    list_missing,
    name_depth,
    split_orders,
    train_all,
)
from tasks.reasoning.loop import CHIP, LOOPS, name_loop
from tasks.report.figures import save_png
from tasks.report.tables import make_table
from tasks.runs.task import ACCURACY

EXPLAINED = {  # shares beside exact answers, where an arm has them
    STOPPED: "no thoughts: the trained network, stopped before its first thought",
    RECALLED: "recalled: questions of the training, filled in from their answers by the last "
    "weights",
}


def choose_scale(options: BenchOptions) -> ReasoningScale:
    """Return how much is trained."""
    return QUICK if options.quick else FULL


def measure(part: Part, options: BenchOptions) -> Iterator[Row]:
    """Yield a row an arm."""
    scale = choose_scale(options)
    yield from make_rows(part, train_all(part, scale, options.out, options.workers), scale)


PARTS: dict[str, MeasurePart] = {part: partial(measure, part) for part in FULL.cases}


def compare_accuracies(ours: BySeed, theirs: BySeed) -> dict[str, Any]:
    """Return how shares of exact answers differ, by pairs of one seed.

    points: mean difference [percentage points]. p: of the exact sign-flip test; None with one
    pair. verdict: whether ours are better or worse.
    """
    seeds = [seed for seed in ours if seed in theirs]
    judged = asdict(judge_pairs([ours[k] for k in seeds], [theirs[k] for k in seeds], "higher"))
    return {"points": 100 * judged.pop("difference"), **judged}


def make_rows(part: Part, found: Found, scale: ReasoningScale) -> Iterator[Row]:
    """Yield a row an arm, beside the controls of the part; pairs are seeds that both have.

    Where a part asks for it, the weights of a diffusion have a row an order of filling.
    """
    case, name = scale.cases[part], ACCURACY.name
    peer = case.controls[0]
    for arm, values in found.items():
        config = make_config(ReasoningSetting(part=part, arm=arm, seed=scale.seeds[0]), scale)
        for title, own in split_orders(arm, values).items():
            if title != arm and not case.by_order:
                continue
            ours, theirs = (_average(x[name]) for x in (own, found[peer]))
            yield Row(
                case=f"{part}: {case.title}",
                subject=title,
                peer=peer,
                unit="exact answers",
                ours=ours,
                theirs=theirs,
                ratio=find_ratio(ours, theirs, "higher"),
                conditions={
                    "reached": {
                        k: asdict(summarise_seeds(v.values()))
                        for k, v in own.items()
                        if k != SECONDS
                    },
                    "compared": {
                        control: compare_accuracies(own[name], found[control][name])
                        for control in case.controls
                        if control != arm
                    },
                    "cost": count_cost(config, _average(own["said_words"])),
                    SECONDS: sum(own[SECONDS].values()),
                    "seeds": list(own[name]),
                    "versions": list_versions("torch"),
                },
            )


def _average(values: BySeed) -> float:
    return float(np.mean(list(values.values())))


def tabulate(part: str, rows: list[Row]) -> Iterator[Table]:  # noqa: ARG001
    """Yield a table a part: a line an arm, what it reaches, and what an answer costs."""
    for case in dict.fromkeys(row.case for row in rows):
        own = [row for row in rows if row.case == case]
        controls = list(
            dict.fromkeys([own[0].peer, *(c for r in own for c in r.conditions["compared"])])
        )
        beside = [head for c in controls for head in (f"over {c}", "p")]
        costs = ("words", "calls", "parameters", "MACs", "samples")
        further = {
            name: explained
            for name, explained in EXPLAINED.items()
            if any(name in row.conditions["reached"] for row in own)
        }
        heads = [explained.partition(":")[0] for explained in further.values()]
        out = make_table(f"{case} [%]", "", "exact", *heads, *beside, *costs)
        for row in own:
            shares = _list_shares(row, (ACCURACY.name, *further))
            out.add_row(row.subject, *shares, *_list_compared(row, controls), *_list_costs(row))
        seeds = " or ".join(
            str(n) for n in sorted({len(row.conditions["seeds"]) for row in own})
        )
        test = next((c["test"] for r in own for c in r.conditions["compared"].values()), "")
        out.caption = "; ".join(
            (
                f"mean ± deviation of {seeds} seeds",
                f"differences in points, p of the {test}",
                *further.values(),
                "words, network calls and MACs of an answer",
                "samples seen in training",
            )
        )
        yield out
        if any(list_depths(row) for row in own):
            yield tabulate_depths(case, own)
        for row in own:
            if name_loop(f"{CHIP}: joules", LOOPS[0]) in row.conditions["reached"]:
                yield tabulate_loops(case, row)


def list_depths(row: Row) -> list[int]:
    """Return the iterations at which the trained networks of a row were tried."""
    reached = row.conditions["reached"]
    return [depth for depth in range(1, 65) if name_depth(depth) in reached]


def tabulate_depths(case: str, rows: Sequence[Row]) -> Table:
    """Return accuracy over the iterations of trained cores, a line an arm."""
    depths = sorted({depth for row in rows for depth in list_depths(row)})
    names = [*map(name_depth, depths), EXIT, EXIT_DEPTH]
    heads = [*(f"r = {depth}" for depth in depths), "with exit", "r at the exit"]
    out = make_table(f"{case}, over iterations [%]", "", *heads)
    for row in rows:
        own = row.conditions["reached"]
        if list_depths(row):
            scales = [*[100.0] * (len(names) - 1), 1.0]
            out.add_row(
                row.subject,
                *(
                    f"{scale * own[name]['mean']:.1f}" if name in own else ""
                    for name, scale in zip(names, scales, strict=True)
                ),
            )
    out.caption = "the trained network with other numbers of iterations; an exit at 5e-4 nat"
    return out


def tabulate_loops(case: str, row: Row) -> Table:
    """Return what executors reach in closed loop, by runs of the program."""
    own = row.conditions["reached"]
    out = make_table(f"{case}: {row.subject}, in closed loop", "", *(f"r = {r}" for r in LOOPS))
    whats = dict.fromkeys(k.rpartition(", r = ")[0] for k in own if ", r = " in k)
    for what in whats:
        out.add_row(what, *(f"{own[name_loop(what, r)]['mean']:.3g}" for r in LOOPS))
    alone = [k for k in own if k.startswith(("torch: ", "events: ", "integers: ", "lava: "))]
    out.caption = "; ".join(f"{k} {own[k]['mean']:.3g}" for k in alone if ", r = " not in k)
    return out


def _list_shares(row: Row, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        own = row.conditions["reached"].get(name)
        spread = "" if own is None or own["sd"] is None else f" ± {100 * own['sd']:.1f}"
        yield "" if own is None else f"{100 * own['mean']:.1f}{spread}"


def _list_compared(row: Row, controls: Sequence[str]) -> Iterator[str]:
    for control in controls:
        compared = row.conditions["compared"].get(control)
        yield "" if compared is None else f"{compared['points']:+.1f}"
        yield "" if compared is None or compared["p"] is None else f"{compared['p']:.2f}"


def _list_costs(row: Row) -> Iterator[str]:
    reached, cost = row.conditions["reached"], row.conditions["cost"]
    yield f"{reached['said_words']['mean']:.1f}"
    yield f"{reached['network_calls']['mean']:.1f}"
    for name in ("parameters", "macs", "samples"):
        yield f"{cost[name]:,}"


def announce(options: BenchOptions) -> str:
    """Return what is about to be trained, and where it is kept."""
    scale = choose_scale(options)
    parts: list[Part] = [p for p in scale.cases if not options.parts or p in options.parts]
    missing = sum(len(list_missing(p, scale, options.out)) for p in parts)
    every = sum(len(list_settings(p, scale)) for p in parts)
    return announce_trainings(missing, every, options.out / FILE, options.quick)


@mpl.rc_context(STYLE)
def draw(rows: list[Row], path: Path) -> None:
    """Draw the exact answers of each arm, a panel a part; points are seeds."""
    cases = list(dict.fromkeys(row.case for row in rows))
    figure = Figure((9.58, 0.8 + 2.2 * len(cases)), layout="constrained")
    panels = figure.subplots(len(cases), 2, squeeze=False, width_ratios=(2, 1))
    for (ax, beside), case in zip(panels, cases, strict=True):
        own = [row for row in rows if row.case == case][::-1]
        _draw_depths(beside, own)
        ax.barh([r.subject for r in own], [100 * (r.ours or 0.0) for r in own], color=ACCENT)
        for k, row in enumerate(own):
            seeds = row.conditions["reached"][ACCURACY.name]["seeds"]
            ax.plot([100 * x for x in seeds], [k] * len(seeds), "o", color=INK, markersize=3)
        ax.set(xlim=(0, 100), xlabel="exact answers [%]", title=case)
    save_png(figure, path)


def _draw_depths(ax: Axes, rows: Sequence[Row]) -> None:
    """Draw exact answers over the iterations of trained cores; nothing where none recurs."""
    deep = [row for row in rows if list_depths(row)]
    ax.set_visible(bool(deep))
    for row in deep:
        depths, reached = list_depths(row), row.conditions["reached"]
        shares = [100 * reached[name_depth(depth)]["mean"] for depth in depths]
        ax.plot(depths, shares, "o-", markersize=3, label=row.subject)
    if deep:
        ax.set_xscale("log", base=2)
        ax.set(ylim=(0, 102), xlabel="iterations")
        ax.legend(fontsize="x-small")
