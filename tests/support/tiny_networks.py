"""Random tiny networks whose events often meet, and all ways to run them.

    python tests/support/tiny_networks.py 10000

compares the spikes that all ways find in so many networks, from seed 0 or that of a second
argument on, and prints where one differs.
"""

import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping

import mpmath
import numpy as np

from neuro.base.units import Seconds, Ticks
from neuro.events import Exact, Runaway, simulate
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.graph import Dense, Edge, Graph, Input, Node
from neuro.neurons import ALIF, LI, LIF
from neuro.spikes import Events, Times, to_events
from neuro.spikes.record import Record

TICKS = 14
BUDGET = 20_000
SAME = 1e-9  # ticks: what two ways may differ by, a thousand quanta
# How often each kind is drawn; forty digits take long over synaptic currents.
SHARES = {
    "delta": 0.25,
    "no leak": 0.2,
    "adaptive": 0.2,
    "drive": 0.15,
    "per neuron": 0.13,
    "current": 0.02,
    "currents": 0.05,
}

Train = Events | Times
Spikes = Mapping[str, np.ndarray]  # by population: rows (neuron, time [ticks]), in order


def make_network(seed: int) -> tuple[Graph, Train]:
    """Return two recurrent populations, and their input.

    Delays of up to eight ticks on different ways, refractory periods of whole and other numbers
    of ticks, inputs at the ends of ticks or at multiples of the shortest period, and lengths of
    a tick that no float64 holds exactly.
    """
    rng = np.random.default_rng(seed)
    dt = float(rng.choice([1e-3, 1e-4, 5e-4, 0.1]))
    size = int(rng.integers(1, 4))
    kind = rng.choice(list(SHARES), p=list(SHARES.values()))
    reset = str(rng.choice(["soft", "hard"]))
    period = float(rng.choice([0, 0, 1, 2, 3, 1.5, 0.3]))
    refractory = Seconds(period * dt)

    def population(size: int) -> Node:
        if kind == "adaptive":
            more = {"reset": reset, "refractory": refractory}
            return ALIF(leak=0.25, threshold=0.25, beta=0.0625, rho=0.9, **more)
        tau = rng.choice([5, 20], size if kind == "per neuron" else ()) * dt
        tau = math.inf if kind == "no leak" else tau
        own = 2.5 * dt if kind == "current" else None
        return LIF(tau=tau, tau_syn=own, reset=reset, refractory=refractory)

    def dense(out: int, into: int, scale: float = 1.0, bias: float = 0.0) -> Dense:
        weight = scale * rng.choice([-1, -0.5, -0.25, 0.25, 0.5, 0.75, 1, 1.5], (out, into))
        return Dense(weight=weight, bias=np.full(out, bias) if bias else None)

    def delay(least: int, most: int) -> Ticks:
        return Ticks(int(rng.integers(least, most)))

    drive = float(rng.choice([0.125, 0.1, 0.25])) if kind == "drive" else 0.0
    nodes: dict[str, Node] = {
        "x": Input(shape=(2,)),
        "in": dense(size, 2, bias=drive),
        "a": population(size),
        "own": dense(size, size, 0.75),
        "on": dense(2, size),
        "by": dense(2, 2),
        "b": population(2),
    }
    ends = ["a", "a"]
    if kind == "currents":
        nodes |= {"fast": LI(tau=2.5 * dt, gain=0.5), "slow": LI(tau=9 * dt, gain=0.5)}
        ends = ["fast", "slow"]
    edges = [
        *(Edge("x", "in"), Edge("in", ends[0])),
        *(Edge("a", "own", delay(1, 4)), Edge("own", ends[1])),
        *(Edge("a", "on", delay(0, 4)), Edge("on", "b")),
        *(Edge("x", "by", delay(0, 5)), Edge("by", "b")),
        *(Edge(end, "a") for end in ends if end != "a"),
    ]
    if rng.random() < 0.5:
        nodes["back"] = Dense(weight=-abs(dense(size, 2).weight))
        edges += [Edge("b", "back", delay(1, 3)), Edge("back", ends[0])]
    graph = Graph(nodes=nodes, edges=tuple(edges), dt=Seconds(dt))
    if rng.random() < 0.5:
        return graph, to_events((rng.random((TICKS, 1, 2)) < 0.5).astype(float))
    return graph, _draw_times(rng, (period or 0.3) * dt, dt)


def _draw_times(rng: np.random.Generator, step: float, dt: float) -> Times:
    """Return spikes of two inputs at random multiples of a step [s]."""
    most = int(0.999 * TICKS * dt / step)
    neuron, number = np.nonzero(rng.random((2, most)) < 0.5)
    time = (number + 1) * step
    order = np.lexsort((neuron, time))
    zero = np.zeros(order.size, np.int32)
    found = neuron[order].astype(np.int32)
    return Times(zero, time[order], found, np.ones(order.size), (TICKS, 1, 2))


