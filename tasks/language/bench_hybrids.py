"""The experiments of ``neuro bench hybrids``: stacks of linear mixers and softmax attention.

Published stacks have at least 24 layers, with one softmax layer after every 24, 12, 6 or 3
linear ones (Wang et al. 2025, arXiv 2507.06457). Our stacks have eight layers, of which none,
one, two, four or all are softmax: pure linear, 7:1, 3:1, 1:1, and the reference. Each finding
compares pairs of trainings with the same seed and batches; a training occurs in one pair only.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from neuro.plot import INK, LINE, MUTED
from tasks.bench.claim import Claim, Values
from tasks.bench.experiment import Experiment, Reached, list_arms
from tasks.bench.plot import STYLE
from tasks.bench.rows import Row
from tasks.language import hybrids
from tasks.language.hybrids import TEXT, HybridConfig
from tasks.language.recall import TASKS, RecallSizes, count_choices
from tasks.language.task import BITS
from tasks.report.figures import save_png
from tasks.runs.task import ACCURACY

VARIANTS = {  # linear mixers, and their names in tables
    "hgrn": "HGRN",
    "retnet": "RetNet",
    "gla": "GLA",
    "hgrn2": "HGRN-2",
    "deltanet": "DeltaNet",
    "gdn": "GatedDeltaNet",
}
SOFTMAX, PURE = "softmax", "pure"
RATIOS = (PURE, "7:1", "3:1", "1:1")  # linear to softmax layers
QUICK: Mapping[str, Any] = {
    **{"width": 16, "hidden": 16, "steps": 3, "tested": 10, "held_out": 2000},
    "sizes": RecallSizes(tokens=20, keys=8, values=8, pairs=4, needles=2, chains=2, hops=1),
}
MQAR = "MQAR"
POINTS, PERCENT = "points", "% of the bits"
SATURATED, FLAT = 2.0, 1.0  # smaller differences count as none [points], [%]
Stacks = Mapping[tuple[str, str], Values]  # (mixer, ratio) -> one value per seed
# Colours that people with any colour vision can distinguish (Okabe and Ito 2008), and marks.
LINES = (
    *(("#999999", "o-"), ("#E69F00", "s-"), ("#56B4E9", "^-")),
    *(("#009E73", "D-"), ("#D55E00", "v-"), ("#CC79A7", "x-")),
)
ASIDE = 0.05  # horizontal offset between lines, so that their marks do not overlap


def list_experiments(quick: bool) -> Mapping[str, Experiment]:
    """Return the experiments by part. quick: networks too small to judge."""
    layers, ratios = (4, (PURE, "3:1", "1:1")) if quick else (8, RATIOS)
    recall, text = hybrids.recall(), hybrids.text()
    if quick:
        recall = replace(recall, **QUICK, vocabulary=20, tokens=20, lanes=6)
        text = replace(text, **QUICK, tokens=16, lanes=4)
    stacks = {SOFTMAX: f"{SOFTMAX}*{layers}"}
    for ratio in ratios:
        stacks |= {f"{VARIANTS[v]} {ratio}": make_stack(v, ratio, layers) for v in VARIANTS}

    def make(title: str, config: HybridConfig, tasks: Sequence[Any], **more: Any) -> Experiment:
        arms = {
            f"{task}, {name}": replace(config, task=task, stack=stack)
            for task in tasks
            for name, stack in stacks.items()
        }
        return Experiment(
            title=title,
            run=f"hybrids:{TEXT if TEXT in tasks else 'recall'}",
            arms=arms,
            seeds=(0,) if quick else (0, 1, 2),
            beside={
                f"{task}, {name}": (f"{task}, {SOFTMAX}",)
                for task in tasks
                for name in stacks
                if name != SOFTMAX
            },
            costs=count_guesses,
            **more,
        )

    more: dict[str, Any] = {"seed_fields": ("seed_of_data",), "metrics": (ACCURACY,)}
    return {
        "recall": make("synthetic recall", recall, [*TASKS], **more, judge=judge_recall),
        TEXT: make("bytes of text", text, [TEXT], metrics=(BITS,), judge=judge_text),
    }


def make_stack(variant: str, ratio: str, layers: int) -> str:
    """Return a stack with softmax layers at equal distances, the last one at the end.

    >>> make_stack("gla", "3:1", 8), make_stack("gla", "pure", 8)
    ('gla*3+softmax+gla*3+softmax', 'gla*8')
    """
    if ratio == PURE:
        return f"{variant}*{layers}"
    linear = int(ratio.partition(":")[0])
    return "+".join([f"{variant}*{linear}+{SOFTMAX}"] * (layers // (linear + 1)))


def count_guesses(config: HybridConfig, _: Mapping[str, float]) -> dict[str, int]:
    """Return the number of values in a recall sequence; chance accuracy is 1 over it."""
    return {} if config.task == TEXT else {"values": count_choices(config.sizes)[config.task]}


def read_stacks(task: str, metric: str, reached: Reached) -> Stacks:
    """Return the metric that each stack with linear mixers reaches on a task, by seed."""
    names = {(v, r): f"{task}, {v} {r}" for v in VARIANTS.values() for r in RATIOS}
    return {
        stack: np.array([*reached[name][metric].values()])
        for stack, name in names.items()
        if name in reached
    }


def judge(name: str, sides: tuple[str, str], more: Values, less: Values, **how: Any) -> Row:
    """Judge the claim that the first side has larger values than the second."""
    about = {"first": sides[0], "second": sides[1], "unit": POINTS, **how}
    return Claim(name=name, more=more, less=less, **about).as_row()


def judge_recall(reached: Reached) -> Iterator[Row]:
    """Yield the published findings on recall, each with its test on our trainings."""
    by_task = {task: read_stacks(task, ACCURACY.name, reached) for task in TASKS}
    ratios = [ratio for ratio in RATIOS if ("GLA", ratio) in by_task[MQAR]]
    recall = {
        stack: 100 * np.mean([own[stack] for own in by_task.values()], 0)
        for stack in by_task[MQAR]
    }

    def join(mixers: Sequence[str], *of: str, values: Stacks = recall) -> Values:
        return np.concatenate([values[mixer, ratio] for mixer in mixers for ratio in of])

    def rise(name: str, few: str, many: str, alike: float | None = None) -> Row:
        """Judge whether all mixers recall more with more softmax layers."""
        every = tuple(VARIANTS.values())
        return judge(name, (many, few), join(every, many), join(every, few), alike=alike)

    for many in ("3:1", "1:1"):
        yield rise(f"recall rises from {PURE} to {many}", PURE, many)
    for few, many in pairwise(ratios[: ratios.index("3:1") + 1]):
        if (few, many) != (PURE, "3:1"):
            yield rise("recall rises with each step up to 3:1", few, many)
    yield rise(
        f"recall is saturated at 3:1, up to {SATURATED:g} points", "3:1", "1:1", SATURATED
    )
    for name, better, worse in (
        ("selective gates matter in hybrids", ("GLA", "HGRN-2", "GatedDeltaNet"), "RetNet"),
        ("hierarchical recurrence (floors) matters in hybrids", ("HGRN-2",), "GLA"),
        ("controlled forgetting matters in hybrids", ("GatedDeltaNet",), "DeltaNet"),
    ):
        more = np.mean([join([mixer], *ratios[1:]) for mixer in better], 0)
        yield judge(name, (", ".join(better), worse), more, join([worse], *ratios[1:]))
    delta, decay = ("DeltaNet", "GatedDeltaNet"), ("RetNet", "GLA")  # without and with gates
    mqar = {stack: 100 * own for stack, own in by_task[MQAR].items()}
    yield judge(
        "MQAR, pure stacks: the delta rule recalls more than decays alone",
        (", ".join(delta), ", ".join(decay)),
        *(join(mixers, PURE, values=mqar) for mixers in (delta, decay)),
    )
    sides = ("HGRN-2", "HGRN")
    yield judge(
        "pure stacks: a matrix recalls more than a vector",
        sides,
        *(100 * np.concatenate([own[s, PURE] for own in by_task.values()]) for s in sides),
    )
    yield rank(recall)


def rank(recall: Stacks) -> Row:
    """Return the rank correlation of mixers between pure stacks and stacks at 3:1."""
    pure, mixed = (
        [float(recall[mixer, ratio].mean()) for mixer in VARIANTS.values()]
        for ratio in (PURE, "3:1")
    )
    name = "ranks of pure mixers predict those of hybrids at 3:1"
    note, rho, p = "all mixers are alike", None, None
    if len(set(pure)) > 1 and len(set(mixed)) > 1:
        found = stats.permutation_test(  # all orders: six mixers are too few for asymptotics
            (pure,),
            lambda ordered: stats.spearmanr(ordered, mixed).statistic,
            permutation_type="pairings",
            n_resamples=math.factorial(len(pure)),
        )
        rho, p = float(found.statistic), float(found.pvalue)
        note = f"Spearman {rho:+.2f} (p = {p:.2g}); published: they do not"
    return Row(
        case=f"finding: {name}",
        subject="3:1",
        peer=PURE,
        unit="rank rho",
        ours=rho,
        theirs=None,
        ratio=None,
        note=f"{name}: {note}",
        conditions={"p": p},
    )


def judge_text(reached: Reached) -> Iterator[Row]:
    """Judge whether bits per byte of each ratio equal those of pure stacks, within FLAT."""
    bits = read_stacks(TEXT, BITS.name, reached)
    pure = np.concatenate([bits[mixer, PURE] for mixer in VARIANTS.values()])
    for ratio in RATIOS[1:]:
        if ("GLA", ratio) in bits:
            own = np.concatenate([bits[mixer, ratio] for mixer in VARIANTS.values()])
            yield judge(
                f"language modelling is flat, up to {FLAT:g} %",
                (ratio, PURE),
                100 * own / pure,
                np.full(len(pure), 100.0),
                unit=PERCENT,
                alike=FLAT,
            )


def split_arm(row: Row) -> tuple[str, str, str]:
    """Return task, mixer and ratio of an arm's row."""
    task, _, stack = row.subject.partition(", ")
    mixer, _, ratio = stack.partition(" ")
    return task, mixer, ratio or SOFTMAX


