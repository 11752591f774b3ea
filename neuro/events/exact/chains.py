"""The synapses of a Graph in continuous time: a chain of connections is one table of them."""

from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np
import torch

from neuro.events.exact.currents import refused
from neuro.events.exact.wiring import Piece
from neuro.graph import Connection, Dense, Edge, Graph, Reshaping, Slot, Sparse
from neuro.routes import links, push

LARGEST = 2**28  # synapses of a chain that is written out
CASES = 256  # unit impulses pushed through a chain at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """The way from ``source``, which spikes, through connections, edge by edge."""

    way: tuple[Edge, ...]

    @property
    def source(self) -> str:
        """Where it starts."""
        return self.way[0].source

    @property
    def delay(self) -> int:
        """Of all its edges together [ticks]."""
        return sum(int(e.delay) for e in self.way)

    @property
    def names(self) -> tuple[str, str]:
        """Node that its synapses are counted for, and node that they feed."""
        *_, last = self.way
        return last.source if len(self.way) > 1 else last.target, last.target

    def __str__(self) -> str:
        return " -> ".join(e.source for e in self.way)


def chains(graph: Graph, name: str) -> list[Chain]:
    """Return every chain that ends at a population; those from LIs are its currents."""
    done = []
    open_ways: list[tuple[Edge, ...]] = [(e,) for e in graph.into(name)]
    while open_ways:
        way = open_ways.pop(0)
        source = way[0].source
        if isinstance(graph.nodes[source], Connection):
            open_ways += [(e, *way) for e in graph.into(source)]
        elif source not in graph.currents:
            done.append(Chain(way=way))
    return done


def piece(
    graph: Graph, chain: Chain, place: tuple[int, int], port: int, gain: np.ndarray
) -> Piece:
    """Return the synapses of a chain.

    place: row of its first source, and cell of its first target. gain: what weights are
    multiplied by, one number (0-d) or one a target.
    """
    row, cell = place
    nodes = [n for n in links(graph, chain.way) if not isinstance(n, Reshaping)]
    slots = list(takewhile(lambda n: isinstance(n, Slot), nodes))
    offset = sum(s.offset for s in slots if isinstance(s, Slot))
    linear = nodes[len(slots) :]
    size, dt = graph.size(chain.source), graph.dt
    every = np.arange(size)
    if not linear:
        factor = np.broadcast_to(gain, offset + size)[offset:]
        return Piece(
            names=chain.names,
            source=row + every,
            delay=np.full(size, chain.delay * dt),
            port=port,
            start=every,
            stop=every + 1,
            first=cell + offset + every,
            target=None,
            weight=np.array(factor, np.float64),
        )
    node, *more = linear
    if isinstance(node, Sparse) and not more:
        part = _rows(node, offset, size) if slots else node
        return _listed(part, chain, dt, place, port, gain)
    if isinstance(node, Dense) and not more:
        weight = _scaled(node.weight.T[offset : offset + size], gain)
        return Piece(
            names=chain.names,
            source=row + every,
            delay=np.full(size, chain.delay * dt),
            port=port,
            start=every * weight.shape[1],
            stop=(every + 1) * weight.shape[1],
            first=np.full(size, cell),
            target=None,
            weight=np.ascontiguousarray(weight).reshape(-1),
        )
    return _listed(_written_out(graph, chain), chain, dt, place, port, gain)


def _scaled(weight: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Return weights with the gain of their targets (last axis); as they are where it is 1."""
    return weight if np.all(gain == 1) else weight * gain


def _rows(node: Sparse, first: int, size: int) -> Sparse:
    """Return the synapses of ``size`` inputs, from ``first`` on."""
    at = node.at[first : first + size + 1]
    here = slice(at[0], at[-1])
    return replace(
        node,
        at=at - at[0],
        target=node.target[here],
        weight=node.weight[here],
        delay=None if node.delay is None else node.delay[here],
    )


def _listed(
    node: Sparse, chain: Chain, dt: float, place: tuple[int, int], port: int, gain: np.ndarray
) -> Piece:
    """Return a Sparse as groups of one row and one delay each."""
    row, cell = place
    late = np.zeros(0, np.int32) if node.delay is None else node.delay
    source = np.repeat(np.arange(node.at.size - 1, dtype=np.int32), np.diff(node.at))
    new = np.empty(source.size, np.bool_)
    new[:1], new[1:] = True, source[1:] != source[:-1]
    if node.delay is not None:
        new[1:] |= late[1:] != late[:-1]
    start = np.flatnonzero(new)
    ticks = chain.delay + (late[start] if node.delay is not None else np.zeros(start.size, int))
    scale = gain if gain.ndim == 0 else gain[node.target]
    return Piece(
        names=chain.names,
        source=row + source[start],
        delay=ticks * dt,
        port=port,
        start=start,
        stop=np.append(start[1:], source.size)[: start.size],
        first=np.full(start.size, -1),
        target=node.target if cell == 0 else node.target + np.int32(cell),
        weight=_scaled(node.weight, scale),
    )


def _written_out(graph: Graph, chain: Chain) -> Sparse:
    """Return any chain as listed synapses, found by pushing unit impulses through it."""
    nodes = links(graph, chain.way)
    if any(isinstance(node, Sparse) and node.delay is not None for node in nodes):
        raise refused(
            f"{chain}: a Sparse with delays of its own "
            "stands in a chain of connections; put a population between"
        )
    shape, size = graph.shapes[chain.source], graph.size(chain.source)
    source, target, weight, total = [], [], [], 0
    for low in range(0, size, CASES):
        cases = np.arange(low, min(low + CASES, size))
        x = torch.zeros((cases.size, size), dtype=torch.float64)
        x[np.arange(cases.size), cases] = 1
        x = x.reshape(-1, *shape)
        for node in nodes:
            x = push(node, x)
        rows = x.flatten(1).numpy()
        case, place = np.nonzero(rows)
        total += case.size
        if total > LARGEST:
            raise refused(
                f"{chain}: more than {LARGEST} synapses in continuous time; use smaller "
                "layers, or clock=Grid()"
            )
        source.append(cases[case])
        target.append(place)
        weight.append(rows[case, place])
    return Sparse.from_coo(
        np.concatenate(source),
        np.concatenate(target),
        np.concatenate(weight),
        shape=(rows.shape[1], size),
    )
