"""Pictures of a network and of a run: its graph, rasters, membranes.

Each function draws on the Axes in its argument, or on those of a new Figure, and returns them;
``draw_graph(graph).figure.savefig("graph.png")`` writes a file. pyplot is not used, because it
keeps global figures. Axes of arrays: T ticks, N neurons.
"""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import networkx as nx
import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from neuro.base.text import format_shape
from neuro.base.units import Seconds
from neuro.graph import Graph, Hosted, Input
from neuro.graph.nodes import Edge
from neuro.graph.requirements import require_graph
from neuro.graph.validate import get_kind
from neuro.neurons import is_neuron
from neuro.spikes import of_sample, to_raster
from neuro.spikes.record import Record, require_records

INK, MUTED, LINE, ACCENT = "#1f2328", "#656d76", "#d8dee4", "#0b6fa4"
SHADE = "#1b82ba"  # colour of images: readable on light and dark pages
ROWS = 60  # most rows of a raster; neurons of larger populations share rows
LINES = 60  # most membranes drawn as lines; a larger population is drawn as an image
WIDE, HIGH = 1.7, 0.62  # width of a column and height of a row of a graph [inches]
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
}

Places = Mapping[str, tuple[float, int]]  # (column, row) of each node


@mpl.rc_context(STYLE)
def draw_raster(
    record: Record,
    name: str,
    ax: Axes | None = None,
    *,
    sample: int = 0,
    dt: Seconds | None = None,
) -> Axes:
    """Draw the spikes of one node in one sample: ticks to the right, neurons downwards.

    A spike is a dark square. In a population of more than 60 neurons, several neurons share a
    row, which is darker the more of them fire.

    Args:
        record: the result of a run.
        name: name of an Input or a spiking population.
        ax: axes to draw on; default: those of a new figure.
        sample: index of the sample.
        dt: tick of the Graph [s]; if given, the time axis is in milliseconds.

    Raises:
        TypeError: ``record`` is not a Record.
        NoSuchNode: the record holds no spikes of this node.
        ValueError: the record has no such sample.
    """
    _require_sample(record, sample)
    raster = to_raster(of_sample(record.spikes[name], sample))[:, 0]
    ax = _axes(ax, (6.2, 2.2))
    draw_cells(ax, np.abs(raster), dt)
    ax.set_ylabel(f"{name}\nneuron")
    return ax


@mpl.rc_context(STYLE)
def draw_membranes(
    record: Record,
    name: str,
    ax: Axes | None = None,
    *,
    sample: int = 0,
    dt: Seconds | None = None,
) -> Axes:
    """Draw the membranes of one read-out in one sample; the highest mean gets a thick line.

    More than 60 membranes are drawn as an image, darker for larger values, from the smallest
    on. For arguments and errors see :func:`draw_raster`.
    """
    _require_sample(record, sample)
    values = record.values[name][:, sample].reshape(record.ticks, -1)
    ax = _axes(ax, (6.2, 2.2))
    if values.shape[1] > LINES:  # for example the pixels of an image
        draw_cells(ax, values - values.min(), dt)
    else:
        tick = np.arange(len(values)) * _per_tick(dt)
        for line in values.T:
            ax.plot(tick, line, color=MUTED, linewidth=0.7, alpha=0.6)
        ax.plot(tick, values[:, values.mean(0).argmax()], color=ACCENT, linewidth=2)
        ax.set_xlim(-0.5 * _per_tick(dt), (len(values) - 0.5) * _per_tick(dt))
        ax.yaxis.set_major_locator(MaxNLocator(3))
        _label_time(ax, dt)
    ax.set_ylabel(f"{name}\nmembrane")
    return ax


def draw_cells(ax: Axes, values: Shaped[np.ndarray, "T N"], dt: Seconds | None = None) -> None:
    """Draw an array over time as an image, darker for larger values."""
    ticks, n = values.shape
    share = pool_neurons(values, ROWS)
    per = _per_tick(dt)
    extent = (-0.5 * per, (ticks - 0.5) * per, float(n), 0.0)
    ax.imshow(shade(share.T), aspect="auto", interpolation="none", extent=extent)
    ax.set_yticks([0, n])
    _label_time(ax, dt)


def pool_neurons(raster: Float[np.ndarray, "T N"], rows: int) -> Float[np.ndarray, "T R"]:
    """Average groups of neighbouring neurons, so that at most ``rows`` rows remain."""
    n = raster.shape[1]
    starts = np.arange(0, n, count_neurons_per_row(n, rows))
    sizes = np.diff([*starts, n])
    return np.asarray(np.add.reduceat(raster.astype(float), starts, axis=1) / sizes)


