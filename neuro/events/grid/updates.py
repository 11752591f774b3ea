"""Compiled neuron updates, in the order and precision of the torch models, with parameters.

A place is computed in a tick only if input reached it, or if one of its neurons might cross its
threshold without further input; other ticks are skipped. Before the next update, the skipped
ticks are computed one by one with the same multiply-adds, not with a power of the decay. So
every result equals that of computing every tick, bit for bit.

Axes: S samples, P places, C channels as in :mod:`neuro.events.grid.kernels`; Q = S P places of
all samples; K rows of a parameter or of ``rest``, P, or 1 if they are equal at every place. A
state has axes 4 Q C: membrane, synaptic current, adaptation, remaining refractory ticks.
"""

from typing import NamedTuple

import numpy as np

from neuro.events.grid.kernels import Buffer, Train, bare, inlined, kernel
from neuro.neurons import Coefficients

DECAY, GAIN, DECAY_SYN, THRESHOLD, DECAY_ADAPT, BETA, RESET = range(7)  # rows of Neurons.k
REST, DRIFT, REACH, LIMIT = range(4)  # rows of Neurons.bounds
V, CURRENT, ADAPT, WAIT = range(4)  # rows of a state
UNKNOWN, SILENT, ACTIVE = range(3)  # whether a neuron of a place may fire without input

# LIMIT lies below the threshold by two relative amounts: a fixed margin, and for rounding this
# many units in the last place per tick of memory. A large margin only costs needless updates.
MARGIN = 1e-6
ROUNDING_ERRORS = 64


class Neurons(NamedTuple):
    """The parameters of one population, in few arrays, because each array lengthens a call.

    k: rows DECAY to RESET: a, g, c, the least membrane that fires, r and b of the normal form
        (:class:`neuro.neurons.Coefficients`), and the value to which a hard reset sets v or
        which a soft one subtracts; axes 7 K C, in the precision of the run.
    bounds: rows REST to LIMIT, axes 4 K C, float64: an upper bound on a neuron's v without
        further input. Without input the current i approaches REST = drive / (1 - c), and v
        approaches g REST / (1 - a) monotonically: DRIFT is that value if drive > 0, otherwise
        0. The excess i - REST > 0 raises v by at most REACH = g c / (1 - c) times the excess.
        The neuron cannot fire while max(v, DRIFT) + REACH max(i - REST, 0) < LIMIT: the
        threshold, lowered by the rounding errors of these ticks if drive or current act on v.
    refractory: [ticks].
    hard: whether the reset sets v; otherwise it subtracts from v.
    plain: whether there is no current, no adaptation and no refractory period.
    """

    k: np.ndarray
    bounds: np.ndarray
    refractory: int
    hard: bool
    plain: bool


def arrange_by_place(parameter: np.ndarray, shape: tuple[int, ...], places: int) -> np.ndarray:
    """Return a parameter of neurons of ``shape`` as K C: per place, or K = 1 if all equal."""
    channels = np.broadcast_to(parameter, shape).reshape(-1, places)
    same = bool((channels == channels[:, :1]).all())
    return np.ascontiguousarray((channels[:, :1] if same else channels).T)


