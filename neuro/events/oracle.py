"""The event engine again, slowly and obviously: what the fast one is held against.

Plain Python floats, one heap of deliveries, an explicit list of targets for every source. A
delivery leaves the heap in the order (tick, rank of its node, arrival). Nothing is shared with
the engine but the Graph. Every neuron is computed in every tick.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from neuro.graph import AvgPool2d, Connection, Conv2d, Dense, Graph, Node
from neuro.neurons import LI, Coefficients
from neuro.record import Counts, Record, concatenate
from neuro.spikes import Events, of_sample, to_events

Targets = list[list[tuple[int, float]]]


class Delivery(NamedTuple):
    """A value on its way to ``place`` of the node of that rank, due at ``tick``."""

    tick: int
    rank: int
    arrival: int
    place: int
    value: float
    spike: bool


def simulate_slowly(graph: Graph, inputs: Mapping[str, Events]) -> Record:
    """Return what :func:`neuro.events.simulate` must return, in float64, from rest."""
    samples = next(iter(inputs.values())).shape[1]
    reach = {n: targets(graph, n) for n in graph.nodes if _is_connection(graph, n)}
    records = []
    for b in range(samples):
        own = {name: of_sample(events, b) for name, events in inputs.items()}
        records.append(_Sample(graph, reach, own).run())
    return concatenate(records)


def _is_connection(graph: Graph, name: str) -> bool:
    return isinstance(graph.nodes[name], Connection)


class _Neuron:
    """One neuron in the normal form of :class:`neuro.neurons.Coefficients`."""

    def __init__(self, k: Coefficients, place: tuple[int, ...], shape: tuple[int, ...]) -> None:
        self.k = {
            name: float(np.broadcast_to(p, shape)[place]) for name, p in k._asdict().items()
        }
        self.v = self.i = self.adapt = 0.0

    def step(self, x: float) -> float:
        """Advance by one tick; return the spike (0 or 1), or the membrane of a read-out."""
        k = self.k
        self.i = k["decay_syn"] * self.i + x
        self.v = k["decay"] * self.v + k["gain"] * self.i
        self.adapt = k["decay_adapt"] * self.adapt
        threshold = k["threshold"] + self.adapt
        if not k["fires"]:
            return self.v
        if self.v < threshold:
            return 0.0
        self.v = 0.0 if k["hard"] else self.v - threshold
        self.adapt += k["beta"]
        return 1.0


class _Sample:
    """One sample: neurons, deliveries under way, and what has happened."""

    def __init__(
        self, graph: Graph, reach: Mapping[str, Targets], inputs: Mapping[str, Events]
    ) -> None:
        self.graph, self.targets, self.inputs = graph, reach, inputs
        self.ticks = next(iter(inputs.values())).shape[0]
        self.rank = {name: r for r, name in enumerate(graph.order)}
        self.heap: list[Delivery] = []
        self.arrival = itertools.count()
        self.neurons = {n: self._at_rest(n) for n in graph.populations}
        self.out = {n: np.zeros((self.ticks, 1, graph.size(n))) for n in graph.populations}
        self.counts = {n: Counter[str]() for n in graph.nodes}

    def _at_rest(self, name: str) -> list[_Neuron]:
        k = self.graph.nodes[name].coefficients(self.graph.dt)  # type: ignore[union-attr]
        shape = self.graph.shapes[name]
        return [_Neuron(k, place, shape) for place in np.ndindex(*shape)]

    def run(self) -> Record:
        """Run all ticks."""
        for name, events in self.inputs.items():
            self.counts[name]["spikes"] = events.tick.size
            for tick, neuron, value in zip(
                events.tick, events.neuron, events.value, strict=True
            ):
                self.send(name, int(tick), int(neuron), float(value))
        for tick in range(self.ticks):
            for name in self.graph.order:
                due = []
                while self.heap and self.heap[0][:2] == (tick, self.rank[name]):
                    due.append(heapq.heappop(self.heap))
                if _is_connection(self.graph, name):
                    self.connection(name, tick, due)
                elif name in self.neurons:
                    self.population(name, tick, due)
        return self.record()

    def send(self, name: str, tick: int, index: int, value: float) -> None:
        """Put one value on every edge out of ``name``."""
        for edge in self.graph.out_of(name):
            due, rank = tick + edge.delay, self.rank[edge.target]
            if due < self.ticks:
                spike = not _is_connection(self.graph, name)
                item = Delivery(due, rank, next(self.arrival), index, value, spike)
                heapq.heappush(self.heap, item)

    def connection(self, name: str, tick: int, due: list[Delivery]) -> None:
        """Add up what is due over all weights; pass on what is not zero."""
        node = self.graph.nodes[name]
        sums = [0.0] * self.graph.size(name)
        weighted = isinstance(node, (Dense, Conv2d, AvgPool2d))
        for item in due:
            for target, weight in self.targets[name][item.place]:
                sums[target] += weight * item.value
                self.counts[name]["synaptic_events"] += weighted and weight != 0
                self.counts[name]["synaptic_events_all"] += weighted
        if isinstance(node, AvgPool2d):
            sums = [s / (node.kernel[0] * node.kernel[1]) for s in sums]
        bias = biases(node, len(sums))
        for index, value in enumerate(s + b for s, b in zip(sums, bias, strict=True)):
            if value != 0:
                self.send(name, tick, index, value)

    def population(self, name: str, tick: int, due: list[Delivery]) -> None:
        """Add up what is due, then compute every neuron."""
        x = [0.0] * self.graph.size(name)
        for item in due:
            x[item.place] += item.value
            self.counts[name]["synaptic_events"] += item.spike
            self.counts[name]["synaptic_events_all"] += item.spike
        fires = not isinstance(self.graph.nodes[name], LI)
        for n, neuron in enumerate(self.neurons[name]):
            y = self.out[name][tick, 0, n] = neuron.step(x[n])
            self.counts[name]["updates"] += 1
            if fires and y:
                self.counts[name]["spikes"] += 1
                self.send(name, tick, n, 1.0)

    def record(self) -> Record:
        """Return what happened."""
        read_outs = [n for n in self.out if isinstance(self.graph.nodes[n], LI)]
        fired = {n: to_events(v) for n, v in self.out.items() if n not in read_outs}
        return Record(
            executor="events",
            ticks=self.ticks,
            samples=1,
            spikes={**self.inputs, **fired},
            values={n: self.out[n] for n in read_outs},
            counts={n: Counts(**c) for n, c in self.counts.items()},
        )


def biases(node: Node, size: int) -> list[float]:
    """Return what a connection adds to each of its values every tick."""
    bias = getattr(node, "bias", None)
    if bias is None:
        return [0.0] * size
    return [float(bias[k * len(bias) // size]) for k in range(size)]


def targets(graph: Graph, name: str) -> Targets:
    """Return for every source of a connection the list of (target, weight)."""
    node, shape = graph.nodes[name], graph.shapes[name]
    given = graph.shapes[graph.into(name)[0].source]
    sources = range(int(np.prod(given)))
    if isinstance(node, Dense):
        return [[(k, float(w)) for k, w in enumerate(node.weight[:, j])] for j in sources]
    if isinstance(node, Conv2d):
        found: Targets = [[] for _ in sources]
        _, _, high, wide = node.weight.shape
        for co, row, column, ci, ky, kx in np.ndindex(*shape, given[0], high, wide):
            y = row * node.stride[0] + ky - node.padding[0]
            x = column * node.stride[1] + kx - node.padding[1]
            if 0 <= y < given[1] and 0 <= x < given[2]:
                source = np.ravel_multi_index((ci, y, x), given)
                target = np.ravel_multi_index((co, row, column), shape)
                found[source].append((int(target), float(node.weight[co, ci, ky, kx])))
        return found
    if isinstance(node, AvgPool2d):
        found = [[] for _ in sources]
        for c, row, column, ky, kx in np.ndindex(*shape, *node.kernel):
            place = (c, row * node.stride[0] + ky, column * node.stride[1] + kx)
            source = np.ravel_multi_index(place, given)
            found[source].append((int(np.ravel_multi_index((c, row, column), shape)), 1.0))
        return found
    return [[(j, 1.0)] for j in sources]
