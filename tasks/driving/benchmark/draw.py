"""The headlines of ``neuro bench driving`` as a picture."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from neuro.plot import ACCENT, MUTED
from tasks.bench.plot import STYLE
from tasks.bench.rows import Row
from tasks.report.figures import save_png

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


@mpl.rc_context(STYLE)
def draw_planners(rows: list[Row], path: Path) -> None:
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
