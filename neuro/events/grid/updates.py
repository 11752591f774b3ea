"""Compiled neuron updates, in the order and the precision of the torch models.

The neurons of a place are computed in a tick only if something reached them or if one of them
is awake: it might cross its threshold by itself. The ticks slept through are made up for by the
same multiply-adds one after the other, never by a power: so each result is bit for bit that of
stepping every tick.

Axes: S samples, P places, C channels as in :mod:`neuro.events.grid.kernels`; Q = S P places of
all samples; K rows of a parameter or of ``rest``, P or 1 (the same at every place). A state has
axes 4 Q C: membrane, current, adaptation, ticks for which a refractory membrane is held.
"""

from typing import NamedTuple

import numpy as np

from neuro.events.grid.kernels import Buffer, Train, bare, inlined, kernel
from neuro.events.grid.parameters import (
    BETA,
    DECAY,
    DECAY_ADAPT,
    DECAY_SYN,
    DRIFT,
    GAIN,
    LIMIT,
    REACH,
    REST,
    THRESHOLD,
    Neurons,
)
from neuro.events.grid.threshold import Over, flags, listed, sort_by_channel

V, CURRENT, ADAPT, WAIT = range(4)  # rows of a state
UNKNOWN, ASLEEP, AWAKE = range(3)  # what a place does without input


class Sleep(NamedTuple):
    """Where places stand (Q each). since: ticks computed. mood: ASLEEP, AWAKE, UNKNOWN."""

    since: np.ndarray
    mood: np.ndarray


class Rows(NamedTuple):
    """Ticks ``origin + start`` to ``origin + stop``: rows of the buffers of a stretch."""

    origin: int
    start: int
    stop: int


class Group(NamedTuple):
    """A firing population: its neurons, where their places stand, and their parameters."""

    state: np.ndarray
    sleep: Sleep
    neurons: Neurons


class Now(NamedTuple):
    """A tick of the run, which is a row of a sample in the buffers of a stretch."""

    sample: int
    row: int
    tick: int


@bare
def stirs(state: np.ndarray, q: int, silence: np.ndarray) -> bool:
    """Say whether a neuron of a place might cross its threshold without further input.

    "Yes" is always right; "no" must be certain.
    """
    row = q % silence.shape[1]
    for c in range(state.shape[2]):
        excess = max(state[CURRENT, q, c] - silence[REST, row, c], 0.0)
        v = max(state[V, q, c], silence[DRIFT, row, c])
        if not v + silence[REACH, row, c] * excess < silence[LIMIT, row, c]:
            return True
    return False


@inlined
def sleeps_on(mood: np.ndarray, state: np.ndarray, q: int, silence: np.ndarray) -> bool:
    """Say whether a place can be left alone in a tick without a hit."""
    if mood[q] == UNKNOWN:
        mood[q] = AWAKE if stirs(state, q, silence) else ASLEEP
    return bool(mood[q] == ASLEEP)


@inlined
def leak(
    x: np.ndarray, r: int, state: np.ndarray, q: int, k: np.ndarray, flag: np.ndarray
) -> None:
    """Advance a plain place ``state[:, q]`` by one tick with input ``x[r]``, up to the reset.

    It flags the channels at their threshold or above. Nothing is sliced: to count references
    to views takes longer than all the arithmetic.
    """
    row = q % k.shape[1]
    for c in range(x.shape[1]):
        v = k[DECAY, row, c] * state[V, q, c] + k[GAIN, row, c] * x[r, c]
        state[V, q, c] = v
        flag[c] = v >= k[THRESHOLD, row, c]


@inlined
def flow(
    x: np.ndarray, r: int, state: np.ndarray, q: int, k: np.ndarray, flag: np.ndarray
) -> None:
    """Advance any place as :func:`leak` does a plain one."""
    row, zero = q % k.shape[1], state.dtype.type(0)  # a plain 0 would make all float64
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
def rest_on(state: np.ndarray, q: int, p: Neurons) -> None:
    """End a tick: refractory neurons have one less to wait."""
    if p.refractory > 0:
        zero, one = state.dtype.type(0), state.dtype.type(1)
        for c in range(state.shape[2]):
            state[WAIT, q, c] = max(state[WAIT, q, c] - one, zero)


@bare
def idle(rest: np.ndarray, state: np.ndarray, q: int, p: Neurons, flag: np.ndarray) -> None:
    """Advance a place by one tick without a hit, up to the reset."""
    if p.plain:
        leak(rest, q % rest.shape[0], state, q, p.k, flag)
    else:
        flow(rest, q % rest.shape[0], state, q, p.k, flag)


@bare
def catch_up(
    rest: np.ndarray, ticks: int, state: np.ndarray, q: int, p: Neurons, flag: np.ndarray
) -> None:
    """Advance a place by ticks without a hit, in which none of its neurons fires."""
    still, row = True, q % rest.shape[0]
    for c in range(rest.shape[1]):
        for k in range(4):
            still = still and state[k, q, c] == 0
        still = still and rest[row, c] == 0
    if not still:  # else nothing would ever change
        for _ in range(ticks):
            idle(rest, state, q, p, flag)
            rest_on(state, q, p)


