"""The placement of a network on the cores of a chip, and the limit that decides it.

Layer by layer, each layer is split evenly over the fewest cores whose memory and axons allow
it. Layers share no core, as with Intel's compiler. A neuron's synapses are on its own core
(those of the composed connections: pools have none of their own), a layer's neurons are split
in C order, and a spike is sent once to every core that has one of its targets
(:mod:`neuro.energy.synapses`). Inputs take no core; their spikes enter at core 0.

:func:`place` chooses a placement, :func:`place_as_given` takes that of a simulator or compiler.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from neuro.base.arguments import as_numbers
from neuro.energy.chip import Chip, ChipLimits
from neuro.energy.synapses import (
    compose,
    count_reached_cores,
    iterate_reached_cores,
    iterate_reading_cores,
)
from neuro.graph import Conv2d, Graph
from neuro.graph.paths import Route, RouteKind

WEIGHT_BITS = 8
MOST_CORES = 8192  # of a layer: a placement that needs more says that it does not fit
Cores = Mapping[str, Sequence[int] | np.ndarray]  # by population, per neuron in C order


@runtime_checkable  # tests check types
class StoredSynapses(Protocol):
    """What determines a connection's memory: a Route, or a connection of a LoihiProgram.

    The attributes are those of :class:`neuro.graph.paths.Route`.
    """

    @property
    def kind(self) -> RouteKind: ...  # noqa: D102
    @property
    def weight(self) -> np.ndarray: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def conv(self) -> Conv2d: ...  # noqa: D102
    @property
    def sizes(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def most_synapses(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class LayerPlacement:
    """The cores of one population, or of an Input, which takes none.

    cores: number of cores: first_core, first_core + 1, ...
    per_core: neurons on each core; the last core may hold fewer.
    given: the core of each neuron in C order if the caller chose it
        (:mod:`neuro.energy.mapping`); per_core is then the number on the fullest core.
    use: the share of each limit that the fullest core uses.
    problem: why the layer does not fit however it is split, with the cure; "" if it fits.
    """

    neurons: int
    first_core: int = 0
    cores: int = 0
    per_core: int = 0
    given: tuple[int, ...] = ()
    use: Mapping[str, float]
    problem: str = ""

    @property
    def binds(self) -> str:
        """The limit to which the fullest core comes closest."""
        return max(self.use, key=lambda limit: self.use[limit], default="")

    @property
    def core_of(self) -> Int[np.ndarray, " N"]:
        """The core of each neuron; an Input's neurons enter at core 0."""
        if self.given:
            return np.array(self.given)
        return self.first_core + np.arange(self.neurons) // (self.per_core or self.neurons)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A network on its cores.

    layers: by population and Input.
    destinations: the populations to which each one's spikes lead.
    cores: number of all cores.
    chips: number of chips needed for them.
    """

    layers: Mapping[str, LayerPlacement]
    destinations: Mapping[str, tuple[str, ...]]
    cores: int
    chips: int

    @property
    def problems(self) -> tuple[str, ...]:
        """The layers that do not fit, each with its cure."""
        return tuple(f"{n}: {x.problem}" for n, x in self.layers.items() if x.problem)


def place(
    graph: Graph,
    chip: Chip,
    weight_bits: int = WEIGHT_BITS,
    composed: Sequence[Route] | None = None,
) -> Placement:
    """Place the layers of ``graph`` on as many chips as needed.

    A layer that does not fit however it is split is placed by its number of neurons alone, and
    its ``problem`` says so.

    composed: result of :func:`neuro.energy.synapses.compose` for the graph, if already
        computed.

    Raises:
        ValueError: lists every chain of linear nodes that is too large to compose, with a cure.
    """
    composed = compose(graph) if composed is None else composed
    limits = chip.limits
    into = {n: [r for r in composed if r.target == n] for n in graph.populations}
    splits = _find_splits(graph, into, limits, weight_bits)
    by_neurons = int(limits.neurons.value)
    split = {n: s or _split_evenly(graph.size(n), by_neurons) for n, s in splits.items()}
    where = _number_cores(graph, split)
    layers = {n: LayerPlacement(neurons=graph.size(n), use={}) for n in graph.inputs}
    first = 0
    for name, per_core in split.items():
        size = graph.size(name)
        need = _measure_layer(graph, name, composed, where, limits, weight_bits)
        layers[name] = LayerPlacement(
            neurons=size,
            first_core=first,
            cores=len(need["neurons"]),
            per_core=per_core,
            use={k: float(x.max()) / getattr(limits, k).value for k, x in need.items()},
            problem="" if splits[name] else _explain(into[name], size, limits, weight_bits),
        )
        first += layers[name].cores
    return Placement(
        layers=layers,
        destinations=find_destinations(graph, composed),
        cores=first,
        chips=max(1, math.ceil(first / limits.cores.value)),
    )


def _measure_layer(
    graph: Graph,
    name: str,
    composed: Sequence[Route],
    where: Mapping[str, Int[np.ndarray, " _"]],
    limits: ChipLimits,
    weight_bits: int = WEIGHT_BITS,
) -> dict[str, np.ndarray]:
    """Return how much each core of a population needs of each limit, out-axons included."""
    into = [r for r in composed if r.target == name]
    need = measure_demand(graph, into, where[name], limits, weight_bits)
    axons = count_out_axons(graph, name, composed, where)
    return {**need, "out_axons": np.bincount(where[name], axons)}


def find_destinations(graph: Graph, composed: Sequence[Route]) -> dict[str, tuple[str, ...]]:
    """Return the populations that each Input and population feeds."""
    pairs = {(r.source, r.target) for r in composed}
    return {
        name: tuple(n for n in graph.populations if (name, n) in pairs)
        for name in (*graph.inputs, *graph.populations)
    }


def measure_demand(
    graph: Graph,
    into: Sequence[Route],
    where: Int[np.ndarray, " M"],
    limits: ChipLimits,
    weight_bits: int = WEIGHT_BITS,
) -> dict[str, np.ndarray]:
    """Return how much each core of a population needs, by limit.

    into: the connections that end at the population.
    where: the core of each of its neurons, counted from 0; no core is empty.

    In-axons: one per neuron that sends to the core; for a convolution one per pixel that the
    core sees (channels share an axon). Synapse words of 64 bits: a matrix stores a row per
    input, including zeros; a convolution stores the kernels of the core's channels once; a
    direct edge takes one word per neuron. With listed synapses, each neuron counts as having
    the number of the neuron with the most; each comes from another source, whose row begins a
    new word.
    """
    neurons = np.bincount(where)
    axons, words = np.zeros((2, len(neurons)), np.int64)
    for r in into:
        stored = neurons
        if r.kind == "conv":
            channels = len(r.weight)
            channel = np.arange(len(where)) // (len(where) // channels)
            stored = np.bincount(np.unique(where * channels + channel) // channels)
        words += [count_words(r, int(n), limits, weight_bits) for n in stored]
        conv = r.kind == "conv"
        seen = (
            iterate_reading_cores(r, where)
            if conv
            else iterate_reached_cores([r], graph.size(r.source), where)
        )
        for first, reached in seen:
            own = np.asarray(reached.any(0) if conv else reached)  # channels share an axon
            axons[first : first + own.shape[1]] += own.sum(0)
    return {"neurons": neurons, "in_axons": axons, "synapse_words": words}


def count_demand(
    into: Sequence[StoredSynapses],
    size: int,
    neurons: int,
    limits: ChipLimits,
    weight_bits: int = WEIGHT_BITS,
) -> dict[str, int]:
    """Return what the first core needs at ``neurons`` per core of a population of ``size``.

    It counts as :func:`measure_demand` does. In-axons are at least those of the neuron that
    needs most, so that ``neurons=1`` gives the demand that no split reduces. A later core may
    need more if it begins inside a channel.
    """
    # The rows in which synapses are stored: one per target, or per channel of targets.
    rows = (s.sizes[0] if s.kind == "sparse" else len(s.weight) for s in into)
    stored = [-(-n * neurons // size) for n in rows]
    first, alone = (
        sum(_count_in_axons(s, neurons) for s in into),
        sum(map(_list_in_axons, into)),
    )
    return {
        "neurons": neurons,
        "in_axons": max(first, int(np.max(alone))),
        "synapse_words": sum(
            count_words(s, rows, limits, weight_bits)
            for s, rows in zip(into, stored, strict=True)
        ),
    }


def _find_splits(
    graph: Graph, into: Mapping[str, Sequence[Route]], limits: ChipLimits, weight_bits: int
) -> dict[str, int]:
    """Return the neurons per core in an even split into the fewest cores; 0 if no split fits.

    A finer split may need more out-axons in another layer, hence the rounds; cores only
    increase, up to ``MOST_CORES`` for a layer.
    """
    composed = [r for routes in into.values() for r in routes]
    most = {
        n: _find_most_neurons(r, graph.size(n), limits, weight_bits) for n, r in into.items()
    }
    splits = {
        n: _find_split(graph, n, into[n], m, limits, weight_bits) for n, m in most.items()
    }
    settled = False
    while not settled:
        settled = True
        for name in graph.populations:
            split = {n: s for n, s in splits.items() if s}
            if name not in split:
                continue
            axons = count_out_axons(graph, name, composed, _number_cores(graph, split))
            firsts = np.arange(0, len(axons), split[name])  # neurons of each core
            if np.add.reduceat(axons, firsts).max() > limits.out_axons.value:
                fewer = int(limits.out_axons.value // axons.max())
                fewer = 0 if graph.size(name) > MOST_CORES * fewer else fewer
                splits[name] = _find_split(graph, name, into[name], fewer, limits, weight_bits)
                settled = False
    return splits


def _find_most_neurons(
    into: Sequence[Route], size: int, limits: ChipLimits, weight_bits: int
) -> int:
    """Return the most neurons per core that :func:`count_demand` allows; 0 if none."""

    def fits(n: int) -> bool:
        need = count_demand(into, size, n, limits, weight_bits)
        return all(x <= getattr(limits, k).value for k, x in need.items())

    return bisect_left(range(1, size + 1), True, key=lambda n: not fits(n))


def _find_split(
    graph: Graph,
    name: str,
    into: Sequence[Route],
    most: int,
    limits: ChipLimits,
    weight_bits: int,
) -> int:
    """Return the neurons per core in an even split that fits, at most ``most``; 0 if none."""
    while most:
        per_core = _split_evenly(graph.size(name), most)
        where = np.arange(graph.size(name)) // per_core
        need = measure_demand(graph, into, where, limits, weight_bits)
        if all(x.max() <= getattr(limits, k).value for k, x in need.items()):
            return per_core
        most = per_core - 1
    return 0


def count_out_axons(
    graph: Graph,
    name: str,
    composed: Sequence[Route],
    where: Mapping[str, Int[np.ndarray, " _"]],
) -> Int[np.ndarray, " N"]:
    """Return the number of cores to which each neuron leads.

    where: by layer, the core of each neuron, counted from 0 in each layer.
    """
    axons = np.zeros(graph.size(name), np.int64)
    for target, cores in where.items():
        between = [r for r in composed if (r.source, r.target) == (name, target)]
        if between:
            axons += count_reached_cores(between, len(axons), cores)
    return axons


def _number_cores(graph: Graph, split: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return, by layer, the core of each neuron, counted from 0 in each layer."""
    return {n: np.arange(graph.size(n)) // per_core for n, per_core in split.items()}


def _split_evenly(size: int, most: int) -> int:
    """Return the neurons per core in an even split with at most ``most`` per core."""
    return math.ceil(size / math.ceil(size / most))


def count_words(s: StoredSynapses, stored: int, limits: ChipLimits, weight_bits: int) -> int:
    """Return the words on a core. stored: neurons on it, or channels for a convolution."""
    if s.kind == "sparse":
        bits = stored * s.most_synapses * (weight_bits + limits.index_bits.value)
        return int(math.ceil(bits / 64) + _count_in_axons(s, stored))
    if s.kind == "identity":
        return stored
    if s.kind == "conv":
        return math.prod(s.weight.shape[1:]) * math.ceil(stored * weight_bits / 64)
    bits = stored * (weight_bits + limits.index_bits.value)
    bits += math.ceil(stored / 64) * limits.header_bits.value
    return int(s.weight.shape[1] * math.ceil(bits / 64))


def _count_in_axons(s: StoredSynapses, neurons: int) -> int:
    """Return the number of axons that reach a core with the target's first ``neurons``."""
    if s.kind == "identity":
        return neurons
    if s.kind == "dense":
        return int(s.weight.shape[1])
    if s.kind == "sparse":
        return min(s.sizes[1], neurons * s.most_synapses)
    rows, columns = _list_windows(s)
    shape = rows.shape[1], columns.shape[1]
    held = np.arange(math.prod(shape)).reshape(shape) < neurons
    return int((rows @ held @ columns.T > 0).sum())


def _list_in_axons(s: StoredSynapses) -> Int[np.ndarray, " _"]:
    """Return the number of axons that reach each target neuron; one number if all are equal."""
    if s.kind != "conv":
        return np.array([_count_in_axons(s, 1)])
    rows, columns = (windows.sum(0).astype(int) for windows in _list_windows(s))
    return np.tile(np.outer(rows, columns).ravel(), len(s.weight))


def _list_windows(s: StoredSynapses) -> tuple[np.ndarray, np.ndarray]:
    """Return which windows of a convolution contain each row, and each column, of an image."""
    rows, columns = (s.conv.windows_of(axis, n) for axis, n in enumerate(s.shape[1:]))
    return rows, columns


def _explain(into: Sequence[Route], size: int, limits: ChipLimits, weight_bits: int) -> str:
    """Explain why a population does not fit however it is split, with the cure."""
    for limit, x in count_demand(into, size, 1, limits, weight_bits).items():
        most = getattr(limits, limit).value
        if x > most:
            words = limit.replace("_", " ")
            return (
                f"one neuron alone needs {x} {words} of the {most:g} of a core; "
                "make the layers that feed it smaller, say by a stride (a pool on the way is "
                "part of the connection)"
            )
    return (
        f"its neurons need more than the {limits.out_axons.value:g} out axons of a core, even "
        f"on {MOST_CORES:,} cores; make the layers it feeds smaller"
    )


def place_as_given(
    graph: Graph, chip: Chip, cores: Cores, composed: Sequence[Route] | None = None
) -> Placement:
    """Return the placement in which each neuron is on the core that ``cores`` gives.

    Cores are counted through all chips. A layer whose fullest core exceeds a limit says so in
    its ``problem``.

    cores: for each population of the graph, the core of each of its neurons, in C order.
    composed: result of :func:`neuro.energy.synapses.compose` for the graph, if already
        computed.

    Raises:
        TypeError: a core is not a number.
        ValueError: lists missing and unknown populations, cores that are not whole numbers >=
            0, and cores that two populations share.
    """
    composed = compose(graph) if composed is None else composed
    numbered = _number(graph, cores)
    where = {name: np.unique(n, return_inverse=True)[1] for name, n in numbered.items()}
    layers = {n: LayerPlacement(neurons=graph.size(n), use={}) for n in graph.inputs}
    for name, core_of in numbered.items():
        need = _measure_layer(graph, name, composed, where, chip.limits)
        most = {limit: getattr(chip.limits, limit).value for limit in need}
        layers[name] = LayerPlacement(
            neurons=len(core_of),
            first_core=int(core_of.min()),
            cores=len(need["neurons"]),
            per_core=int(need["neurons"].max()),
            given=tuple(core_of.tolist()),
            use={limit: float(n.max()) / most[limit] for limit, n in need.items()},
            problem="; ".join(
                f"core {core_of[where[name] == n.argmax()][0]} needs {n.max():g} {limit} of "
                f"the {most[limit]:g} of a core; spread the layer over more cores"
                for limit, n in need.items()
                if n.max() > most[limit]
            ),
        )
    last = max(int(core_of.max()) for core_of in numbered.values())
    return Placement(
        layers=layers,
        destinations=find_destinations(graph, composed),
        cores=sum(layer.cores for layer in layers.values()),
        chips=1 + math.floor(last / chip.limits.cores.value),
    )


def _number(graph: Graph, cores: Cores) -> dict[str, Int[np.ndarray, " _"]]:
    """Return the checked core of each neuron, by population."""
    numbered, owner, problems = {}, dict[int, str](), list[str]()
    problems += [
        f"{name}: no population of the chip's part; there are {', '.join(graph.populations)}"
        for name in cores
        if name not in graph.populations
    ]
    for name in graph.populations:
        core_of = as_numbers(f"cores of {name}", cores.get(name, ())).ravel()
        if len(core_of) != graph.size(name):
            problems.append(
                f"{name}: has {graph.size(name)} neurons, got {len(core_of)} cores; give one "
                "for each neuron, in C order"
            )
            continue
        if not ((core_of >= 0) & (core_of < 2**31) & (core_of == np.floor(core_of))).all():
            problems.append(f"{name}: cores are whole numbers >= 0; count them from 0")
            continue
        numbered[name] = core_of.astype(np.int64)
        used = np.unique(numbered[name]).tolist()
        shared = [core for core in used if core in owner]
        if shared:
            problems.append(
                f"{name}: shares core {shared[0]} with {owner[shared[0]]}; a core holds one "
                "population here, give it another core"
            )
        owner |= dict.fromkeys(used, name)
    if problems:
        raise ValueError("\n".join(["the placement does not suit this graph:", *problems]))
    return numbered
