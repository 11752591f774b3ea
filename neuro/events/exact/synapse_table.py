"""The synapses of a component in continuous time, as one table ordered by source.

A chain of connections from a source of spikes to a population is linear, so it becomes synapses
(target, weight, delay). A source's synapses with the same delay and port form a group, even if
they come from several chains. Groups are stored by source (CSR), and synapses by group and
block of targets (CSR).

Axes: S sources (the neurons of the component first), G groups, P blocks of targets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from neuro.events.exact.currents import make_refusal
from neuro.graph import Dense, Edge, Graph, Reshaping, Slot, Sparse
from neuro.graph.impulse import list_synapses
from neuro.graph.paths import find_paths, list_links
from neuro.graph.sparse import reaches_all
from neuro.ops.jit import bare, kernel, view_fields_read_only, view_read_only

LARGEST = 2**28  # most listed synapses per chain: 3 GiB of targets and weights
MANY_DELAYS = 2**16  # longer delays are numbered, so that a short array can count them


class SynapseTable(NamedTuple):
    """The synapses of a component.

    group_indptr: S+1; source s has the groups group_indptr[s]:group_indptr[s + 1].
    delay: G [ticks].
    port: G, the current that a group feeds; -1: the group makes v jump.
    excites, inhibits: G, whether any weight is positive, or negative.
    synapse_indptr: G P+1; in block p of the targets, group g has the synapses
        synapse_indptr[g, p]:synapse_indptr[g, p + 1].
    first_target: G, target of a group's first synapse if its targets are contiguous; -1:
        ``target`` holds the targets, one per synapse.
    target, weight: by synapse; the effect of a synapse is weight times gain.
    gain: G; the value of an arrival includes it.
    common_weight: G, the weight of all synapses of a group; NaN: the weights differ.
    rank: by neuron, its population's position in the order in which populations pass on spikes
        within one instant.
    """

    group_indptr: np.ndarray
    delay: np.ndarray
    port: np.ndarray
    excites: np.ndarray
    inhibits: np.ndarray
    synapse_indptr: np.ndarray
    first_target: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    gain: np.ndarray
    common_weight: np.ndarray
    rank: np.ndarray


class SynapseRange(NamedTuple):
    """The synapses ``start`` to ``stop`` of a group, into one block of targets.

    contiguous: whether the targets are contiguous; synapse s then has the target s + shift.
    common_weight: as in the table.
    """

    start: int
    stop: int
    contiguous: bool
    shift: int
    common_weight: float


class SourceSpikes(NamedTuple):
    """Spikes of the sources of a table, in order of time [ticks]."""

    time: np.ndarray
    source: np.ndarray
    value: np.ndarray


class GroupArrivals(NamedTuple):
    """Spikes that arrive at groups of synapses, in order of arrival time [ticks].

    value: value of the spike, times the gain of the group.
    """

    time: np.ndarray
    group: np.ndarray
    value: np.ndarray


class NodeIndex(NamedTuple):
    """The node of each row: names of nodes, and for each row the index of its node's name."""

    names: tuple[str, ...]
    place: np.ndarray


class GroupNodes(NamedTuple):
    """One row per chain and group: the synapses of that chain in that group.

    group: group of each row.
    synapses, nonzero: number of synapses, and of those with a non-zero weight.
    counted, fed: node that counts the synapses of a row, and node that they feed.
    """

    group: np.ndarray
    synapses: np.ndarray
    nonzero: np.ndarray
    counted: NodeIndex
    fed: NodeIndex


class ChainSynapses(NamedTuple):
    """The groups of one chain of connections, before the table joins all chains.

    counted, fed: names of nodes, as in GroupNodes.
    port, gain: equal for all groups.
    source, delay [ticks], start, stop, first_target: one entry per group; a group has the
        synapses from start to stop (excluded) of ``weight``.
    target: one entry per synapse; None: the targets of a group are contiguous.
    """

    counted: str
    fed: str
    source: np.ndarray
    delay: np.ndarray
    port: int
    gain: float
    start: np.ndarray
    stop: np.ndarray
    first_target: np.ndarray
    target: np.ndarray | None
    weight: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """The edges of a path from a source of spikes through connections to a population."""

    edges: tuple[Edge, ...]

    @property
    def source(self) -> str:
        """The node that spikes."""
        return self.edges[0].source

    @property
    def delay(self) -> int:
        """The sum of the delays of all edges [ticks]."""
        return sum(int(e.delay) for e in self.edges)

    @property
    def fed(self) -> str:
        """The node that the chain feeds."""
        return self.edges[-1].target

    @property
    def counted(self) -> str:
        """The node that counts the chain's synapses: its last connection, if it has one."""
        last = self.edges[-1]
        return last.source if len(self.edges) > 1 else last.target

    def __str__(self) -> str:
        return " -> ".join(e.source for e in self.edges)