def cut_train(train: Train, start: int, stop: int, dt: float) -> Train:
    """Return the spikes of ticks ``start`` to ``stop``, from there on."""
    shape = (stop - start, *train.shape[1:])
    if isinstance(train, Events):
        mine = (train.tick >= start) & (train.tick < stop)
        rest = (column[mine] for column in (train.neuron, train.value))
        return Events(train.sample[mine], train.tick[mine] - start, *rest, shape)
    end = np.round(train.time / dt, 6)  # [ticks]
    mine = (end > start) & (end <= stop)
    time = train.time[mine] - start * dt
    return Times(train.sample[mine], time, train.neuron[mine], train.value[mine], shape)


def list_spikes(record: Record, dt: float, start: int = 0) -> Spikes:
    """Return the spikes of a record that starts at a tick."""
    found = {}
    for name in ("a", "b"):
        rows = np.column_stack([record.times[name].neuron, record.times[name].time / dt])
        rows[:, 1] += start
        found[name] = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    return found


def run_engine(graph: Graph, train: Train, **settings: object) -> Spikes:
    """Return the spikes of the exact clock."""
    clock = Exact(budget=BUDGET, **settings)  # type: ignore[arg-type]
    return list_spikes(simulate(graph, {"x": train}, clock)[0], graph.dt)


def run_split(graph: Graph, train: Train, at: int, **settings: object) -> Spikes:
    """Return the spikes of a run that is split at a tick."""
    clock, dt = Exact(budget=BUDGET, **settings), graph.dt  # type: ignore[arg-type]
    first, state = simulate(graph, {"x": cut_train(train, 0, at, dt)}, clock)
    second, _ = simulate(graph, {"x": cut_train(train, at, TICKS, dt)}, clock, state=state)
    one, other = list_spikes(first, dt), list_spikes(second, dt, at)
    both = {n: np.concatenate([one[n], other[n]]) for n in one}
    return {n: rows[np.lexsort((rows[:, 1], rows[:, 0]))] for n, rows in both.items()}


def run_oracle(graph: Graph, train: Train, digits: int | None = None) -> Spikes:
    """Return the spikes of the oracle, in float64 or with so many digits."""
    if digits is None:
        return list_spikes(simulate_exactly_slowly(graph, {"x": train})[0], graph.dt)
    with mpmath.workdps(digits):
        record, _ = simulate_exactly_slowly(graph, {"x": train}, arithmetic=mpmath)
    return list_spikes(record, graph.dt)


def is_same(one: Spikes, other: Spikes) -> bool:
    """Say whether two ways found the same spikes."""
    return all(
        one[n].shape == other[n].shape and np.allclose(one[n], other[n], rtol=0, atol=SAME)
        for n in one
    )


def find_differences(graph: Graph, train: Train, at: int) -> list[str]:
    """Return the ways of which a spike differs from that of 40 digits.

    at: the tick at which runs are split.

    Raises:
        Runaway: there are too many spikes to compare.
    """
    ways: Mapping[str, Callable[[], Spikes]] = {
        "windows": lambda: run_engine(graph, train),
        "heap": lambda: run_engine(graph, train, driver="heap"),
        "short windows": lambda: run_engine(graph, train, window=Seconds(0.4 * graph.dt)),
        "two threads": lambda: run_engine(graph, train, threads=2),
        "split": lambda: run_split(graph, train, at),
        "split heap": lambda: run_split(graph, train, at, driver="heap"),
        "oracle": lambda: run_oracle(graph, train),
    }
    found = {name: way() for name, way in ways.items()}
    want = run_oracle(graph, train, digits=40)
    return [name for name, spikes in found.items() if not is_same(spikes, want)]


def count_meetings(graph: Graph, train: Train) -> int:
    """Return how many refractory periods end at the instant of an input or a spike."""
    spikes = run_engine(graph, train)
    period = graph.nodes["a"].refractory / graph.dt  # type: ignore[union-attr]
    at = train.tick + 1 if isinstance(train, Events) else train.time / graph.dt
    sent = np.concatenate([at, *(rows[:, 1] for rows in spikes.values())])
    ends = np.concatenate([rows[:, 1] + period for rows in spikes.values()])
    arrivals = np.unique(np.round((sent[:, None] + np.arange(9)).ravel(), 9))
    return int(np.isin(np.round(ends, 9), arrivals).sum()) if period else 0


def main() -> None:
    number, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    counts: Counter[str] = Counter()
    for seed in range(first, first + number):
        graph, train = make_network(seed)
        try:
            differ = find_differences(graph, train, 1 + seed % (TICKS - 1))
        except Runaway:
            counts["runaway"] += 1
            continue
        counts["compared"] += 1
        counts["spikes"] += sum(len(rows) for rows in run_engine(graph, train).values())
        counts["ends that meet an arrival"] += count_meetings(graph, train)
        counts["differ"] += bool(differ)
        if differ:
            print(f"seed {seed}: {', '.join(differ)}", flush=True)
        if (seed - first + 1) % 1000 == 0:
            print(dict(counts), flush=True)
    print(dict(counts))
    sys.exit(counts["differ"] > 0)


if __name__ == "__main__":
    main()
