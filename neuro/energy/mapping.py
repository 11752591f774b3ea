"""How a network lies on the cores of a chip, and which limit decides that.

Greedy, layer by layer: each core takes as many neurons of one layer as its memory and axons
allow; layers share no core, as with Intel's compiler. A neuron's synapses live on its own core,
the neurons of a layer are split in C order, and a spike is sent once to every core of each
layer it leads to (a convolution may need fewer: this is the worst case). Inputs take no core;
their spikes enter at core 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from neuro.energy.chips import Chip, Limits
from neuro.energy.push import upstream
from neuro.graph import AvgPool2d, Connection, Conv2d, Dense, Edge, Graph


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The place of one population, or of an Input, which takes no core.

    cores: it lies on the cores first_core, first_core + 1, ...
    per_core: neurons on each of them; the last one may hold fewer.
    use: part of each limit that its fullest core takes. binds: the limit that comes first.
    problem: why it does not fit, whatever its split, with the cure; empty if it fits.
    """

    neurons: int
    first_core: int = 0
    cores: int = 0
    per_core: int = 0
    use: Mapping[str, float]
    problem: str = ""

    @property
    def binds(self) -> str:
        """The limit that the fullest core comes closest to."""
        return max(self.use, key=lambda limit: self.use[limit], default="")

    def spread(self, per_neuron: Int[np.ndarray, " N"]) -> dict[int, int]:
        """Return numbers of the neurons as sums by core."""
        if not self.cores:
            return {0: int(per_neuron.sum())}
        parts = np.add.reduceat(per_neuron, np.arange(0, self.neurons, self.per_core))
        return {self.first_core + k: int(x) for k, x in enumerate(parts)}


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A network on its cores.

    layers: by population and Input. destinations: the populations that its spikes lead to.
    cores: in all. chips: needed for them.
    """

    layers: Mapping[str, Layer]
    destinations: Mapping[str, tuple[str, ...]]
    cores: int
    chips: int

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not fit, each with its cure."""
        return tuple(f"{n}: {x.problem}" for n, x in self.layers.items() if x.problem)


def place(graph: Graph, chip: Chip, weight_bits: int = 8) -> Placement:
    """Return where the layers of ``graph`` lie, on as many chips as needed.

    A layer that does not fit, whatever its split, is placed by its number of neurons alone, and
    its ``problem`` says so.
    """
    limits, to = chip.limits, destinations(graph)
    most = {n: _most_neurons(graph, n, limits, weight_bits) for n in graph.populations}
    _respect_out_axons(graph, to, most, limits.out_axons.value)
    by_neurons = int(limits.neurons.value)
    split = {n: _split(graph.size(n), most[n] or by_neurons) for n in graph.populations}
    layers = {n: Layer(neurons=graph.size(n), use={}) for n in graph.inputs}
    first = 0
    for name, (cores, per_core) in split.items():
        out = per_core * sum(split[t][0] for t in to[name])
        need = {**demand(graph, name, per_core, limits, weight_bits), "out_axons": out}
        layers[name] = Layer(
            neurons=graph.size(name),
            first_core=first,
            cores=cores,
            per_core=per_core,
            use={k: x / getattr(limits, k).value for k, x in need.items()},
            problem="" if most[name] else _problem(graph, name, limits, weight_bits),
        )
        first += cores
    chips = max(1, math.ceil(first / limits.cores.value))
    return Placement(layers=layers, destinations=to, cores=first, chips=chips)