def count_neurons_per_row(neurons: int, rows: int = ROWS) -> int:
    """Return how many neurons of a layer share one row of its raster."""
    return -(-neurons // rows)


def shade(values: Float[np.ndarray, "Y X"]) -> Float[np.ndarray, "Y X 4"]:
    """Return an image in one colour whose opacity is the value; zeros are transparent."""
    rgba = np.empty((*values.shape, 4))
    rgba[..., :3] = to_rgb(SHADE)
    rgba[..., 3] = values / (values.max() or 1)
    return rgba


def _per_tick(dt: Seconds | None) -> float:
    """Return the length of one tick on the time axis: 1, or its milliseconds."""
    return 1.0 if dt is None else 1e3 * dt


def _label_time(ax: Axes, dt: Seconds | None) -> None:
    ax.set_xlabel("tick" if dt is None else "time [ms]")
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=dt is None))


def _require_sample(record: Record, sample: int) -> None:
    require_records(record=record)
    if not 0 <= sample < record.samples:
        raise ValueError(f"the record has samples 0 to {record.samples - 1}, got {sample}")


@mpl.rc_context(STYLE)
def draw_graph(graph: Graph, ax: Axes | None = None) -> Axes:
    """Draw the nodes of a Graph from the top down, and its edges.

    A box shows the node's name, kind and shape. Populations are filled; Inputs and host nodes
    are grey. An edge shows its delay; an edge that leads back up is dashed.

    Raises:
        TypeError: ``graph`` is not a Graph.
    """
    require_graph(graph)
    places = place_nodes(graph)
    wide = max(x for x, _ in places.values()) + 1
    deep = max(y for _, y in places.values()) + 1
    ax = _axes(ax, (max(2.6, WIDE * wide + 0.6), HIGH * deep + 0.2))
    boxes = {}
    for name, (x, y) in places.items():
        node = graph.nodes[name]
        face, line, ink = "white", LINE, INK
        if is_neuron(node) and not isinstance(node, Hosted):
            face, line, ink = ACCENT, ACCENT, "white"
        elif isinstance(node, Input | Hosted):
            face = LINE
        boxes[name] = ax.text(
            *(x, y, f"{name}\n{get_kind(node)}  {format_shape(graph.shapes[name])}"),
            ha="center",
            va="center",
            color=ink,
            fontsize=8,
            linespacing=1.3,
            zorder=3,
            bbox={"boxstyle": "round,pad=0.35", "facecolor": face, "edgecolor": line},
        )
    for edge in graph.edges:
        _draw_edge(ax, edge, places, boxes)
    ax.set_xlim(-0.65, wide - 0.35)
    ax.set_ylim(deep - 0.45, -0.55)
    ax.axis("off")
    return ax


def place_nodes(graph: Graph) -> dict[str, tuple[float, int]]:
    """Return (column, row) of each node; a node stands below all nodes that feed it.

    Edges that close a loop, seen from the Inputs, are ignored. Rows are centred.
    """
    directed = nx.DiGraph([("", name) for name in graph.sources])  # no node has the name ""
    directed.add_edges_from((e.source, e.target) for e in graph.edges)
    *names, _ = nx.dfs_postorder_nodes(directed, "")
    row: dict[str, int] = {}
    for name in reversed(names):
        above = [row[e.source] for e in graph.into(name) if e.source in row]
        row[name] = max(above, default=-1) + 1
    members: dict[int, list[str]] = {}
    for name in sorted(row, key=graph.order.index):
        members.setdefault(row[name], []).append(name)
    wide = max(map(len, members.values()))
    return {
        name: (k + (wide - len(names)) / 2, r)
        for r, names in sorted(members.items())
        for k, name in enumerate(names)
    }


def _draw_edge(ax: Axes, edge: Edge, places: Places, boxes: Mapping[str, Text]) -> None:
    (x, y), (to_x, to_y) = places[edge.source], places[edge.target]
    delay = f"{edge.delay} tick{'s' * (edge.delay > 1)}" if edge.delay else ""
    if edge.source == edge.target:
        ax.text(x + 0.4, y, f"↺ {delay}", color=MUTED, fontsize=7.5, va="center")
        return
    back = to_y <= y
    past = to_y > y + 1 and abs(to_x - x) < 0.75  # a straight line would cross boxes
    bend = 0.6 if back or past else 0.0
    ax.annotate(
        "",
        xy=(to_x, to_y),
        xytext=(x, y),
        arrowprops={
            "arrowstyle": "-|>",
            "color": MUTED,
            "linewidth": 0.9,
            "linestyle": "--" if back else "-",
            "shrinkA": 0,
            "shrinkB": 0,
            "patchA": boxes[edge.source].get_bbox_patch(),
            "patchB": boxes[edge.target].get_bbox_patch(),
            "connectionstyle": f"arc3,rad={bend}",
        },
        zorder=2,
    )
    if delay:  # at the middle of the arc, beside the straight line
        aside = bend / 2 * (y - to_y) * HIGH / WIDE, bend / 2 * (to_x - x) * WIDE / HIGH
        left = to_x < x
        ax.text(
            *((x + to_x) / 2 + aside[0] + (-0.06 if left else 0.04), (y + to_y) / 2 + aside[1]),
            delay,
            ha="right" if left else "left",
            color=MUTED,
            fontsize=7.5,
            va="center",
            zorder=4,
        )


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    return ax if ax is not None else Figure(size, layout="constrained").subplots()
