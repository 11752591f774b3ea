"""Compiled loops that run a LoihiProgram and visit only the spikes that are there.

Samples run one after the other, so that the states of one sample stay in the processor's cache.
All spikes of a run lie in one log. A population reads there what its sources sent a delay ago,
so there is no queue. Sums of whole numbers do not depend on their order.
The equations are those of :mod:`lava_export.reference`.
Axes: B samples, T ticks, P populations, N neurons of all populations.
"""

from typing import Any, NamedTuple

import numpy as np

from lava_export.population import STATE_LIMIT, SUM_LIMIT
from neuro.ops.jit import bare, inlined

FAILED = -1  # a sum of messages is too wide
KEEP_U, KEEP_V, KEEP_A, THRESHOLD, LOWEST, RISE, BIAS, RESET = range(8)


class ProgramArrays(NamedTuple):
    """A program as arrays.

    populations, connections: records of POPULATION and CONNECTION.
    numbers: parameters of each neuron, 8 N, in the order of KEEP_U to RESET.
    start: for each place of a source, or for each of its neurons in a list, where its targets
        begin in ``reached`` and ``tap``.
    reached: places of the target, or its neurons. tap: which row of weights reaches it, or the
        weight itself.
    weight: rows of weights, by channel of the source and tap.
    """

    populations: np.ndarray
    connections: np.ndarray
    numbers: np.ndarray
    start: np.ndarray
    reached: np.ndarray
    tap: np.ndarray
    weight: np.ndarray


class Working(NamedTuple):
    """The states of one sample, N each; sums of a tick by neuron, and by place and channel.

    clipped: how often v of each population stood at a bound of its bits, over all samples.
    """

    u: np.ndarray
    v: np.ndarray
    a: np.ndarray
    wait: np.ndarray
    x: np.ndarray
    by_place: np.ndarray
    clipped: np.ndarray


class SpikeLog(NamedTuple):
    """All spikes of a run; those of a population in a tick are ``start:stop``, each B T P.

    used: number of spikes, (1,). shown: v of all read-outs, T B _.
    above: how far v stands above the threshold before a reset, T B N; T B 0: not recorded.
    """

    start: np.ndarray
    stop: np.ndarray
    neuron: np.ndarray
    value: np.ndarray
    used: np.ndarray
    shown: np.ndarray
    above: np.ndarray


def make_record_type(names: str) -> np.dtype:
    """Return the type of records of whole numbers with these names."""
    return np.dtype([(name, np.int64) for name in names.split()])


# first: its first neuron. begin, end: its connections. checked: sums of messages reach it.
POPULATION = make_record_type(
    "input size first begin end checked hard refractory bias_after reset_interval reset_offset "
    "shown"
)
# Neuron n of the source is channel n // places_in at place n % places_in. share: channels of
# the source in a group. width: channels of the target in a group, 0 in a list. direct: its sums
# are added to those of other connections at once; if not, the last part ``folds`` them.
CONNECTION = make_record_type(
    "source delay start weight places_in taps share width channels places direct folds shift"
)


@bare
def run_ticks(
    arrays: ProgramArrays, working: Working, log: SpikeLog, sample: int, first: int
) -> int:
    """Run a sample from tick ``first`` on; return FAILED, or the tick that the log cannot hold.

    That is the number of ticks at the end of the run.
    """
    ticks = log.start.shape[1]
    for t in range(first, ticks):
        if log.neuron.size - log.used[0] < working.u.size:
            return t
        for p in range(len(arrays.populations)):
            if not arrays.populations[p]["input"]:
                if not add_arrivals(arrays, working, log, p, (sample, t)):
                    return FAILED
                step(arrays, working, log, p, (sample, t))
    return ticks


@bare
def add_arrivals(
    arrays: ProgramArrays, working: Working, log: SpikeLog, p: int, now: tuple[int, int]
) -> bool:
    """Set x to the sums that reach a population; say whether all are narrow enough."""
    row, (sample, t), arrived = arrays.populations[p], now, 0
    x = working.x[: row["size"]]
    x[:] = 0
    for k in range(row["begin"], row["end"]):
        c = arrays.connections[k]
        then = t - c["delay"]
        if then >= 0:
            source, out = c["source"], x if c["direct"] else working.by_place
            span = log.start[sample, then, source], log.stop[sample, then, source]
            arrived += span[1] - span[0]
            if c["width"]:
                add_rows(arrays, c, log, span, out)
            else:
                add_listed(arrays, c, log, span, out)
        if c["folds"]:
            if arrived and not fold(c, working.by_place, x):
                return False
            arrived = 0
    if row["checked"]:
        for i in range(len(x)):
            if abs(x[i]) >= SUM_LIMIT:
                return False
    return True


@bare
def add_listed(
    arrays: ProgramArrays, c: Any, log: SpikeLog, span: tuple[int, int], out: np.ndarray
) -> None:
    """Add the listed synapses of each spike."""
    for e in range(span[0], span[1]):
        value, n = np.int64(log.value[e]), c["start"] + log.neuron[e]
        for k in range(arrays.start[n], arrays.start[n + 1]):
            out[arrays.reached[k]] += value * arrays.tap[k]


