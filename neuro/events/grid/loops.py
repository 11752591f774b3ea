"""Loops of spiking populations, matrices and listed synapses, run by compiled code.

Other loops run node by node, in :mod:`neuro.events.grid.run`.
Axes: as in :mod:`neuro.events.grid.loop_kernels`.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from neuro.events.grid import loop_kernels as kernels
from neuro.events.grid.kernels import Buffer, Train, make_zeros
from neuro.events.grid.loop_kernels import LoopNetwork, LoopState, PastSpikes
from neuro.events.grid.scatter import round_weights
from neuro.events.grid.updates import BETA, DECAY_ADAPT, Neurons, Rows
from neuro.graph import Dense, Edge, Sparse
from neuro.ops.barrier import make_barrier
from neuro.spikes import Events

LONGEST = 4096  # [ticks]: a loop with a longer delay runs node by node, without a ring


@dataclass(frozen=True, kw_only=True, eq=False)
class LoopPath:
    """The synapses behind an edge from one population of a loop to another.

    source, target: names of the populations.
    shortest, longest: delays of edge and synapses together [ticks].
    """

    edge: Edge
    source: str
    target: str
    synapses: Sparse | Dense
    shortest: int
    longest: int


@dataclass(frozen=True, kw_only=True, eq=False)
class LoopCells:
    """A population of a loop.

    feeds: for a current, the name of the population whose input it is; None: the population
        fires.
    rest: its input in a tick without spikes, N.
    k: 7 N.
    """

    feeds: str | None
    rest: np.ndarray
    k: np.ndarray
    hard: bool
    refractory: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Loop:
    """A compiled loop.

    populations: names in the order of their neurons, currents first.
    window: the least delay [ticks].
    slots: number of slots of the ring.
    rest: n.
    kept: the arrays whose addresses ``network`` holds.
    """

    populations: tuple[str, ...]
    paths: tuple[LoopPath, ...]
    network: LoopNetwork
    window: int
    slots: int
    rest: np.ndarray
    kept: tuple[np.ndarray, ...]

    @property
    def columns(self) -> int:
        """Number of neurons that synapses reach: columns of the ring, without padding."""
        return int(self.network.size[self.network.reached].sum())

    def feeds(self, edge: Edge) -> bool:
        """Say whether an edge leads from a current to the population that it feeds."""
        if edge.source not in self.populations:
            return False
        return bool(self.network.feeds[self.populations.index(edge.source)] >= 0)


def make_path(edge: Edge, target: str, synapses: Sparse | Dense) -> LoopPath:
    """Return the path that belongs to an edge into a population."""
    own = getattr(synapses, "delay", None)
    delay = np.zeros(1, np.int32) if own is None else own
    return LoopPath(
        edge=edge,
        source=edge.source,
        target=target,
        synapses=synapses,
        shortest=int(edge.delay) + int(delay.min()),
        longest=int(edge.delay) + int(delay.max()),
    )


def fits_ring(paths: Sequence[LoopPath]) -> bool:
    """Say whether all delays of a loop are between 1 and LONGEST ticks."""
    return all(1 <= p.shortest <= p.longest <= LONGEST for p in paths)


def make_loop(
    cells: Mapping[str, LoopCells], paths: Sequence[LoopPath], dtype: np.dtype
) -> Loop:
    """Compile a loop. dtype: dtype of the run, to which more precise weights are rounded."""
    cells = dict(sorted(cells.items(), key=lambda item: item[1].feeds is None))
    groups, places = list(cells.values()), list(cells)
    paths = sorted(paths, key=lambda path: places.index(path.source))
    rows = [_list_rows(path.synapses, dtype) for path in paths]
    weights, delays = _unify([r.weight for r in rows]), _unify([r.delay for r in rows])
    kept = [
        (r.indptr, r.indices, weight, delay, r.nonzero)
        for r, weight, delay in zip(rows, weights, delays, strict=True)
    ]
    addresses = [[a.ctypes.data if a.size else 0 for a in row] for row in kept]
    sources = [places.index(p.source) for p in paths]
    targets = [places.index(p.target) for p in paths]
    reached = np.isin(np.arange(len(groups)), targets)
    size = np.array([c.rest.size for c in groups])
    network = LoopNetwork(
        first=np.cumsum(size) - size,
        size=size,
        k=np.concatenate([c.k for c in groups], axis=1),
        uniform=np.array([bool(np.all(c.k == c.k[:, :1])) and not _adapts(c) for c in groups]),
        hard=np.array([c.hard for c in groups]),
        refractory=np.array([c.refractory for c in groups]),
        feeds=np.array([places.index(c.feeds) if c.feeds else -1 for c in groups]),
        reached=reached,
        path_start=np.searchsorted(sources, np.arange(len(groups) + 1)),
        target=np.array(targets),
        late=np.array([p.edge.delay for p in paths]),
        arrays=np.array(addresses, np.uint64),
        indices=np.zeros(0, np.uint32),
        weight=np.zeros(0, weights[0].dtype),
        delay=np.zeros(0, delays[0].dtype),
    )
    return Loop(
        populations=tuple(cells),
        paths=tuple(paths),
        network=network,
        window=min(p.shortest for p in paths),
        slots=1 << (max(p.longest for p in paths) - 1).bit_length(),
        rest=np.concatenate([c.rest for c in groups]),
        kept=tuple(array for row in kept for array in row),
    )


def _adapts(cells: LoopCells) -> bool:
    return bool(cells.k[BETA].any() or cells.k[DECAY_ADAPT].any())


def make_cells(rest: np.ndarray, neurons: Neurons, size: int, feeds: str | None) -> LoopCells:
    """Return a population of N = ``size`` neurons from compiled parameters, K C and 7 K C.

    The layout has one place or one channel; in both cases the order is that of the neurons.
    """
    k = np.broadcast_to(neurons.k, (7, size // neurons.k.shape[2], neurons.k.shape[2]))
    return LoopCells(
        feeds=feeds,
        rest=np.broadcast_to(rest, (size // rest.shape[1], rest.shape[1])).ravel(),
        k=k.reshape(7, size),
        hard=neurons.hard,
        refractory=neurons.refractory,
    )


def _unify(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Return the arrays with one dtype; an array that has it is not copied."""
    dtype = np.result_type(*arrays)
    return [array.astype(dtype, copy=False) for array in arrays]


