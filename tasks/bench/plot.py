"""Benchmarks as pictures, on matplotlib's Figure objects."""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuro.plot import ACCENT, INK, LINE, MUTED
from tasks.bench.rows import Row
from tasks.report.figures import save_png

STYLE: Any = {
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "savefig.dpi": 160,
}
_LINES = ((ACCENT, "o-"), (INK, "s--"), (MUTED, "^:"), (INK, "x:"), (MUTED, "D--"))
NETWORK = "delta, "  # cases of one network at several rates begin so
HEADLINES = (  # cases of planners
    "closed loop: routes completed",
    "closed loop: collisions at fault",
    "closed loop: driving score",
    "open loop: driving score, 4 s",
    "open loop: L2, mean to 3 s",
    "open loop: collisions, mean to 3 s",
    "maps: IoU of vehicle",
    "maps: future IoU of vehicles",
    "maps: future IoU of what moves",
)


@mpl.rc_context(STYLE)
def speed(rows: list[Row], path: Path) -> None:
    """Draw time against the rate of one network, where it was measured, above the ratios."""
    found = list(points(rows))
    ratios = [row for row in rows if row.ratio is not None]
    ratios = [row for row in ratios if "target" in row.conditions] or ratios
    heights = [3.6] * bool(found) + [0.9 + 0.2 * len(ratios)]
    figure = Figure((8, sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    if found:
        _against_rate(panels[0], found)
    _ratios(panels[-1], ratios)
    save_png(figure, path)


def points(rows: list[Row]) -> Iterator[tuple[str, float, float]]:
    """Yield (simulator, rate, time) of the network that ran at several rates on one thread."""
    for row in rows:
        here = row.case.startswith(NETWORK) and row.case.endswith("Hz")
        for side, name, time in (
            ("ours", row.subject, row.ours),
            ("theirs", row.peer, row.theirs),
        ):
            about = row.conditions.get(side, {})
            if here and about.get("rate") and time is not None:
                yield name, about["rate"], time


def _against_rate(ax: Axes, found: list[tuple[str, float, float]]) -> None:
    lines: dict[str, list[tuple[float, float]]] = {}
    for name, *point in dict.fromkeys(found):
        lines.setdefault(name, []).append((point[0], point[1]))
    styles, longest = cycle(_LINES), max(map(len, lines.values()))
    for name, line in lines.items():
        if len(line) > 1 or longest == 1:
            colour, form = next(styles)
            ax.plot(*zip(*sorted(line), strict=True), form, color=colour, ms=4, label=name)
    ax.set(xscale="log", yscale="log", xlabel="spikes a cell and second")
    ax.set(ylabel="CPU s / simulated s", title="voltage jumps at several rates")
    ax.grid(color=LINE, linewidth=0.5)
    ax.legend()


def _ratios(ax: Axes, rows: list[Row]) -> None:
    """Draw ratios as bars, targets as marks."""
    places = range(len(rows))
    names = [f"{row.case}: {row.subject} / {row.peer}" for row in rows]
    kept = [row.reached is not False for row in rows]
    ratios = [float(row.ratio or 0) for row in rows]
    ax.barh(places, ratios, height=0.6, color=[ACCENT if k else MUTED for k in kept])
    marks = [
        (row.conditions["target"], y)
        for y, row in enumerate(rows)
        if "target" in row.conditions
    ]
    if marks:
        ax.plot(*zip(*marks, strict=True), "|", color=INK, ms=11, mew=2)
    ax.set_yticks(places, names, size=7)
    ax.axvline(1, color=LINE, linewidth=1, zorder=0)
    ax.set(xscale="log", title="ratios (> 1: neuro is better); |: target")
    ax.margins(y=0.01)
    ax.invert_yaxis()


@mpl.rc_context(STYLE)
def rates(rows: list[Row], path: Path) -> None:
    """Draw the rates of the regimes: ours as marks, the published ones as lines."""
    figure = Figure((6, 3), layout="constrained")
    ax = figure.subplots()
    cases = list(dict.fromkeys(row.case for row in rows))
    for subject, form in zip(dict.fromkeys(row.subject for row in rows), "ox", strict=False):
        mine = [(cases.index(row.case), row.ours) for row in rows if row.subject == subject]
        at, ours = zip(*mine, strict=True)
        ax.plot(at, ours, form, color=ACCENT, label=subject)
    published = {row.case: row.theirs for row in rows if row.theirs is not None}
    places = np.array([cases.index(case) for case in published])
    ax.hlines([*published.values()], places - 0.3, places + 0.3, color=INK, label="published")
    ax.set_xticks(range(len(cases)), cases)
    ax.set(yscale="log", ylabel="spikes a cell and second")
    ax.legend()
    save_png(figure, path)


@mpl.rc_context(STYLE)
def planners(rows: list[Row], path: Path) -> None:
    """Draw the headlines of planners: a bar each, and the deviation over its seeds.

    Where rows hold no headline, all of them are drawn.
    """
    rows = [row for row in rows if row.case in HEADLINES] or rows
    found: dict[str, dict[str, tuple[float | None, float | None]]] = {}
    units, subjects = {}, {row.subject for row in rows}
    for row in rows:
        values = found.setdefault(row.case, {})
        units[row.case] = row.unit
        for name, value, side in (
            (row.subject, row.ours, "ours"),
            (row.peer, row.theirs, "theirs"),
        ):
            values[name] = value, row.conditions.get(side, {}).get("sd")
    across = 3
    down = -(-len(found) // across)
    tallest = max(map(len, found.values()), default=1)
    figure = Figure((11, max(1, down) * (0.7 + 0.17 * tallest)), layout="constrained")
    panels = figure.subplots(max(1, down), across, squeeze=False).ravel()
    for ax, (case, values) in zip(panels, found.items(), strict=False):
        known = {k: v for k, v in values.items() if v[0] is not None}
        lengths = [float(v[0] or 0) for v in known.values()]
        spread = [float(v[1] or 0) for v in known.values()]
        colours = [ACCENT if k in subjects else MUTED for k in known]
        ax.barh(range(len(known)), lengths, xerr=spread, height=0.6, color=colours)
        ax.set_yticks(range(len(known)), [*known], size=6)
        ax.set_title(f"{case} [{units[case]}]", size=7)
        ax.invert_yaxis()
    for ax in panels[len(found) :]:
        ax.set_axis_off()
    save_png(figure, path)
