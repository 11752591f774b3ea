"""Compiled ticks of a loop of populations and synapses: a ring of delay slots.

A spike adds the weights of its synapses directly to the slots of the ticks at which they
arrive; a tick takes its slot and clears it. The number of slots is a power of two, so that a
mask finds a slot. All populations of the loop form one range of neurons; each thread advances a
part of each population and keeps the slots of that part. Threads meet once per look-ahead
window (the least delay) to read each other's spikes. Every slot is summed in the order of its
spikes' (tick, source, path), so the sums are the same bit for bit for any number of threads,
and however a run is split.

An LI that feeds one population (a synaptic current) is a population that does not fire.

Axes: S samples, L ticks of a stretch, n neurons of the loop, M populations, P paths (synapses
from one population to another), W threads.
"""

from typing import NamedTuple

import numpy as np

from neuro.events.grid.kernels import Buffer, Train
from neuro.events.grid.updates import (
    ADAPT,
    BETA,
    CURRENT,
    DECAY,
    DECAY_ADAPT,
    DECAY_SYN,
    GAIN,
    RESET,
    THRESHOLD,
    WAIT,
    Rows,
    V,
)
from neuro.ops.barrier import wait
from neuro.ops.jit import bare, inlined, kernel
from neuro.ops.memory import prefetch, view_memory

INDPTR, INDICES, WEIGHT, DELAY, NONZERO = range(5)  # columns of LoopNetwork.arrays
PATH, SOURCE, TICK, START, STOP, FIELDS = range(6)  # columns of LoopState.queue, their number
# The part of a population in a thread is padded to a multiple of FILLED neurons: two cache
# lines of float32, which processors fetch together. Vector loops then have no remainder.
FILLED = 32
FLAGS = 64  # flags that are searched together

# From this size on the ring exceeds the second-level cache, and slots are prefetched AHEAD
# synapses in advance. On 10 and 100 % of the cortical microcircuit (2 and 20 MB in float32), a
# synaptic event takes 2.1 and 6.0 ns without, 3.1 and 4.3 ns with prefetching (AMD EPYC).
PREFETCHED_BYTES, AHEAD = 2**22, 64
# Rows of synapses lie anywhere in memory. While one row is added, the first HEAD synapses of
# the next row are loaded, and before that the indices where the queued rows begin.
HEAD, QUEUED = 64, 32
NEAR = 32  # synapses around the place where a thread's part of a row begins on average


class LoopNetwork(NamedTuple):
    """The parameters and synapses of a loop.

    first, size: M; population m is the neurons first[m]:first[m] + size[m].
    k: rows as in :class:`~neuro.events.grid.updates.Neurons`, axes 7 n.
    uniform: M, whether all neurons of m have the parameters of its first one, and none adapts.
    hard, refractory [ticks]: M, as in Neurons.
    feeds: M, the population to whose input a current adds, which comes later; -1: m fires.
    reached: M, whether a path leads to m, which then has columns in the ring.
    path_start: M+1; the paths out of population m are path_start[m]:path_start[m + 1].
    target: P, the population that a path reaches.
    late: P, delay of its edge [ticks].
    arrays: P 5, the addresses of its CSR arrays and of its number of non-zero synapses by
        source. An INDPTR of 0: each source reaches all targets, in their order. A DELAY of 0:
        no synapse has its own delay. A NONZERO of 0: no weight is 0.
    indices, weight, delay: empty arrays that have the dtypes of those columns.
    """

    first: np.ndarray
    size: np.ndarray
    k: np.ndarray
    uniform: np.ndarray
    hard: np.ndarray
    refractory: np.ndarray
    feeds: np.ndarray
    reached: np.ndarray
    path_start: np.ndarray
    target: np.ndarray
    late: np.ndarray
    arrays: np.ndarray
    indices: np.ndarray
    weight: np.ndarray
    delay: np.ndarray