class LoopRows(NamedTuple):
    """The arrays of a path, as in a LoopNetwork; an empty array becomes an address of 0."""

    indptr: np.ndarray
    indices: np.ndarray
    weight: np.ndarray
    delay: np.ndarray
    nonzero: np.ndarray


def _list_rows(node: Sparse | Dense, dtype: np.dtype) -> LoopRows:
    """Return a connection's synapses by source; the arrays of a Sparse are not copied."""
    weight = round_weights(node.weight, dtype)
    none, every = np.zeros(0, np.int64), bool(np.all(weight))
    if isinstance(node, Dense):
        used = none if every else np.count_nonzero(weight, axis=0)
        late = np.zeros(0, np.int32)
        return LoopRows(none, none, np.ascontiguousarray(weight.T), late, used)
    used = none
    if not every:
        before = np.concatenate([[0], np.cumsum(weight != 0)])
        used = np.diff(before[node.indptr])
    late = np.zeros(0, np.int32) if node.delay is None else node.delay
    return LoopRows(node.indptr, node.indices.view(np.uint32), weight, late, used)


class Shares(NamedTuple):
    """The neurons of each thread, as in a LoopState, and the sizes n and C of its arrays."""

    edges: np.ndarray
    start: np.ndarray
    column: np.ndarray
    n: int
    columns: int


