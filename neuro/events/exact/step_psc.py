"""A window of neurons with two currents (the second may be unused) and equal rates.

Between events v - rest is a sum of three exponentials, with amplitudes (modes) a, b, c. In
scaled form these are constant, and an arrival adds to two of them. Let x be v with the positive
arrivals alone, so that v <= x. A neuron may fire in the window only if

    x(end) + (length^2 / 2) max(-x'') >= threshold

because from a maximum inside the window, where x' = 0, x falls by at most the second term until
the end: arrivals only raise x'. -x'' is bounded mode by mode. The test needs only sums of
arrivals, so all arrivals of a window are first added up, in any order. Neurons that meet the
condition are candidates: they take their arrivals again, one by one, and are unscaled when they
may fire without further input.

A window with many arrivals is divided into parts, because the condition is sharp only if few
arrivals fall into it.

Axes: n neurons of a component; a, b, c are modes[0], modes[1], modes[2] of the scaled state.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.events.exact.membrane import (
    NeuronTable,
    add_input,
    advance_neuron,
    check_threshold,
    round_instant,
)
from neuro.events.exact.scaled_state import (
    REFRACTORY,
    UNSCALED,
    UNSCALED_COUNT,
    UNSCALED_LIST,
    BlockWindow,
    ScaledState,
    compute_rest,
    find_next_mark,
    request_test,
    run_tests,
)
from neuro.events.exact.synapse_table import (
    GroupArrivals,
    SynapseRange,
    SynapseTable,
    read_synapse,
    select_range,
)
from neuro.ops.jit import bare

# Mean number of arrivals per neuron in a part of a window: fewer cost more scans of the
# neurons, more give more candidates. And the largest number of parts of a window.
ARRIVALS_PER_PART = 2.0
MAX_PARTS = 256

NEURONS_PER_CHUNK = 256  # neurons tested and then updated while the cache holds them


class PscFrame(NamedTuple):
    """Constants of scaled modes in a window; unscaled, v - rest = a + kappa_b b + kappa_c c.

    end_a, end_b, end_c: factor of each scaled mode in v at the end of the window.
    bend_a_start, bend_a_end, ...: its factor in -v'' length^2 / 2 at the start and end of the
    window.
    raises_b, raises_c: 1 if positive input to the current makes -v'' larger through the
        current's mode, 0 if through mode a.
    """

    kappa_b: float
    kappa_c: float
    end_a: float
    end_b: float
    end_c: float
    bend_a_start: float
    bend_a_end: float
    bend_b_start: float
    bend_b_end: float
    bend_c_start: float
    bend_c_end: float
    raises_b: float
    raises_c: float


class Decays(NamedTuple):
    """The factors from scaled modes to modes at one time."""

    a: float
    b: float
    c: float


@bare
def run_psc_window(
    neurons: NeuronTable,
    scaled: ScaledState,
    table: SynapseTable,
    arrivals: GroupArrivals,
    window: BlockWindow,
    out: np.ndarray,
) -> None:
    """Run the neurons of one block through one window; spikes go to ``out`` (SPIKE)."""
    parts = count_parts(table, arrivals, neurons.neuron.size)
    length, start, k = (window.stop - window.start) / parts, window.start, 0
    for p in range(1, parts + 1):
        stop, first = round_instant(window.start + p * length, window.quantum), k
        stop = window.stop if p == parts else stop
        while k < arrivals.time.size and arrivals.time[k] <= stop:
            k += 1
        own = GroupArrivals(
            arrivals.time[first:k], arrivals.group[first:k], arrivals.value[first:k]
        )
        part = BlockWindow(
            window.low, window.high, window.block, start, stop, window.origin, window.quantum
        )
        run_part(neurons, scaled, table, own, part, out)
        start = stop


@bare
def count_parts(table: SynapseTable, arrivals: GroupArrivals, n: int) -> int:
    """Return the number of parts of a window; it is the same in every block."""
    synapses = 0
    for g in arrivals.group:
        synapses += table.synapse_indptr[g, -1] - table.synapse_indptr[g, 0]
    return min(max(math.ceil(synapses / (ARRIVALS_PER_PART * n)), 1), MAX_PARTS)


@bare
def run_part(
    neurons: NeuronTable,
    scaled: ScaledState,
    table: SynapseTable,
    arrivals: GroupArrivals,
    window: BlockWindow,
    out: np.ndarray,
) -> None:
    """Run the neurons of one block through a part of a window."""
    f = make_frame(neurons, window)
    update_released(neurons, scaled, window)
    add_rows(neurons, scaled, table, arrivals, window, f, True)
    candidates = take_sums(neurons, scaled, window, f, arrivals.time.size > 0)
    add_rows(neurons, scaled, table, arrivals, window, f, False)
    if candidates > 0:
        run_candidates(neurons, scaled, table, arrivals, window, f, out)
    finish_unscaled(neurons, scaled.lists, window, out)
    scale_finished(neurons, scaled, window, f)


@bare
def add_rows(
    neurons: NeuronTable,
    scaled: ScaledState,
    table: SynapseTable,
    arrivals: GroupArrivals,
    window: BlockWindow,
    f: PscFrame,
    positive: bool,
) -> None:
    """Add all positive arrivals to the sums of their targets, or all others to the modes."""
    rate, rate_syn = neurons.neuron[window.low].rate, neurons.rate_syn[window.low]
    for k in range(arrivals.time.size):
        t, g, value = arrivals.time[k], arrivals.group[k], arrivals.value[k]
        upright = (value > 0.0) == positive  # positive weights have the wanted sign
        sign, wanted = (1.0, table.excites[g]) if upright else (-1.0, table.inhibits[g])
        if not wanted:
            continue
        port, row = table.port[g], select_range(table, g, window.block)
        factor_syn = sign * value * math.exp(rate_syn[port] * (t - window.origin))
        factor = sign * value * math.exp(rate * (t - window.origin))
        factor *= -(f.kappa_b if port == 0 else f.kappa_c)
        if positive:
            first, second = scaled.sums[2 * port], scaled.sums[2 * port + 1]
        else:
            first, second = scaled.modes[0], scaled.modes[port + 1]
        add_weights(first, second, table, row, sign, factor, factor_syn)


@bare
def add_weights(
    first: np.ndarray,
    second: np.ndarray,
    table: SynapseTable,
    row: SynapseRange,
    sign: float,
    factor: float,
    factor_syn: float,
) -> None:
    """Add a row's weights of one sign, times the factors, to two values of each target."""
    target, weight = table.target, table.weight
    alike = row.common_weight == row.common_weight  # not NaN
    common = max(sign * row.common_weight, 0.0)
    for s in range(row.start, row.stop):
        j = s + row.shift if row.contiguous else target[s]
        x = common if alike else max(sign * weight[s], 0.0)
        first[j] += x * factor
        second[j] += x * factor_syn


