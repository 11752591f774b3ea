"""The oracle of the grid clock: a plain event engine with which tests compare the fast one.

It uses plain Python floats, one heap of deliveries, and an explicit list of targets for every
source. Deliveries leave the heap in the order (tick, rank of the node, order of sending). Every
neuron is computed in every tick. The oracle and the engine share nothing but the Graph.
"""

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from neuro.events.grid.oracle_cells import Cell, make_cells
from neuro.graph import (
    Concat,
    Connection,
    CountSpikes,
    Exceeds,
    Graph,
    Host,
    MaxPool2d,
    Multiply,
    Node,
    Outer,
    Pointwise,
    Reshaping,
    RMSNorm,
    Softmax,
)
from neuro.graph.connections import Synapse, SynapseRows
from neuro.graph.requirements import require_normal_form
from neuro.io.graph_digest import digest_graph
from neuro.neurons import Coefficients, GatedLI, is_stepped
from neuro.neurons.normal_form import as_array
from neuro.spikes import Events, of_sample, to_events
from neuro.spikes.record import Counts, Record, concatenate

Shape = tuple[int, ...]
Values = list[float]


C = TypeVar("C")


def no_type_check(scalars: C) -> C:
    """Return a function or class unchanged; jaxtyping skips it in tests because of this name.

    In loops over single numbers, checking each call would take most of the time. mypy still
    checks the code; with :func:`typing.no_type_check` it would not.
    """
    return scalars


def compute_host_output(node: Host, x: Values, shape: Shape) -> Values:
    """Return a host node's output for values ``x`` of this shape, in C order."""
    half = len(x) // 2
    match node:
        case Softmax():
            return _softmax(x, shape, node.axis % len(shape))
        case Outer():
            row = math.prod(shape[1:])
            split = node.first * row
            weights, features = x[:split], x[split:]
            return [
                weights[d * row + r] * features[c * row + r]
                for d in range(node.first)
                for c in range(shape[0] - node.first)
                for r in range(row)
            ]
        case Multiply():
            return [a * b for a, b in zip(x[:half], x[half:], strict=True)]
        case Exceeds():
            return [float(a > b) for a, b in zip(x[:half], x[half:], strict=True)]
        case Pointwise():
            return [_pointwise(node.function, a) for a in x]
        case RMSNorm():
            root = math.sqrt(math.fsum(a * a for a in x) / len(x) + node.eps)
            return [float(g) * a / root for g, a in zip(node.gain.ravel(), x, strict=True)]
        case CountSpikes():
            return [_count_spikes(node, a) for a in x]
        case MaxPool2d():
            return _max_pool(node, x, shape)


def _max_pool(node: MaxPool2d, x: Values, shape: Shape) -> Values:
    size = node.output_shape(shape)
    (high, wide), (down, right) = node.kernel, node.stride
    return [
        max(
            x[int(np.ravel_multi_index((c, i * down + a, j * right + b), shape))]
            for a in range(high)
            for b in range(wide)
        )
        for c, i, j in np.ndindex(*map(int, size))
    ]


def _softmax(x: Values, shape: Shape, axis: int) -> Values:
    out = [0.0] * len(x)
    for place in np.ndindex(*shape[:axis], *shape[axis + 1 :]):
        column = [
            int(np.ravel_multi_index((*place[:axis], k, *place[axis:]), shape))
            for k in range(shape[axis])
        ]
        most = max(x[k] for k in column)
        e = {k: math.exp(x[k] - most) for k in column}
        for k in column:
            out[k] = e[k] / sum(e.values())
    return out


def _count_spikes(node: CountSpikes, x: float) -> float:
    """Return how many spikes a neuron fires for x, found by firing them one after the other."""
    v, fired = abs(x) + node.threshold / 2, 0
    while v >= node.threshold and fired < node.ticks:
        v, fired = v - node.threshold, fired + 1
    return math.copysign(fired, x)


def _pointwise(function: str, x: float) -> float:
    if function == "identity":
        return x
    if function == "relu":
        return max(x, 0.0)
    if function == "tanh":
        return math.tanh(x)
    return _sigmoid(x) * (x if function == "silu" else 1.0)


def _sigmoid(x: float) -> float:
    e = math.exp(-abs(x))  # cannot overflow
    return (1 if x >= 0 else e) / (1 + e)


