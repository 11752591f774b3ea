"""The oracle of the exact clock: the same semantics in plain, slow code.

It has one heap of arrivals and checks, an explicit list of synaptic paths for every source, one
object per neuron (:mod:`~neuro.events.exact.oracle_neuron`), and numbers of any precision.
Oracle and engine share only the Graph and the limits (:mod:`~neuro.events.exact.limits`).
"""

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from neuro.events.exact.limits import (
    find_run_quantum,
    require_finite_states,
    require_size,
    require_sizes,
)
from neuro.events.exact.oracle_neuron import Arithmetic, OracleCurrent, OracleNeuron
from neuro.events.grid.oracle import find_biases, list_synapses, no_type_check
from neuro.graph import Connection, Graph
from neuro.graph.connections import SynapseRows
from neuro.graph.requirements import require_continuous
from neuro.io.graph_digest import digest_graph
from neuro.neurons import is_leaky_integrator
from neuro.spikes import Events, Times, of_sample, to_ticks, to_times
from neuro.spikes.record import Counts, Record, concatenate

Place = tuple[str, int]


class SynapticPath(NamedTuple):
    """A path from one source to one target, through linear nodes.

    delay: sum over all edges and synapses [ticks].
    counted: node that counts its synaptic events, the last connection on the path.
    """

    target: Place
    weight: float
    delay: int
    counted: str


def find_paths(graph: Graph) -> dict[Place, list[SynapticPath]]:
    """Return all paths from every source of spikes (an Input or a spiking population)."""
    reach = {
        n: list_synapses(graph, n)
        for n, node in graph.nodes.items()
        if isinstance(node, Connection)
    }
    return {
        (name, j): list(_extend_path(graph, reach, SynapticPath((name, j), 1.0, 0, "")))
        for name, node in graph.nodes.items()
        if not isinstance(node, Connection) and not is_leaky_integrator(node)
        for j in range(graph.size(name))
    }


def _extend_path(
    graph: Graph, reach: Mapping[str, SynapseRows], path: SynapticPath
) -> Iterator[SynapticPath]:
    """Yield the paths that continue ``path`` up to a population."""
    name, place = path.target
    for edge in graph.out_of(name):
        target, delay = edge.target, path.delay + int(edge.delay)
        if target not in reach:
            yield SynapticPath((target, place), path.weight, delay, path.counted or target)
            continue
        for s in reach[target][place + graph.offset(edge)]:
            weight = path.weight * s.weight * _scale_of(graph, target)
            longer = SynapticPath((target, s.target), weight, delay + s.delay, target)
            yield from _extend_path(graph, reach, longer)


def _scale_of(graph: Graph, name: str) -> float:
    """Return the factor on a connection's weights, which is 1 / size for an AvgPool2d."""
    node = graph.nodes[name]
    return 1 / node.divisor if isinstance(node, Connection) else 1.0


def sum_bias(graph: Graph, name: str) -> Float[np.ndarray, " N"]:
    """Return a connection's output, or a population's input, without spikes (N)."""
    node = graph.nodes[name]
    total = np.array(find_biases(node, graph.size(name)))
    for edge in graph.into(name):
        if not isinstance(graph.nodes[edge.source], Connection):
            continue
        bias = sum_bias(graph, edge.source)
        if isinstance(node, Connection):
            first = graph.offset(edge)
            rows = list_synapses(graph, name)[first : first + bias.size]
            for x, row in zip(bias, rows, strict=True):
                for s in row:
                    total[s.target] += x * s.weight * _scale_of(graph, name)
        else:
            total += bias
    return total


Neurons = Mapping[str, Float[np.ndarray, "4 B N"]]


class HeapEntry(NamedTuple):
    """An arrival of x over a path, or a check if there is no path, at ``time`` [ticks]."""

    time: Any
    number: int
    place: Place
    x: float = 0.0
    path: SynapticPath | None = None