def find_chains(graph: Graph, name: str) -> list[Chain]:
    """Return every chain that ends at a node; edges from LIs are currents, not chains."""
    paths = find_paths(graph, name, backwards=True)
    return [Chain(edges=path) for path in paths if path[0].source not in graph.currents]


def expand_chain(
    graph: Graph,
    chain: Chain,
    *,
    first_source: int,
    first_neuron: int,
    port: int,
    gain: np.ndarray,
) -> ChainSynapses:
    """Return the synapses of a chain.

    first_source: index of its first source in the table.
    first_neuron: index of its first target in the component.
    gain: factor of the weights, one number (0-d) or one per target.

    Raises:
        GraphError: the chain has a Sparse with individual delays between connections, or more
            than LARGEST synapses.
    """
    nodes = [n for n in list_links(graph, chain.edges) if not isinstance(n, Reshaping)]
    slots = list(takewhile(lambda n: isinstance(n, Slot), nodes))
    offset = sum(s.offset for s in slots if isinstance(s, Slot))
    linear = nodes[len(slots) :]
    size = graph.size(chain.source)
    source, delay, target = np.arange(size), np.zeros(size, int), None
    only = linear[0] if len(linear) == 1 else None
    if isinstance(only, Dense) or reaches_all(only):
        if isinstance(only, Dense):
            rows = only.weight.T
        else:
            rows = only.weight.reshape(-1, *only.shape)
            if only.delay is not None:
                delay = only.delay[:: only.shape[0]][offset : offset + size]
        weight = _scale_weights(rows[offset : offset + size], gain)
        width = weight.shape[1]
        start, first_target = source * width, np.full(size, first_neuron)
        stop, weight = start + width, np.ascontiguousarray(weight).reshape(-1)
    elif not linear:
        start, stop, first_target = source, source + 1, first_neuron + offset + source
        weight = _scale_weights(np.ones(offset + size), gain)[offset:]
    else:
        if isinstance(only, Sparse):
            node = _select_sources(only, offset, size) if slots else only
        else:
            node = _write_out(graph, chain)
        source, delay, start, target, weight = _find_groups(node)
        stop = np.append(start[1:], target.size)[: start.size]
        first_target = np.full(start.size, -1)
        weight = _scale_weights(weight, gain if gain.ndim == 0 else gain[target])
        target = target if first_neuron == 0 else target + np.int32(first_neuron)
    return ChainSynapses(
        counted=chain.counted,
        fed=chain.fed,
        source=first_source + source,
        delay=np.asarray(chain.delay + delay, np.float64),
        port=port,
        gain=1.0 if gain.ndim else float(gain),
        start=start,
        stop=stop,
        first_target=first_target,
        target=target,
        weight=weight,
    )


