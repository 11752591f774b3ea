"""Compiles a Graph for continuous time: components with their neurons and synapse tables.

A component is a strongly connected part of the Graph, whose populations run together. An LI
that feeds a population is one of its currents; every LI is also a read-out, which is sampled.

Axes: n neurons of a component, R currents, P blocks of neurons, N neurons of a node.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from neuro.events.exact.currents import (
    InputCurrent,
    convert_to_slope,
    find_currents,
    read_dynamics,
    require_no_current,
    sum_bias,
)
from neuro.events.exact.limits import require_size
from neuro.events.exact.membrane import LEAST_RATE, MARGIN, NEURON, PARAMETERS
from neuro.events.exact.scaled_state import DELTA, GENERAL, MAX_EXPONENT, PSC
from neuro.events.exact.synapse_table import (
    ChainSynapses,
    GroupNodes,
    SynapseTable,
    assemble_table,
    expand_chain,
    find_chains,
)
from neuro.graph import Graph

# Least difference between the rates of membrane and current for scaled modes, relative to the
# membrane's rate. Amplitudes grow as 1 / difference and cancel, so that two digits are lost.
MIN_DIFFERENCE = 1e-2


@dataclass(frozen=True, kw_only=True, eq=False)
class Component:
    """Populations that run together, their neurons one after the other.

    offsets, sizes: first neuron and number of neurons of each population.
    currents: currents of each population.
    first_source: for each node that spikes into the component, the index of its first neuron
        among the table's sources; the component's own populations come first.
    family: DELTA, PSC or GENERAL, see :mod:`neuro.events.exact.scaled_state`.
    template: the neurons at rest, n records of type NEURON.
    rate_syn: n R [1/tick].
    edges: P+1; block p of the neurons is edges[p]:edges[p + 1].
    table: all synapses.
    nodes: for each group of synapses, the node that counts them and the node that they feed.
    least_delay: least delay inside the component [ticks].
    longest_delay: longest delay of all arrivals [ticks].
    """

    offsets: Mapping[str, int]
    sizes: Mapping[str, int]
    currents: Mapping[str, tuple[InputCurrent, ...]]
    first_source: Mapping[str, int]
    family: int
    template: np.ndarray
    rate_syn: np.ndarray
    edges: np.ndarray
    table: SynapseTable
    nodes: GroupNodes
    least_delay: float
    longest_delay: float

    @property
    def name(self) -> str:
        """Name of the component: the name of its first population."""
        return next(iter(self.offsets))

    @property
    def outside(self) -> tuple[str, ...]:
        """Names of the sources outside the component."""
        return tuple(name for name in self.first_source if name not in self.offsets)


@dataclass(frozen=True, eq=False)
class Readout:
    """An LI. rate [1/tick], drive [v per tick]: N. For the other fields see Component."""

    name: str
    first_source: Mapping[str, int]
    table: SynapseTable
    nodes: GroupNodes
    rate: np.ndarray
    drive: np.ndarray


class CompiledNetwork(NamedTuple):
    """A Graph, its components with spiking populations (sources first), and all its LIs."""

    graph: Graph
    components: tuple[Component, ...]
    readouts: tuple[Readout, ...]


@lru_cache(maxsize=4)
def compile_exactly(graph: Graph, threads: int) -> CompiledNetwork:
    """Return a Graph compiled for this number of threads; results are cached.

    Raises:
        GraphError: a part of the graph does not run in continuous time.
    """
    groups = [tuple(n for n in group if n in graph.firing) for group in graph.components]
    components = tuple(_build_component(graph, group, threads) for group in groups if group)
    readouts = tuple(_build_readout(graph, name) for name in graph.integrators)
    return CompiledNetwork(graph, components, readouts)


def _build_readout(graph: Graph, name: str) -> Readout:
    require_no_current(graph, name)
    (_, arrays), size = read_dynamics(graph, name), graph.size(name)
    first_source: dict[str, int] = {}
    gain = _reduce_equal(arrays["gain"])
    parts = _expand_chains(graph, name, first_source, first_neuron=0, port=-1, gain=gain)
    edges, rank = np.array([0, size]), np.zeros(size, np.int64)
    table, nodes = assemble_table(parts, sum(map(graph.size, first_source)), edges, rank)
    drive = _convert_bias(graph, name, arrays)
    require_size(f"{name}: biases per tick are", drive)
    return Readout(name, first_source, table, nodes, arrays["rate"], drive)


def _build_component(graph: Graph, names: tuple[str, ...], threads: int) -> Component:
    sizes = {n: graph.size(n) for n in names}
    offsets = dict(zip(names, np.cumsum([0, *sizes.values()])[:-1].tolist(), strict=True))
    n = sum(sizes.values())
    currents = {name: find_currents(graph, name) for name in names}
    rate_syn = np.ones((n, max(len(c) for c in currents.values())))
    for name, size in sizes.items():
        for c in currents[name]:
            rate_syn[offsets[name] : offsets[name] + size, c.port] = c.rate
    first_source = dict(offsets)
    parts: list[ChainSynapses] = []
    for name in names:
        for end, port, gain in _find_ends(graph, name, currents[name]):
            first = offsets[name]
            parts += _expand_chains(
                graph, end, first_source, first_neuron=first, port=port, gain=gain
            )
    template = np.concatenate([_make_template(graph, name, currents[name]) for name in names])
    inside = (p.delay[p.source < n].min(initial=np.inf) for p in parts)
    least_delay = min(inside, default=np.inf)
    length = choose_length(least_delay)
    ports = {p.port for p in parts if p.source.size}
    family = _choose_family(template, rate_syn, ports, length)
    if family == PSC and rate_syn.shape[1] == 1:  # the second current stays 0
        rate_syn = np.column_stack([rate_syn, 3 * template["rate"]])
    edges = np.linspace(0, n, min(threads, n) + 1).astype(np.int64)
    order = sorted(range(len(names)), key=lambda k: graph.order.index(names[k]))
    rank = np.repeat(np.argsort(order), list(sizes.values()))
    table, nodes = assemble_table(parts, sum(map(graph.size, first_source)), edges, rank)
    return Component(
        offsets=offsets,
        sizes=sizes,
        currents=currents,
        first_source=first_source,
        family=family,
        template=template,
        rate_syn=rate_syn,
        edges=edges,
        table=table,
        nodes=nodes,
        least_delay=least_delay,
        longest_delay=max((p.delay.max(initial=0.0) for p in parts), default=0.0),
    )


def _expand_chains(
    graph: Graph,
    end: str,
    first_source: dict[str, int],
    *,
    first_neuron: int,
    port: int,
    gain: np.ndarray,
) -> list[ChainSynapses]:
    """Return the synapses of all chains that end at a node.

    first_source: as in a Component; new sources are added to it.
    """
    parts = []
    for chain in find_chains(graph, end):
        if chain.source not in first_source:
            first_source[chain.source] = sum(map(graph.size, first_source))
        part = expand_chain(
            graph,
            chain,
            first_source=first_source[chain.source],
            first_neuron=first_neuron,
            port=port,
            gain=gain,
        )
        extremes = [part.weight.min(initial=0.0), part.weight.max(initial=0.0)]
        effects = part.gain * np.array(extremes, np.float64)
        require_size(f"{chain} -> {end}: weights, in units of v, are", effects)
        parts.append(part)
    return parts


def _find_ends(
    graph: Graph, name: str, currents: tuple[InputCurrent, ...]
) -> list[tuple[str, int, np.ndarray]]:
    """Return the ends of chains into a population: (node, port, gain)."""
    ends = [(c.name, c.port, _reduce_equal(c.gain)) for c in currents]
    if all(c.name != name for c in currents):
        _, arrays = read_dynamics(graph, name)
        ends.append((name, -1, _reduce_equal(arrays["gain"])))
    return ends


def _reduce_equal(values: np.ndarray) -> np.ndarray:
    """Return a single number (0-d) if all values are equal, otherwise the values unchanged."""
    return np.asarray(values[0]) if values.size and np.all(values == values[0]) else values


def _convert_bias(graph: Graph, name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the constant drive of a node from its biases [v per tick] (N)."""
    bias = arrays["gain"] * sum_bias(graph, name)
    return bias * convert_to_slope(arrays["rate"], np.zeros(()))