def _place_parts(sizes: np.ndarray) -> tuple[np.ndarray, int]:
    """Return where padded parts (W M) begin, one after the other, and where they end."""
    filled = -(-sizes // kernels.FILLED) * kernels.FILLED
    start = (np.cumsum(filled) - filled.ravel()).reshape(sizes.shape)
    return start, int(filled.sum())


class LoopRun:
    """A run of a loop over S samples, with its state."""

    def __init__(
        self, loop: Loop, samples: int, stretch: int, base: bool, threads: int
    ) -> None:
        """Start at rest. base: whether input comes from outside. stretch: most ticks."""
        self.loop, dtype = loop, loop.rest.dtype
        edges = np.arange(threads + 1)[:, None] * loop.network.size // threads
        start, n = _place_parts(np.diff(edges, axis=0))
        column, columns = _place_parts(np.diff(edges, axis=0) * loop.network.reached)
        shares = Shares(edges, start, np.where(loop.network.reached, column, -1), n, columns)
        self.places = self._find_places(shares)
        most = int(np.diff(shares.edges, axis=0).sum(axis=1).max())
        width = -(-most // kernels.FLAGS) * kernels.FLAGS
        numbers = stretch * len(loop.populations) + 1
        rest = np.zeros(shares.n, dtype)
        rest[np.concatenate(list(self.places.values()))] = loop.rest
        self.state = LoopState(
            cells=make_zeros((4, samples, shares.n), dtype),
            ring=make_zeros((samples, loop.slots, shares.columns), dtype),
            fed=make_zeros((shares.n,), dtype),
            base=np.tile(rest, (samples, stretch if base else 1, 1)),
            fired=np.empty((threads, samples, stretch * most), np.int32),
            number=np.zeros((threads, samples, numbers), np.int64),
            flags=make_zeros((threads, width), np.dtype(np.uint8)),
            queue=make_zeros((threads, kernels.QUEUED, kernels.FIELDS), np.dtype(np.int64)),
            sent=np.zeros((len(loop.paths), 2), np.int64),
            edges=shares.edges,
            start=shares.start,
            column=shares.column,
            barrier=make_barrier(),
        )
        self.arrived = np.zeros_like(self.state.sent)  # by spikes before the run

    def _find_places(self, shares: Shares) -> dict[str, np.ndarray]:
        """Return the index of each neuron of each population in the state's arrays."""
        parts = zip(shares.start, np.diff(shares.edges, axis=0), strict=True)
        places = [[np.arange(n) + at for at, n in zip(*part, strict=True)] for part in parts]
        columns = [np.concatenate(column) for column in zip(*places, strict=True)]
        return dict(zip(self.loop.populations, columns, strict=True))

    def read_cells(self, name: str) -> np.ndarray:
        """Return the state of a population, 4 S N."""
        cells: np.ndarray = self.state.cells[:, :, self.places[name]]
        return cells

    def write_cells(self, name: str, cells: np.ndarray) -> None:
        """Set the state of a population, 4 S N."""
        self.state.cells[:, :, self.places[name]] = cells

    def restore(self, pending: Mapping[Edge, Events]) -> None:
        """Continue from states that were written and from spikes still on their way."""
        past = self._join_past(pending)
        kernels.send_pending(self.loop.network, self.state, past, False, self.arrived)

    def _join_past(self, pending: Mapping[Edge, Events]) -> PastSpikes:
        """Return the spikes before the current tick, numbered as if that tick were 0."""
        parts = []
        for p, path in enumerate(self.loop.paths):
            spikes = pending[path.edge]
            tick = spikes.tick - np.int32(spikes.shape[0])
            parts.append((spikes.sample, tick, spikes.neuron, np.full(tick.size, p, np.int32)))
        past = PastSpikes(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        places = [self.loop.populations.index(path.source) for path in self.loop.paths]
        first = self.loop.network.first[places]
        order = np.lexsort((past.path, past.neuron + first[past.path], past.tick, past.sample))
        return PastSpikes(*(column[order] for column in past))

    def count_events(self, pending: Mapping[Edge, Events]) -> np.ndarray:
        """Return the synaptic events so far, P 2 (non-zero, all). pending: spikes underway."""
        waiting = np.zeros_like(self.state.sent)
        past = self._join_past(pending)
        kernels.send_pending(self.loop.network, self.state, past, True, waiting)
        return self.state.sent + self.arrived - waiting

    def read_input(self, name: str, inputs: Buffer, rows: Rows) -> None:
        """Read a population's input from outside, including its biases."""
        kernels.read_input(inputs, rows, self.state.base, self.places[name])

    def advance(
        self, rows: Rows, pool: ThreadPoolExecutor | None
    ) -> Iterator[tuple[str, Train]]:
        """Run all threads over ``rows``; yield the spikes of each population."""
        run = partial(self._run_part, rows)
        threads = range(len(self.state.edges) - 1)
        list(pool.map(run, threads) if pool else map(run, threads))
        for m, name in enumerate(self.loop.populations):
            if self.loop.network.feeds[m] < 0:
                ticks = rows.stop - rows.start
                yield name, kernels.select_spikes(self.loop.network, self.state, m, ticks)

    def _run_part(self, rows: Rows, own: int) -> None:
        kernels.run_part(self.loop.network, self.state, own, rows, self.loop.window)