def _scale_weights(weight: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Multiply weights by their targets' gains (last axis); keep a single gain separate."""
    return weight if gain.ndim == 0 else weight * gain


def _select_sources(node: Sparse, first: int, size: int) -> Sparse:
    """Return the synapses of ``size`` inputs, starting at input ``first``."""
    indptr = node.indptr[first : first + size + 1]
    here = slice(indptr[0], indptr[-1])
    return replace(
        node,
        indptr=indptr - indptr[0],
        indices=node.indices[here],
        weight=node.weight[here],
        delay=None if node.delay is None else node.delay[here],
    )


class RowGroups(NamedTuple):
    """The groups and the synapses of a Sparse. source, delay [ticks], start: by group."""

    source: np.ndarray
    delay: np.ndarray
    start: np.ndarray
    target: np.ndarray
    weight: np.ndarray


def _find_groups(node: Sparse) -> RowGroups:
    """Group synapses by source and delay; synapses without delays are not copied."""
    if node.delay is None:
        source = np.flatnonzero(np.diff(node.indptr))
        start, delay = node.indptr[source], np.zeros(source.size, int)
        return RowGroups(source, delay, start, node.indices, node.weight)
    longest = int(node.delay.max(initial=0))
    known, place = np.arange(longest + 1), node.delay
    if longest >= MANY_DELAYS:
        known, place = np.unique(node.delay, return_inverse=True)
    columns = (node.indptr, node.indices, node.weight, place, known)
    return group_by_delay(*(view_read_only(column) for column in columns))


@kernel
def group_by_delay(
    indptr: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    place: np.ndarray,
    known: np.ndarray,
) -> RowGroups:
    """Sort each row of synapses by delay, in linear time, and return its groups.

    place: by synapse, the index of its delay among the delays ``known``. Synapses with the same
        source and delay keep their order.
    """
    count, used = np.zeros(known.size, np.int64), np.empty(known.size, np.int64)
    last, groups = np.full(known.size, -1), 0
    for j in range(indptr.size - 1):
        for s in range(indptr[j], indptr[j + 1]):
            groups += last[place[s]] != j
            last[place[s]] = j
    source, delay = np.empty(groups, np.int64), np.empty(groups, np.int64)
    start, g = np.empty(groups, np.int64), 0
    new_target, new_weight = np.empty_like(target), np.empty_like(weight)
    for j in range(indptr.size - 1):
        number, first = 0, indptr[j]
        for s in range(indptr[j], indptr[j + 1]):
            if count[place[s]] == 0:
                used[number] = place[s]
                number += 1
            count[place[s]] += 1
        used[:number].sort()
        for d in used[:number]:
            source[g], delay[g], start[g] = j, known[d], first
            first, count[d] = first + count[d], first
            g += 1
        for s in range(indptr[j], indptr[j + 1]):
            k = count[place[s]]
            new_target[k], new_weight[k] = target[s], weight[s]
            count[place[s]] += 1
        for d in used[:number]:
            count[d] = 0
    return RowGroups(source, delay, start, new_target, new_weight)


def _write_out(graph: Graph, chain: Chain) -> Sparse:
    """Return any chain as a Sparse, found from its responses to unit impulses."""
    nodes = list_links(graph, chain.edges)
    if any(isinstance(node, Sparse) and node.delay is not None for node in nodes):
        raise make_refusal(
            f"{chain}: a Sparse with individual delays is inside a chain of connections; put "
            "a population between"
        )
    synapses = list_synapses(nodes, graph.shapes[chain.source], limit=LARGEST)
    if synapses.weight.size > LARGEST:
        raise make_refusal(
            f"{chain}: more than {LARGEST} synapses in continuous time; use smaller "
            "layers, or clock=Grid()"
        )
    return Sparse.from_coo(*synapses, shape=(graph.size(chain.fed), graph.size(chain.source)))


def assemble_table(
    parts: Sequence[ChainSynapses], sources: int, edges: np.ndarray, rank: np.ndarray
) -> tuple[SynapseTable, GroupNodes]:
    """Return all chains' synapses into a component as one table, and the nodes of its groups.

    sources: S.
    edges: P+1; block p of the neurons is edges[p]:edges[p + 1].
    rank: as in the table.

    A single chain's weights are not copied: a synapse needs 12 bytes with float64 weights and 8
    with float32. Weights of several chains are copied, so that the rows of a group are
    adjacent.
    """
    listed = [p for p in parts if p.target is not None]
    ordered = [*listed, *(p for p in parts if p.target is None)]
    shifts = np.cumsum([0] + [p.weight.size for p in ordered])[:-1]
    part = np.repeat(np.arange(len(ordered)), [p.source.size for p in ordered])
    source = _concatenate([p.source for p in ordered], np.int64)
    delay = _concatenate([p.delay for p in ordered], np.float64)
    port = np.array([p.port for p in ordered], np.int64)[part]
    gain = np.array([p.gain for p in ordered], np.float64)[part]
    by_source = np.lexsort((delay, port, source))  # stable: chains keep their order
    start = _concatenate([p.start + s for p, s in zip(ordered, shifts, strict=True)], np.int64)
    size = _concatenate([p.stop - p.start for p in ordered], np.int64)
    if len(listed) > 1:
        rows = by_source[part[by_source] < len(listed)]
        start[rows] = np.cumsum(size[rows]) - size[rows]
    target, weight = _place_synapses(listed, ordered, start)
    part, source, delay, port, gain, start, size = (
        column[by_source] for column in (part, source, delay, port, gain, start, size)
    )
    joins = np.zeros(part.size, np.bool_)
    joins[1:] = (part[1:] < len(listed)) & (delay[1:] > 0)
    for column in (source, delay, port, gain):
        joins[1:] &= column[1:] == column[:-1]
    later = np.flatnonzero(joins)  # blocks need sorted targets
    joins[later] = target[start[later]] > target[start[later] - 1]
    first = np.flatnonzero(~joins)
    last = np.append(first[1:], part.size)[: first.size] - 1
    first_target = _concatenate([p.first_target for p in ordered], np.int64)[by_source][first]
    survey = survey_groups(
        start[first],
        start[last] + size[last],
        first_target,
        view_read_only(target),
        view_read_only(weight),
        edges,
    )
    table = SynapseTable(
        group_indptr=np.searchsorted(source[first], np.arange(sources + 1)),
        delay=delay[first],
        port=port[first],
        excites=survey.excites,
        inhibits=survey.inhibits,
        synapse_indptr=survey.synapse_indptr,
        first_target=first_target,
        target=target.view(np.uint32),  # unsigned: compiled code need not wrap negative indices
        weight=weight,
        gain=gain[first],
        common_weight=survey.common_weight,
        rank=rank,
    )
    nodes = GroupNodes(
        group=np.cumsum(~joins) - 1,
        synapses=size,
        nonzero=count_nonzero(start, size, view_read_only(weight)),
        counted=_index_nodes([p.counted for p in ordered], part),
        fed=_index_nodes([p.fed for p in ordered], part),
    )
    return view_fields_read_only(table), nodes


def _place_synapses(
    listed: list[ChainSynapses], ordered: list[ChainSynapses], start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return target and weight of all synapses; row k of the chains starts at start[k]."""
    single = {p.weight.dtype for p in ordered if p.weight.size} == {np.dtype(np.float32)}
    kind = np.float32 if single else np.float64
    if len(listed) < 2:
        columns = [p.target for p in listed if p.target is not None]
        return _concatenate(columns, np.int32), _concatenate([p.weight for p in ordered], kind)
    target = np.empty(sum(p.weight.size for p in listed), np.int32)
    unlisted = [p.weight for p in ordered[len(listed) :]]
    weight = np.concatenate([np.empty(target.size, kind), *unlisted], dtype=kind)
    first = 0
    for p in listed:
        own = start[first : first + p.source.size]
        copy_rows(
            view_read_only(p.start),
            view_read_only(p.stop),
            view_read_only(np.asarray(p.target)),
            view_read_only(p.weight.astype(kind, copy=False)),
            own,
            target,
            weight,
        )
        first += p.source.size
    return target, weight


@kernel
def copy_rows(
    start: np.ndarray,
    stop: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    place: np.ndarray,
    out_target: np.ndarray,
    out_weight: np.ndarray,
) -> None:
    """Copy each row k, the synapses start[k]:stop[k], to the outputs from place[k] on."""
    for k in range(start.size):
        for s in range(start[k], stop[k]):
            out_target[place[k] + s - start[k]] = target[s]
            out_weight[place[k] + s - start[k]] = weight[s]


@kernel
def count_nonzero(start: np.ndarray, size: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the number of non-zero weights of each row."""
    out = np.zeros(start.size, np.int64)
    for k in range(start.size):
        for s in range(start[k], start[k] + size[k]):
            out[k] += weight[s] != 0
    return out


def _index_nodes(names: list[str], part: np.ndarray) -> NodeIndex:
    """Return names[part] as an index of those nodes that have groups."""
    known = tuple(dict.fromkeys(names[k] for k in np.unique(part)))
    places = [known.index(name) if name in known else -1 for name in names]
    return NodeIndex(known, np.array(places, np.int64)[part])


def _concatenate(columns: list[np.ndarray], dtype: type) -> np.ndarray:
    """Join columns to one dtype; a single column that has this dtype is not copied."""
    if len(columns) == 1:
        return np.ascontiguousarray(columns[0], dtype)
    return np.concatenate([np.zeros(0, dtype), *columns], dtype=dtype)


class GroupSurvey(NamedTuple):
    """Properties of groups found in one pass over the synapses; fields as in SynapseTable."""

    synapse_indptr: np.ndarray
    excites: np.ndarray
    inhibits: np.ndarray
    common_weight: np.ndarray


@kernel
def survey_groups(
    start: np.ndarray,
    stop: np.ndarray,
    first_target: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    edges: np.ndarray,
) -> GroupSurvey:
    """Return where each group's blocks start, and properties of its weights."""
    indptr = np.empty((start.size, edges.size), np.int64)
    excites, inhibits = np.zeros(start.size, np.bool_), np.zeros(start.size, np.bool_)
    common = np.full(start.size, np.nan)
    for g in range(start.size):
        s, alike = start[g], start[g] < stop[g]
        for p in range(edges.size):
            while s < stop[g]:
                j = target[s] if first_target[g] < 0 else first_target[g] + s - start[g]
                if j >= edges[p]:
                    break
                excites[g] |= weight[s] > 0
                inhibits[g] |= weight[s] < 0
                alike &= weight[s] == weight[start[g]]
                s += 1
            indptr[g, p] = s
        if alike:
            common[g] = weight[start[g]]
    return GroupSurvey(indptr, excites, inhibits, common)


@bare
def select_range(table: SynapseTable, g: int, block: int) -> SynapseRange:
    """Return the synapses of a group into one block."""
    start, stop = table.synapse_indptr[g, block], table.synapse_indptr[g, block + 1]
    first = table.first_target[g]
    shift = first - table.synapse_indptr[g, 0]
    return SynapseRange(start, stop, first >= 0, shift, table.common_weight[g])


@bare
def read_synapse(
    target: np.ndarray, weight: np.ndarray, row: SynapseRange, s: int
) -> tuple[int, float]:
    """Return target and weight of one synapse."""
    j = s + row.shift
    if not row.contiguous:
        j = target[s]
    return j, row.common_weight if row.common_weight == row.common_weight else weight[s]  # NaN