def make_parameters(
    k: Coefficients, drive: np.ndarray, shape: tuple[int, ...], places: int
) -> tuple[np.ndarray, Neurons]:
    """Return a population's input in a tick without spikes (K C), and its parameters.

    k: its coefficients.
    drive: constant input of each neuron in every tick (N).
    shape: shape of the population.
    places: P of its layout.
    """

    def every(p: np.ndarray) -> np.ndarray:
        return np.broadcast_to(p, shape).astype(drive.dtype)

    x, c = drive.reshape(shape), every(k.decay_syn)
    a, g, r, b = (every(p) for p in (k.decay, k.gain, k.decay_adapt, k.beta))
    high = every(k.least_firing(drive.dtype.type))
    after = every(k.reset_to if k.hard else k.subtracted)
    columns = [arrange_by_place(p, shape, places) for p in (x, a, g, c, high, r, b, after)]
    columns += [arrange_by_place(p, shape, places) for p in _compute_bounds(x, a, g, c, high)]
    rows = max(len(p) for p in columns)
    rest, *columns = (np.repeat(p, rows // len(p), 0) for p in columns)
    return rest, Neurons(
        k=np.stack(columns[:7]),
        bounds=np.stack(columns[7:]),
        refractory=k.refractory,
        hard=k.hard,
        plain=not (c.any() or r.any() or b.any() or k.refractory),
    )


def _compute_bounds(
    drive: np.ndarray, a: np.ndarray, g: np.ndarray, c: np.ndarray, threshold: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Return the rows REST to LIMIT of ``Neurons.bounds``, each with a parameter's shape."""
    eps = np.finfo(drive.dtype).eps
    x, a, g, c = (p.astype(np.float64) for p in (drive, a, g, c))
    leaks, spent = a < 1, 1 / (1 - c)
    memory = np.divide(1, 1 - a, out=np.full_like(a, np.inf), where=leaks)
    rounding = ROUNDING_ERRORS * eps * (np.where(leaks, memory, 0) + spent)
    pushed = (x > 0) | (c > 0)
    drift = np.multiply(g * x * spent, memory, out=np.zeros_like(x), where=x > 0)
    limit = threshold * (1 - np.where(pushed, MARGIN + rounding, 0))
    return x * spent, drift, g * c * spent, limit


class FireFlags(NamedTuple):
    """The channels of a place that are at or above threshold, and memory to list them.

    flag: one byte per channel, padded with zeros to a multiple of 8.
    words: the same memory as unsigned integers of 8 flags.
    nonzero: indices of non-zero words (one spare entry).
    starts: the start of each channel in a counting sort (one spare entry).
    """

    flag: np.ndarray
    words: np.ndarray
    nonzero: np.ndarray
    starts: np.ndarray


@kernel
def make_flags(channels: int) -> FireFlags:
    """Return cleared flags for the channels of a place."""
    flag = np.zeros((channels + 7) // 8 * 8, np.uint8)
    words = flag.view(np.uint64)
    nonzero, starts = np.empty(words.size + 1, np.int64), np.empty(channels + 1, np.int64)
    return FireFlags(flag, words, nonzero, starts)


@inlined
def append_flagged(neuron: np.ndarray, fired: int, flags: FireFlags) -> int:
    """Append the flagged channels to ``neuron``, of length ``fired``; return the new length.

    Every channel of a non-zero word is written, and the length grows by the channel's flag: a
    branch would be mispredicted.
    """
    flag, words, nonzero = flags.flag, flags.words, flags.nonzero
    n = 0
    for word in range(words.size):
        nonzero[n] = word
        n += words[word] != 0
    for k in range(n):
        for c in range(8 * nonzero[k], 8 * nonzero[k] + 8):
            neuron[fired] = c
            fired += int(flag[c])
    return fired


@bare
def sort_by_channel(
    neuron: np.ndarray, first: int, stop: int, places: int, starts: np.ndarray
) -> None:
    """Sort ``neuron[first:stop]``, listed by (place, channel), by index: a counting sort.

    The ``stop - first`` entries after them are overwritten with a copy.
    """
    starts[:] = 0
    for e in range(first, stop):
        neuron[stop + e - first] = neuron[e]
        starts[neuron[e] // places + 1] += 1
    for c in range(1, starts.size):
        starts[c] += starts[c - 1]
    for e in range(stop, 2 * stop - first):
        c = neuron[e] // places
        neuron[first + starts[c]] = neuron[e]
        starts[c] += 1


class SkipState(NamedTuple):
    """The places that can be skipped (Q each).

    next_tick: first tick that is not yet computed.
    activity: SILENT (no neuron can fire without input), ACTIVE or UNKNOWN.
    """

    next_tick: np.ndarray
    activity: np.ndarray


class Rows(NamedTuple):
    """Ticks ``origin + start`` to ``origin + stop``: rows ``start`` to ``stop`` of buffers."""

    origin: int
    start: int
    stop: int


class FiringPopulation(NamedTuple):
    """A spiking population: the state of its neurons, the places to skip, its parameters."""

    state: np.ndarray
    skip: SkipState
    neurons: Neurons


class TickOfSample(NamedTuple):
    """A tick of a sample. row: its row in the stretch's buffers. tick: its tick in the run."""

    sample: int
    row: int
    tick: int


@bare
def may_fire(state: np.ndarray, q: int, bounds: np.ndarray) -> bool:
    """Return whether a neuron of a place might cross its threshold without further input.

    False is certain; an unnecessary True only costs time. See ``Neurons.bounds``.
    """
    row = q % bounds.shape[1]
    for c in range(state.shape[2]):
        excess = max(state[CURRENT, q, c] - bounds[REST, row, c], 0.0)
        v = max(state[V, q, c], bounds[DRIFT, row, c])
        if not v + bounds[REACH, row, c] * excess < bounds[LIMIT, row, c]:
            return True
    return False


@inlined
def can_skip(activity: np.ndarray, state: np.ndarray, q: int, bounds: np.ndarray) -> bool:
    """Return whether a place can be skipped in a tick in which no input reached it."""
    if activity[q] == UNKNOWN:
        activity[q] = ACTIVE if may_fire(state, q, bounds) else SILENT
    return bool(activity[q] == SILENT)


@inlined
def step_plain(
    x: np.ndarray, r: int, state: np.ndarray, q: int, k: np.ndarray, flag: np.ndarray
) -> None:
    """Advance a place of plain neurons by one tick with input ``x[r]``, up to the reset.

    It flags the channels that fire. ``state[:, q]`` is not sliced: counting references to views
    would take longer than the arithmetic.
    """
    row = q % k.shape[1]
    for c in range(x.shape[1]):
        v = k[DECAY, row, c] * state[V, q, c] + k[GAIN, row, c] * x[r, c]
        state[V, q, c] = v
        flag[c] = v >= k[THRESHOLD, row, c]


@inlined
def step_general(
    x: np.ndarray, r: int, state: np.ndarray, q: int, k: np.ndarray, flag: np.ndarray
) -> None:
    """Advance a place of any neurons as :func:`step_plain` does for plain ones."""
    row, zero = q % k.shape[1], state.dtype.type(0)  # a literal 0 would give float64
    for c in range(x.shape[1]):
        i = k[DECAY_SYN, row, c] * state[CURRENT, q, c] + x[r, c]
        adapt = k[DECAY_ADAPT, row, c] * state[ADAPT, q, c]
        free = state[WAIT, q, c] == zero
        moved = k[DECAY, row, c] * state[V, q, c] + k[GAIN, row, c] * i
        v = moved if free else state[V, q, c]
        state[V, q, c] = v
        state[CURRENT, q, c] = i
        state[ADAPT, q, c] = adapt
        flag[c] = (v >= k[THRESHOLD, row, c] + adapt) & free


@inlined
def count_down(state: np.ndarray, q: int, p: Neurons) -> None:
    """Reduce the remaining refractory ticks of a place by one, at the end of a tick."""
    if p.refractory > 0:
        zero, one = state.dtype.type(0), state.dtype.type(1)
        for c in range(state.shape[2]):
            state[WAIT, q, c] = max(state[WAIT, q, c] - one, zero)


@bare
def step_without_input(
    rest: np.ndarray, state: np.ndarray, q: int, p: Neurons, flag: np.ndarray
) -> None:
    """Advance a place by one tick in which no input reached it, up to the reset."""
    if p.plain:
        step_plain(rest, q % rest.shape[0], state, q, p.k, flag)
    else:
        step_general(rest, q % rest.shape[0], state, q, p.k, flag)


@bare
def catch_up(
    rest: np.ndarray, ticks: int, state: np.ndarray, q: int, p: Neurons, flag: np.ndarray
) -> None:
    """Advance a place by ``ticks`` ticks without input and without spikes."""
    still, row = True, q % rest.shape[0]
    for c in range(rest.shape[1]):
        for k in range(4):
            still = still and state[k, q, c] == 0
        still = still and rest[row, c] == 0
    if not still:  # otherwise all values are 0 and stay 0
        for _ in range(ticks):
            step_without_input(rest, state, q, p, flag)
            count_down(state, q, p)


@inlined
def reset(
    neuron: np.ndarray, begin: int, fired: int, state: np.ndarray, q: int, p: Neurons
) -> None:
    """Reset the channels ``neuron[begin:fired]`` of a place."""
    row = q % p.k.shape[1]
    for e in range(begin, fired):
        c = neuron[e]
        after = p.k[RESET, row, c]
        state[V, q, c] = after if p.hard else state[V, q, c] - (after + state[ADAPT, q, c])
        if not p.plain:
            state[ADAPT, q, c] += p.k[BETA, row, c]
            state[WAIT, q, c] = (
                p.refractory + 1 if p.refractory > 0 else 0
            )  # includes this tick


@inlined
def advance_sample(
    inputs: Buffer,
    now: TickOfSample,
    population: FiringPopulation,
    flags: FireFlags,
    neuron: np.ndarray,
    fired: int,
) -> tuple[int, int]:
    """Advance one sample by one tick; return the new length of ``neuron`` and the updates.

    Neurons that fired are appended to ``neuron``, whose length was ``fired``.
    """
    hit, rest, (state, (next_tick, activity), p) = inputs.hit, inputs.rest, population
    _, length, places = hit.shape
    channels, computed = state.shape[2], 0
    x = inputs.values.reshape(-1, channels)
    for place in range(places):
        q, arrives = now.sample * places + place, hit[now.sample, now.row, place]
        if not arrives and can_skip(activity, state, q, p.bounds):
            continue
        if next_tick[q] < now.tick:
            catch_up(rest, now.tick - next_tick[q], state, q, p, flags.flag)
        next_tick[q], activity[q] = now.tick + 1, UNKNOWN
        computed += channels
        r, begin = (now.sample * length + now.row) * places + place, fired
        if not arrives:
            step_without_input(rest, state, q, p, flags.flag)
        elif p.plain:
            step_plain(x, r, state, q, p.k, flags.flag)
        else:
            step_general(x, r, state, q, p.k, flags.flag)
        fired = append_flagged(neuron, fired, flags)
        reset(neuron, begin, fired, state, q, p)
        count_down(state, q, p)
        for e in range(begin, fired):
            neuron[e] = neuron[e] * places + place
    return fired, computed


@bare
def advance_samples(
    inputs: Buffer,
    rows: Rows,
    population: FiringPopulation,
    flags: FireFlags,
    at: np.ndarray,
    neuron: np.ndarray,
) -> int:
    """Advance all samples over ``rows``; return the number of updates.

    Writes the spikes as a train: ``at`` (S, ticks + 1) and ``neuron``.
    """
    samples, _, places = inputs.hit.shape
    channels = population.state.shape[2]
    fired, updates = 0, 0
    for s in range(samples):
        at[s, 0] = fired
        for t in range(rows.start, rows.stop):
            first = fired
            now = TickOfSample(s, t, rows.origin + t)
            fired, computed = advance_sample(inputs, now, population, flags, neuron, fired)
            updates += computed
            if places > 1 and channels > 1:
                sort_by_channel(neuron, first, fired, places, flags.starts)
            at[s, t - rows.start + 1] = fired
    return updates


@kernel
def advance_firing(
    inputs: Buffer, rows: Rows, state: np.ndarray, skip: SkipState, p: Neurons
) -> tuple[Train, int]:
    """Advance a firing population over ``rows``; ``state`` and ``skip`` change in place.

    Returns the spikes and the number of updates.
    """
    samples, _, places = inputs.hit.shape
    ticks, channels = rows.stop - rows.start, state.shape[2]
    at = np.empty((samples, ticks + 1), np.int64)
    neuron = np.empty(samples * ticks * places * channels + places * channels + 1, np.int32)
    population, flags = FiringPopulation(state, skip, p), make_flags(channels)
    updates = advance_samples(inputs, rows, population, flags, at, neuron)
    fired = at[-1, -1]
    return Train(at, neuron[:fired].copy(), np.ones(fired, state.dtype)), updates


@kernel
def catch_up_all(
    rest: np.ndarray, now: int, state: np.ndarray, skip: SkipState, p: Neurons
) -> None:
    """Compute all skipped ticks before ``now``; ``state`` and ``skip`` change in place."""
    flags = make_flags(state.shape[2])
    for q in range(skip.next_tick.size):
        if skip.next_tick[q] < now:
            catch_up(rest, now - skip.next_tick[q], state, q, p, flags.flag)
            skip.next_tick[q] = now


@kernel
def advance_integrator(
    inputs: Buffer, rows: Rows, state: np.ndarray, p: Neurons, outputs: Buffer
) -> None:
    """Advance an LI over ``rows``; write its membrane to ``outputs``.

    A place of ``outputs`` is hit where a membrane is not 0.
    """
    samples, length, places = inputs.hit.shape
    channels = state.shape[2]
    x, out = inputs.values.reshape(-1, channels), outputs.values.reshape(-1, channels)
    zero, flags = state.dtype.type(0), make_flags(channels)
    for s in range(samples):
        for t in range(rows.start, rows.stop):
            for place in range(places):
                q, r = s * places + place, (s * length + t) * places + place
                if inputs.hit[s, t, place]:
                    step_plain(x, r, state, q, p.k, flags.flag)
                else:
                    step_without_input(inputs.rest, state, q, p, flags.flag)
                nonzero = np.int32(0)
                for c in range(channels):
                    out[r, c] = state[V, q, c]
                    nonzero += np.int32(state[V, q, c] != zero)
                outputs.hit[s, t, place] = nonzero > 0
