"""The parts of ``neuro bench forecasting``: rows, tables, picture, and what arms show.

The first metric, fixed before any training, is the squared error of the expectation. An arm
stands beside labels alone: same seeds, series, batches and initial weights. A difference is
shown where the exact sign-flip test of the pairs is below 5 %, which takes at least six pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure
from rich.table import Table

from neuro.plot import ACCENT, INK, STYLE
from tasks.bench.options import BenchOptions, MeasurePart
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.forecasting.baselines import EchoState, measure_free_runs
from tasks.forecasting.bench.online import (
    BEHIND,
    STOPPED,
    OnlineSetting,
    count_missing,
    train_missing,
)
from tasks.forecasting.bench.seizures import (
    UNIT,
    announce_seizures,
    draw_areas,
    measure_seizures,
    tabulate_seizures,
)
from tasks.forecasting.bench.settings import (
    ARMS,
    AS_WIDE,
    FULL,
    GATED,
    GUIDED,
    LABELS,
    POPULATION,
    QUICK,
    SHUFFLED,
    SMOOTHED,
    TWIN,
    UNLABELLED,
    ForecastScale,
    ForecastSetting,
    Part,
)
from tasks.forecasting.bench.train import (
    FILE,
    OPERATIONS,
    SECONDS,
    UPDATES,
    Found,
    Reached,
    count_cost,
    list_missing,
    train_all,
)
from tasks.measures.statistics import judge_pairs, summarise_seeds
from tasks.report.figures import save_png
from tasks.report.tables import make_table

READ_OUTS = {"mse": "expectation", "mse_argmax": "arg-max"}
SHOWN, DARK = 40, 25  # % of change: full colour, and where text on it is white
SETTINGS = "settings"  # the unit of findings
PUBLISHED, PUBLISHED_LSTM = 14.79, 13.37  # % sMAPE, Yik et al. 2025


def choose_scale(options: BenchOptions) -> ForecastScale:
    """Return how much is trained."""
    return QUICK if options.quick else FULL


def measure(part: Part, options: BenchOptions) -> Iterator[Row]:
    """Yield a row an arm and setting, and what the settings of a part show together."""
    scale = choose_scale(options)
    found = train_all(part, scale, options.out, options.workers)
    for setting, reached in found.items():
        yield from make_rows(setting, reached, scale)
    yield from count_cells(part, found)


def measure_anchor(options: BenchOptions) -> Iterator[Row]:
    """Yield the error of an echo state network that goes on alone, beside published ones."""
    network, offsets = EchoState(), 10
    if options.quick:
        network, offsets = EchoState(neurons=100), 2
    reached = summarise_seeds(measure_free_runs(network, offsets))
    name = "free run of 750 samples, 76 in a Lyapunov time"
    told = (
        f"echo state network {reached.mean:.1f} ± {reached.sd:.1f} % over {offsets} offsets; "
        f"published {PUBLISHED} % of one, {PUBLISHED_LSTM} % of an LSTM"
    )
    yield Row(
        case=name,
        subject=f"echo state network, {network.neurons} neurons",
        peer="echo state network of NeuroBench, published",
        unit="% sMAPE",
        ours=reached.mean,
        theirs=PUBLISHED,
        ratio=find_ratio(reached.mean, PUBLISHED),
        note=f"{name}: {told}",
        conditions={"seeds": list(reached.seeds), "versions": list_versions()},
    )


def measure_online(options: BenchOptions) -> Iterator[Row]:
    """Yield a row an arm and setting of the students that go on learning, and findings."""
    scale = choose_scale(options)
    found = train_missing(options.out, scale)
    for setting, reached in found.items():
        yield from make_rows(setting, reached, scale)
    for setting, reached in found.items():
        yield from tell_online(setting, reached)


def tell_online(setting: OnlineSetting, reached: Reached) -> Iterator[Row]:
    """Yield the error of some arms beside others; behind alarms, with the share of steps."""
    for arm, peer in (
        (LABELS, STOPPED),
        (GUIDED, SMOOTHED),
        (GUIDED, AS_WIDE),
        (LABELS + BEHIND, LABELS),
        (GUIDED + BEHIND, GUIDED),
    ):
        ours, theirs = reached[arm]["mse"], reached[peer]["mse"]
        about = compare(ours, theirs)
        p = "" if about["p"] is None else f", p = {about['p']:.3f}"
        name = f"{setting.name}: {arm}, beside {peer}"
        yield Row(
            case=f"finding: {name}",
            subject=arm,
            peer=peer,
            unit=SETTINGS,
            ours=float(np.mean(ours)),
            theirs=float(np.mean(theirs)),
            ratio=None,
            note=f"{name}: {about['percent']:+.0f} % error{p}; "
            f"learns at {float(np.mean(reached[arm][UPDATES])):.0%} of the steps",
        )


PARTS: dict[str, MeasurePart] = {
    **{part: partial(measure, part) for part in FULL.settings},
    "online": measure_online,
    "anchor": measure_anchor,
    "seizures": measure_seizures,
}


def compare(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Return how errors differ, pair by pair.

    percent: the change of the mean. p: of the exact sign-flip test of the differences; None
    with one pair. verdict: whether ours are better or worse.
    """
    judged = asdict(judge_pairs(ours, theirs, "lower"))
    percent = 100 * judged.pop("difference") / float(np.mean(theirs))
    return {"percent": percent, **judged}


