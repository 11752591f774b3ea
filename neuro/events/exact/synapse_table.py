"""The synapses of a Graph in continuous time: a chain of connections is one table of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from neuro.events.exact.currents import refused
from neuro.graph import Dense, Edge, Graph, Reshaping, Slot, Sparse
from neuro.graph.impulse import list_synapses
from neuro.graph.paths import find_paths, list_links
from neuro.ops.jit import bare, kernel


class Wiring(NamedTuple):
    """S sources (own cells first), G groups: the synapses of one source, delay and port.

    groups: source s has the groups groups[s] to groups[s + 1]. delay: of a group [s].
    port: the current that a group feeds, or -1: it makes v jump. excites: has a weight > 0.
    bounds: G P+1, the synapses of a group by block of targets, P blocks.
    first: the target of a group's first synapse where targets stand side by side, else -1:
        then ``target`` has them one by one.
    nonzero: number of synapses of a group whose weight is not zero.
    common: the weight that all synapses of a group have, NaN where they differ.
    rank: by cell, the place of its population among those that pass on within one instant.
    """

    groups: np.ndarray
    delay: np.ndarray
    port: np.ndarray
    excites: np.ndarray
    bounds: np.ndarray
    first: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    nonzero: np.ndarray
    common: np.ndarray
    rank: np.ndarray


class Row(NamedTuple):
    """What a group has in one block of targets: the synapses from ``start`` to ``stop``.

    beside: whether targets stand side by side; shift: then a target less its synapse. common:
    as of the Wiring.
    """

    start: int
    stop: int
    beside: bool
    shift: int
    common: float


class Arrivals(NamedTuple):
    """What arrives in one window, in order of time."""

    time: np.ndarray
    group: np.ndarray
    value: np.ndarray


class Piece(NamedTuple):
    """Groups of one connection, before all connections are put together.

    names: the node that its synapses are counted for, and the one that they feed.
    source, delay [s], port, start, stop, first: by group; the synapses of a group are
    start:stop of ``weight``. target: by synapse, or None where targets stand side by side.
    """

    names: tuple[str, str]
    source: np.ndarray
    delay: np.ndarray
    port: int
    start: np.ndarray
    stop: np.ndarray
    first: np.ndarray
    target: np.ndarray | None
    weight: np.ndarray


class Labels(NamedTuple):
    """Names, and by group the place of its own among them."""

    names: tuple[str, ...]
    which: np.ndarray


def assemble(
    pieces: Sequence[Piece], sources: int, edges: np.ndarray, rank: np.ndarray
) -> tuple[Wiring, tuple[Labels, Labels]]:
    """Return pieces as one Wiring; for which node each group is counted, and which it feeds.

    Block p of the cells is edges[p]:edges[p + 1]. rank: as in the Wiring.

    A single piece is not copied: 12 bytes a synapse with float64 weights, 8 with float32.
    """
    listed = [p for p in pieces if p.target is not None]
    ordered = [*listed, *(p for p in pieces if p.target is None)]
    shifts = np.cumsum([0] + [p.weight.size for p in ordered])
    source = _joined([p.source for p in ordered], np.int64)
    by_source = np.argsort(source, kind="stable")

    def column(parts: list[np.ndarray], dtype: type) -> np.ndarray:
        return _joined(parts, dtype)[by_source]

    start = column([p.start + s for p, s in zip(ordered, shifts, strict=False)], np.int64)
    stop = column([p.stop + s for p, s in zip(ordered, shifts, strict=False)], np.int64)
    first = column([p.first for p in ordered], np.int64)
    single = {p.weight.dtype for p in ordered} == {np.dtype(np.float32)}
    target = _joined([p.target for p in listed if p.target is not None], np.int32)
    weight = _joined([p.weight for p in ordered], np.float32 if single else np.float64)
    bounds, excites, nonzero, common = survey(start, stop, first, target, weight, edges)
    piece = np.repeat(np.arange(len(ordered)), [p.source.size for p in ordered])[by_source]
    served = _labels([p.names[0] for p in ordered], piece)
    fed = _labels([p.names[1] for p in ordered], piece)
    wiring = Wiring(
        groups=np.searchsorted(source[by_source], np.arange(sources + 1)),
        delay=column([p.delay for p in ordered], np.float64),
        port=column([np.full(p.source.size, p.port) for p in ordered], np.int64),
        excites=excites,
        bounds=bounds,
        first=first,
        target=target.view(np.uint32),  # compiled code looks for negative places in others
        weight=weight,
        nonzero=nonzero,
        common=common,
        rank=rank,
    )
    return wiring, (served, fed)


def _labels(names: list[str], piece: np.ndarray) -> Labels:
    """Return the labels of groups of these pieces; names without a group are left out."""
    known = tuple(dict.fromkeys(names[k] for k in np.unique(piece)))
    places = [known.index(name) if name in known else -1 for name in names]
    return Labels(known, np.array(places, np.int64)[piece])


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    if len(parts) == 1:
        return np.ascontiguousarray(parts[0], dtype)
    return np.concatenate([np.zeros(0, dtype), *parts], dtype=dtype)


@kernel
def survey(
    start: np.ndarray,
    stop: np.ndarray,
    first: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    edges: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return bounds, excites, nonzero and common of a Wiring."""
    bounds = np.empty((start.size, edges.size), np.int64)
    excites, nonzero = np.zeros(start.size, np.bool_), np.zeros(start.size, np.int64)
    common = np.full(start.size, np.nan)
    for g in range(start.size):
        s, alike = start[g], start[g] < stop[g]
        for p in range(edges.size):
            while s < stop[g]:
                j = target[s] if first[g] < 0 else first[g] + s - start[g]
                if j >= edges[p]:
                    break
                excites[g] |= weight[s] > 0
                nonzero[g] += weight[s] != 0
                alike &= weight[s] == weight[start[g]]
                s += 1
            bounds[g, p] = s
        if alike:
            common[g] = weight[start[g]]
    return bounds, excites, nonzero, common


