"""Continuous time again, slowly and obviously: what the fast engine is held against.

One heap of arrivals and alarms, an explicit list of ways for every source, plain numbers.
Nothing is shared with the engine but the Graph.
"""

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from neuro.events.exact.oracle_neuron import Arithmetic, Cell, Current
from neuro.events.grid.oracle import biases, synapses
from neuro.graph import Connection, Graph
from neuro.graph.connections import SynapseRows
from neuro.graph.requirements import require_continuous
from neuro.neurons import LI
from neuro.record import Counts, Record, concatenate
from neuro.spikes import Events, Times, of_sample, to_ticks, to_times

Place = tuple[str, int]


class Way(NamedTuple):
    """From one source to one target, through linear nodes. delay: in all [ticks].

    last: the node that its synaptic event is counted for.
    """

    target: Place
    weight: float
    delay: int
    last: str


def ways_of(graph: Graph) -> dict[Place, list[Way]]:
    """Return all ways out of every source of spikes."""
    reach = {
        n: synapses(graph, n) for n, node in graph.nodes.items() if isinstance(node, Connection)
    }
    return {
        (name, j): list(_onward(graph, reach, Way((name, j), 1.0, 0, "")))
        for name, node in graph.nodes.items()
        if not isinstance(node, Connection | LI)
        for j in range(graph.size(name))
    }


def _onward(graph: Graph, reach: Mapping[str, SynapseRows], way: Way) -> Iterator[Way]:
    """Return the ways that go on from where ``way`` ends."""
    name, place = way.target
    for edge in graph.out_of(name):
        target, delay = edge.target, way.delay + int(edge.delay)
        if target not in reach:
            yield Way((target, place), way.weight, delay, way.last or target)
            continue
        for s in reach[target][place + graph.offset(edge)]:
            weight = way.weight * s.weight * _share(graph, target)
            next_way = Way((target, s.target), weight, delay + s.delay, target)
            yield from _onward(graph, reach, next_way)


def _share(graph: Graph, name: str) -> float:
    """Return what the weights of a connection are multiplied by."""
    node = graph.nodes[name]
    return 1 / node.divisor if isinstance(node, Connection) else 1.0


def bias_of(graph: Graph, name: str) -> Float[np.ndarray, " N"]:
    """Return what a connection puts out, or a population gets, every tick without a spike."""
    node = graph.nodes[name]
    total = np.array(biases(node, graph.size(name)))
    for edge in graph.into(name):
        if not isinstance(graph.nodes[edge.source], Connection):
            continue
        given = bias_of(graph, edge.source)
        if isinstance(node, Connection):
            first = graph.offset(edge)
            rows = synapses(graph, name)[first : first + given.size]
            for x, row in zip(given, rows, strict=True):
                for s in row:
                    total[s.target] += x * s.weight * _share(graph, name)
        else:
            total += given
    return total


Neurons = Mapping[str, Float[np.ndarray, "4 B N"]]


class Entry(NamedTuple):
    """What happens at ``time`` [s] at a place: an arrival of x, or (way is None) an alarm."""

    time: Any
    number: int
    place: Place
    x: float = 0.0
    way: Way | None = None


def simulate_exactly_slowly(
    graph: Graph,
    inputs: Mapping[str, Events | Times],
    neurons: Neurons | None = None,
    arithmetic: Arithmetic = math,
) -> tuple[Record, dict[str, Float[np.ndarray, "4 B N"]]]:
    """Return what :func:`neuro.events.simulate` must return under ``Exact()``.

    Args:
        graph: the network; its biases arrive without delay.
        inputs: as of ``simulate``.
        neurons: where to start, as of an ExactState with nothing under way; None: at rest.
        arithmetic: ``math``, or ``mpmath`` with its digits set.

    Returns:
        The Record, and the end state of all populations, as of an ExactState. A synaptic event
        is counted for the last connection on its way; updates are not counted.
    """
    require_continuous(graph)
    trains = {
        n: to_times(e, graph.dt) if isinstance(e, Events) else e for n, e in inputs.items()
    }
    samples = next(iter(trains.values())).shape[1]
    ways = ways_of(graph)
    records, states = [], []
    for b in range(samples):
        sample = _Sample(
            graph, ways, {n: of_sample(t, b) for n, t in trains.items()}, arithmetic
        )
        if neurons is not None:
            sample.start({n: rows[:, b] for n, rows in neurons.items()})
        records.append(sample.run())
        states.append(sample.state())
    return concatenate(records), {n: np.stack([s[n] for s in states], 1) for n in states[0]}