class LoopState(NamedTuple):
    """The arrays that a run of a loop changes.

    Thread w has the neurons edges[w, m] to edges[w + 1, m] of population m, counted within m.
    They start at start[w, m] in the arrays, and at column[w, m] in the ring. So each thread
    writes to separate memory. Otherwise processors that prefetch the next lines would take them
    from each other, which took half of the time of two threads.

    cells: 4 S n, rows V to WAIT.
    ring: S slots C, with C columns.
    fed: n, the input of populations without columns.
    base: S L n, or S 1 n if equal in all ticks: the input from outside plus the biases.
    fired: W S L n', the spikes of each thread in order, at most n' neurons per tick.
    number: W S L M+1, how many spikes there were before each tick and population.
    flags: W, bytes for the neurons of a thread.
    queue: W, rows of synapses to add next: the path, the neuron that fired, its tick, and which
        synapses have targets in the thread.
    sent: P 2, synaptic events (non-zero, all) of the spikes.
    """

    cells: np.ndarray
    ring: np.ndarray
    fed: np.ndarray
    base: np.ndarray
    fired: np.ndarray
    number: np.ndarray
    flags: np.ndarray
    queue: np.ndarray
    sent: np.ndarray
    edges: np.ndarray
    start: np.ndarray
    column: np.ndarray
    barrier: np.ndarray


class TargetRange(NamedTuple):
    """The neurons low[m]:high[m] of a thread, whose ring columns start at column[m].

    The ring has ``mask`` + 1 slots with ``width`` columns.
    """

    low: np.ndarray
    high: np.ndarray
    column: np.ndarray
    mask: int
    width: int


class TickOfCells(NamedTuple):
    """The neurons of population m from ``first`` on: states, and input in one tick.

    x, base: the input is their sum; x is the neurons' slot, which is cleared.
    """

    v: np.ndarray
    current: np.ndarray
    adapt: np.ndarray
    wait: np.ndarray
    x: np.ndarray
    base: np.ndarray
    first: int
    m: int


class Firing(NamedTuple):
    """The parameters of neurons without adaptation, as in Neurons."""

    decay: float
    gain: float
    threshold: float
    after: float
    hard: bool
    refractory: float


@inlined
def step_neuron(p: Firing, cells: TickOfCells, flags: np.ndarray, j: int, i: float) -> None:
    """Advance neuron j by one tick with the input i to its membrane; flag whether it fires."""
    zero, vs, waits = cells.x.dtype.type(0), cells.v, cells.wait
    free = waits[j] == zero
    v = p.decay * vs[j] + p.gain * i
    v = v if free else vs[j]
    fires = (v >= p.threshold) & free
    reset = p.after if p.hard else v - p.after
    vs[j] = reset if fires else v
    waits[j] = p.refractory if fires else max(waits[j] - cells.x.dtype.type(1), zero)
    flags[j] = fires


@bare
def advance_uniform(net: LoopNetwork, cells: TickOfCells, flags: np.ndarray) -> None:
    """Advance neurons of a uniform population by one tick; flag those that fire.

    The arithmetic is that of :func:`~neuro.events.grid.updates.step_general`.
    """
    k, first, x, base, zero = net.k, cells.first, cells.x, cells.base, cells.x.dtype.type(0)
    a, g, threshold, after = (
        k[DECAY, first],
        k[GAIN, first],
        k[THRESHOLD, first],
        k[RESET, first],
    )
    refractory, c = x.dtype.type(net.refractory[cells.m]), k[DECAY_SYN, first]
    p = Firing(a, g, threshold, after, net.hard[cells.m], refractory)
    if c == zero:
        for j in range(x.size):
            i = x[j] + base[j]
            x[j] = zero
            step_neuron(p, cells, flags, j, i)
        return
    for j in range(x.size):
        i = c * cells.current[j] + (x[j] + base[j])
        x[j] = zero
        cells.current[j] = i
        step_neuron(p, cells, flags, j, i)


