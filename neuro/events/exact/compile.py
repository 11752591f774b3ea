"""A Graph in continuous time: its components as cells and wiring.

An LI that feeds a population becomes one of its currents. Axes: n cells of a component, R
currents, N a node's size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from neuro.events.exact.cells import CELL, PARAMETERS
from neuro.events.exact.chains import chains, piece
from neuro.events.exact.pack import DELTA, GENERAL, PSC
from neuro.events.exact.wiring import Wiring, assemble
from neuro.graph import Graph, GraphError
from neuro.neurons import LI
from neuro.neurons.base import Dynamics
from neuro.routes import silent

CLOSE = 1e-2  # rates nearer to each other than this have modes that cancel


@dataclass(frozen=True, eq=False)
class Current:
    """A current of a population: its own, or an LI behind it. Axis: N cells of the population.

    name: the LI, or the population itself. port: its column. rate: [1/s]. gain: what weights
    are multiplied by. unit: what one unit of the node's state is in 1/s of v. idle: what it
    settles at without spikes, in units of the cells.
    """

    name: str
    port: int
    rate: np.ndarray
    gain: np.ndarray
    unit: np.ndarray
    idle: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Component:
    """Populations that run together, their cells one after the other.

    offsets, sizes: the first cell and the number of cells of each population. currents: of
    each. sources: first row in the wiring of all that spikes into it, its own populations
    first. family: of windows.
    template: parameters (n, CELL). rate_syn: n R. edges: of the blocks of cells.
    least: least delay inside the component, longest: of all that arrives [s].
    names: G 2, the node that a group's synapses are counted for, and the one that they feed.
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
    names: np.ndarray
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
    names: np.ndarray
    rate: np.ndarray
    push: np.ndarray


def per_second(rate: np.ndarray, rate_syn: np.ndarray, dt: float) -> np.ndarray:
    """Return the slope of v that equals, sampled, adding a current to v every tick [1/s].

    (rate_syn - rate) / (exp(-rate dt) - exp(-rate_syn dt)) for a current that decays with
    ``rate_syn``; 0 is a constant one.
    """
    x = np.asarray((rate_syn - rate) * dt, np.float64)
    safe = np.where(x == 0, 1.0, x)
    ratio = np.where(x == 0, 1.0, safe / -np.expm1(-safe))
    return np.asarray(np.exp(rate * dt) / dt * ratio)


def bias_of(graph: Graph, name: str) -> np.ndarray:
    """Return what connections add to a node every tick (N), gain left out."""
    total = np.zeros(graph.size(name))
    for edge in graph.into(name):
        for since, b in silent(graph, edge.source).items():
            if since + edge.delay and b.any():
                raise _refused(
                    f"{name}: a bias arrives {since + edge.delay} ticks late; put the delays "
                    "on the edges into the biased nodes"
                )
            total += np.broadcast_to(b.numpy(), graph.shapes[name]).ravel()
    return total


def dynamics_of(graph: Graph, name: str) -> tuple[Dynamics, dict[str, np.ndarray]]:
    """Return the dynamics of a population, and its arrays by neuron (N)."""
    d = graph.nodes[name].dynamics(graph.dt)  # type: ignore[union-attr]
    arrays = {
        key: np.broadcast_to(value, graph.shapes[name]).ravel()
        for key, value in d._asdict().items()
        if isinstance(value, np.ndarray)
    }
    return d, arrays


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
    firing = [n for n in graph.populations if not isinstance(graph.nodes[n], LI)]
    groups = [tuple(n for n in group if n in firing) for group in graph.components]
    return [_component(graph, group, threads) for group in groups if group]


def readouts(graph: Graph) -> list[Readout]:
    """Return all LIs, for what is sampled of them."""
    found = []
    for name in graph.populations:
        if not isinstance(graph.nodes[name], LI):
            continue
        _require_no_current(graph, name)
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
    currents = {name: _currents(graph, name) for name in names}
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


def _currents(graph: Graph, name: str) -> tuple[Current, ...]:
    """Return the currents of a population: its own, then one for each edge from an LI."""
    dynamics, arrays = dynamics_of(graph, name)
    found = []
    if dynamics.rate_syn is not None:
        rate = arrays["rate_syn"]
        unit = arrays["gain"] * per_second(arrays["rate"], rate, graph.dt)
        idle = _settles(name, bias_of(graph, name), rate, graph.dt) * unit
        found.append(Current(name, 0, rate, unit, unit, idle))
    for edge in graph.into(name):
        if edge.source in graph.currents:
            _require_no_current(graph, edge.source)
            if edge.delay:
                raise _refused(
                    f"edge {edge.source} -> {name}: a current comes {edge.delay} ticks late; "
                    f"put the delay on the edges into {edge.source}"
                )
            _, own = dynamics_of(graph, edge.source)
            unit = arrays["gain"] * per_second(arrays["rate"], own["rate"], graph.dt)
            steady = own["gain"] * bias_of(graph, edge.source)
            idle = _settles(edge.source, steady, own["rate"], graph.dt) * unit
            gain = own["gain"] * unit
            found.append(Current(edge.source, len(found), own["rate"], gain, unit, idle))
    return tuple(found)


def _require_no_current(graph: Graph, name: str) -> None:
    """Raise a GraphError if an LI is fed by another."""
    for edge in graph.into(name):
        if edge.source in graph.currents:
            raise _refused(
                f"edge {edge.source} -> {name}: a current feeds a current; feed both from the "
                "same connections, or use clock=Grid()"
            )


def _settles(name: str, steady: np.ndarray, rate: np.ndarray, dt: float) -> np.ndarray:
    """Return where a current goes that gets ``steady`` every tick."""
    if not steady.any():
        return np.zeros(steady.size)
    if np.any(rate == 0):
        raise _refused(f"{name}: a bias into a current that never decays; give it a finite tau")
    return np.asarray(steady / -np.expm1(-rate * dt))


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


def _refused(problem: str) -> GraphError:
    return GraphError([problem], "the graph cannot run in continuous time")
