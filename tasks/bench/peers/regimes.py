"""Brunel's network in his four regimes: rate, irregularity and synchrony beside the paper's.

SR fires like clocks and all together; SI irregularly, in waves, fast or slow; AI irregularly
and hardly together. His rates are of one simulation of 12,500 cells each.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from neuro.base.units import Seconds, ticks
from neuro.events import Clock, Exact, Grid, Recording, simulate
from neuro.plot import ACCENT, INK
from neuro.spikes import to_times
from neuro.spikes.statistics import Statistics, statistics
from tasks.bench.peers.networks import REGIMES, Regime, brunel
from tasks.bench.plot import STYLE
from tasks.bench.rows import Row, find_ratio
from tasks.report.figures import save_png

ONSET = Seconds(0.1)  # left out of the statistics


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is simulated. n: cells. duration: with the onset [s]."""

    n: int = 12_500
    duration: Seconds = Seconds(0.5)
    seed: int = 1


def activity(regime: Regime, extent: Extent, clock: Clock) -> Statistics:
    """Return the statistics of a regime after its onset."""
    graph, _ = brunel(regime, extent.seed, extent.n)
    duration = ticks(extent.duration, graph.dt)
    kept = Recording(spikes=("cells",))
    record, _ = simulate(graph, {}, clock, record=kept, ticks=duration)
    times = record.times.get("cells") or to_times(record.spikes["cells"], graph.dt)
    return statistics(times, ONSET, extent.duration)


def rows(name: str, extent: Extent) -> Iterator[Row]:
    """Yield the rate of a regime under both clocks beside the published one.

    The ratio should be 1.
    """
    published = REGIMES[name].rate
    for subject, clock in (("neuro exact", Exact()), ("neuro grid", Grid())):
        measured = activity(REGIMES[name], extent, clock)
        known = {k: v for k, v in measured._asdict().items() if np.isfinite(v)}
        yield Row(
            case=name,
            subject=subject,
            peer="Brunel 2000",
            unit="Hz",
            ours=measured.rate,
            theirs=published,
            ratio=find_ratio(measured.rate, published, "higher"),
            note="the paper gives no rate for it" if published is None else "",
            conditions={"statistics": known, **asdict(extent)},
        )


@mpl.rc_context(STYLE)
def draw_rates(rows: list[Row], path: Path) -> None:
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