class GatedCells:
    """The neurons of a GatedLI."""

    def __init__(self, node: GatedLI, shape: Shape) -> None:
        floor = np.broadcast_to(as_array(node.floor), shape).ravel()
        self.floor: Values = floor.tolist()
        self.v = [0.0] * len(self.floor)

    def step(self, x: Values) -> Values:
        """Advance one tick; return the membranes."""
        half = len(self.v)
        for n, (gate, candidate) in enumerate(zip(x[:half], x[half:], strict=True)):
            f = self.floor[n] + (1 - self.floor[n]) * _sigmoid(gate)
            self.v[n] = f * self.v[n] + (1 - f) * candidate
        return list(self.v)


def find_biases(node: Node, size: int) -> list[float]:
    """Return the bias of each output value of a connection."""
    bias = getattr(node, "bias", None)
    if bias is None:
        return [0.0] * size
    return [float(bias[k * len(bias) // size]) for k in range(size)]


def list_synapses(graph: Graph, name: str) -> SynapseRows:
    """Return the synapses of every source of a connection, sources in C order."""
    return graph.nodes[name].synapses(graph.input_shape(name))  # type: ignore[union-attr]


class Delivery(NamedTuple):
    """A value that arrives at ``place`` of the node with this rank at ``tick``.

    arrival: orders deliveries that are otherwise equal.
    spike: True for a spike, False for a real value.
    late: the synapse whose delay has passed; None: the value goes to all synapses of the place
        that have no delay.
    """

    tick: int
    rank: int
    arrival: int
    place: int
    value: float
    spike: bool
    late: Synapse | None = None


def simulate_slowly(graph: Graph, inputs: Mapping[str, Events]) -> Record:
    """Return the correct Record of :func:`neuro.events.simulate`, in float64 and from rest."""
    require_normal_form(graph, "the oracle of the grid")
    samples = next(iter(inputs.values())).shape[1]
    reach = {
        n: list_synapses(graph, n)
        for n in graph.nodes
        if isinstance(graph.nodes[n], Connection)
    }
    records = []
    for b in range(samples):
        own = {name: of_sample(events, b) for name, events in inputs.items()}
        records.append(_Sample(graph, reach, own).run())
    return concatenate(records)


@no_type_check
class _Neuron:
    """One neuron, in the normal form of :class:`neuro.neurons.Coefficients`."""

    def __init__(self, k: Coefficients, place: tuple[int, ...], shape: tuple[int, ...]) -> None:
        numbers = {**k._asdict(), "reset": k.hard, "reset_by": k.subtracted}
        self.k = {n: float(np.broadcast_to(p, shape)[place]) for n, p in numbers.items()}
        self.v = self.i = self.adapt = 0.0
        self.wait = 0

    def step(self, x: float) -> float:
        """Advance one tick; return the spike (0 or 1), or the membrane of a read-out."""
        k = self.k
        self.i = k["decay_syn"] * self.i + x
        self.adapt = k["decay_adapt"] * self.adapt
        if self.wait > 0:
            self.wait -= 1
            return 0.0
        self.v = k["decay"] * self.v + k["gain"] * self.i
        threshold = k["threshold"] + self.adapt
        if not k["fires"]:
            return self.v
        if self.v < threshold or (k["strict"] and self.v == threshold):
            return 0.0
        self.v = k["reset_to"] if k["reset"] else self.v - (k["reset_by"] + self.adapt)
        self.adapt += k["beta"]
        self.wait = int(k["refractory"])
        return 1.0


@no_type_check
class _Sample:
    """A run of one sample: its neurons, pending deliveries, outputs and counts."""

    def __init__(
        self, graph: Graph, reach: Mapping[str, SynapseRows], inputs: Mapping[str, Events]
    ) -> None:
        self.graph, self.synapses, self.inputs = graph, reach, inputs
        self.spiking = {*graph.sources, *graph.firing}
        self.ticks = next(iter(inputs.values())).shape[0]
        self.rank = {name: r for r, name in enumerate(graph.order)}
        self.heap: list[Delivery] = []
        self.arrival = itertools.count()
        self.neurons = {n: self._at_rest(n) for n in graph.populations}
        self.out = {n: np.zeros((self.ticks, 1, graph.size(n))) for n in graph.populations}
        self.counts = {n: Counter[str]() for n in graph.nodes}

    def _at_rest(self, name: str) -> "list[Cell] | GatedCells":
        node, shape = self.graph.nodes[name], self.graph.shapes[name]
        if isinstance(node, GatedLI):
            return GatedCells(node, shape)
        if is_stepped(node):
            return make_cells(node, shape, self.graph.dt)
        k = node.coefficients(self.graph.dt)  # type: ignore[union-attr]
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
                if isinstance(self.graph.nodes[name], Connection):
                    self.connection(name, tick, due)
                elif isinstance(self.graph.nodes[name], Host):
                    self.host(name, tick, due)
                elif name in self.neurons:
                    self.population(name, tick, due)
        return self.record()

    def send(self, name: str, tick: int, index: int, value: float) -> None:
        """Send one value along every edge out of ``name``.

        For a synapse with its own delay the value is sent separately: in a loop without another
        delay, its connection has already been computed in this tick.
        """
        spike = name in self.spiking
        for edge in self.graph.out_of(name):
            place, due = index + self.graph.offset(edge), tick + edge.delay
            synapses = self.synapses.get(edge.target, [[]] * (place + 1))[place]
            for synapse in synapses:
                if synapse.delay:
                    self.post(due + synapse.delay, edge.target, place, value, spike, synapse)
            if not synapses or not all(synapse.delay for synapse in synapses):
                self.post(due, edge.target, place, value, spike)

    def post(
        self,
        due: int,
        target: str,
        place: int,
        value: float,
        spike: bool,
        late: Synapse | None = None,
    ) -> None:
        """Schedule a delivery to ``target`` at tick ``due``."""
        if due < self.ticks:
            order = next(self.arrival)
            item = Delivery(due, self.rank[target], order, place, value, spike, late)
            heapq.heappush(self.heap, item)

    def connection(self, name: str, tick: int, due: list[Delivery]) -> None:
        """Add up the deliveries times their weights; send non-zero sums."""
        node, counts = self.graph.nodes[name], self.counts[name]
        sums = [0.0] * self.graph.size(name)
        for item in due:
            for synapse in [item.late] if item.late else self.synapses[name][item.place]:
                if synapse.delay and not item.late:
                    continue  # it was sent separately
                sums[synapse.target] += synapse.weight * item.value
                counts["synaptic_events"] += synapse.weight != 0
                counts["synaptic_events_all"] += 1
        if node.divisor > 1:  # type: ignore[union-attr]
            sums = [s / node.divisor for s in sums]  # type: ignore[union-attr]
        if isinstance(node, Reshaping | Concat):
            counts.clear()  # no synapses
        bias = find_biases(node, len(sums))
        for index, value in enumerate(s + b for s, b in zip(sums, bias, strict=True)):
            if value != 0:
                self.send(name, tick, index, value)

    def host(self, name: str, tick: int, due: list[Delivery]) -> None:
        """Add up the deliveries and compute the output, even in a tick without deliveries."""
        node, shape = self.graph.nodes[name], self.find_input_shape(name)
        self.counts[name]["macs"] += node.macs(shape)  # type: ignore[union-attr]
        for n, y in enumerate(compute_host_output(node, self.summed(name, due), shape)):  # type: ignore[arg-type]
            if y:
                self.send(name, tick, n, y)

    def find_input_shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of the input of a node."""
        return self.graph.shapes[self.graph.into(name)[0].source]

    def summed(self, name: str, due: list[Delivery]) -> list[float]:
        """Return the sum of the deliveries at each place."""
        x = [0.0] * math.prod(self.find_input_shape(name))
        for item in due:
            x[item.place] += item.value
        return x

    def population(self, name: str, tick: int, due: list[Delivery]) -> None:
        """Add up the deliveries, then compute every neuron."""
        x, cells, counts = self.summed(name, due), self.neurons[name], self.counts[name]
        for item in due:
            counts["synaptic_events"] += item.spike
            counts["synaptic_events_all"] += item.spike
        if isinstance(cells, GatedCells):
            out = cells.step(x)
            counts["macs"] += 3 * len(out)
        else:
            out = [neuron.step(x[n]) for n, neuron in enumerate(cells)]
        self.out[name][tick, 0] = out
        counts["updates"] += len(out)
        for n, y in enumerate(out):
            counts["spikes"] += name in self.spiking and y != 0
            if y:
                self.send(name, tick, n, y)

    def record(self) -> Record:
        """Return the record of the sample."""
        return Record(
            executor="events",
            ticks=self.ticks,
            samples=1,
            spikes={**self.inputs, **{n: to_events(self.out[n]) for n in self.graph.firing}},
            values={n: self.out[n] for n in self.graph.readouts},
            counts={n: Counts(**c) for n, c in self.counts.items()},
            digest=digest_graph(self.graph),
        )
