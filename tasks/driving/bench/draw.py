"""The rows of ``neuro bench driving`` as tables and as a picture."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.table import Table

from neuro.plot import ACCENT, MUTED
from tasks.bench.plot import STYLE
from tasks.bench.rows import Row
from tasks.report.figures import save_png
from tasks.report.tables import make_table

HEADLINES = (  # cases
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
CERTAIN = 0.05  # the table marks differences with a p below this
WORD = "figure"
TESTS = {
    "paired": f"paired sign test, p < {CERTAIN}",
    "rates": "rates: 95 % bootstrap interval over courses",
}


@mpl.rc_context(STYLE)
def draw_planners(rows: list[Row], path: Path) -> None:
    """Draw the headlines as one bar per planner, with the deviation over its seeds.

    If no row is a headline, all rows are drawn.
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


def tabulate(part: str, rows: list[Row]) -> Iterator[Table]:
    """Yield the table of a part: means, with deviations over seeds.

    In a peer's column, * marks a significant difference from the subject: p < 0.05 in an exact
    sign test on the same courses or scenes, or, for rates, a 95 % interval of the difference
    that excludes 0.
    """
    if not rows:
        return
    subject = rows[0].subject
    names = list(dict.fromkeys([*(row.subject for row in rows), *(row.peer for row in rows)]))
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        line = cells.setdefault(f"{row.case.split(': ', 1)[-1]} [{row.unit}]", {})
        line[row.subject] = _cell(row, "ours", row.ours)
        line[row.peer] = _cell(row, "theirs", row.theirs) + (
            "*" if _is_significant(row) else ""
        )
    out = make_table(f"{part}: mean ± deviation over seeds", WORD, *names)
    for figure, line in cells.items():
        out.add_row(figure, *(line.get(name, "") for name in names))
    tests = [text for key, text in TESTS.items() if any(key in row.conditions for row in rows)]
    if tests:
        out.caption = f"*: differs from {subject} ({'; '.join(tests)})"
    yield out


def _is_significant(row: Row) -> bool:
    rates = row.conditions.get("rates")
    if rates is None:
        return bool(row.conditions.get("paired", {}).get("p", 1.0) < CERTAIN)
    return rates["low"] is not None and (rates["low"] > 0 or rates["high"] < 0)


def _cell(row: Row, side: str, value: float | None) -> str:
    if value is None:
        return "-"
    deviation = row.conditions.get(side, {}).get("sd")
    return f"{value:.3g}" if deviation is None else f"{value:.3g} ± {deviation:.2g}"