@bare
def advance_varied(net: LoopNetwork, cells: TickOfCells, flags: np.ndarray) -> None:
    """Advance neurons of any population by one tick; flag those that fire."""
    vs, currents, adapts, waits, x, base, first, m = cells
    hard, refractory = net.hard[m], x.dtype.type(net.refractory[m])
    zero, one, k = x.dtype.type(0), x.dtype.type(1), net.k[:, first : first + x.size]
    for j in range(x.size):
        i = k[DECAY_SYN, j] * currents[j] + (x[j] + base[j])
        x[j] = zero
        adapt = k[DECAY_ADAPT, j] * adapts[j]
        free = waits[j] == zero
        v = k[DECAY, j] * vs[j] + k[GAIN, j] * i
        v = v if free else vs[j]
        fires = (v >= k[THRESHOLD, j] + adapt) & free
        reset = k[RESET, j] if hard else v - (k[RESET, j] + adapt)
        vs[j] = reset if fires else v
        currents[j] = i
        adapts[j] = adapt + k[BETA, j] if fires else adapt
        waits[j] = refractory if fires else max(waits[j] - one, zero)
        flags[j] = fires


@bare
def advance_current(net: LoopNetwork, cells: TickOfCells, fed: np.ndarray) -> None:
    """Advance LIs by one tick; add their membranes to the input of the neurons they feed."""
    vs, _, _, _, x, base, first, m = cells
    zero, k = x.dtype.type(0), net.k
    if net.uniform[m]:
        a, g = k[DECAY, first], k[GAIN, first]
        for j in range(x.size):
            v = a * vs[j] + g * (x[j] + base[j])
            x[j] = zero
            vs[j] = v
            fed[j] += v
        return
    for j in range(x.size):
        v = k[DECAY, first + j] * vs[j] + k[GAIN, first + j] * (x[j] + base[j])
        x[j] = zero
        vs[j] = v
        fed[j] += v