@mpl.rc_context(STYLE)
def draw(rows: list[Row], path: Path) -> None:
    """Draw one panel per task: the metric of each mixer over the ratio, means and seeds."""
    tasks: dict[str, list[Row]] = {}
    for row in list_arms(rows):
        tasks.setdefault(split_arm(row)[0], []).append(row)
    figure = Figure((3.4 * len(tasks), 3.8), layout="constrained")
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for ax, (task, own) in zip(panels, tasks.items(), strict=True):
        _draw_task(ax, own)
        ax.set(title=task, ylabel=own[0].unit, xlabel="linear : softmax layers")
        ax.grid(axis="y", color=LINE, linewidth=0.5)
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=8, fontsize=8)
    save_png(figure, path)


def _draw_task(ax: Axes, rows: list[Row]) -> None:
    seeds = {
        split_arm(row)[1:]: next(iter(row.conditions["reached"].values()))["seeds"]
        for row in rows
    }
    means = {split_arm(row)[1:]: row.ours or 0.0 for row in rows}
    ratios = [ratio for ratio in RATIOS if any(ratio == own for _, own in means)]
    for k, (mixer, (colour, form)) in enumerate(
        zip(VARIANTS.values(), cycle(LINES), strict=False)
    ):
        places = [n + ASIDE * (k - len(VARIANTS) / 2) for n in range(len(ratios))]
        line = [means[mixer, ratio] for ratio in ratios]
        ax.plot(places, line, form, color=colour, markersize=4, linewidth=1.2, label=mixer)
        for place, ratio in zip(places, ratios, strict=True):
            _mark(ax, place, seeds[mixer, ratio], colour)
    ax.axhline(means[SOFTMAX, SOFTMAX], color=INK, linewidth=1, linestyle="--", label=SOFTMAX)
    _mark(ax, float(len(ratios)), seeds[SOFTMAX, SOFTMAX], INK)
    if values := rows[0].conditions["cost"].get("values"):
        ax.axhline(1 / values, color=MUTED, linewidth=1, linestyle=":", label="guess")
        ax.set_ylim(-0.03, 1.03)
    ax.set_xticks(range(len(ratios) + 1), [*ratios, SOFTMAX])


def _mark(ax: Axes, place: float, seeds: Sequence[float], colour: str) -> None:
    """Mark the value of each seed, because a training that learnt late is far from the rest."""
    ax.plot([place] * len(seeds), seeds, "o", color=colour, markersize=3, alpha=0.45)