@bare
def add_rows(
    arrays: ProgramArrays, c: Any, log: SpikeLog, span: tuple[int, int], out: np.ndarray
) -> None:
    """Add for each spike a row of weights to every place that it reaches."""
    places, taps, share, width = c["places_in"], c["taps"], c["share"], c["width"]
    channels, start = c["channels"], arrays.start[c["start"] :]
    rows = arrays.weight[c["weight"] :]
    for e in range(span[0], span[1]):
        value, n = np.int64(log.value[e]), np.int64(log.neuron[e])
        channel, place = n // places, n % places
        first = channel // share * width
        for k in range(start[place], start[place + 1]):
            to = arrays.reached[k] * channels + first
            at = (channel * taps + arrays.tap[k]) * width
            sums, weight = out[to : to + width], rows[at : at + width]
            if value == 1:  # without products the loop takes half the time
                for i in range(width):
                    sums[i] += weight[i]
            else:
                for i in range(width):
                    sums[i] += value * weight[i]


@bare
def fold(c: Any, by_place: np.ndarray, x: np.ndarray) -> bool:
    """Add the sums of a connection to x as Lava cuts them: a shift, or the 24 bits of its Conv.

    Returns False if Lava would lose bits before the shift.
    """
    channels, places, shift = c["channels"], c["places"], c["shift"]
    for channel in range(channels):
        for place in range(places):
            total: Any = np.int64(by_place[place * channels + channel])
            if shift == 0:
                total = ((total + STATE_LIMIT) & (2 * STATE_LIMIT - 1)) - STATE_LIMIT
            elif abs(total) >= 2**31:
                return False
            x[channel * places + place] += total >> shift
    by_place[: channels * places] = 0
    return True


@inlined
def truncate(product: int) -> int:
    """Return product / 4096, rounded towards zero."""
    return (product + ((product >> 63) & 4095)) >> 12


@bare
def step(
    arrays: ProgramArrays, working: Working, log: SpikeLog, p: int, now: tuple[int, int]
) -> None:
    """Step the neurons of a population, and log those that fire."""
    row, (sample, t) = arrays.populations[p], now
    here = slice(row["first"], row["first"] + row["size"])
    u, v, a, wait = working.u[here], working.v[here], working.a[here], working.wait[here]
    every = row["reset_interval"]
    if every > 0 and t % every == row["reset_offset"] % every:
        u[:], v[:], a[:], wait[:] = 0, 0, 0, 0
    numbers, biased, x = arrays.numbers, np.int64(t >= row["bias_after"]), working.x
    keep_u, keep_v, bias = numbers[KEEP_U][here], numbers[KEEP_V][here], numbers[BIAS][here]
    for i in range(len(u)):
        after = truncate(u[i] * keep_u[i]) + np.int64(64) * x[i]
        after += 2 * STATE_LIMIT * ((after <= -STATE_LIMIT) - np.int64(after > STATE_LIMIT))
        charged = truncate(v[i] * keep_v[i]) + after + biased * bias[i]
        if abs(charged) >= STATE_LIMIT:
            charged = min(max(charged, 1 - STATE_LIMIT), STATE_LIMIT - 1)
            working.clipped[p] += 1
        u[i], v[i] = after, charged if wait[i] == 0 else v[i]
    log.start[sample, t, p] = log.used[0]
    if row["shown"] < 0:
        fire(row, numbers, (v, a, wait), log, now)
    else:
        for i in range(len(v)):
            log.shown[t, sample, row["shown"] + i] = v[i]
    log.stop[sample, t, p] = log.used[0]


@bare
def fire(
    row: Any,
    numbers: np.ndarray,
    states: tuple[np.ndarray, ...],
    log: SpikeLog,
    now: tuple[int, int],
) -> None:
    """Log and reset the neurons beyond a threshold."""
    (v, a, wait), (sample, t), used = states, now, log.used[0]
    for i in range(len(v)):
        n = row["first"] + i
        a[i] = truncate(a[i] * numbers[KEEP_A, n])
        above = v[i] - numbers[THRESHOLD, n] - a[i]
        if log.above.size:
            log.above[t, sample, n] = above
        s = np.int64(above > 0) - (v[i] < numbers[LOWEST, n])
        if s == 0 or wait[i] > 0:
            wait[i] = max(wait[i] - 1, 0)
            continue
        v[i] = numbers[RESET, n] if row["hard"] else v[i] - numbers[RESET, n] - a[i]
        a[i] = min(a[i] + numbers[RISE, n], STATE_LIMIT - 1)
        wait[i] = row["refractory"]
        log.neuron[used], log.value[used] = i, s
        used += 1
    log.used[0] = used


@bare
def copy_spikes(log: SpikeLog, p: int, columns: tuple[np.ndarray, ...]) -> None:
    """Copy the samples, ticks, neurons and values of a population's spikes, in order."""
    k = 0
    for sample in range(log.start.shape[0]):
        for t in range(log.start.shape[1]):
            for e in range(log.start[sample, t, p], log.stop[sample, t, p]):
                columns[0][k], columns[1][k] = sample, t
                columns[2][k], columns[3][k] = log.neuron[e], log.value[e]
                k += 1