def destinations(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Return the populations that each Input and population feeds, through linear nodes too."""
    sources = {n: {e.source for e in upstream(graph, n)} for n in graph.populations}
    return {
        name: tuple(n for n in graph.populations if name in sources[n])
        for name in (*graph.inputs, *graph.populations)
    }


def demand(
    graph: Graph, name: str, neurons: int, limits: Limits, weight_bits: int
) -> dict[str, int]:
    """Return what a core with that many neurons of a population needs of each limit.

    In-axons: one for each neuron that sends to the core; one for each pixel where the first
    node on the way is a convolution or a pool (channels share an axon).
    Synapse words of 64 bits: a Dense stores a row for each of its inputs, zeros included; a
    convolution stores the kernels of the core's channels once; a direct edge one word a neuron.
    """
    edges = upstream(graph, name)
    share = neurons / graph.size(name)
    passive = {e.target for e in edges if isinstance(graph.nodes[e.target], Connection)}
    axons = [e for e in edges if not isinstance(graph.nodes[e.source], Connection)]
    direct = neurons * sum(e.target == name for e in axons)
    words = sum(_words(graph, n, share, limits, weight_bits) for n in passive)
    return {
        "neurons": neurons,
        "in_axons": sum(_in_axons(graph, e, name, neurons) for e in axons),
        "synapse_words": words + direct,
    }


def _most_neurons(graph: Graph, name: str, limits: Limits, weight_bits: int) -> int:
    """Return the most neurons that :func:`demand` allows a core, 0 if it allows none."""

    def fits(n: int) -> bool:
        need = demand(graph, name, n, limits, weight_bits)
        return all(x <= getattr(limits, k).value for k, x in need.items())

    low, high = 0, graph.size(name)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _respect_out_axons(
    graph: Graph, to: Mapping[str, tuple[str, ...]], most: dict[str, int], limit: float
) -> None:
    """Lower ``most`` in place until every neuron has an axon to each core it leads to.

    A finer split may ask for more axons elsewhere, hence the rounds; numbers only fall.
    """
    settled = False
    while not settled:
        settled = True
        for name in (n for n in graph.populations if most[n]):
            cores = sum(_split(graph.size(t), most[t])[0] for t in to[name] if most[t])
            if most[name] * cores > limit:
                most[name], settled = int(limit // cores), False


def _split(size: int, most: int) -> tuple[int, int]:
    """Return (cores, neurons a core) of an even split with at most ``most`` a core."""
    per_core = math.ceil(size / math.ceil(size / most))
    return math.ceil(size / per_core), per_core


def _words(graph: Graph, name: str, share: float, limits: Limits, weight_bits: int) -> int:
    node = graph.nodes[name]
    if isinstance(node, Dense):
        outputs, inputs = node.weight.shape
        stored = math.ceil(outputs * share)
        bits = stored * (weight_bits + limits.index_bits.value)
        bits += math.ceil(stored / 64) * limits.header_bits.value
        return int(inputs * math.ceil(bits / 64))
    if isinstance(node, Conv2d):
        channels, *kernel = node.weight.shape
        return int(np.prod(kernel)) * math.ceil(math.ceil(channels * share) * weight_bits / 64)
    return int(np.prod(node.kernel)) if isinstance(node, AvgPool2d) else 0


def _in_axons(graph: Graph, edge: Edge, population: str, neurons: int) -> int:
    node, shape = graph.nodes[edge.target], graph.shapes[edge.source]
    if edge.target == population:
        return neurons
    if not isinstance(node, (Conv2d, AvgPool2d)):
        return graph.size(edge.source)
    rows = shape[1]
    if any(e.target == population for e in graph.out_of(edge.target)):
        _, height, width = graph.shapes[edge.target]
        out_rows = min(height, math.ceil(neurons / width) + 1)
        kernel = node.weight.shape[2] if isinstance(node, Conv2d) else node.kernel[0]
        rows = min(rows, (out_rows - 1) * node.stride[0] + kernel)
    return rows * shape[2]


def _problem(graph: Graph, name: str, limits: Limits, weight_bits: int) -> str:
    for limit, x in demand(graph, name, 1, limits, weight_bits).items():
        most = getattr(limits, limit).value
        if x > most:
            return (
                f"one neuron alone needs {x} {limit} of the {most:g} of a core; "
                "put a pooling or a smaller layer before it"
            )
    return (
        f"its neurons need more than the {limits.out_axons.value:g} out_axons of a core, "
        "however it is split; make the layers it feeds smaller"
    )
