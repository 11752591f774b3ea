"""The pictures of the pages, drawn at every build by the code that the pages describe.

They are written to docs/generated/, which is no part of the repository. Each function draws one
picture and is named for it; nothing is trained, and every picture takes seconds.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter
from torch import nn

ROOT = Path(__file__).parents[2]
BLUE, RED, GREY = "#0b6fa4", "#c2410c", "#8c959f"
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}
DT = 0.001  # [s]
NETWORKS = ("2 convolutions", "784-512-10", "6 convolutions of 256")  # of the bench of training
MEASURED = {  # a picture: start of a heading of RESULTS.md, columns of its first table, axis
    "generation": ("Images from a spiking VAE", (2,), "FAD of new images (lower is better)"),
    "language": ("Language: bits per byte", (3,), "bits per byte, test (lower is better)"),
    "bottlenecks": ("Bottlenecks between chips", (2, 3), "accuracy by channels at the cut [%]"),
    "forecasting": ("Forecasting", (6,), "squared error, L 8, H 5 [bins²] (lower is better)"),
    "reasoning": ("Reasoning", (1,), "exact answers on graphs [%] (higher is better)"),
    "flow": ("Flow", (1,), "feature-FD of new digits (lower is better)"),
    "attribution": ("Attribution", (2,), "total variation to true shares (lower is better)"),
}


def setup(app: Any) -> dict[str, bool]:
    """Draw everything before Sphinx looks for pictures, after the pages are written."""
    app.connect("config-inited", lambda *_: draw(ROOT / "docs" / "generated"), priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def draw(folder: Path) -> None:
    """Draw every picture of ``PICTURES`` into a folder."""
    for name, picture in PICTURES.items():
        with mpl.rc_context(STYLE):
            figure = picture()
            figure.savefig(folder / f"{name}.png", dpi=150, facecolor="white")


def draw_clocks() -> Figure:
    """Draw the membrane of one neuron under both clocks, with input between the ticks."""
    from neuro import LIF, Dense, Edge, Graph, Input, Seconds
    from neuro.events import Exact, Grid, Recording, simulate
    from neuro.spikes import Times, to_times

    ticks, fine = 20, 20  # a tick of 1 ms, and samples of the exact membrane in each
    arrivals = DT * np.array([2.3, 3.6, 4.2, 9.4, 10.2, 10.7, 11.3, 15.5, 16.6, 17.1])

    def run(clock: Exact | Grid, parts: int) -> tuple[Any, ...]:
        nodes = {
            "x": Input(shape=(1,)),
            "w": Dense(weight=np.array([[0.42]])),
            "cell": LIF(tau=0.008),
        }
        edges = (Edge("x", "w"), Edge("w", "cell"))
        graph = Graph(nodes=nodes, edges=edges, dt=Seconds(DT / parts))
        zeros = np.zeros(arrivals.size, np.int32)
        shape = (ticks * parts, 1, 1)
        stimulus = {"x": Times(zeros, arrivals, zeros, np.ones(arrivals.size), shape)}
        record = Recording(states=tuple(range(ticks * parts)))
        found = simulate(graph, stimulus, clock, record=record)[0]
        v = np.array([states["cell"][0, 0, 0] for states in found.states.values()])
        at = 1e3 * DT / parts * np.arange(1 + v.size)
        if isinstance(clock, Exact):
            return at, np.append(0, v), 1e3 * found.times["cell"].time
        return at, np.append(0, v), 1e3 * to_times(found.spikes["cell"], graph.dt).time

    figure = Figure((7.5, 2.6), layout="constrained")
    ax = figure.subplots()
    for clock, parts, colour, height, label in (
        (Exact(), fine, BLUE, 1.3, "Exact()"),
        (Grid(), 1, RED, 1.18, "Grid(), ticks of 1 ms"),
    ):
        at, v, spikes = run(clock, parts)
        style = "o" if parts == 1 else "-"  # a clock knows nothing between its ticks
        ax.plot(at, v, style, color=colour, ms=4, lw=1.2, label=label)
        ax.plot(spikes, np.full(len(spikes), height), "|", color=colour, ms=9, mew=1.8)
    ax.plot(1e3 * arrivals, np.full(arrivals.size, -0.1), "^", color=GREY, ms=5)
    ax.axhline(1, color=GREY, lw=0.8, ls="--")
    ax.annotate("threshold", (0.1, 1.02), color=GREY)
    ax.set(xlabel="time (ms)", ylabel="membrane", xlim=(0, ticks), ylim=(-0.2, 1.42))
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def draw_crossing() -> Figure:
    """Draw a membrane that is above its threshold between two ticks only."""
    tau, tau_syn, threshold = 0.001, 0.00025, 0.9  # [s], [s]

    def membrane(t: Any) -> Any:
        return 2.1 * (np.exp(-t / tau) - np.exp(-t / tau_syn))

    t = np.linspace(0, 4 * DT, 2001)
    figure = Figure((6.5, 2.6), layout="constrained")
    ax = figure.subplots()
    ax.plot(1e3 * t, membrane(t), color=BLUE, label="membrane, without the reset")
    ticks = DT * np.arange(5)
    ax.plot(1e3 * ticks, membrane(ticks), "o", color=RED, label="what a clock of 1 ms tests")
    ax.axhline(threshold, color=GREY, lw=0.8, ls="--")
    ax.annotate("threshold", (3.5, threshold + 0.02), color=GREY)
    crossing = 1e3 * t[np.argmax(membrane(t) >= threshold)]
    ax.annotate(
        f"crossing at {crossing:.2f} ms",
        (crossing, threshold),
        (1.1, 1.03),
        arrowprops={"arrowstyle": "->", "color": BLUE},
        color=BLUE,
    )
    ax.set(xlabel="time since the spike that arrived (ms)", ylabel="membrane", ylim=(0, 1.15))
    ax.legend(loc="center right")
    return figure


def draw_surrogates() -> Figure:
    """Draw the step and the two derivatives that stand in for its own."""
    from neuro.neurons.surrogate import arctan, triangle

    x = torch.linspace(-2, 2, 401)
    figure = Figure((6.5, 2.4), layout="constrained")
    ax = figure.subplots()
    ax.plot(x, (x >= 0).float(), color=GREY, lw=1.2, label="spike (forward)")
    ax.plot(x, arctan(x), color=BLUE, label="arctan (backward)")
    ax.plot(x, triangle(x), color=RED, label="triangle (backward)")
    ax.set(xlabel="membrane − threshold", ylim=(-0.05, 1.1))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def draw_integers() -> Figure:
    """Draw the read-out of a small network in floats and in Loihi's integers."""
    from lava_export import lower, reference, to_float
    from neuro import ALIF, LI, Dense, Edge, Graph, Input, Seconds, to_events
    from neuro.events import simulate

    rng = np.random.default_rng(0)
    names = ("x", "w1", "hidden", "w2", "out")
    graph = Graph(
        nodes={
            "x": Input(shape=(20,)),
            "w1": Dense(weight=rng.normal(0.4, 0.5, (30, 20))),
            "hidden": ALIF(),
            "w2": Dense(weight=rng.normal(0, 0.3, (1, 30))),
            "out": LI(tau=0.02),
        },
        edges=tuple(map(Edge, names[:-1], names[1:])),
        dt=Seconds(DT),
    )
    ticks = 80
    stimulus = {"x": to_events(rng.random((ticks, 1, 20)) < 0.15)}
    floats = simulate(graph, stimulus)[0].values["out"][:, 0, 0]
    program = lower(graph, ticks=ticks)
    integers = reference.run(program, stimulus, ticks=ticks).values["out"]
    on_chip = to_float(program, "out", integers)[:, 0, 0]

    figure = Figure((7.5, 3.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    above.plot(floats, color=BLUE, label="floats (torch, event engine)")
    above.plot(on_chip, color=RED, lw=1, ls="--", label="integers (reference, Lava)")
    above.set(ylabel="read-out")
    above.legend(loc="upper right")
    below.plot(on_chip - floats, color=RED, lw=1)
    below.axhline(0, color=GREY, lw=0.8)
    below.set(xlabel="tick", ylabel="difference")
    return figure


def draw_tiers() -> Figure:
    """Draw the tiers of one small network on two chips, each from low to high."""
    from neuro import ALIF, LI, Spiking, Stack, to_events
    from neuro.base.seeds import seeded
    from neuro.energy import estimate
    from neuro.events import simulate
    from neuro.nn.trace import trace
    from neuro.spikes.codes import rate

    with seeded(0):
        layers = {"fc1": nn.Linear(784, 64), "hidden": Spiking(ALIF())}
        net = Stack(**layers, fc2=nn.Linear(64, 10), out=Spiking(LI(tau=0.02)))
        spikes = rate(torch.rand(8, 784) / 2, ticks=8)
    graph = trace(net, (784,))
    record, _ = simulate(graph, {"input": to_events(spikes)})
    bars = {}
    for name in ("loihi1", "loihi2"):
        found = estimate(graph, record, name)
        bars |= {f"{name}, core": found.core, f"{name}, chip": found.whole_chip}
    figure = Figure((7.5, 1.9), layout="constrained")
    ax = figure.subplots()
    for y, x in enumerate(bars.values()):
        ax.barh(y, x.high - x.low, left=x.low, height=0.56, color=(BLUE, 0.3))
        ax.plot([x.nominal], [y], "|", ms=11, mew=3, color=BLUE)
    ax.set_yticks(range(len(bars)), list(bars))
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel="energy per inference (logarithmic)")
    ax.xaxis.set_major_formatter(EngFormatter("J"))
    return figure


def draw_recall() -> Figure:
    """Draw the recall of hybrids by their share of softmax layers, from RESULTS.md."""
    results = (ROOT / "RESULTS.md").read_text()
    rows = re.search(r"^\| MQAR, % right (.*?)^\| needles", results, re.M | re.S)
    ratios = ("pure", "7:1", "3:1", "1:1")
    figure = Figure((7.5, 2.8), layout="constrained")
    ax = figure.subplots()
    for line in rows[1].splitlines() if rows else ():
        name, *cells = [cell.strip() for cell in line.strip("| ").split("|") if cell.strip()]
        shares = [float(cell.split()[0]) / 100 for cell in cells[: len(ratios)]]
        ax.plot(ratios, shares, marker="o", ms=4, label=name)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set(xlabel="linear layers : softmax layers", ylabel="MQAR, right", ylim=(0, 1.03))
    figure.legend(loc="outside right center")
    return figure


def draw_speed() -> Figure:
    """Draw the speed of the engine and of training beside others, from RESULTS.md."""
    times: dict[str, dict[float, float]] = {}
    network, rate = "", 0.0
    for row in _read_table("Networks with one delay, and the classifier")[1:]:
        if row[0]:
            network, rate = row[0], _read_number(row[1])
        if network.startswith("delta") and "20,000" not in network:
            peers = zip(row[4].split(" / "), row[5].split(" / "), strict=True)
            for name, seconds in (("neuro, exact clock", row[2]), *peers):
                if seconds:
                    times.setdefault(name, {})[rate] = _read_number(seconds)
    steps = _read_table("Speed of training")[1:]
    names = [f"{network}: {step}" for network in NETWORKS for step in ("training", "inference")]

    figure = Figure((9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = ("neuro, exact clock", "NEST precise", "Brian2 C++")
    for name, color, marker in zip(shown, (BLUE, RED, GREY), "os^", strict=True):
        rates = sorted(times[name])
        left.plot(rates, [times[name][r] for r in rates], color=color, marker=marker)
    left.set(xscale="log", yscale="log", xlabel="spikes a neuron and second")
    left.set(ylabel="CPU seconds a simulated second", title="Engine: 4,000 neurons")
    left.legend(shown)
    for column, shift, color in ((3, -0.2, BLUE), (6, 0.2, GREY)):
        ratios = [_read_number(row[column]) for row in steps]
        label = {3: "best library", 6: "plain torch, compiled"}[column]
        right.barh(np.arange(len(steps)) + shift, ratios, 0.38, color=color, label=label)
    right.axvline(1, color="black", lw=0.8)
    right.set_yticks(range(len(steps)), names)
    right.invert_yaxis()
    right.set(xlabel="their time / neuro's time", title="Training and inference")
    right.legend()
    return figure


def draw_measured(section: str, columns: tuple[int, ...], axis: str) -> Figure:
    """Draw means and deviations of every row of a table in RESULTS.md."""
    head, *rows = _read_table(section)
    rows = [row for row in rows if any(row[column] for column in columns)]
    figure = Figure((7.5, 0.7 + 0.22 * len(rows)), layout="constrained")
    ax = figure.subplots()
    for column, colour in zip(columns, (BLUE, RED), strict=False):
        found = [(y, row[column].strip("* ")) for y, row in enumerate(rows) if row[column]]
        means = [_read_number(cell.split()[0]) for _, cell in found]
        spread = [_read_number((cell + " ± 0").split(" ± ")[1]) for _, cell in found]
        heights = [y for y, _ in found]
        ax.errorbar(means, heights, xerr=spread, fmt="o", color=colour, label=head[column])
        if max(means) > 20 * min(means):
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter("{x:g}")
    ax.set_yticks(range(len(rows)), [row[0].replace("`", "") for row in rows])
    ax.invert_yaxis()
    ax.grid(axis="y", lw=0.4)
    ax.set(xlabel=axis)
    if len(columns) > 1:
        ax.legend()
    return figure


def draw_bars() -> Figure:
    """Draw the frames of two recordings of moving bars: ON events blue, OFF events red."""
    from drivers.event_camera import frames, moving_bars
    from neuro import Seconds

    clips, shown = moving_bars.generate("test", 16, 8), range(1, 15, 2)
    figure = Figure((7.5, 2.5), layout="constrained")
    axes = figure.subplots(2, len(shown), sharex=True, sharey=True)
    for row, (number, title) in zip(axes, ((0, "right"), (1, "right, down")), strict=True):
        counted = frames(clips[number], 20, Seconds(0.0125), 1, True)
        for ax, tick in zip(row, shown, strict=True):
            off, on = counted[tick]
            ax.imshow(on - off, cmap="RdBu", vmin=-1, vmax=1)
            ax.set(xticks=[], yticks=[], title=f"tick {tick}" if number == 0 else "")
        row[0].set_ylabel(title)
    return figure


def _read_table(section: str) -> list[list[str]]:
    """Return the cells of the first table in a section of RESULTS.md, the head first."""
    text = (ROOT / "RESULTS.md").read_text().split(f"## {section}")[1]
    head, _, *rows = text[text.index("\n|") + 1 :].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in (head, *rows)]


def _read_number(cell: str) -> float:
    """Return the number of a cell such as **2.2**, 0.1 Hz or 1,230."""
    return float(re.sub(r"[^\d.]", "", cell))


def draw_import() -> Figure:
    """Draw a network of snnTorch beside its import: a membrane and the spikes of both."""
    import snntorch as snn

    from neuro.base.seeds import seeded
    from neuro.events import simulate
    from neuro.interop.imported import run_clock
    from neuro.interop.snntorch import import_module
    from neuro.spikes import to_events, to_raster

    with seeded(5):
        layer = nn.Linear(30, 20)
        net = nn.Sequential(layer, snn.Leaky(beta=0.9, init_hidden=True, output=True))
        x = (torch.rand(60, 1, 30) < 0.25).float()
    with torch.no_grad():
        layer.weight.mul_(2)
        spikes, membranes = (torch.stack(y) for y in zip(*map(net, x), strict=True))
    network = import_module(net, (30,))
    graph = network.graph
    (name,) = graph.firing
    record, _ = simulate(graph, {graph.inputs[0]: to_events(x.numpy())})
    after = run_clock(graph, {graph.inputs[0]: x.double().numpy()}).membranes[name]
    counts = spikes.sum((0, 1))
    shown = int((counts - 9).abs().argmin())

    figure = Figure((9, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.3])
    left.plot(membranes[:, 0, shown], color=GREY, lw=3, label="snnTorch, before the reset")
    left.plot(after[:, 0, shown], color=BLUE, lw=1, label="neuro, after it")
    left.axhline(1, color="black", lw=0.6, ls=":")
    left.set(xlabel="tick", ylabel="membrane", title="One neuron", ylim=(None, 2.4))
    left.legend(loc="upper left", fontsize=7)
    rasters = (spikes[:, 0].numpy(), to_raster(record.spikes[name])[:, 0])
    looks: Any = {
        "snnTorch": {"marker": "s", "ms": 6, "mfc": "none", "color": GREY},
        "event engine": {"marker": "|", "color": BLUE},
    }
    for raster, (who, look) in zip(rasters, looks.items(), strict=True):
        right.plot(*np.nonzero(raster), ls="", label=who, **look)
    differ = int((rasters[0] != rasters[1]).sum())
    title = f"{int(rasters[0].sum())} spikes, {differ} differ"
    right.set(xlabel="tick", ylabel="neuron", title=title, ylim=(-1, 24))
    right.legend(loc="upper right", ncols=2, fontsize=7)
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "clocks": draw_clocks,
    "crossing": draw_crossing,
    "surrogates": draw_surrogates,
    "integers": draw_integers,
    "tiers": draw_tiers,
    "recall": draw_recall,
    "speed": draw_speed,
    "bars": draw_bars,
    **{name: partial(draw_measured, *table) for name, table in MEASURED.items()},
}


if __name__ == "__main__":  # the pictures of the README
    for name, picture in (("speed", draw_speed), ("import", draw_import)):
        with mpl.rc_context(STYLE):
            picture().savefig(ROOT / f"docs/_static/{name}.png", dpi=150, facecolor="white")