def make_rows(
    setting: ForecastSetting | OnlineSetting, reached: Reached, scale: ForecastScale
) -> Iterator[Row]:
    """Yield a row an arm, beside labels alone; behind them the teacher and the baselines."""
    plain = reached[LABELS]
    for arm, own in reached.items():
        compared = {
            metric: compare(own[metric], plain[metric])
            for metric in own
            if metric in plain and metric != SECONDS
        }
        trained = arm in ARMS or arm in GATED or arm in UNLABELLED or arm == TWIN
        costs = (
            {"cost": count_cost(setting, scale, arm)}
            if trained and isinstance(setting, ForecastSetting)
            else {}
        )
        ours, theirs = float(np.mean(own["mse"])), float(np.mean(plain["mse"]))
        yield Row(
            case=setting.name,
            subject=arm,
            peer=LABELS,
            unit="bins²",
            ours=ours,
            theirs=theirs,
            ratio=find_ratio(ours, theirs),
            conditions={
                "lookback": setting.lookback,
                "horizon": setting.horizon,
                "reached": {
                    k: asdict(summarise_seeds(v)) for k, v in own.items() if k != SECONDS
                },
                "compared": compared,
                **costs,
                **({SECONDS: own[SECONDS][0]} if SECONDS in own else {}),
                "versions": list_versions("torch"),
            },
        )


def count_cells(part: Part, found: Found) -> Iterator[Row]:
    """Yield in how many settings one arm errs less than another, as sentences.

    Arms without a teacher beside Future-Guided Learning, both read-outs; a shuffled teacher
    beside none.
    """
    if part == "gated":
        yield from tell_updates(found)
        return
    for arm, (metric, read_out) in product((SMOOTHED, AS_WIDE, POPULATION), READ_OUTS.items()):
        pairs = [
            (float(np.mean(own[arm][metric])), float(np.mean(own[GUIDED][metric])))
            for own in found.values()
            if arm in own
        ]
        if not pairs:
            continue
        won = sum(a <= b for a, b in pairs)
        name = f"{part}: {arm}, errs no more than Future-Guided Learning, {read_out}"
        yield _tell(name, arm, GUIDED, won, len(pairs), f"in {won} of {len(pairs)} settings")
    factors = [
        float(np.mean(own[SHUFFLED]["mse"]) / np.mean(own[LABELS]["mse"]))
        for own in found.values()
        if SHUFFLED in own
    ]
    if not factors:
        return
    worse = sum(factor > 3 for factor in factors)
    name = f"{part}: a shuffled teacher errs more than three times as much"
    told = f"in {worse} of {len(factors)} settings, by factors of {min(factors):.1f} to "
    yield _tell(name, SHUFFLED, LABELS, worse, len(factors), f"{told}{max(factors):.1f}")


def tell_updates(found: Found) -> Iterator[Row]:
    """Yield the error beside the share of the windows on which the teacher teaches."""
    for setting, reached in found.items():
        for arm in GATED:
            own, plain = reached[arm], reached[GUIDED]
            share, ours, theirs = (
                float(np.mean(v)) for v in (own[UPDATES], own["mse"], plain["mse"])
            )
            name = f"{setting.name}: {arm}"
            yield Row(
                case=f"finding: {name}",
                subject=arm,
                peer=GUIDED,
                unit=SETTINGS,
                ours=share,
                theirs=1.0,
                ratio=None,
                note=f"{name}: {share:.1%} of the windows teach, "
                f"{100 * (ours / theirs - 1):+.0f} % error beside all",
            )


def _tell(name: str, first: str, second: str, count: int, total: int, told: str) -> Row:
    return Row(
        case=f"finding: {name}",
        subject=first,
        peer=second,
        unit=SETTINGS,
        ours=float(count),
        theirs=float(total),
        ratio=None,
        note=f"{name}: {told}",
    )