@bare
def take_sums(
    neurons: NeuronTable, scaled: ScaledState, window: BlockWindow, f: PscFrame, arrived: bool
) -> int:
    """Add the sums of arrivals to the modes, and mark the candidates; return their number.

    ``before`` keeps a candidate's modes without the arrivals. arrived: whether any sum is not
    0.
    """
    decays, candidates = compute_decays(neurons, window, window.start), 0
    for low in range(window.low, window.high, NEURONS_PER_CHUNK):
        here = slice(low, min(low + NEURONS_PER_CHUNK, window.high))
        a, b, c = scaled.modes[0, here], scaled.modes[1, here], scaled.modes[2, here]
        a_from_b, more_b = scaled.sums[0, here], scaled.sums[1, here]
        a_from_c, more_c = scaled.sums[2, here], scaled.sums[3, here]
        marks, height = scaled.marks[here], scaled.height[here]
        for k in range(marks.size):
            top = bound_end(f, a[k], b[k], c[k], a_from_b[k], more_b[k], a_from_c[k], more_c[k])
            marks[k] = top >= height[k]
        k = find_next_mark(marks, 0)
        while k < marks.size:
            j, before = low + k, scaled.before[low + k]
            before[0], before[1], before[2] = a[k], b[k], c[k]
            marks[k] = a[k] > REFRACTORY
            candidates += marks[k]
            if abs(a[k]) < UNSCALED and may_fire(f, before, height[k]):
                unscale_neuron(neurons, scaled, window, f, j, window.start, decays)
            k = find_next_mark(marks, k + 1)
        if arrived:
            for k in range(marks.size):
                a[k] += a_from_b[k] + a_from_c[k]
                b[k] += more_b[k]
                c[k] += more_c[k]
                a_from_b[k] = more_b[k] = a_from_c[k] = more_c[k] = 0.0
    return candidates