@bare
def row_of(wiring: Wiring, g: int, block: int) -> Row:
    """Return the synapses of a group in one block."""
    start, stop = wiring.bounds[g, block], wiring.bounds[g, block + 1]
    first = wiring.first[g]
    return Row(start, stop, first >= 0, first - wiring.bounds[g, 0], wiring.common[g])


@bare
def synapse(target: np.ndarray, weight: np.ndarray, row: Row, s: int) -> tuple[int, float]:
    """Return target and weight of one synapse."""
    j = s + row.shift
    if not row.beside:
        j = target[s]
    return j, row.common if row.common == row.common else weight[s]  # not NaN


LARGEST = 2**28  # synapses of a chain that is written out


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
    paths = find_paths(graph, name, backwards=True)
    return [Chain(way=path) for path in paths if path[0].source not in graph.currents]


def piece(
    graph: Graph, chain: Chain, place: tuple[int, int], port: int, gain: np.ndarray
) -> Piece:
    """Return the synapses of a chain.

    place: row of its first source, and cell of its first target. gain: what weights are
    multiplied by, one number (0-d) or one a target.
    """
    row, cell = place
    nodes = [n for n in list_links(graph, chain.way) if not isinstance(n, Reshaping)]
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
    indptr = node.indptr[first : first + size + 1]
    here = slice(indptr[0], indptr[-1])
    return replace(
        node,
        indptr=indptr - indptr[0],
        indices=node.indices[here],
        weight=node.weight[here],
        delay=None if node.delay is None else node.delay[here],
    )


def _listed(
    node: Sparse, chain: Chain, dt: float, place: tuple[int, int], port: int, gain: np.ndarray
) -> Piece:
    """Return a Sparse as groups of one row and one delay each."""
    row, cell = place
    late = np.zeros(0, np.int32) if node.delay is None else node.delay
    source = np.repeat(np.arange(node.input_length, dtype=np.int32), np.diff(node.indptr))
    new = np.empty(source.size, np.bool_)
    new[:1], new[1:] = True, source[1:] != source[:-1]
    if node.delay is not None:
        new[1:] |= late[1:] != late[:-1]
    start = np.flatnonzero(new)
    ticks = chain.delay + (late[start] if node.delay is not None else np.zeros(start.size, int))
    scale = gain if gain.ndim == 0 else gain[node.indices]
    return Piece(
        names=chain.names,
        source=row + source[start],
        delay=ticks * dt,
        port=port,
        start=start,
        stop=np.append(start[1:], source.size)[: start.size],
        first=np.full(start.size, -1),
        target=node.indices if cell == 0 else node.indices + np.int32(cell),
        weight=_scaled(node.weight, scale),
    )


def _written_out(graph: Graph, chain: Chain) -> Sparse:
    """Return any chain as listed synapses."""
    nodes = list_links(graph, chain.way)
    if any(isinstance(node, Sparse) and node.delay is not None for node in nodes):
        raise refused(
            f"{chain}: a Sparse with delays of its own "
            "stands in a chain of connections; put a population between"
        )
    found = list_synapses(nodes, graph.shapes[chain.source], limit=LARGEST)
    if found.weight.size > LARGEST:
        raise refused(
            f"{chain}: more than {LARGEST} synapses in continuous time; use smaller "
            "layers, or clock=Grid()"
        )
    _, target = chain.names
    return Sparse.from_coo(*found, shape=(graph.size(target), graph.size(chain.source)))