def simulate_exactly_slowly(
    graph: Graph,
    inputs: Mapping[str, Events | Times],
    neurons: Neurons | None = None,
    arithmetic: Arithmetic = math,
) -> tuple[Record, dict[str, Float[np.ndarray, "4 B N"]]]:
    """Return the correct result of :func:`neuro.events.simulate` with ``Exact()``.

    Args:
        graph: the network; its biases must arrive without delay.
        inputs: as in ``simulate``.
        neurons: the initial state, as in an ExactState without pending arrivals; None: rest.
        arithmetic: ``math``, or ``mpmath`` with its precision set.

        Returns:
        The Record, and the final state of all populations, as in an ExactState. A synaptic
        event counts for the last connection on its path; updates are not counted.
    """
    require_continuous(graph)
    require_sizes(inputs)
    ticks, samples, _ = next(iter(inputs.values())).shape
    find_run_quantum(graph, ticks)
    paths = find_paths(graph)
    for (name, _), own_paths in paths.items():
        require_size(f"{name}: weights behind it are", np.array([p.weight for p in own_paths]))
    records, states = [], []
    for b in range(samples):
        own: dict[str, Any] = {n: of_sample(e, b) for n, e in inputs.items()}  # type: ignore[type-var]
        sample = _OracleSample(graph, paths, own, arithmetic)
        if neurons is not None:
            sample.set_state({n: rows[:, b] for n, rows in neurons.items()})
        records.append(sample.run())
        states.append(sample.read_state())
    end = {n: np.stack([s[n] for s in states], 1) for n in states[0]}
    require_finite_states(end)
    return concatenate(records), end


