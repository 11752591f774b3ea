"""The experiments of ``neuro bench bottlenecks``: accuracy against bits between chips.

Residual networks of four stages, shallow and deep, and one of spiking neurons; the deep one has
more blocks in the last two stages. Where shallow and deep are compared, both are cut after the
third stage, so that the same channels and pixels cross. The twins without spikes are small
versions of the networks of Lin et al. 2024 (arXiv 2410.09650). The original is a separate arm,
and the narrow networks of a seed begin with its weights. A closed form needs no training: it is
a variant of the run whose weights it takes.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from neuro.energy import find_chip
from neuro.plot import INK, LINE
from tasks.bench.experiment import (
    Experiment,
    Reached,
    Variants,
    list_arms,
    name_folder,
    open_beside,
    train_as_task,
)
from tasks.bench.plot import STYLE
from tasks.bench.rows import Row
from tasks.bottlenecks import bench_findings as findings, narrowing
from tasks.bottlenecks.bench_findings import (
    CLOSED,
    CONTROLS,
    DEPTHS,
    LEARNED,
    LEAST,
    SPIKING,
    TRAINED,
    name_width,
)
from tasks.bottlenecks.bottleneck import keep_open
from tasks.bottlenecks.config import (
    VALUE_BITS,
    BottleneckConfig,
    BoundaryConfig,
    Link,
    count_channels,
)
from tasks.bottlenecks.controls import list_controls
from tasks.bottlenecks.task import count_bits
from tasks.report.figures import save_png
from tasks.runs.find import open_folder
from tasks.runs.task import ACCURACY, Metric, TaskRun
from tasks.runs.trained_run import load_trained_model

Configs = Mapping[str, BottleneckConfig]  # by name
CHIP, CHIPS = "loihi2", 3  # for the controls: two cuts, so that widths can differ
GATED = "all channels with gates"
SHALLOW = BottleneckConfig(
    ticks=1,
    code="direct",
    cells="relu",
    channels=(4, 8, 16, 16),
    blocks=(1, 1, 1, 1),
    epochs=4,
    lr=1e-2,
)
NETWORKS: Configs = {
    "shallow": SHALLOW,
    "deep": replace(SHALLOW, blocks=(1, 1, 4, 4)),
    SPIKING: replace(
        SHALLOW, ticks=4, code="rate", cells="lif", train=1500, batch=20, epochs=6
    ),
}
SMALL: Mapping[str, Any] = {
    **{"channels": (2, 4, 8), "train": 40, "held": 20, "test": 20, "batch": 20, "epochs": 1}
}
QUICK: Configs = {
    "shallow": replace(SHALLOW, **SMALL, blocks=(1, 1, 1)),
    "deep": replace(SHALLOW, **SMALL, blocks=(1, 2, 2)),
    SPIKING: replace(NETWORKS[SPIKING], **SMALL, blocks=(1, 1, 1), ticks=2),
}
EPOCHS = 2  # of a narrow network; where gates choose widths, half with gates, half without
PENALTY = 60.0  # loss for all bits of the full width while gates choose widths
METRICS = (
    ACCURACY,
    Metric(name="bits", better="lower", format=",.0f"),  # per sample; spikes as a bitmap
    Metric(name="aer_bits", better="lower", format=",.0f"),
)
CONTROL_OF = {name_folder(name): name for name in CONTROLS if name != CLOSED}  # by folder
BEHIND = "channels behind block "  # followed by the block's number: names a value per cut
# Colours that people with colour blindness can distinguish (Okabe and Ito 2008).
COLOURS = ("#009E73", "#D55E00", "#56B4E9", "#E69F00", "#CC79A7", "#999999", "#0072B2", INK)
MARKS = {"shallow": "o-", "deep": "s--", SPIKING: "^:"}


def list_experiments(quick: bool) -> Mapping[str, Experiment]:
    """Return the experiments by part. quick: networks too small to judge."""
    networks = QUICK if quick else NETWORKS
    shallow, spiking = networks["shallow"], networks[SPIKING]
    twins = {name: networks[name] for name in DEPTHS}
    widths = (2, 1) if quick else (8, 4, 2, 1)
    shares = (2,) if quick else (2, 4, 8)  # k: one of k channels crosses
    prices = (1.0,) if quick else (0.1, 0.5)  # loss per kilobit of address events
    make = partial(make_experiment, (0,) if quick else (0, 1, 2))
    most = count_channels(spiking, find_place(spiking))
    priced = {f"{SPIKING}, price {p:g}": cut_at(spiking, most, "spikes", p) for p in prices}
    trained = {
        name_width(name, TRAINED, width): cut_at(config, width, "4bit")
        for name, config in twins.items()
        for width in widths
    }
    return {
        "untrained": make(
            "three chips, closed forms and controls of no more bits",
            twins,
            partial(findings.judge_untrained, shares),
            partial(list_untrained, shares),
        ),
        "depth": make(
            "one cut behind the third stage, values of 4 bits",
            twins | trained,
            findings.judge_depths,
            list_curve,
        ),
        "controls": make(
            "three chips, learned widths and controls of no more bits",
            twins | {k: v for pair in twins.items() for k, v in list_controlled(*pair).items()},
            findings.judge_controls,
            list_learned,
        ),
        "links": make(
            "one cut behind the third stage, other values of as many bits",
            {"shallow": shallow, **list_links("shallow", shallow, ("8bit", "float"), widths)},
            partial(findings.judge_links, ("8bit", "float")),
        ),
        "spikes": make(
            "one cut behind the third stage, values and spikes",
            {
                SPIKING: spiking,
                **list_links(SPIKING, spiking, ("spikes",), widths[1:]),
                **priced,
            },
            findings.judge_spikes,
        ),
    }


def make_experiment(
    seeds: tuple[int, ...],
    title: str,
    arms: Configs,
    judge: Callable[[Reached], Iterator[Row]],
    list_closed: Callable[[TaskRun], Configs] = lambda _: {},
) -> Experiment:
    """Return an experiment with originals, and with arms that begin with their weights."""
    sources, beside = dict[str, str](), dict[str, tuple[str, ...]]()
    for arm in arms:
        network, _, name = arm.partition(", ")
        gated, learned = f"{network}, {GATED}", f"{network}, {LEARNED}"
        if name:
            is_control = name in CONTROLS
            sources[arm] = learned if is_control else gated if name == LEARNED else network
            beside[arm] = (network, learned) if is_control else (network,)
    return Experiment(
        title=title,
        run="bottlenecks:tiny",
        arms=arms,
        seeds=seeds,
        sources=sources,
        beside=beside,
        metrics=METRICS,
        measures=partial(measure, list_closed),
        judge=judge,
        train=train,
    )


def find_place(config: BottleneckConfig) -> int:
    """Return the cut after the last but one stage."""
    return sum(config.blocks[:-1])


@cache
def choose_places(config: BottleneckConfig) -> tuple[int, ...]:
    """Return the cheapest cuts over three chips for a twin without spikes, by its shapes."""
    graph = narrowing.build_graph(config)
    return narrowing.choose_boundaries(graph, None, config, find_chip(CHIP), CHIPS).after


def cut_at(
    config: BottleneckConfig, width: int, link: Link, price: float = 0.0
) -> BottleneckConfig:
    """Return a network with one narrow layer. price: loss per kilobit of address events."""
    narrow = BoundaryConfig(after=(find_place(config),), widths=(width,), link=link)
    priced = replace(narrow, price="aer", penalty=price)
    return replace(config, narrow=priced if price else narrow, epochs=EPOCHS)


def list_links(
    network: str, config: BottleneckConfig, links: Sequence[Link], widths: Sequence[int]
) -> Configs:
    """Return networks with 4-bit values, and with other links of equally many bits."""
    return {
        name_width(network, link, own): cut_at(config, own, link)
        for link in ("4bit", *links)
        for width in widths
        if (own := width * VALUE_BITS["4bit"] // VALUE_BITS.get(link, 1))
    }


def list_controlled(name: str, config: BottleneckConfig) -> Configs:
    """Return a network with gates, one with the channels left open, and its controls.

    :func:`complete_config` puts the learned widths into all but the first.
    """
    after = choose_places(config)
    widths = tuple(count_channels(config, k) for k in after)
    narrow = BoundaryConfig(after=after, widths=widths, link="4bit", gated=True)
    penalty = PENALTY * 1000 / count_bits(replace(config, narrow=narrow))
    gated = replace(config, narrow=replace(narrow, penalty=penalty), epochs=EPOCHS // 2)
    more = {findings.SCRATCH: config.epochs}  # also the epochs that the original had
    arms = {f"{name}, {GATED}": gated, f"{name}, {LEARNED}": gated}
    return arms | {
        f"{name}, {control}": replace(config, epochs=EPOCHS + more.get(control, 0))
        for control in CONTROL_OF.values()
    }


def train(run: TaskRun) -> bool:
    """Train a run, with the teacher or the widths from finished runs of its seed."""
    return train_as_task(replace(run, config=complete_config(run)))


def complete_config(run: TaskRun) -> BottleneckConfig:
    """Return the configuration of an arm, with its teacher or its seed's learned widths."""
    config: BottleneckConfig = run.config
    network, _, arm = run.folder.parent.name.partition("-")
    if not arm:
        return config
    if arm == name_folder(LEARNED):
        return keep_open(open_beside(run, f"{network}, {GATED}"))
    if arm in CONTROL_OF:
        learned = open_beside(run, f"{network}, {LEARNED}").config
        control = list_controls(learned, run.seed)[CONTROL_OF[arm]]
        return replace(control, epochs=config.epochs)
    narrow = narrowing.imitate(open_beside(run, network), config.narrow)
    return replace(config, narrow=narrow)