class _Sample:
    """One sample: its neurons, the heap, and what has happened."""

    def __init__(
        self,
        graph: Graph,
        ways: Mapping[Place, list[Way]],
        inputs: Mapping[str, Times],
        arithmetic: Arithmetic,
    ) -> None:
        self.graph, self.ways, self.inputs, self.m = graph, ways, inputs, arithmetic
        self.number = getattr(arithmetic, "mpf", float)
        self.dt = self.number(graph.dt)
        self.ticks = next(iter(inputs.values())).shape[0]
        self.stop = self.ticks * self.dt
        self.heap: list[Entry] = []
        self.entries = itertools.count()
        self.counts = {n: Counter[str]() for n in graph.nodes}
        lis = [n for n in graph.populations if isinstance(graph.nodes[n], LI)]
        self.firing = [n for n in graph.populations if n not in lis]
        self.fired: dict[str, list[tuple[float, int]]] = {n: [] for n in self.firing}
        self.integrators = {p: c for n in lis for p, c in self._integrators(n)}
        self.history = {p: [(0 * self.dt, c.y)] for p, c in self.integrators.items()}
        self.cells = {p: c for n in self.firing for p, c in self._cells(n)}

    def _numbers(self, name: str) -> list[tuple[int, dict[str, Any], Any]]:
        """Return (place, dynamics, bias) of the neurons of a population."""
        d = self.graph.nodes[name].dynamics(self.graph.dt)._asdict()  # type: ignore[union-attr]
        shape, bias = self.graph.shapes[name], bias_of(self.graph, name)
        whole = {k: np.broadcast_to(p, shape).ravel() for k, p in d.items() if p is not None}
        return [
            (j, {k: self.number(float(p[j])) for k, p in whole.items()}, self.number(bias[j]))
            for j in range(bias.size)
        ]

    def _integrators(self, name: str) -> Iterator[tuple[Place, Current]]:
        for j, k, bias in self._numbers(name):
            yield (name, j), Current(self.m, k["rate"], k["gain"], bias, self.dt)

    def _cells(self, name: str) -> Iterator[tuple[Place, Cell]]:
        for j, k, bias in self._numbers(name):
            cell = Cell(self.m, k, bias, self.dt)
            for edge in self.graph.into(name):
                if (edge.source, j) in self.integrators:
                    cell.listen(self.integrators[edge.source, j])
            yield (name, j), cell

    def start(self, neurons: Mapping[str, np.ndarray]) -> None:
        """Start from a state, axes 4 N."""
        for (name, j), cell in self.cells.items():
            v, i, adapt, wait = map(self.number, neurons[name][:, j].tolist())
            cell.v, cell.adapt = v, adapt
            cell.free = wait if wait > 0 else -math.inf
            if cell.own is not None:
                cell.own.y = i
        for place, current in self.integrators.items():
            current.y = self.number(float(neurons[place[0]][0, place[1]]))
            self.history[place] = [(0 * self.dt, current.y)]

    def state(self) -> dict[str, np.ndarray]:
        """Return the state at the end, axes 4 N."""
        out = {n: np.zeros((4, self.graph.size(n))) for n in self.graph.populations}
        for (name, j), cell in self.cells.items():
            i = 0.0 if cell.own is None else cell.own.value(self.stop)
            wait = max(cell.free - self.stop, 0)
            out[name][:, j] = [float(x) for x in (cell.v, i, cell.adapt, wait)]
        for (name, j), current in self.integrators.items():
            out[name][0, j] = float(current.value(self.stop))
        return out

    def run(self) -> Record:
        """Let everything happen, instant by instant."""
        for name, train in self.inputs.items():
            self.counts[name]["spikes"] = train.time.size
            for t, j, x in zip(train.time, train.neuron, train.value, strict=True):
                for entry in self.sent((name, int(j)), self.number(float(t)), float(x)):
                    heapq.heappush(self.heap, entry)
        for place in self.cells:
            self.look_ahead(place)
        while self.heap and self.heap[0].time <= self.stop:
            self.instant(self.heap[0].time)
        for cell in self.cells.values():
            cell.move(self.stop)
        return self.record()

    def sent(self, place: Place, t: Any, x: float) -> list[Entry]:
        """Return the arrivals of a spike."""
        return [
            Entry(t + way.delay * self.dt, next(self.entries), way.target, x, way)
            for way in self.ways[place]
        ]

    def look_ahead(self, place: Place) -> None:
        """Set the alarm of a cell."""
        cell = self.cells[place]
        cell.look_ahead(self.stop)
        if cell.alarm <= self.stop:
            heapq.heappush(self.heap, Entry(cell.alarm, next(self.entries), place))

    def due(self, t: Any) -> list[Entry]:
        """Take what happens at time t off the heap; wake the cells whose alarm it is."""
        due = []
        while self.heap and self.heap[0].time == t:
            entry = heapq.heappop(self.heap)
            if entry.way is not None:
                due.append(entry)
            elif self.cells[entry.place].alarm == t:  # else it is out of date
                self.wake(self.cells[entry.place], t)
                due.append(entry)
        return due

    def instant(self, t: Any) -> None:
        """Let happen what happens at time t, in each loop in rounds until it is quiet."""
        due, moved = self.due(t), set[Place]()
        for group in self.graph.components:
            while any(entry.place[0] in group for entry in due):
                for name in group:
                    mine = [entry for entry in due if entry.place[0] == name]
                    due = [entry for entry in due if entry.place[0] != name]
                    moved |= self.arrive(t, mine)
                    for place in sorted({e.place for e in mine if e.place in self.cells}):
                        due += [e for e in self.test(place, t) if self.now_or_later(e, t)]
        for place in sorted(moved):
            self.look_ahead(place)

    def now_or_later(self, entry: Entry, t: Any) -> bool:
        """Say whether an arrival is due now; else put it on the heap."""
        if entry.time != t:
            heapq.heappush(self.heap, entry)
        return bool(entry.time == t)

    def wake(self, cell: Cell, t: Any) -> None:
        """Move a cell to its alarm; where that is a crossing, it stands there at its bar."""
        cell.move(t)
        if cell.crosses:
            cell.v = max(cell.v, cell.k["threshold"] + cell.adapt)

    def arrive(self, t: Any, entries: list[Entry]) -> set[Place]:
        """Add up what arrives; return the cells that must look ahead again."""
        moved = set()
        for entry in entries:
            name, j = entry.place
            own = entry.place in self.cells
            hit = [entry.place] if own else [(e.target, j) for e in self.graph.out_of(name)]
            for place in hit:
                self.cells[place].move(t)
            moved.update(hit)
            if entry.way is None:
                continue
            x = self.number(entry.way.weight) * self.number(entry.x)
            if own:
                self.cells[entry.place].receive(x)
            else:
                self.integrators[entry.place].jump(t, x)
                self.history[entry.place].append((t, self.integrators[entry.place].y))
            counts = self.counts[entry.way.last]
            counts["synaptic_events"] += entry.way.weight != 0
            counts["synaptic_events_all"] += 1
        return moved

    def test(self, place: Place, t: Any) -> Iterator[Entry]:
        """Let a cell fire as often as it must now; return the arrivals that follow."""
        while self.cells[place].fires():
            self.counts[place[0]]["spikes"] += 1
            self.fired[place[0]].append((float(t), place[1]))
            yield from self.sent(place, t, 1.0)

    def record(self) -> Record:
        """Return what happened."""
        times = {**self.inputs}
        for name, spikes in self.fired.items():
            rows = np.array(sorted(spikes)).reshape(-1, 2)
            zero, neuron = np.zeros(len(rows), np.int32), rows[:, 1].astype(np.int32)
            shape = (self.ticks, 1, self.graph.size(name))
            times[name] = Times(zero, rows[:, 0].copy(), neuron, np.ones(len(rows)), shape)
        return Record(
            executor="events",
            ticks=self.ticks,
            samples=1,
            spikes={n: to_ticks(t, self.graph.dt) for n, t in times.items()},
            values={n: self.values(n) for n in self.graph.readouts},
            counts={n: Counts(**c) for n, c in self.counts.items()},
            times=times,
        )

    def values(self, name: str) -> np.ndarray:
        """Return an LI at the ends of all ticks, axes T 1 N."""
        out = np.zeros((self.ticks, 1, self.graph.size(name)))
        for j in range(out.shape[2]):
            current = self.integrators[name, j]
            for tick in range(self.ticks):
                end = (tick + 1) * self.dt
                before = [
                    row for row in self.history[name, j] if row[0] <= end + 1e-9 * self.dt
                ]
                current.since, current.y = before[-1]
                out[tick, 0, j] = float(current.value(max(end, current.since)))
        return out