@no_type_check
class _OracleSample:
    """One sample: its neurons, the heap of future events, and the record of past ones.

    Time is in ticks. Instants are rounded to multiples of ``quantum``. Their sums with delays
    are exact multiples too, so that equal sums compare as equal.
    """

    def __init__(
        self,
        graph: Graph,
        paths: Mapping[Place, list[SynapticPath]],
        inputs: Mapping[str, Events | Times],
        arithmetic: Arithmetic,
    ) -> None:
        self.graph, self.paths, self.inputs, self.m = graph, paths, inputs, arithmetic
        self.number = getattr(arithmetic, "mpf", float)
        self.ticks = next(iter(inputs.values())).shape[0]
        self.stop = self.number(self.ticks)
        # The quanta of float64 times and periods, and of crossings.
        self.float_quantum = max(self.number(2) ** -40, self.find_quantum(53))
        self.quantum = (
            self.find_quantum(self.m.mp.prec) if hasattr(self.m, "mp") else self.float_quantum
        )
        self.heap: list[HeapEntry] = []
        self.entries = itertools.count()
        self.counts = {n: Counter[str]() for n in graph.nodes}
        lis, self.firing = graph.integrators, graph.firing
        self.fired: dict[str, list[tuple[float, int]]] = {n: [] for n in self.firing}
        self.integrators = {
            (n, j): OracleCurrent(self.m, k["rate"], k["gain"], bias)
            for n in lis
            for j, k, bias in self._read_numbers(n)
        }
        self.history = {p: [(self.number(0), c.y)] for p, c in self.integrators.items()}
        self.neurons = {p: c for n in self.firing for p, c in self._make_neurons(n)}

    def find_quantum(self, bits: int) -> Any:
        """Return the value of the last of ``bits`` bits in numbers at the run's end."""
        late: float = max((p.delay for paths in self.paths.values() for p in paths), default=0)
        waits = [getattr(node, "refractory", 0.0) for node in self.graph.nodes.values()]
        late += sum(wait / self.graph.dt for wait in waits if math.isfinite(wait))
        return self.number(2) ** (math.floor(math.log2(self.ticks + late)) + 1 - bits)

    def round_instant(self, t: Any, quantum: Any) -> Any:
        """Return t rounded to a multiple of the quantum."""
        return self.m.floor(t / quantum + self.number(0.5)) * quantum

    def list_instants(self, train: Events | Times) -> list[Any]:
        """Return a train's times [ticks]; those within rounding of whole ticks are whole."""
        if isinstance(train, Events):
            return [self.number(int(tick) + 1) for tick in train.tick]
        instants = []
        for seconds in train.time.tolist():
            t = self.number(seconds) / self.number(self.graph.dt)
            whole = self.m.floor(t + self.number(0.5))
            is_whole = abs(t - whole) <= 1e-15 * t
            instants.append(whole if is_whole else self.round_instant(t, self.float_quantum))
        return [self.number(t) for t in instants]

    def _read_numbers(self, name: str) -> list[tuple[int, dict[str, Any], Any]]:
        """Return (index, dynamics, bias) of each neuron of a population."""
        d = self.graph.nodes[name].dynamics(self.graph.dt)  # type: ignore[union-attr]
        numbers = {**d._asdict(), "reset": d.hard, "reset_by": d.subtracted}
        shape, bias = self.graph.shapes[name], sum_bias(self.graph, name)
        whole = {
            k: np.broadcast_to(p, shape).ravel() for k, p in numbers.items() if p is not None
        }
        dt = self.number(self.graph.dt)
        per_tick = {"rate": dt, "rate_syn": dt, "rate_adapt": dt, "refractory": 1 / dt}
        rows = []
        for j in range(bias.size):
            k = {n: self.number(float(p[j])) * per_tick.get(n, 1) for n, p in whole.items()}
            if math.isfinite(k["refractory"]):
                k["refractory"] = self.round_instant(k["refractory"], self.float_quantum)
            rows.append((j, k, self.number(bias[j])))
        return rows

    def _make_neurons(self, name: str) -> Iterator[tuple[Place, OracleNeuron]]:
        for j, k, bias in self._read_numbers(name):
            neuron = OracleNeuron(self.m, k, bias)
            for edge in self.graph.into(name):
                if (edge.source, j) in self.integrators:
                    neuron.add_current(self.integrators[edge.source, j])
            yield (name, j), neuron

    def set_state(self, neurons: Mapping[str, np.ndarray]) -> None:
        """Start from a state, axes 4 N."""
        for (name, j), neuron in self.neurons.items():
            v, i, adapt, wait = map(self.number, neurons[name][:, j].tolist())
            neuron.v, neuron.adapt = v, adapt
            free_at = self.round_instant(wait, self.float_quantum)
            neuron.free_at = free_at if wait > 0 else -math.inf
            if neuron.own is not None:
                neuron.own.y = i
        for place, current in self.integrators.items():
            current.y = self.number(float(neurons[place[0]][0, place[1]]))
            self.history[place] = [(self.number(0), current.y)]

    def read_state(self) -> dict[str, np.ndarray]:
        """Return the state at the end, axes 4 N."""
        out = {n: np.zeros((4, self.graph.size(n))) for n in self.graph.populations}
        for (name, j), neuron in self.neurons.items():
            i = 0.0 if neuron.own is None else neuron.own.compute_y(self.stop)
            wait = max(neuron.free_at - self.stop, 0)
            out[name][:, j] = [float(x) for x in (neuron.v, i, neuron.adapt, wait)]
        for (name, j), current in self.integrators.items():
            out[name][0, j] = float(current.compute_y(self.stop))
        return out

    def run(self) -> Record:
        """Run to the end, instant by instant; return the Record."""
        for name, train in self.inputs.items():
            instants = self.list_instants(train)
            self.counts[name]["spikes"] = len(instants)
            for t, j, x in zip(instants, train.neuron, train.value, strict=True):
                for entry in self.list_arrivals((name, int(j)), t, float(x)):
                    heapq.heappush(self.heap, entry)
        for place in self.neurons:
            self.push_check(place)
        while self.heap and self.heap[0].time <= self.stop:
            self.run_instant(self.heap[0].time)
        for neuron in self.neurons.values():
            neuron.advance(self.stop)
        return self.make_record()

    def list_arrivals(self, place: Place, t: Any, x: float) -> list[HeapEntry]:
        """Return the arrivals of a spike."""
        return [
            HeapEntry(t + path.delay, next(self.entries), path.target, x, path)
            for path in self.paths[place]
        ]

    def push_check(self, place: Place) -> None:
        """Predict a neuron's next crossing or release, and push a check for that time."""
        neuron = self.neurons[place]
        neuron.predict(self.stop)
        if neuron.crosses and math.isfinite(neuron.next_check):  # a crossing comes after now
            crossing = self.round_instant(neuron.next_check, self.quantum)
            neuron.next_check = max(crossing, neuron.time + self.quantum)
        if neuron.next_check <= self.stop:
            heapq.heappush(self.heap, HeapEntry(neuron.next_check, next(self.entries), place))

    def pop_due(self, t: Any) -> list[HeapEntry]:
        """Pop the entries of time t; bring neurons with a crossing or release then to t."""
        due = []
        while self.heap and self.heap[0].time == t:
            entry = heapq.heappop(self.heap)
            if entry.path is not None:
                due.append(entry)
            elif self.neurons[entry.place].next_check == t:  # otherwise it is out of date
                self.run_check(self.neurons[entry.place], t)
                due.append(entry)
        return due

    def run_instant(self, t: Any) -> None:
        """Run all events at time t, each component in rounds until no event is due."""
        due, moved = self.pop_due(t), set[Place]()
        for group in self.graph.components:
            while any(entry.place[0] in group for entry in due):
                for name in group:
                    mine = [entry for entry in due if entry.place[0] == name]
                    due = [entry for entry in due if entry.place[0] != name]
                    moved |= self.add_arrivals(t, mine)
                    for place in sorted({e.place for e in mine if e.place in self.neurons}):
                        due += [e for e in self.fire_neuron(place, t) if self.keep_due(e, t)]
        for place in sorted(moved):
            self.push_check(place)

    def keep_due(self, entry: HeapEntry, t: Any) -> bool:
        """Say whether an arrival is due at time t; if not, push it back on the heap."""
        if entry.time != t:
            heapq.heappush(self.heap, entry)
        return bool(entry.time == t)

    def run_check(self, neuron: OracleNeuron, t: Any) -> None:
        """Bring a neuron to its check; at a crossing v is at least the threshold."""
        neuron.advance(t)
        if neuron.crosses:
            neuron.v = max(neuron.v, neuron.k["threshold"] + neuron.adapt)

    def add_arrivals(self, t: Any, entries: list[HeapEntry]) -> set[Place]:
        """Add arrivals; return the neurons whose next check must be predicted again."""
        moved = set()
        for entry in entries:
            name, j = entry.place
            own = entry.place in self.neurons
            hit = [entry.place] if own else [(e.target, j) for e in self.graph.out_of(name)]
            for place in hit:
                self.neurons[place].advance(t)
            moved.update(hit)
            if entry.path is None:
                continue
            x = self.number(entry.path.weight) * self.number(entry.x)
            if own:
                self.neurons[entry.place].receive(x)
            else:
                self.integrators[entry.place].receive(t, x)
                self.history[entry.place].append((t, self.integrators[entry.place].y))
            counts = self.counts[entry.path.counted]
            counts["synaptic_events"] += entry.path.weight != 0
            counts["synaptic_events_all"] += 1
        return moved

    def fire_neuron(self, place: Place, t: Any) -> Iterator[HeapEntry]:
        """Let a neuron fire while it is above threshold; return the new arrivals."""
        while self.neurons[place].try_fire():
            self.counts[place[0]]["spikes"] += 1
            self.fired[place[0]].append((float(t) * self.graph.dt, place[1]))
            yield from self.list_arrivals(place, t, 1.0)

    def make_record(self) -> Record:
        """Return the Record of the run."""
        dt = self.graph.dt
        times = {
            n: to_times(e, dt) if isinstance(e, Events) else e for n, e in self.inputs.items()
        }
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
            values={n: self.sample_values(n) for n in self.graph.readouts},
            counts={n: Counts(**c) for n, c in self.counts.items()},
            times=times,
            digest=digest_graph(self.graph),
        )

    def sample_values(self, name: str) -> np.ndarray:
        """Return an LI at the ends of all ticks, axes T 1 N."""
        out = np.zeros((self.ticks, 1, self.graph.size(name)))
        for j in range(out.shape[2]):
            current = self.integrators[name, j]
            for tick in range(self.ticks):
                end = self.number(tick + 1)
                before = [row for row in self.history[name, j] if row[0] <= end + 1e-9]
                current.time, current.y = before[-1]
                out[tick, 0, j] = float(current.compute_y(max(end, current.time)))
        return out