def list_arms(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of settings, without those of findings."""
    return [row for row in rows if "reached" in row.conditions]


def tabulate(part: str, rows: list[Row]) -> Iterator[Table]:
    """Yield a table a setting: a line an arm, its errors, their change, and its cost."""
    if part == "seizures":
        yield from tabulate_seizures(rows)
        return
    shown = list_arms(rows)
    for case in dict.fromkeys(row.case for row in shown):
        own = [row for row in shown if row.case == case]
        head = ("expectation", "change", "p", "arg-max", "change", "p")
        out = make_table(f"{case} [bins²]", "", *head, "parameters", "MACs", "samples", "calls")
        for row in own:
            out.add_row(row.subject, *_list_changes(row), *_list_costs(row))
        about = own[0].conditions["compared"]["mse"]
        out.caption = (
            f"mean ± deviation of {about['pairs']} seeds; change and p beside {LABELS}: "
            f"{about['test']}; samples that the student sees, calls of student and teacher"
        )
        yield out


def _list_changes(row: Row) -> Iterator[str]:
    for metric in READ_OUTS:
        reached = row.conditions["reached"].get(metric)
        if reached is None:
            yield from ("", "", "")
            continue
        spread = "" if reached["sd"] is None else f" ± {reached['sd']:.2g}"
        yield f"{reached['mean']:.3g}{spread}"
        compared = row.conditions["compared"][metric]
        if row.subject == LABELS:
            yield from ("", "")
            continue
        yield f"{compared['percent']:+.0f} %"
        yield "" if compared["p"] is None else f"{compared['p']:.3f}"


def _list_costs(row: Row) -> Iterator[str]:
    cost = row.conditions.get("cost")
    if cost is None:
        yield from ("", "", "", "")
        return
    added = row.conditions["reached"].get(OPERATIONS)
    yield f"{cost['parameters']:,}"
    yield f"{cost['macs']:,}" if added is None else f"{added['mean']:,.0f} additions"
    yield f"{cost['samples']:,}"
    yield f"{cost['calls']:,}"


def announce(options: BenchOptions) -> str:
    """Return what is about to be trained, and where it is kept."""
    scale = choose_scale(options)
    parts: list[Part] = [p for p in scale.settings if not options.parts or p in options.parts]
    missing = sum(len(list_missing(p, scale, options.out)) for p in parts)
    if not options.parts or "online" in options.parts:
        missing += count_missing(options.out, scale)
    seeds = len(scale.seeds)
    events = ""
    if not options.parts or "seizures" in options.parts:
        events = announce_seizures(options)
    return events + (
        f"{missing} settings are to be trained, each with a teacher and up to {len(ARMS)} arms "
        f"by {seeds} seeds; each is kept in {options.out / FILE}, and the same command goes on "
        "after an interruption"
        f"{'; trainings too short to judge' if options.quick else ''}"
    )


@mpl.rc_context(STYLE)
def draw(rows: list[Row], path: Path) -> None:
    """Draw by how much each arm errs less or more than labels alone, over the settings.

    A setting that lacks an arm has an empty cell. Without settings, one value beside another:
    an error, or of events the area under the curve of each arm.
    """
    shown = list_arms(rows)
    cases = list(dict.fromkeys(row.case for row in shown))
    figure = Figure((9.58, 1.8 + 0.42 * len(cases)), layout="constrained")
    if cases:
        _draw_changes(figure, shown, cases)
    elif any(row.unit == UNIT for row in rows):
        draw_areas(figure, rows)
    else:
        _draw_errors(figure, [row for row in rows if row.unit != SETTINGS])
    save_png(figure, path)


def _draw_changes(figure: Figure, rows: Sequence[Row], cases: Sequence[str]) -> None:
    arms = [arm for arm in ARMS if arm not in (LABELS, SHUFFLED)]
    panels = figure.subplots(1, 2, sharey=True)
    for ax, (metric, read_out) in zip(panels, READ_OUTS.items(), strict=True):
        table = _list_percent(rows, cases, arms, metric)
        image = ax.imshow(table, cmap="RdBu_r", vmin=-SHOWN, vmax=SHOWN, aspect="auto")
        for (y, x), value in np.ndenumerate(table):
            if not np.isnan(value):
                colour = "white" if abs(value) > DARK else INK
                ax.text(
                    x, y, f"{value:+.0f}", ha="center", va="center", color=colour, fontsize=7
                )
        ax.set_xticks(range(len(arms)), arms, rotation=30, ha="right", fontsize=7)
        ax.set_yticks(range(len(cases)), cases, fontsize=7)
        ax.set_title(f"change of the squared error, {read_out} [%]", fontsize=8)
    figure.colorbar(image, ax=list(panels), shrink=0.8)


def _draw_errors(figure: Figure, rows: Sequence[Row]) -> None:
    ax = figure.subplots()
    for row in rows:
        ax.barh([row.subject, row.peer], [row.ours or 0.0, row.theirs or 0.0], color=ACCENT)
        ax.set_xlabel(f"{row.case} [{row.unit}]", fontsize=8)


def _list_percent(
    rows: Sequence[Row], cases: Sequence[str], arms: Sequence[str], metric: str
) -> Float64[np.ndarray, "cases arms"]:
    table = np.full((len(cases), len(arms)), np.nan)
    for row in rows:
        if row.subject in arms:
            change = row.conditions["compared"][metric]["percent"]
            table[cases.index(row.case), arms.index(row.subject)] = change
    return table
