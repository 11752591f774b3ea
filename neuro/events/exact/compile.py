"""A Graph in continuous time: its components as cells and wiring.

An LI that feeds a population becomes one of its currents. Axes: n cells of a component, R
currents, N a node's size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from neuro.events.exact.currents import (
    Current,
    bias_of,
    currents_of,
    dynamics_of,
    per_second,
    require_no_current,
)
from neuro.events.exact.membrane import CELL, PARAMETERS
from neuro.events.exact.scaled_state import DELTA, GENERAL, PSC
from neuro.events.exact.synapse_table import Labels, Wiring, assemble, chains, piece
from neuro.graph import Graph

CLOSE = 1e-2  # rates nearer to each other than this have modes that cancel


@dataclass(frozen=True, kw_only=True, eq=False)
class Component:
    """Populations that run together, their cells one after the other.

    offsets, sizes: the first cell and the number of cells of each population. currents: of
    each. sources: first row in the wiring of all that spikes into it, its own populations
    first. family: of windows.
    template: parameters (n, CELL). rate_syn: n R. edges: of the blocks of cells.
    least: least delay inside the component, longest: of all that arrives [s].
    names: the nodes that the synapses of groups are counted for, and those that they feed.
    """

    offsets: Mapping[str, int]
    sizes: Mapping[str, int]
    currents: Mapping[str, tuple[Current, ...]]
    sources: Mapping[str, int]
    family: int
    template: np.ndarray
    rate_syn: np.ndarray
    edges: np.ndarray
    wiring: Wiring
    names: tuple[Labels, Labels]
    least: float
    longest: float

    @property
    def name(self) -> str:
        """What stands for all its populations: the first of them."""
        return next(iter(self.offsets))

    @property
    def outside(self) -> tuple[str, ...]:
        """Names of the sources that are not its own populations."""
        return tuple(name for name in self.sources if name not in self.offsets)


@dataclass(frozen=True, eq=False)
class Readout:
    """An LI: sources and wiring as of a Component, rate [1/s] and push by neuron."""

    name: str
    sources: Mapping[str, int]
    wiring: Wiring
    names: tuple[Labels, Labels]
    rate: np.ndarray
    push: np.ndarray


class Network(NamedTuple):
    """A Graph, compiled: components with spikes, sources first, and all its LIs."""

    graph: Graph
    components: tuple[Component, ...]
    readouts: tuple[Readout, ...]


@lru_cache(maxsize=4)
def compile_exactly(graph: Graph, threads: int) -> Network:
    """Return what runs a graph; a graph does not change, so the last few are kept."""
    return Network(graph, tuple(components(graph, threads)), tuple(readouts(graph)))


def components(graph: Graph, threads: int) -> list[Component]:
    """Return the components with spiking populations, sources first."""
    firing = graph.firing
    groups = [tuple(n for n in group if n in firing) for group in graph.components]
    return [_component(graph, group, threads) for group in groups if group]


def readouts(graph: Graph) -> list[Readout]:
    """Return all LIs, for what is sampled of them."""
    found = []
    for name in graph.integrators:
        require_no_current(graph, name)
        (_, arrays), size = dynamics_of(graph, name), graph.size(name)
        sources, pieces, rows = {}, [], 0
        for chain in chains(graph, name):
            if chain.source not in sources:
                sources[chain.source] = rows
                rows += graph.size(chain.source)
            place = (sources[chain.source], 0)
            pieces.append(piece(graph, chain, place, -1, _one_number(arrays["gain"])))
        wiring, names = assemble(pieces, rows, np.array([0, size]), np.zeros(size, np.int64))
        steady = arrays["gain"] * bias_of(graph, name)
        push = steady * per_second(arrays["rate"], np.zeros(()), graph.dt)
        found.append(Readout(name, sources, wiring, names, arrays["rate"], push))
    return found


def _component(graph: Graph, names: tuple[str, ...], threads: int) -> Component:
    sizes = [graph.size(n) for n in names]
    offsets = dict(zip(names, np.cumsum([0, *sizes])[:-1].tolist(), strict=True))
    n = sum(sizes)
    currents = {name: currents_of(graph, name) for name in names}
    rate_syn = np.ones((n, max(len(c) for c in currents.values())))
    for name, size in zip(names, sizes, strict=True):
        for c in currents[name]:
            rate_syn[offsets[name] : offsets[name] + size, c.port] = c.rate
    sources, pieces, rows = dict(offsets), [], n
    for name in names:
        for end, port, gain in _ends(graph, name, currents[name]):
            for chain in chains(graph, end):
                if chain.source not in sources:
                    sources[chain.source] = rows
                    rows += graph.size(chain.source)
                place = (sources[chain.source], offsets[name])
                pieces.append(piece(graph, chain, place, port, gain))
    template = np.concatenate([_cells(graph, name, currents[name]) for name in names])
    family = _family(template, rate_syn, {p.port for p in pieces if p.source.size})
    if family == PSC and rate_syn.shape[1] == 1:  # an idle second current
        rate_syn = np.column_stack([rate_syn, 3 * template["rate"]])
    edges = np.linspace(0, n, min(threads, n) + 1).astype(np.int64)
    order = sorted(range(len(names)), key=lambda k: graph.order.index(names[k]))
    rank = np.repeat(np.argsort(order), sizes)
    wiring, of_groups = assemble(pieces, rows, edges, rank)
    return Component(
        offsets=offsets,
        sizes=dict(zip(names, sizes, strict=True)),
        currents=currents,
        sources=sources,
        family=family,
        template=template,
        rate_syn=rate_syn,
        edges=edges,
        wiring=wiring,
        names=of_groups,
        least=min((p.delay[p.source < n].min(initial=np.inf) for p in pieces), default=np.inf),
        longest=max((p.delay.max(initial=0.0) for p in pieces), default=0.0),
    )


def _ends(
    graph: Graph, name: str, currents: tuple[Current, ...]
) -> list[tuple[str, int, np.ndarray]]:
    """Return where chains into a population end: (node, port, gain)."""
    found = [(c.name, c.port, _one_number(c.gain)) for c in currents]
    if all(c.name != name for c in currents):
        _, arrays = dynamics_of(graph, name)
        found.append((name, -1, _one_number(arrays["gain"])))
    return found


def _one_number(values: np.ndarray) -> np.ndarray:
    """Return equal values as one (0-d)."""
    return np.asarray(values[0]) if values.size and np.all(values == values[0]) else values


def _cells(graph: Graph, name: str, currents: tuple[Current, ...]) -> np.ndarray:
    """Return the cells of a population, at rest."""
    dynamics, arrays = dynamics_of(graph, name)
    out = np.zeros(graph.size(name), CELL)
    out["rate"], out["threshold"] = arrays["rate"], arrays["threshold"]
    out["hard"], out["refractory"] = dynamics.hard, dynamics.refractory
    lasts = np.isfinite(arrays["rate_adapt"])
    out["beta"] = np.where(lasts, arrays["beta"], 0.0)
    out["rate_adapt"] = np.where(lasts, arrays["rate_adapt"], 0.0)
    if all(c.name != name for c in currents):
        steady = arrays["gain"] * bias_of(graph, name)
        out["push"] = steady * per_second(arrays["rate"], np.zeros(()), graph.dt)
    for c in currents:
        out["push"] += c.idle
    out["free"] = -np.inf
    return out


def _family(template: np.ndarray, rate_syn: np.ndarray, ports: set[int]) -> int:
    """Return the fastest family of windows that can run all these cells."""
    one, number = template[0], rate_syn.shape[1]
    alike = all(np.all(template[name] == one[name]) for name in (*PARAMETERS, "hard"))
    if not alike or one["beta"] > 0 or np.any(rate_syn != rate_syn[0]):
        return GENERAL
    if number == 0:
        return DELTA if one["rate"] > 0 or one["push"] == 0 else GENERAL
    apart = np.abs(rate_syn[0] - one["rate"]) > CLOSE * one["rate"]
    fits = number <= 2 and one["rate"] > 0 and apart.all() and -1 not in ports
    return PSC if fits else GENERAL