@bare
def append_flagged(
    flags: np.ndarray, size: int, low: int, fired: np.ndarray, count: int
) -> int:
    """Append ``low`` + each flagged index to ``fired`` (length ``count``); return its end."""
    words = flags.view(np.uint64)
    for start in range(0, size, FLAGS):
        some = np.uint64(0)
        for word in range(start // 8, (start + FLAGS) // 8):
            some |= words[word]
        if some != 0:
            for place in range(start, min(start + FLAGS, size)):
                fired[count] = low + place
                count += flags[place]
    return count


@bare
def advance_part(
    net: LoopNetwork, state: LoopState, own: int, s: int, rows: Rows, t: int
) -> None:
    """Advance a thread's neurons by the tick of row t."""
    flags, fired, number = state.flags[own], state.fired[own, s], state.number[own, s]
    slot, base = state.ring[s, (rows.origin + t) & (state.ring.shape[1] - 1)], state.base[s, 0]
    if state.base.shape[1] > 1:
        base = state.base[s, t]
    place = (t - rows.start) * net.feeds.size
    for m in range(net.feeds.size):
        low, high = state.edges[own, m], state.edges[own + 1, m]
        count, start = number[place + m], state.start[own, m]
        size = high - low
        if net.uniform[m]:
            size = -(-size // FILLED) * FILLED
        stop = start + size
        cells = TickOfCells(
            state.cells[V, s, start:stop],
            state.cells[CURRENT, s, start:stop],
            state.cells[ADAPT, s, start:stop],
            state.cells[WAIT, s, start:stop],
            select_input(state, slot, own, m, size),
            base[start:stop],
            net.first[m] + low,
            m,
        )
        if net.feeds[m] >= 0:
            fed = select_input(state, slot, own, net.feeds[m], size)
            advance_current(net, cells, fed)
        else:
            if net.uniform[m]:
                advance_uniform(net, cells, flags)
            else:
                advance_varied(net, cells, flags)
            count = append_flagged(flags, high - low, low, fired, count)
        number[place + m + 1] = count


@inlined
def select_input(state: LoopState, slot: np.ndarray, own: int, m: int, size: int) -> np.ndarray:
    """Return the input that a slot holds for a thread's neurons of population m."""
    start = state.start[own, m]
    x = state.fed[start : start + size]
    if state.column[own, m] >= 0:
        x = slot[state.column[own, m] : state.column[own, m] + size]
    return x


@inlined
def guess_target(start: int, stop: int, low: int, size: int) -> int:
    """Guess where in a row the synapses with targets >= ``low`` of ``size`` begin."""
    return start + (stop - start) * low // size


@bare
def find_target(indices: np.ndarray, start: int, stop: int, low: int, size: int) -> int:
    """Return the first synapse from start to stop with a target >= ``low``; targets rise.

    The search starts where the synapse would be if targets were evenly distributed.
    """
    if low == 0 or low == size:
        return stop if low else start
    guess = guess_target(start, stop, low, size)
    for near in (guess - NEAR, guess + NEAR):
        if start <= near < stop:
            if np.int64(indices[near]) < low:
                start = near + 1
            else:
                stop = near
    while start < stop:
        middle = (start + stop) // 2
        if np.int64(indices[middle]) < low:
            start = middle + 1
        else:
            stop = middle
    return start


class SynapseRow(NamedTuple):
    """A spike's synapses along one path into a thread's targets: columns as in a Sparse.

    first: column of target 0, which may be in another thread's part (negative); if ``indices``
        is empty, the column of the first target.
    delay: empty if no synapse has its own delay.
    t: tick of the spike plus the delay of the edge.
    """

    indices: np.ndarray
    weight: np.ndarray
    delay: np.ndarray
    first: int
    t: int


@inlined
def find_slot(row: SynapseRow, e: int, to: TargetRange) -> np.uint64:
    """Return the index of synapse e among a sample's slots."""
    slot = (np.uint64(row.t) + np.uint64(row.delay[e])) & np.uint64(to.mask)
    return slot * np.uint64(to.width) + np.uint64(row.first) + np.uint64(row.indices[e])


@bare
def add_row(slots: np.ndarray, row: SynapseRow, to: TargetRange) -> None:
    """Add the synapses of a row to a sample's slots."""
    end = row.weight.size
    if row.delay.size == 0:
        start = (row.t & to.mask) * to.width + row.first
        if row.indices.size == 0:
            own = slots[start : start + end]
            for e in range(end):
                own[e] += row.weight[e]
            return
        for e in range(end):
            slots[np.uint64(start) + np.uint64(row.indices[e])] += row.weight[e]
    elif slots.nbytes < PREFETCHED_BYTES:
        for e in range(end):
            slots[find_slot(row, e, to)] += row.weight[e]
    else:
        full = max(end - AHEAD, 0)
        for e in range(min(AHEAD, end)):
            prefetch(slots, find_slot(row, e, to))
        for e in range(full):
            prefetch(slots, find_slot(row, e + AHEAD, to))
            slots[find_slot(row, e, to)] += row.weight[e]
        for e in range(full, end):
            slots[find_slot(row, e, to)] += row.weight[e]


@inlined
def find_row(net: LoopNetwork, p: int, j: int, to: TargetRange) -> tuple[int, int]:
    """Return start and stop of the synapses from neuron j of a path's source into ``to``."""
    target = net.target[p]
    size, low, high = net.size[target], to.low[target], to.high[target]
    start, stop = j * size + low, j * size + high
    if net.arrays[p, INDPTR] != 0:
        indptr = view_memory(net.arrays[p, INDPTR], j + 2, net.first)
        indices = view_memory(net.arrays[p, INDICES], indptr[j + 1], net.indices)
        start = find_target(indices, indptr[j], indptr[j + 1], low, size)
        stop = find_target(indices, indptr[j], indptr[j + 1], high, size)
    return start, stop


@inlined
def view_row(
    net: LoopNetwork, p: int, start: int, stop: int, t: int, to: TargetRange
) -> SynapseRow:
    """Return the synapses start to stop of a path, for a spike at tick t."""
    arrays, first = net.arrays[p], to.column[net.target[p]]
    indices, delay = net.indices, net.delay
    if arrays[INDPTR] != 0:
        first -= to.low[net.target[p]]
        indices = view_memory(arrays[INDICES], stop, net.indices)[start:stop]
    if arrays[DELAY] != 0:
        delay = view_memory(arrays[DELAY], stop, net.delay)[start:stop]
    weight = view_memory(arrays[WEIGHT], stop, net.weight)[start:stop]
    return SynapseRow(indices, weight, delay, first, t + net.late[p])


@inlined
def count_row(net: LoopNetwork, p: int, j: int, sent: np.ndarray) -> None:
    """Add the synaptic events of neuron j's spike along a path to ``sent`` (P 2)."""
    every = net.size[net.target[p]]
    if net.arrays[p, INDPTR] != 0:
        indptr = view_memory(net.arrays[p, INDPTR], j + 2, net.first)
        every = indptr[j + 1] - indptr[j]
    used = every
    if net.arrays[p, NONZERO] != 0:
        used = view_memory(net.arrays[p, NONZERO], j + 1, net.first)[j]
    sent[p, 0] += used
    sent[p, 1] += every


@bare
def prefetch_targets(net: LoopNetwork, queue: np.ndarray, to: TargetRange) -> None:
    """Prefetch the indices near the ends of queued rows."""
    for p, j in queue[:, :TICK]:
        if net.arrays[p, INDPTR] != 0:
            target = net.target[p]
            indptr = view_memory(net.arrays[p, INDPTR], j + 2, net.first)
            indices = view_memory(net.arrays[p, INDICES], indptr[j + 1], net.indices)
            for end in (to.low[target], to.high[target]):
                near = guess_target(indptr[j], indptr[j + 1], end, net.size[target])
                prefetch(indices, np.uint64(near))


@inlined
def prefetch_row(row: SynapseRow) -> None:
    """Prefetch the first synapses of a row."""
    for e in range(0, min(HEAD, row.weight.size), 16):  # 16 indices fill a cache line
        prefetch(row.weight, np.uint64(e))
        if row.indices.size > 0:
            prefetch(row.indices, np.uint64(e))
        if row.delay.size > 0:
            prefetch(row.delay, np.uint64(e))


@bare
def add_rows(net: LoopNetwork, state: LoopState, own: int, s: int, queue: np.ndarray) -> None:
    """Add the synapses of queued rows to a thread's targets."""
    ring = state.ring[s]
    slots, low, high = ring.reshape(-1), state.edges[own], state.edges[own + 1]
    to = TargetRange(low, high, state.column[own], ring.shape[0] - 1, ring.shape[1])
    prefetch_targets(net, queue, to)
    for i in range(len(queue) + 1):
        if i < len(queue):
            p, j = queue[i, PATH], queue[i, SOURCE]
            queue[i, START], queue[i, STOP] = find_row(net, p, j, to)
            if own == 0:
                count_row(net, p, j, state.sent)
            prefetch_row(view_row(net, p, queue[i, START], queue[i, STOP], 0, to))
        if i > 0:
            p, _, t, start, stop = queue[i - 1]
            add_row(slots, view_row(net, p, start, stop, t, to), to)


@bare
def send_spikes(
    net: LoopNetwork, state: LoopState, own: int, s: int, rows: Rows, t: int
) -> None:
    """Add the synapses of all spikes in the tick of row t to a thread's targets."""
    populations, queue, queued = net.feeds.size, state.queue[own], 0
    for m in range(populations):
        place = (t - rows.start) * populations + m
        for other in range(state.number.shape[0]):
            before, after = state.number[other, s, place], state.number[other, s, place + 1]
            for k in range(before, after):
                for p in range(net.path_start[m], net.path_start[m + 1]):
                    queue[queued, PATH] = p
                    queue[queued, SOURCE] = state.fired[other, s, k]
                    queue[queued, TICK] = rows.origin + t
                    queued += 1
                    if queued == len(queue):
                        add_rows(net, state, own, s, queue)
                        queued = 0
    add_rows(net, state, own, s, queue[:queued])


@bare
def run_part(net: LoopNetwork, state: LoopState, own: int, rows: Rows, window: int) -> None:
    """Run a thread's neurons over ``rows`` in windows; every thread calls this function."""
    threads, samples, _ = state.number.shape
    for s in range(samples):
        for start in range(rows.start, rows.stop, window):
            stop = min(start + window, rows.stop)
            for t in range(start, stop):
                advance_part(net, state, own, s, rows, t)
            wait(state.barrier, threads)
            for t in range(start, stop):
                send_spikes(net, state, own, s, rows, t)


class PastSpikes(NamedTuple):
    """Spikes before the tick ``now``, one entry per path, in the order in which they were sent.

    neuron: index in the path's source.
    """

    sample: np.ndarray
    tick: np.ndarray
    neuron: np.ndarray
    path: np.ndarray


@bare
def send_pending(
    net: LoopNetwork,
    state: LoopState,
    past: PastSpikes,
    counted: bool,
    pending: np.ndarray,
) -> None:
    """Add those synapses of past spikes to the ring that arrive at tick 0 or later.

    counted: whether they are only counted.
    pending: P 2, the counts (non-zero, all).
    """
    ring = state.ring
    for own in range(state.start.shape[0]):
        low, high, column = state.edges[own], state.edges[own + 1], state.column[own]
        to = TargetRange(low, high, column, ring.shape[1] - 1, ring.shape[2])
        for k in range(past.tick.size):
            p = past.path[k]
            start, stop = find_row(net, p, past.neuron[k], to)
            row = view_row(net, p, start, stop, past.tick[k], to)
            for e in range(row.weight.size):
                late = row.delay[e] if row.delay.size > 0 else 0
                target = np.int64(row.indices[e]) if row.indices.size > 0 else e
                if row.t + late < 0:
                    continue
                pending[p, 0] += row.weight[e] != 0
                pending[p, 1] += 1
                if not counted:
                    slot = (row.t + late) & to.mask
                    ring[past.sample[k], slot, row.first + target] += row.weight[e]


@kernel
def select_spikes(net: LoopNetwork, state: LoopState, m: int, ticks: int) -> Train:
    """Return the spikes of a population."""
    threads, samples, _ = state.number.shape
    at, populations = np.empty((samples, ticks + 1), np.int64), net.feeds.size
    many, e = 0, 0
    for place in range(m, ticks * populations, populations):
        many += (state.number[:, :, place + 1] - state.number[:, :, place]).sum()
    neuron = np.empty(many, np.int32)
    for s in range(samples):
        at[s, 0] = e
        for t in range(ticks):
            for own in range(threads):
                number = state.number[own, s]
                for k in range(number[t * populations + m], number[t * populations + m + 1]):
                    neuron[e] = state.fired[own, s, k]
                    e += 1
            at[s, t + 1] = e
    return Train(at, neuron, np.ones(e, state.cells.dtype))


@bare
def read_input(inputs: Buffer, rows: Rows, base: np.ndarray, places: np.ndarray) -> None:
    """Write a buffer's values to the base input (S L n) of the neurons at ``places``."""
    values, hit, rest = inputs
    samples, _, number, channels = values.shape
    for s in range(samples):
        for t in range(rows.start, rows.stop):
            own, arrives, out = values[s, t], hit[s, t], base[s, t]
            if number == 1:
                for c in range(channels):
                    out[places[c]] = own[0, c] if arrives[0] else rest[0, c]
            else:
                step = min(1, rest.shape[0] - 1)
                for k in range(number):
                    out[places[k]] = own[k, 0] if arrives[k] else rest[step * k, 0]
