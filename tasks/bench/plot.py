"""Draws speeds and their ratios, and defines the style of all benchmark pictures."""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
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
NETWORK = "delta, "  # prefix of the cases with one network at several rates


@mpl.rc_context(STYLE)
def speed(rows: list[Row], path: Path) -> None:
    """Draw time against firing rate of one network, if it was measured, above the ratios."""
    measured = list(points(rows))
    ratios = [row for row in rows if row.ratio is not None]
    ratios = [row for row in ratios if "target" in row.conditions] or ratios
    heights = [3.6] * bool(measured) + [0.9 + 0.2 * len(ratios)]
    figure = Figure((8, sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    if measured:
        _against_rate(panels[0], measured)
    draw_ratios(panels[-1], ratios)
    save_png(figure, path)


def points(rows: list[Row]) -> Iterator[tuple[str, float, float]]:
    """Yield (simulator, firing rate, time) of the network with several rates, on one thread."""
    for row in rows:
        here = row.case.startswith(NETWORK) and row.case.endswith("Hz")
        for side, name, time in (
            ("ours", row.subject, row.ours),
            ("theirs", row.peer, row.theirs),
        ):
            about = row.conditions.get(side, {})
            if here and about.get("rate") and time is not None:
                yield name, about["rate"], time


def _against_rate(ax: Axes, measured: list[tuple[str, float, float]]) -> None:
    lines: dict[str, list[tuple[float, float]]] = {}
    for name, *point in dict.fromkeys(measured):
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


def draw_ratios(ax: Axes, rows: list[Row]) -> None:
    """Draw ratios as bars, and targets as marks."""
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
