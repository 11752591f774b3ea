"""Compiled neuron updates, in the order and the precision of the torch models.

The neurons of a place are computed in a tick only if something reached them or if one of them
is awake: it might cross its threshold by itself. The ticks slept through are made up for by the
same multiply-adds one after the other, never by a power: so each result is bit for bit that of
stepping every tick.

Axes: S samples, P places, C channels as in :mod:`neuro.events.kernels`; Q = S P places of all
samples; K rows of a parameter or of ``rest``, P or 1 (the same at every place). A state has
axes 4 Q C: membrane, current, adaptation, ticks for which a refractory membrane is held.
"""

from typing import NamedTuple

import numpy as np

from neuro.events.kernels import Buffer, Train, inlined, kernel
from neuro.events.neurons import (
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

V, CURRENT, ADAPT, WAIT = range(4)  # rows of a state
ASLEEP, AWAKE, UNKNOWN = range(3)  # what a place does without input


class Sleep(NamedTuple):
    """Where places stand (Q each). since: ticks computed. mood: ASLEEP, AWAKE, UNKNOWN."""

    since: np.ndarray
    mood: np.ndarray


class Rows(NamedTuple):
    """Ticks ``origin + start`` to ``origin + stop``: rows of the buffers of a stretch."""

    origin: int
    start: int
    stop: int


@kernel
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


class Over(NamedTuple):
    """Which neurons of a place are at their threshold or above.

    flag: one byte each, zeros up to a multiple of 8. words: the same memory, 8 at a time.
    """

    flag: np.ndarray
    words: np.ndarray


@inlined
def sleeps_on(mood: np.ndarray, state: np.ndarray, q: int, silence: np.ndarray) -> bool:
    """Say whether a place can be left alone in a tick without a hit."""
    if mood[q] == UNKNOWN:
        mood[q] = stirs(state, q, silence)
    return bool(mood[q] == ASLEEP)


@inlined
def roomy(column: np.ndarray, room: int) -> np.ndarray:
    """Return a column that grows, with at least this much room."""
    if room > column.size:
        column = np.concatenate((column, np.empty_like(column)))
    return column


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


@kernel
def idle(rest: np.ndarray, state: np.ndarray, q: int, p: Neurons, flag: np.ndarray) -> None:
    """Advance a place by one tick without a hit, up to the reset."""
    if p.plain:
        leak(rest, q % rest.shape[0], state, q, p.k, flag)
    else:
        flow(rest, q % rest.shape[0], state, q, p.k, flag)


@kernel
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
    neuron: np.ndarray, fired: int, state: np.ndarray, q: int, p: Neurons, over: Over
) -> int:
    """Reset what is ``over``; append it to ``neuron`` as channels, return its new length."""
    row, zero, channels = q % p.k.shape[1], state.dtype.type(0), state.shape[2]
    for word in range(over.words.size):
        if over.words[word] == 0:
            continue
        for c in range(8 * word, min(8 * word + 8, channels)):
            if over.flag[c]:
                neuron[fired] = c
                fired += 1
                high = p.k[THRESHOLD, row, c] + state[ADAPT, q, c]
                state[V, q, c] = zero if p.hard else state[V, q, c] - high
                state[ADAPT, q, c] += p.k[BETA, row, c]
                state[WAIT, q, c] = p.refractory + 1 if p.refractory > 0 else 0  # with this
    return fired


@kernel
def fire(
    inbox: Buffer, rows: Rows, state: np.ndarray, sleep: Sleep, p: Neurons
) -> tuple[Train, int]:
    """Advance a firing population over ``rows``; ``state`` and ``sleep`` change in place.

    Returns the spikes and the number of updates computed.
    """
    samples, length, places = inbox.hit.shape
    channels = state.shape[2]
    x = inbox.values.reshape(-1, channels)
    hit, rest, (since, mood) = inbox.hit, inbox.rest, sleep
    over = flags(channels)
    # Taken out here: fields read in a loop would be counted there.
    k, plain, silence, flag = p.k, p.plain, p.silence, over.flag
    at = np.zeros((samples, rows.stop - rows.start + 1), np.int64)
    neuron = np.empty(2 * places * channels, np.int32)
    fired, updates = 0, 0
    for s in range(samples):
        at[s, 0] = fired
        for t in range(rows.start, rows.stop):
            first, now = fired, rows.origin + t
            neuron = roomy(neuron, fired + places * channels)
            for place in range(places):
                q = s * places + place
                if not hit[s, t, place] and sleeps_on(mood, state, q, silence):
                    continue
                if since[q] < now:
                    catch_up(rest, now - since[q], state, q, p, over.flag)
                since[q], mood[q] = now + 1, UNKNOWN
                updates += channels
                r, begin = (s * length + t) * places + place, fired
                if not hit[s, t, place]:
                    idle(rest, state, q, p, over.flag)
                elif plain:
                    leak(x, r, state, q, k, flag)
                else:
                    flow(x, r, state, q, k, flag)
                fired = reset(neuron, fired, state, q, p, over)
                rest_on(state, q, p)
                for e in range(begin, fired):
                    neuron[e] = neuron[e] * places + place
            if places > 1 and channels > 1:
                neuron[first:fired] = sorted_by_channel(neuron[first:fired], places, channels)
            at[s, t - rows.start + 1] = fired
    return Train(at, neuron[:fired].copy(), np.ones(fired, state.dtype)), updates


@kernel
def flags(channels: int) -> Over:
    """Return flags for the channels of a place, none of them set."""
    flag = np.zeros((channels + 7) // 8 * 8, np.uint8)
    return Over(flag, flag.view(np.uint64))


@kernel
def sorted_by_channel(neuron: np.ndarray, places: int, channels: int) -> np.ndarray:
    """Return neurons, which rise by (place, channel), in rising order."""
    free = np.zeros(channels + 1, np.int64)
    for n in neuron:
        free[n // places + 1] += 1
    for c in range(channels):
        free[c + 1] += free[c]
    out = np.empty_like(neuron)
    for n in neuron:
        out[free[n // places]] = n
        free[n // places] += 1
    return out


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
