"""Brunel's network in his four regimes: rate, irregularity and synchrony beside the paper's.

SR fires like clocks and all together; SI irregularly, in waves, fast or slow; AI irregularly
and hardly together. His rates are of one simulation of 12,500 cells each.
"""

from dataclasses import asdict, dataclass

import numpy as np

from neuro.events import Clock, Exact, Grid, Recording, simulate
from neuro.spikes import Times, to_times
from neuro.statistics import Statistics, statistics
from neuro.units import Seconds, ticks
from tasks.bench.rows import Row
from tasks.peers.networks import REGIMES, Regime, brunel, poisson

ONSET = Seconds(0.1)  # left out of the statistics


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is simulated. n: cells. duration: with the onset [s]."""

    n: int = 12_500
    duration: Seconds = Seconds(0.5)
    seed: int = 1


def activity(regime: Regime, extent: Extent, clock: Clock) -> Statistics:
    """Return the statistics of a regime after its onset; its input is never held whole."""
    graph, _ = brunel(regime, extent.seed, extent.n)
    duration = ticks(extent.duration, graph.dt)
    state, start, parts = None, 0, []
    for piece in poisson(regime, extent.seed, extent.n, duration):
        record, state = simulate(
            graph, piece, clock, state=state, record=Recording(spikes=("cells",))
        )
        found = record.times.get("cells") or to_times(record.spikes["cells"], graph.dt)
        parts.append((found.time + start * graph.dt, found.neuron))
        start += record.ticks
    time, neuron = (np.concatenate(column) for column in zip(*parts, strict=True))
    none, ones = np.zeros(time.size, np.int32), np.ones(time.size)
    times = Times(none, time, neuron, ones, (duration, 1, extent.n))
    return statistics(times, ONSET, extent.duration)


def rows(name: str, extent: Extent) -> list[Row]:
    """Return the rate of a regime under both clocks beside the published one.

    The ratio should be 1.
    """
    return [
        _row(name, extent, subject, activity(REGIMES[name], extent, clock))
        for subject, clock in (("neuro exact", Exact()), ("neuro grid", Grid()))
    ]


def _row(name: str, extent: Extent, subject: str, found: Statistics) -> Row:
    published = REGIMES[name].rate
    known = {k: v for k, v in found._asdict().items() if np.isfinite(v)}
    return Row(
        case=name,
        subject=subject,
        peer="Brunel 2000",
        unit="Hz",
        ours=found.rate,
        theirs=published,
        ratio=None if published is None else found.rate / published,
        note="the paper gives no rate for it" if published is None else "",
        conditions={"statistics": known, **asdict(extent)},
    )