@bare
def run_candidates(
    neurons: NeuronTable,
    scaled: ScaledState,
    table: SynapseTable,
    arrivals: GroupArrivals,
    window: BlockWindow,
    f: PscFrame,
    out: np.ndarray,
) -> None:
    """Let the candidates take their arrivals one by one, in order of time."""
    target, weight, marks = table.target, table.weight, scaled.marks
    requested, many = 0, arrivals.time.size
    for k in range(many):
        t, g, value = arrivals.time[k], arrivals.group[k], arrivals.value[k]
        row = select_range(table, g, window.block)
        s = find_candidate(marks, target, row, row.start)
        if s < row.stop:
            decays = compute_decays(neurons, window, t)
            while s < row.stop:
                j, w = read_synapse(target, weight, row, s)
                x = w * value
                if take_arrival(
                    neurons, scaled, window, f, j, table.port[g], x, t, decays, out
                ):
                    requested = request_test(scaled.lists, window, j, requested)
                s = find_candidate(marks, target, row, s + 1)
        if requested > 0 and (k + 1 == many or arrivals.time[k + 1] != t):
            run_tests(neurons.neuron, scaled.lists, window, requested, t, out)
            requested = 0


@bare
def find_candidate(marks: np.ndarray, target: np.ndarray, row: SynapseRange, s: int) -> int:
    """Return the first synapse, from s on, of a row onto a candidate, or the row's end."""
    while s < row.stop:
        j = s + row.shift if row.contiguous else target[s]
        if marks[j]:
            break
        s += 1
    return s


@bare
def take_arrival(
    neurons: NeuronTable,
    scaled: ScaledState,
    window: BlockWindow,
    f: PscFrame,
    j: int,
    port: int,
    x: float,
    t: float,
    decays: Decays,
    out: np.ndarray,
) -> bool:
    """Add x to a current of candidate ``j`` at time t; say whether to test it then.

    A neuron that stays refractory to the end of the window stops being a candidate.
    """
    neuron, current, rates = neurons
    modes, before = scaled.modes, scaled.before[j]
    if modes[0, j] >= UNSCALED:
        advance_neuron(neuron, current, rates, j, t, window.quantum, out)
        if neuron[j].free_at > window.stop:
            modes[0, j], scaled.marks[j] = REFRACTORY, False
            return False
        add_input(neuron, current, j, port, x)
        return True
    before[0] -= x * (f.kappa_b if port == 0 else f.kappa_c) / decays.a
    before[port + 1] += x / (decays.b if port == 0 else decays.c)
    if x > 0.0 and may_fire(f, before, scaled.height[j]):
        unscale_neuron(neurons, scaled, window, f, j, t, decays)
        return True
    return False


@bare
def make_frame(neurons: NeuronTable, window: BlockWindow) -> PscFrame:
    """Return the frame of a window."""
    cell, rate_syn = neurons.neuron[window.low], neurons.rate_syn[window.low]
    rate, rate_b, rate_c = cell.rate, rate_syn[0], rate_syn[1]
    before, after = window.start - window.origin, window.stop - window.origin
    half = (window.stop - window.start) ** 2 / 2.0
    kappa_b, kappa_c = 1.0 / (rate - rate_b), 1.0 / (rate - rate_c)
    start_a, end_a = math.exp(-rate * before), math.exp(-rate * after)
    start_b, end_b = math.exp(-rate_b * before), math.exp(-rate_b * after)
    start_c, end_c = math.exp(-rate_c * before), math.exp(-rate_c * after)
    bend_a = -half * rate * rate
    bend_b, bend_c = -half * kappa_b * rate_b**2, -half * kappa_c * rate_c**2
    return PscFrame(
        kappa_b,
        kappa_c,
        end_a,
        kappa_b * end_b,
        kappa_c * end_c,
        bend_a * start_a,
        bend_a * end_a,
        bend_b * start_b,
        bend_b * end_b,
        bend_c * start_c,
        bend_c * end_c,
        1.0 if kappa_b < 0.0 else 0.0,
        1.0 if kappa_c < 0.0 else 0.0,
    )


@bare
def may_fire(f: PscFrame, modes: np.ndarray, height: float) -> bool:
    """Say whether a neuron with these modes might fire in this window without further input."""
    return bound_end(f, modes[0], modes[1], modes[2], 0.0, 0.0, 0.0, 0.0) >= height


@bare
def bound_end(
    f: PscFrame,
    a: float,
    b: float,
    c: float,
    a_from_b: float,
    more_b: float,
    a_from_c: float,
    more_c: float,
) -> float:
    """Return x(end) - rest + (length^2 / 2) max(-x'') for a neuron with these modes.

    a_from_b, more_b: sums that positive arrivals at the first current, at any times in the
        window, add to modes a and b.
    a_from_c, more_c: the same for the second current and modes a and c.
    """
    end = f.end_a * (a + a_from_b + a_from_c) + f.end_b * (b + more_b) + f.end_c * (c + more_c)
    low_a = a + (1.0 - f.raises_b) * a_from_b + (1.0 - f.raises_c) * a_from_c
    top_b, top_c = b + f.raises_b * more_b, c + f.raises_c * more_c
    bend = max(f.bend_a_start * low_a, f.bend_a_end * low_a)
    bend += max(f.bend_b_start * top_b, f.bend_b_end * top_b)
    bend += max(f.bend_c_start * top_c, f.bend_c_end * top_c)
    return end + max(bend, 0.0)