def measure(list_closed: Callable[[TaskRun], Configs], run: TaskRun) -> Variants:
    """Return the figures of a run's cuts; variants are closed forms of its original."""
    model, teacher = load_trained_model(run), run.config.narrow.teacher
    original = load_trained_model(open_folder(Path(teacher))) if teacher else model
    closed = {
        name: describe_cuts(config, narrowing.build_in_closed_form(config, original))
        for name, config in list_closed(run).items()
    }
    return {"": describe_cuts(run.config, model), **closed}


def describe_cuts(config: BottleneckConfig, model: nn.Module) -> dict[str, float]:
    """Return accuracy, bits per sample over all cuts, and the channels that cross each cut."""
    point = narrowing.measure_point(config, model, "")
    found = {f"{BEHIND}{cut.after}": float(cut.width) for cut in point.cuts}
    if point.cuts:
        found |= {"bits": float(point.bits), LEAST: float(point.bits)}
    if config.narrow.link == "spikes":
        found["aer_bits"] = sum(cut.aer_bits or 0.0 for cut in point.cuts)
        found[LEAST] = min(found["bits"], found["aer_bits"])
    return {ACCURACY.name: point.accuracy, **found}


def list_curve(run: TaskRun) -> Configs:
    """Return closed forms of an original with one cut, whose width is halved down to 1."""
    config: BottleneckConfig = run.config
    after = (find_place(config),)
    return {
        f"{CLOSED}, width {width[0]}": narrowing.narrow_config(run, after, width, "4bit")
        for width in narrowing.list_widths(config, after)
        if not config.narrow.after
    }