def _make_template(graph: Graph, name: str, currents: tuple[InputCurrent, ...]) -> np.ndarray:
    """Return the neurons of a population at rest (N records of type NEURON)."""
    dynamics, arrays = read_dynamics(graph, name)
    out = np.zeros(graph.size(name), NEURON)
    out["rate"], out["threshold"] = arrays["rate"], arrays["threshold"]
    out["hard"], out["refractory"] = dynamics.hard, dynamics.refractory / graph.dt
    field = "reset_to" if dynamics.hard else "reset_by"  # the other field has no effect
    after = dynamics.reset_to if dynamics.hard else dynamics.subtracted
    out[field] = np.broadcast_to(after, graph.shapes[name]).ravel()
    require_size(f"{name}: {field} is", out[field])
    out["beta"] = arrays["beta"]
    lasts = np.isfinite(arrays["rate_adapt"])  # elsewhere beta is 0
    out["rate_adapt"] = np.where(lasts, arrays["rate_adapt"], 0.0)
    if all(c.name != name for c in currents):
        out["drive"] = _convert_bias(graph, name, arrays)
    for c in currents:
        out["drive"] += c.drive
    require_size(f"{name}: biases per tick are", out["drive"])
    leak = np.where(out["rate"] > 0, np.maximum(out["rate"], LEAST_RATE), np.inf)
    rest = out["drive"] / leak  # 0 without leak
    out["margin"] = MARGIN * (out["threshold"] + abs(rest))
    out["free_at"] = -np.inf
    return out


def choose_length(least_delay: float) -> float:
    """Return the length of windows: a loop's least delay, or one tick [ticks]."""
    return least_delay if 0 < least_delay < np.inf else 1.0


def _choose_family(
    template: np.ndarray, rate_syn: np.ndarray, ports: set[int], length: float
) -> int:
    """Return the fastest family of windows that can run all these neurons.

    ports: currents that have synapses.
    length: longest window [ticks]; a state cannot be scaled if this is many times the fastest
        time constant.
    """
    cell, number = template[0], rate_syn.shape[1]
    if max(template["rate"].max(), rate_syn.max(initial=0.0)) * length > MAX_EXPONENT:
        return GENERAL
    alike = [name for name in (*PARAMETERS, "hard") if np.all(template[name] == cell[name])]
    if "rate" not in alike or template["beta"].any() or np.any(rate_syn != rate_syn[0]):
        return GENERAL
    if cell["rate"] < LEAST_RATE and template["drive"].any():
        return GENERAL
    if number == 0:
        return DELTA if len(alike) == len(PARAMETERS) + 1 else GENERAL
    apart = np.abs(rate_syn[0] - cell["rate"]) > MIN_DIFFERENCE * cell["rate"]
    apart &= np.maximum(rate_syn[0], cell["rate"]) >= LEAST_RATE
    fits = number <= 2 and cell["rate"] > 0 and apart.all() and -1 not in ports
    return PSC if fits else GENERAL
