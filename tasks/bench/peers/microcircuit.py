"""``neuro bench microcircuit``: the cortical microcircuit at three sizes, beside its peers.

All simulators get the same synapses, weights, delays, membranes and drive. NEST and Brian2 run
at the scales that fit into 24 GB, so not at full scale. Grid() has the spikes of NEST at ticks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from neuro.base.units import Seconds, Ticks
from neuro.events import Grid, simulate
from neuro.graph import Sparse
from neuro.interop import nest
from neuro.plot import ACCENT, INK
from neuro.spikes import Times, to_times
from neuro.spikes.statistics import statistics
from tasks.bench import plot
from tasks.bench.comparison import Pair, measure_case
from tasks.bench.harness import Build, Run, RunTiming, measure
from tasks.bench.memory import measure_growth
from tasks.bench.options import BenchOptions, MeasurePart
from tasks.bench.peers import subjects_brian, subjects_nest, subjects_neuro
from tasks.bench.peers.cost import LIMIT, make_row
from tasks.bench.peers.engine import CPP, EXACT, NEST, NEST_GRID, of_network
from tasks.bench.peers.networks import start
from tasks.bench.peers.potjans_diesmann import NEURONS, microcircuit
from tasks.bench.peers.problem import BenchProblem, recurrent
from tasks.bench.rows import Row
from tasks.bench.stopwatch import Stopwatch
from tasks.report.figures import save_png

SEED = 1
GRID, GRID64 = "neuro grid, float32", "neuro grid, float64"
GRID_ALONE, EXACT_ALONE = f"{GRID}, 1 thread", f"{EXACT}, 1 thread"
PUBLISHED = "NEST's example"  # its network_params.py: mean rates with Poisson background [1/s]
RATES = (0.971, 2.868, 4.746, 5.396, 8.142, 9.078, 0.991, 7.523)
BYTES, BYTES_BUILDING = 10.0, 12.0  # limits per synapse: after, and while building
BUILDING = 120.0  # [s] limit for building at full scale
ONSET, SHOWN = Seconds(0.5), 0.4  # [s] left out of statistics; length of the picture after it
LINES = 4000  # most neurons in the picture


class Size(NamedTuple):
    """A network, and its measurements.

    scale, delay: see :func:`microcircuit`.
    groups: number of threads, and the pairs that are timed together.
    most: limit of the time per synaptic event [ns], by subject.
    most_seconds: limit of the time per simulated second [s], by number of threads.
    """

    name: str
    scale: float
    groups: tuple[tuple[int, tuple[Pair, ...]], ...] = ()
    most: Mapping[str, float] = {}
    most_seconds: Mapping[int, float] = {}
    delay: Seconds | None = None
    seconds: float = 1.0

    def quick(self) -> "Size":
        """Return a network that is too small to judge, and says so in its name."""
        name = f"{self.name} / 50, too small to judge"
        return self._replace(name=name, scale=self.scale / 50, seconds=0.1)


PEERS = (
    (1, (Pair(GRID, (NEST_GRID,), 13.0), Pair(GRID64, (NEST_GRID,), 13.0))),
    (1, (Pair(GRID, (CPP,), 10.0), Pair(GRID64, (CPP,), 10.0))),
    (1, (Pair(EXACT, (NEST,), 20.0),)),
)
TWO = (
    (2, (Pair(GRID, (GRID_ALONE,), 1.7), Pair(GRID, (NEST_GRID,)))),
    (2, (Pair(EXACT, (EXACT_ALONE,), 1.7),)),
)
ALONE = (
    (1, (Pair(GRID, (LIMIT,), 1.0), Pair(EXACT, (GRID,)))),
    (2, (Pair(GRID, (LIMIT,), 1.0), Pair(GRID, (GRID_ALONE,), 1.7))),
)
MOST, MOST_ONE_DELAY = {GRID: 3.0, GRID64: 3.0, EXACT: 12.0}, {GRID: 1.5, EXACT: 10.0}
SIZES = {
    "tenth": Size("10 %", 0.1, PEERS + TWO, MOST),
    "third": Size("35 %", 0.35, PEERS + TWO),
    "full": Size("full scale", 1.0, ALONE, {GRID: 5.0}, {1: 5.0, 2: 3.0}),
    "one_delay": Size("10 %, one delay", 0.1, PEERS, MOST_ONE_DELAY, delay=Seconds(1.5e-3)),
}


def make_problem(size: Size, late: int = 0) -> BenchProblem:
    """Return the network of a size. late: ticks added to its delays."""
    network = microcircuit(size.scale, SEED, delay=size.delay, late=Ticks(late))
    return recurrent(network, Seconds(size.seconds))


def list_subjects(size: Size, threads: int) -> dict[str, Build]:
    """Return all subjects by name."""
    own, late = partial(make_problem, size), partial(make_problem, size, 1)
    grid = partial(subjects_neuro.grid, late, dtype=np.float32)
    exact = partial(subjects_neuro.exact, own)
    return {
        GRID: grid,
        GRID_ALONE: partial(subjects_neuro.alone, grid),
        GRID64: partial(subjects_neuro.grid, late, dtype=np.float64),
        EXACT: exact,
        EXACT_ALONE: partial(subjects_neuro.alone, exact),
        NEST: partial(subjects_nest.nest, own, precise=True),
        NEST_GRID: partial(subjects_nest.nest, late, precise=False),
        CPP: partial(subjects_brian.cpp, own),
        LIMIT: partial(take, size.most_seconds.get(threads, 0.0) * size.seconds),
    }


def take(seconds: float, _: int) -> Run:
    """Return a "run" that takes ``seconds``."""
    return lambda: RunTiming(seconds, seconds, 0)


def time_size(size: Size, options: BenchOptions) -> Iterator[Row]:
    """Yield times beside peers, and times per synaptic event on one thread beside limits."""
    size = size.quick() if options.quick else size
    cells = sum(round(n * size.scale) for n in NEURONS.values())
    alone: dict[str, Row] = {}
    for threads, pairs in size.groups:
        every = list_subjects(size, threads)
        subjects = {k: every[k] for pair in pairs for k in (pair.ours, *pair.theirs)}
        name = f"microcircuit, {size.name}{', 2 threads' * (threads == 2)}"
        case = of_network(name, subjects, pairs, (cells, size.seconds))
        case = replace(case, threads=threads, clock="cpu" if threads == 1 else "wall")
        for row in measure_case(case, options.repeats):
            yield row
            if threads == 1:
                alone.setdefault(row.subject, row)
    for name, row in alone.items():
        speed, most = row.conditions.get("synaptic_events_per_second"), size.most.get(name)
        pair = speed and 1e9 / speed, most
        about: dict[str, Any] = {} if most is None else {"target": 1}
        yield make_row(f"{row.case}, one synaptic event", (name, LIMIT), "ns", pair, **about)


def measure_building(options: BenchOptions) -> Iterator[Row]:
    """Yield the memory per synapse and the time of building, by size."""
    kinds = ("memory at rest", "peak memory while it is built", "building")
    for name in ("tenth", "third", "full"):
        size = SIZES[name].quick() if options.quick else SIZES[name]
        measured = measure({name: partial(build, size.scale)}, 1)[name]
        found: tuple[float | None, ...] = (None,) * 3
        if measured.runs:
            _, seconds, taken, synapses, grown = measured.runs[0]
            found = taken / synapses, grown and grown / synapses, seconds
        limits = BYTES, BYTES_BUILDING, BUILDING * size.scale
        for what, *pair in zip(kinds, found, limits, strict=True):
            unit = "s" if what == "building" else "bytes a synapse"
            case, names = f"microcircuit, {size.name}, {what}", ("neuro", LIMIT)
            yield make_row(case, names, unit, tuple(pair), measured.problem, target=1)


def build(scale: float, _: int) -> Run:
    """Return a "run" that builds a network; it counts its bytes, and its synapses as events."""

    def run() -> RunTiming:
        kept, watch = [], Stopwatch()
        grown = measure_growth(lambda: kept.append(microcircuit(scale, SEED)))
        nodes = [n for n in kept[0].graph.nodes.values() if isinstance(n, Sparse)]
        columns = [c for n in nodes for c in (n.indices, n.weight, n.delay) if c is not None]
        timing = watch.timing(
            sum(c.nbytes for c in columns), sum(n.indices.size for n in nodes)
        )
        return timing._replace(grown=grown)

    return run


def compare_activity(size: Size, peer: str, options: BenchOptions) -> Iterator[Row]:
    """Yield statistics of each population beside a peer's, and draw the spikes.

    peer: NEST_GRID, or PUBLISHED, which has only rates.
    """
    size = size.quick() if options.quick else size
    problem = make_problem(size._replace(seconds=ONSET + size.seconds), late=1)
    graph, clock = problem.graph, Grid()
    state = start(graph, problem.membranes, clock)
    record, _ = simulate(graph, problem.inputs, clock, state=state)
    times = {name: to_times(record.spikes[name], graph.dt) for name in NEURONS}
    theirs, note = {name: {"rate": rate} for name, rate in zip(NEURONS, RATES, strict=True)}, ""
    if peer == NEST_GRID:
        theirs = {}
        try:
            run = nest.run(graph, problem.inputs, membranes=problem.membranes, precise=False)
            theirs = describe_activity(run.times, problem.duration)
            pairs = [(record.spikes[name], run.spikes[name]) for name in NEURONS]
            same = [all(map(np.array_equal, ours[:3], other[:3])) for ours, other in pairs]
            note = f"every spike is NEST's in {sum(same)} of {len(same)} populations"
        except ImportError as error:
            note = str(error)
    raster = options.out / f"microcircuit-{size.scale:g}.png"
    draw_raster(times, raster)
    about = {"simulated_seconds": size.seconds, "raster": str(raster)}
    for name, found in describe_activity(times, problem.duration).items():
        for what, value in found.items():
            case = f"microcircuit, {size.name}, {name}, {what}"
            unit = "Hz" if what == "rate" else "1"
            pair = value, theirs.get(name, {}).get(what)
            yield make_row(case, (GRID64, peer), unit, pair, note, **about)


def describe_activity(
    times: Mapping[str, Times], duration: Seconds
) -> dict[str, dict[str, float]]:
    """Return rate, CV and correlation of each population after the onset, if known."""
    found = {}
    for name in NEURONS:
        known = statistics(times[name], ONSET, duration)._asdict()
        found[name] = {k: v for k, v in known.items() if k != "fano" and np.isfinite(v)}
    return found


@mpl.rc_context(plot.STYLE)
def draw_raster(times: Mapping[str, Times], path: Path) -> None:
    """Draw spikes after the onset, upper layer first; of many neurons only every k-th."""
    step = -(-sum(train.shape[2] for train in times.values()) // LINES)
    figure = Figure((8, 5), layout="constrained")
    ax, first, middles = figure.subplots(), 0, []
    for name, (_, time, neuron, _, shape) in times.items():
        shown = (time > ONSET) & (time <= ONSET + SHOWN) & (neuron % step == 0)
        colour = INK if name.endswith("E") else ACCENT
        ax.plot(1e3 * time[shown], first + neuron[shown] // step, ".", color=colour, ms=1.5)
        after = first - (-shape[2] // step)
        middles.append((first + after) / 2)
        first = after
    ax.set_yticks(middles, [*times])
    ax.set(xlabel="ms", ylim=(first, 0), title=f"cortical microcircuit, 1 of {step} neurons")
    save_png(figure, path)


def draw(rows: list[Row], path: Path) -> list[Path]:
    """Draw all ratios; return the paths of the pictures of spikes."""
    plot.speed(rows, path)
    names = dict.fromkeys(row.conditions.get("raster") for row in rows)
    return [Path(name) for name in names if name]


PARTS: dict[str, MeasurePart] = {
    **{name: partial(time_size, size) for name, size in SIZES.items()},
    "building": measure_building,
    "activity": partial(compare_activity, Size("10 %", 0.1, seconds=10.0), NEST_GRID),
    "rates": partial(compare_activity, Size("full scale", 1.0, seconds=10.0), PUBLISHED),
}