@inlined
def reset(
    neuron: np.ndarray, begin: int, fired: int, state: np.ndarray, q: int, p: Neurons
) -> None:
    """Reset the channels ``neuron[begin:fired]`` of a place."""
    row, zero = q % p.k.shape[1], state.dtype.type(0)
    for e in range(begin, fired):
        c = neuron[e]
        high = p.k[THRESHOLD, row, c] + state[ADAPT, q, c]
        state[V, q, c] = zero if p.hard else state[V, q, c] - high
        if not p.plain:
            state[ADAPT, q, c] += p.k[BETA, row, c]
            state[WAIT, q, c] = p.refractory + 1 if p.refractory > 0 else 0  # with this


@inlined
def advance(
    inbox: Buffer, now: Now, group: Group, over: Over, neuron: np.ndarray, fired: int
) -> tuple[int, int]:
    """Advance one sample by a tick; return the new length of ``neuron`` and the updates."""
    hit, rest, (state, (since, mood), p) = inbox.hit, inbox.rest, group
    _, length, places = hit.shape
    channels, computed = state.shape[2], 0
    x = inbox.values.reshape(-1, channels)
    for place in range(places):
        q, arrives = now.sample * places + place, hit[now.sample, now.row, place]
        if not arrives and sleeps_on(mood, state, q, p.silence):
            continue
        if since[q] < now.tick:
            catch_up(rest, now.tick - since[q], state, q, p, over.flag)
        since[q], mood[q] = now.tick + 1, UNKNOWN
        computed += channels
        r, begin = (now.sample * length + now.row) * places + place, fired
        if not arrives:
            idle(rest, state, q, p, over.flag)
        elif p.plain:
            leak(x, r, state, q, p.k, over.flag)
        else:
            flow(x, r, state, q, p.k, over.flag)
        fired = listed(neuron, fired, over)
        reset(neuron, begin, fired, state, q, p)
        rest_on(state, q, p)
        for e in range(begin, fired):
            neuron[e] = neuron[e] * places + place
    return fired, computed


@bare
def advance_all(
    inbox: Buffer, rows: Rows, group: Group, over: Over, at: np.ndarray, neuron: np.ndarray
) -> int:
    """Advance all samples over ``rows``; fill ``at`` and ``neuron``, return the updates."""
    samples, _, places = inbox.hit.shape
    channels = group.state.shape[2]
    fired, updates = 0, 0
    for s in range(samples):
        at[s, 0] = fired
        for t in range(rows.start, rows.stop):
            first = fired
            now = Now(s, t, rows.origin + t)
            fired, computed = advance(inbox, now, group, over, neuron, fired)
            updates += computed
            if places > 1 and channels > 1:
                sort_by_channel(neuron, first, fired, places, over.free)
            at[s, t - rows.start + 1] = fired
    return updates


@kernel
def fire(
    inbox: Buffer, rows: Rows, state: np.ndarray, sleep: Sleep, p: Neurons
) -> tuple[Train, int]:
    """Advance a firing population over ``rows``; ``state`` and ``sleep`` change in place.

    Returns the spikes and the number of updates computed.
    """
    samples, _, places = inbox.hit.shape
    ticks, channels = rows.stop - rows.start, state.shape[2]
    at = np.empty((samples, ticks + 1), np.int64)
    neuron = np.empty(samples * ticks * places * channels + places * channels + 1, np.int32)
    group, over = Group(state, sleep, p), flags(channels)
    updates = advance_all(inbox, rows, group, over, at, neuron)
    fired = at[-1, -1]
    return Train(at, neuron[:fired].copy(), np.ones(fired, state.dtype)), updates


@kernel
def wake(rest: np.ndarray, now: int, state: np.ndarray, sleep: Sleep, p: Neurons) -> None:
    """Bring every place to tick ``now``."""
    over = flags(state.shape[2])
    for q in range(sleep.since.size):
        if sleep.since[q] < now:
            catch_up(rest, now - sleep.since[q], state, q, p, over.flag)
            sleep.since[q] = now


@kernel
def integrate(inbox: Buffer, rows: Rows, state: np.ndarray, p: Neurons, outbox: Buffer) -> None:
    """Advance an LI over ``rows``; put out its membrane, a hit where it is not zero."""
    samples, length, places = inbox.hit.shape
    channels = state.shape[2]
    x, out = inbox.values.reshape(-1, channels), outbox.values.reshape(-1, channels)
    zero, over = state.dtype.type(0), flags(channels)
    for s in range(samples):
        for t in range(rows.start, rows.stop):
            for place in range(places):
                q, r = s * places + place, (s * length + t) * places + place
                if inbox.hit[s, t, place]:
                    leak(x, r, state, q, p.k, over.flag)
                else:
                    idle(inbox.rest, state, q, p, over.flag)
                moving = np.int32(0)
                for c in range(channels):
                    out[r, c] = state[V, q, c]
                    moving += np.int32(state[V, q, c] != zero)
                outbox.hit[s, t, place] = moving > 0