def list_untrained(shares: Sequence[int], run: TaskRun) -> Configs:
    """Return closed forms over three chips, one per share of channels, and their controls."""
    after, closed = choose_places(run.config), dict[str, BottleneckConfig]()
    for share in shares:
        widths = tuple(max(1, count_channels(run.config, k) // share) for k in after)
        config = narrowing.narrow_config(run, after, widths, "4bit")
        others = list_controls(config, run.seed)
        closed[f"{CLOSED}, 1/{share}"] = config
        closed |= {f"{name}, 1/{share}": others[name] for name in findings.UNTRAINED}
    return closed


def list_learned(run: TaskRun) -> Configs:
    """Return the closed form with the learned widths; {} if no gates have chosen widths."""
    config: BottleneckConfig = run.config
    narrow = replace(config.narrow, gates="")
    return {CLOSED: replace(config, narrow=narrow)} if config.narrow.gates else {}


@mpl.rc_context(STYLE)
def draw(rows: list[Row], path: Path) -> None:
    """Draw one panel per part: accuracy against bits per sample, means and seeds."""
    rows = [row for row in list_arms(rows) if LEAST in row.conditions["reached"]]
    parts = list(dict.fromkeys(row.case.split(":")[0] for row in rows))
    figure = Figure((4.2 * len(parts), 4.2), layout="constrained")
    panels = figure.subplots(1, len(parts), squeeze=False)[0]
    for axes, part in zip(panels, parts, strict=True):
        _draw_part(axes, [row for row in rows if row.case.startswith(f"{part}:")])
        axes.set(xscale="log", title=part, xlabel="bits of a sample that cross")
        axes.set_ylabel("right answers [%]")
        axes.grid(color=LINE, linewidth=0.5)
        axes.legend(fontsize=6)
    save_png(figure, path)


def _draw_part(axes: Axes, rows: list[Row]) -> None:
    lines: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.conditions["reached"][LEAST]["mean"]):
        name = re.sub(r", (width \d+|1/\d+)$", "", row.subject)
        lines.setdefault(re.sub("price .*", "spikes with a price", name), []).append(row)
    whats = list(dict.fromkeys(name.partition(", ")[2] for name in lines))
    for name, own in lines.items():
        network, _, what = name.partition(", ")
        colour = COLOURS[whats.index(what) % len(COLOURS)]
        reached = [row.conditions["reached"] for row in own]
        bits = [values[LEAST]["mean"] for values in reached]
        right = [100 * values[ACCURACY.name]["mean"] for values in reached]
        axes.plot(bits, right, MARKS[network], color=colour, ms=5, lw=1, label=name)
        for x, values in zip(bits, reached, strict=True):
            seeds = [100 * y for y in values[ACCURACY.name]["seeds"]]
            axes.plot([x] * len(seeds), seeds, ".", color=colour, ms=3, alpha=0.5)