@bare
def update_released(neurons: NeuronTable, scaled: ScaledState, window: BlockWindow) -> None:
    """Mark each unscaled neuron; update those that are released in the window."""
    modes, lists = scaled.modes, scaled.lists
    decays = compute_decays(neurons, window, window.start)
    for k in range(window.low, window.low + lists[UNSCALED_COUNT, window.low]):
        j = lists[UNSCALED_LIST, k]
        modes[0, j] = UNSCALED
        if neurons.neuron[j].free_at > window.stop:
            modes[0, j] = REFRACTORY  # its currents stay in scaled form
        elif neurons.neuron[j].time <= window.start:
            neurons.neuron[j].time = window.start
            neurons.current[j, 0] = modes[1, j] * decays.b
            neurons.current[j, 1] = modes[2, j] * decays.c


@bare
def compute_decays(neurons: NeuronTable, window: BlockWindow, t: float) -> Decays:
    """Return the decay of each mode from the origin to time t."""
    h, rate_syn = window.origin - t, neurons.rate_syn[window.low]
    rate = neurons.neuron[window.low].rate
    return Decays(math.exp(rate * h), math.exp(rate_syn[0] * h), math.exp(rate_syn[1] * h))


@bare
def unscale_neuron(
    neurons: NeuronTable,
    scaled: ScaledState,
    window: BlockWindow,
    f: PscFrame,
    j: int,
    t: float,
    decays: Decays,
) -> None:
    """Write v and currents of candidate ``j`` at time t to its record; list it as unscaled."""
    modes, lists, before = scaled.modes, scaled.lists, scaled.before[j]
    b, c = before[1] * decays.b, before[2] * decays.c
    neurons.current[j, 0], neurons.current[j, 1] = b, c
    rest = compute_rest(neurons.neuron, j)
    neurons.neuron[j].v = rest + before[0] * decays.a + f.kappa_b * b + f.kappa_c * c
    neurons.neuron[j].time = t
    modes[0, j] = UNSCALED
    lists[UNSCALED_LIST, window.low + lists[UNSCALED_COUNT, window.low]] = j
    lists[UNSCALED_COUNT, window.low] += 1


@bare
def finish_unscaled(
    neurons: NeuronTable, lists: np.ndarray, window: BlockWindow, out: np.ndarray
) -> None:
    """Bring unscaled neurons that are not refractory to the end of the window."""
    neuron, current, rate_syn = neurons
    for a in range(window.low, window.low + lists[UNSCALED_COUNT, window.low]):
        j = lists[UNSCALED_LIST, a]
        if neuron[j].free_at <= window.stop:
            advance_neuron(neuron, current, rate_syn, j, window.stop, window.quantum, out)
            check_threshold(neuron, j, window.stop, out)


@bare
def scale_finished(
    neurons: NeuronTable, scaled: ScaledState, window: BlockWindow, f: PscFrame
) -> None:
    """Scale those unscaled neurons again that are not refractory at the window's end."""
    modes, lists, h = scaled.modes, scaled.lists, window.stop - window.origin
    a, end = window.low, window.low + lists[UNSCALED_COUNT, window.low]
    cell, rate_syn = neurons.neuron[window.low], neurons.rate_syn[window.low]
    growth, growth_b = math.exp(cell.rate * h), math.exp(rate_syn[0] * h)
    growth_c = math.exp(rate_syn[1] * h)
    while a < end:
        j = lists[UNSCALED_LIST, a]
        own = neurons.neuron[j]
        if own.time == window.stop and own.free_at <= window.stop:
            b, c = neurons.current[j, 0], neurons.current[j, 1]
            rest = compute_rest(neurons.neuron, j)
            modes[0, j] = (own.v - rest - f.kappa_b * b - f.kappa_c * c) * growth
            modes[1, j], modes[2, j] = b * growth_b, c * growth_c
            end -= 1
            lists[UNSCALED_LIST, a] = lists[UNSCALED_LIST, end]
        else:
            a += 1
    lists[UNSCALED_COUNT, window.low] = end - window.low
