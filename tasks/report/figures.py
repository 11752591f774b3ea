"""Draws a run as inline SVG, in the colours of the page.

Uses matplotlib's Figure objects, without pyplot. Axes: T ticks, B samples, N neurons.
"""

import io
import math
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from neuro.io.store import write_bytes
from neuro.plot import ACCENT, INK, LINE, MUTED, STYLE, draw_membranes, draw_raster, shade
from neuro.spikes import of_sample, to_raster
from neuro.spikes.record import Record
from tasks.report.tables import format_nominal, list_core_seconds
from tasks.report.terminal import show_controls
from tasks.runs.task import Html

_ON_THE_PAGE = {INK: "--ink", MUTED: "--muted", LINE: "--line", ACCENT: "--accent"}
_PARTS = ((ACCENT, 1.0), (ACCENT, 0.3), (ACCENT, 0.6), (INK, 1.0), (INK, 0.55), (INK, 0.25))
CHIPS_DRAWN = 4  # most chips that are drawn
_READABLE = 0.7  # smallest share of the drawn width at which text is readable


class Bar(NamedTuple):
    """An energy [J] from low to high; ``group`` is the heading above the bar.

    nominal: None if it is not published.
    """

    group: str
    label: str
    low: float
    nominal: float | None
    high: float


@mpl.rc_context(STYLE)
def draw_curves(history: Sequence[Mapping[str, Any]], shares: Collection[str] = ()) -> Html:
    """Draw one panel per quantity of ``metrics.jsonl``, over epochs.

    shares: names of the quantities that are drawn in percent.
    """
    names = [name for name in history[0] if name != "epoch"]
    figure = Figure((9.58, 2.5), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for ax, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        values = [row[name] for row in history]
        ax.plot(epochs, values, color=ACCENT, marker="o", markersize=3.5, linewidth=1.5)
        ax.set_title(name.replace("_", " "))
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(axis="y", color=LINE, linewidth=0.6)
        if name in shares:
            ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    return _svg(figure, "curves", f"{', '.join(names)} over epochs".replace("_", " "))


@mpl.rc_context(STYLE)
def draw_activity(
    record: Record, shapes: Mapping[str, Sequence[int]], titles: Sequence[str], file: Path
) -> Html:
    """Draw one column per sample: stimuli, rasters of every layer, read-outs.

    shapes: of one tick of each input, by name; the last two axes are drawn as an image, an
    input with one axis only as a raster.
    titles: of the first samples; only these samples are drawn.
    file: where to write the same picture as PNG.
    """
    images = {name: shape for name, shape in shapes.items() if len(shape) > 1}
    stimuli = {name: f"stimulus\n{name}" if len(shapes) > 1 else "stimulus" for name in images}
    rasters, outputs = list(record.spikes), list(record.values)
    heights = [1.1] * len(stimuli) + [1.0] * len(rasters) + [1.1] * len(outputs)
    figure = Figure((9.58, 1.4 * sum(heights)), layout="constrained")
    grid = figure.subplots(
        len(heights), len(titles), squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for sample, (column, title) in enumerate(zip(grid.T, titles, strict=True)):
        rows = iter(column)
        for name, shape in images.items():
            raster = to_raster(of_sample(record.spikes[name], sample))[:, 0]
            _stimulus(next(rows), raster, shape)
        for name in rasters:
            draw_raster(record, name, next(rows), sample=sample)
        for name in outputs:
            draw_membranes(record, name, next(rows), sample=sample)
        column[0].set_title(title, loc="center")
    for row, label in zip(grid, stimuli.values(), strict=False):
        row[0].set_ylabel(label)
    for row in grid[len(stimuli) :]:
        for ax in row:
            ax.label_outer()
    for row in grid[len(heights) - len(outputs) :]:
        low, high = min(a.get_ylim()[0] for a in row), max(a.get_ylim()[1] for a in row)
        for ax in row:
            ax.set_ylim(low, high)
    save_png(figure, file, dpi=150, facecolor="white")
    return _svg(figure, "activity", f"activity of {len(titles)} samples over ticks")


def _stimulus(ax: Axes, raster: Float[np.ndarray, "T N"], shape: Sequence[int]) -> None:
    total = np.abs(raster).sum(0).reshape(-1, *shape[-2:])
    ax.imshow(shade(total.sum(0)), interpolation="none")
    ax.set(xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set_visible(False)


@mpl.rc_context(STYLE)
def draw_rates(by_layer: Mapping[str, float]) -> Html:
    """Draw one bar per layer: spikes per neuron and tick."""
    figure = Figure((6.2, 0.5 + 0.3 * len(by_layer)), layout="constrained")
    ax = figure.subplots()
    bars = ax.barh(list(by_layer), list(by_layer.values()), color=ACCENT, height=0.6)
    ax.bar_label(bars, [f"{x:.3g}" for x in by_layer.values()], padding=4, color=INK)
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.set_xlabel("spikes per neuron and tick")
    _plain_names(ax)
    return _svg(figure, "rates", "firing rate of each layer")


@mpl.rc_context(STYLE)
def draw_energies(bars: Sequence[Bar]) -> Html:
    """Draw energies on one logarithmic axis: a bar from low to high, a mark at nominal."""
    places: list[float] = []
    labels: list[str] = []
    heads: list[int] = []
    at, group = 0.0, ""
    for bar in bars:
        if bar.group != group:
            group, at = bar.group, at + 0.4
            heads.append(len(labels))
            places.append(at)
            labels.append(group)
            at += 1
        places.append(at)
        labels.append(bar.label)
        at += 1
    figure = Figure((9.58, 0.7 + 0.24 * at), layout="constrained")
    ax = figure.subplots()
    floor = 0.5 * min((x for b in bars for x in b[2:] if x), default=1e-12)
    spots = [y for i, y in enumerate(places) if i not in heads]
    for y, bar in zip(spots, bars, strict=True):
        low, high = max(bar.low, floor), max(bar.high, floor)
        ax.barh(y, high - low, left=low, height=0.56, color=(ACCENT, 0.3))
        if bar.nominal is not None:
            ax.plot([bar.nominal], [y], marker="|", ms=11, markeredgewidth=3, color=ACCENT)
        ax.annotate(
            format_nominal(bar.nominal),
            (high, y),
            (8, 0),
            textcoords="offset points",
            va="center",
        )
    ax.set_xscale("log")
    ax.set_xlim(floor, 6 * max(floor, *(b.high for b in bars)))
    ax.set_ylim(at - 0.4, 0)
    ax.set_yticks(places, labels)
    for i in heads:
        ax.get_yticklabels()[i].set(fontweight="bold")
    ax.xaxis.set_major_formatter(EngFormatter("J"))
    ax.grid(axis="x", color=LINE, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.set_xlabel("energy per inference (logarithmic)")
    _plain_names(ax)
    return _svg(figure, "energies", "energy per inference of each chip and tier")


@mpl.rc_context(STYLE)
def draw_layer_energies(chips: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Html:
    """Draw one panel per chip: core energy of each layer by part, low to high as a line.

    chips: heading -> layer -> {low, nominal, high, parts: {name: joules}}.
    """
    names = list(next(iter(chips.values())))
    figure = Figure((9.58, 1.1 + 0.26 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(chips), sharey=True, squeeze=False)[0]
    for ax, (title, layers) in zip(panels, chips.items(), strict=True):
        ax.set_title(title)
        _stacked(ax, layers)
        ax.xaxis.set_major_formatter(EngFormatter("J"))
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.grid(axis="x", color=LINE, linewidth=0.6)
        ax.set_axisbelow(True)
        _plain_names(ax)
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return _svg(figure, "layer_energies", "core energy of each layer by its parts")


@mpl.rc_context(STYLE)
def draw_cores(chips: Mapping[str, Mapping[str, Any]], file: Path | None = None) -> Html:
    """Draw the cores of each kind of chip on their mesh, with load and limiting resource.

    chips: heading -> columns of ``mapping.loads`` in ``energy.json``. At most
    :data:`CHIPS_DRAWN` chips of a network are drawn. file: where to write the same picture as
    PNG.
    """
    sizes = [_measure_mesh(loads) for loads in chips.values()]
    heights = [0.5 + 0.32 * high for _, high in sizes]
    widest = max(wide for wide, _ in sizes)
    figure = Figure((9.58, sum(heights) + 0.3), layout="constrained")
    panels = figure.subplots(len(chips), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (name, loads) in zip(panels, chips.items(), strict=True):
        _cores(ax, name, loads)
        ax.set_xlim(-0.1, widest)
        ax.set_anchor("W")
    if file is not None:
        save_png(figure, file, dpi=150, facecolor="white")
    return _svg(figure, "cores", "cores of each chip with their load")


def _measure_mesh(loads: Mapping[str, Any]) -> tuple[int, int]:
    """Return the number of columns and rows of tiles that are drawn."""
    drawn = [k for k, chip in enumerate(loads["chip"]) if chip < CHIPS_DRAWN]
    return 1 + max(loads["x"][k] for k in drawn), 1 + max(loads["y"][k] for k in drawn)


def _cores(ax: Axes, name: str, loads: Mapping[str, Any]) -> None:
    seconds = np.array(list_core_seconds(loads))
    side = math.ceil(math.sqrt(1 + max(loads["in_tile"])))  # side of a tile, in cores
    most, size = seconds.max() or 1.0, 0.9 / side
    for k, chip in enumerate(loads["chip"]):
        if chip < CHIPS_DRAWN:
            row, column = divmod(loads["in_tile"][k], side)
            x, y = loads["x"][k] + column * size, loads["y"][k] + row * size
            share = seconds[k] / most
            colour = (ACCENT, 0.08 + 0.92 * share)
            ax.add_patch(Rectangle((x, y), 0.94 * size, 0.94 * size, facecolor=colour))
            letter = ax.text(x + size / 2, y + size / 2, loads["binds"][k][0])
            letter.set(ha="center", va="center", fontsize=6)
            letter.set_color("white" if share > 0.6 else INK)  # readable on its core
    chips = 1 + max(loads["chip"])
    drawn = f", the first {CHIPS_DRAWN} of {chips} chips" if chips > CHIPS_DRAWN else ""
    busy = EngFormatter("s", places=1)(most)
    ax.set_title(f"{name}: {len(seconds)} cores, the busiest {busy} an inference{drawn}")
    ax.set(xticks=[], yticks=[], aspect="equal", ylim=(_measure_mesh(loads)[1], -0.1))
    for side_line in ax.spines.values():
        side_line.set_visible(False)


def _stacked(ax: Axes, layers: Mapping[str, Mapping[str, Any]]) -> None:
    names = list(layers)
    left = np.zeros(len(names))
    parts = list(next(iter(layers.values())).get("parts", {}))
    for part, colour in zip(parts, cycle(_PARTS)):
        width = np.array([layer["parts"][part] for layer in layers.values()])
        ax.barh(names, width, left=left, height=0.62, color=colour, label=part)
        left += width
    low, high = (np.array([x[k] for x in layers.values()]) for k in ("low", "high"))
    ax.hlines(names, low, high, color=INK, linewidth=0.9)


def _plain_names(ax: Axes) -> None:
    ax.tick_params(axis="y", length=0, labelcolor=INK)
    ax.spines["left"].set_visible(False)


def save_png(figure: Figure, path: Path, **style: Any) -> None:
    """Write a figure as PNG, atomically."""
    file = io.BytesIO()
    figure.savefig(file, format="png", **style)
    write_bytes(path, file.getvalue())


def _svg(figure: Figure, name: str, title: str) -> Html:
    """Return the figure as SVG that shrinks with the page while its text stays readable.

    name: distinguishes its internal references from those of other figures.
    title: for screen readers.
    """
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        metadata = {"Date": None, "Title": title}
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    text = show_controls(file.getvalue())  # names of nodes may hold control characters
    least = _READABLE * 96 * figure.get_figwidth()
    opening = f'<svg role="img" style="min-width:{least:.0f}px"'
    text = opening + text[text.index("<svg") + len("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    for colour, variable in _ON_THE_PAGE.items():
        text = text.replace(colour, f"var({variable})")
    return Html(text)
