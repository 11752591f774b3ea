"""The tables of ``neuro bench bottlenecks`` and its picture."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from neuro.plot import INK, LINE
from tasks.bench.plot import STYLE
from tasks.bench.rows import Row
from tasks.report.figures import save_png
from tasks.report.tables import make_table

# Colours that people with any sight tell apart (Okabe and Ito 2008).
COLOURS = ("#009E73", "#D55E00", "#56B4E9", "#E69F00", "#CC79A7", "#999999", INK)
MARKS = {"shallow": "o-", "deep": "s--", "spiking": "^:"}


def list_networks(rows: Sequence[Row], part: str = "") -> list[Row]:
    """Return the rows of networks, without those of findings."""
    return [
        row for row in rows if "widths" in row.conditions and row.case.startswith(part or "")
    ]


def tabulate_networks(part: str, rows: list[Row]) -> Iterator[Table]:
    """Yield a table of the networks, and one of what they show."""
    yield make_table(
        f"{part}: bits of a sample and accuracy, mean ± deviation over seeds",
        *("network", "what", "channels", "behind block", "bits", "AER bits", "accuracy, %"),
        *("original, %",),
        rows=[
            (
                row.conditions["network"],
                row.subject,
                _list_seeds(row.conditions["widths"]),
                _list_seeds(row.conditions["after"]),
                _list_bits(row.conditions["bitmap_bits"]),
                _list_bits(row.conditions["aer_bits"]),
                _spread(row.conditions["ours"]),
                _spread(row.conditions["theirs"]),
            )
            for row in list_networks(rows)
        ],
    )
    others = [row for row in rows if "at_bits" in row.conditions]
    if others:
        yield make_table(
            others[0].case,
            *("what", "bits of each seed", "spikes, %", "values, %"),
            rows=[
                (
                    row.subject,
                    _list_bits(row.conditions["at_bits"]),
                    _spread(row.conditions["ours"]),
                    _spread(row.conditions["theirs"]),
                )
                for row in others
            ],
        )


def _list_seeds(values: Sequence[Sequence[int]]) -> str:
    """Return the numbers of the cuts of each seed, once if all seeds have the same."""
    texts = ["+".join(map(str, each)) for each in values]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def _list_bits(values: Sequence[float | None]) -> str:
    texts = ["" if value is None else f"{value:,.0f}" for value in values]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def _spread(side: dict[str, float]) -> str:
    spread = "" if side["sd"] is None else f" ± {side['sd']:.1f}"
    return f"{side['mean']:.1f}{spread}"


@mpl.rc_context(STYLE)
def draw_networks(rows: list[Row], path: Path) -> None:
    """Draw a panel a part: accuracy against the bits of a sample, means and seeds."""
    parts = list(dict.fromkeys(row.case.split(":")[0] for row in list_networks(rows)))
    figure = Figure((4.2 * len(parts), 4.2), layout="constrained")
    panels = figure.subplots(1, len(parts), squeeze=False)[0]
    for axes, part in zip(panels, parts, strict=True):
        _draw_part(axes, part, list_networks(rows, f"{part}:"))
    save_png(figure, path)


def _draw_part(axes: Axes, part: str, rows: list[Row]) -> None:
    lines: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        name = "spikes with a price" if row.subject.startswith("price") else row.subject
        lines.setdefault((row.conditions["network"], name), []).append(row)
    names = list(dict.fromkeys(name for _, name in lines))
    for (network, name), own in lines.items():
        colour = COLOURS[names.index(name) % len(COLOURS)]
        curve = sorted((row.conditions["bits"], float(row.ours or 0)) for row in own)
        bits, right = zip(*curve, strict=True)
        form, label = MARKS[network], f"{network}: {name}"
        axes.plot(bits, right, form, color=colour, ms=5, lw=1, label=label)
        for row in own:
            seeds = row.conditions["ours"]["seeds"]
            places = [row.conditions["bits"]] * len(seeds)
            axes.plot(places, seeds, ".", color=colour, ms=3, alpha=0.5)
    axes.set(xscale="log", title=part, xlabel="bits of a sample that cross")
    axes.set_ylabel("right answers [%]")
    axes.grid(color=LINE, linewidth=0.5)
    axes.legend(fontsize=6)
