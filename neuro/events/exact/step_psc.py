"""A window of neurons with two currents (the second may be idle), all with the same parameters.

Between events v - rest is a sum of three exponentials, with amplitudes (modes) a, b, c. In
scaled form they are constant, and an arrival adds to two of them. A neuron may fire in the
window only if

    v(end) + (length^2 / 2) max(-v'') >= threshold

because v falls by at most the second term from a maximum inside the window, where v' = 0, to
the end. -v'' is bounded mode by mode. Only neurons that meet this condition are unscaled and
integrated from event to event.

Axes: n neurons of a component; a, b, c are modes[0], modes[1], modes[2] of the scaled state.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.events.exact.membrane import NeuronTable, add_input, advance_neuron, check_threshold
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

# Part of |threshold| + |rest|: the most that rounding leaves a firing neuron below threshold.
MARGIN = 1e-9


class PscFrame(NamedTuple):
    """Constants of scaled modes in a window; unscaled, v - rest = a + kappa_b b + kappa_c c.

    height: threshold - rest - margin. end_a, end_b, end_c: factor of each scaled mode in v at
    the end of the window. bend_a_start, bend_a_end, ...: its factor in -v'' length^2 / 2 at the
    start and at the end.
    """

    rest: float
    height: float
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


class Decays(NamedTuple):
    """The factors from scaled modes to modes at a time."""

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
    f, (neuron, current, rates) = make_frame(neurons, window), neurons
    modes, lists, target, weight = scaled.modes, scaled.lists, table.target, table.weight
    rate, rate_syn = neuron[window.low].rate, rates[window.low]
    unscale_candidates(neurons, scaled, window, f)
    requested, many = 0, arrivals.time.size
    for k in range(many):
        t, g, value = arrivals.time[k], arrivals.group[k], arrivals.value[k]
        port, row = table.port[g], select_range(table, g, window.block)
        excites = table.excites[g] or value < 0.0  # a negative value turns the weights round
        factor = value * math.exp(rate * (t - window.origin))
        factor *= -(f.kappa_b if port == 0 else f.kappa_c)
        factor_syn = value * math.exp(rate_syn[port] * (t - window.origin))
        mode, s = port + 1, row.start
        s = add_weights(modes, target, weight, row, s, mode, excites, factor, factor_syn, f)
        while s < row.stop:
            j, w = read_synapse(target, weight, row, s)
            if modes[0, j] >= UNSCALED:
                advance_neuron(neuron, current, rates, j, t, window.quantum, out)
                if neuron[j].free_at > window.stop:
                    modes[0, j] = REFRACTORY
                else:
                    add_input(neuron, current, j, port, w * value)
                    requested = request_test(lists, window, j, requested)
            elif modes[0, j] > REFRACTORY:
                unscale_neuron(
                    neurons, scaled, window, f, j, t, compute_decays(neurons, window, t)
                )
                requested = request_test(lists, window, j, requested)
            s = add_weights(
                modes, target, weight, row, s + 1, mode, excites, factor, factor_syn, f
            )
        if requested > 0 and (k + 1 == many or arrivals.time[k + 1] != t):
            run_tests(neuron, lists, window, requested, t, out)
            requested = 0
    finish_unscaled(neurons, lists, window, out)
    scale_finished(neurons, scaled, window, f)


@bare
def make_frame(neurons: NeuronTable, window: BlockWindow) -> PscFrame:
    """Return the frame of a window."""
    cell, rate_syn = neurons.neuron[window.low], neurons.rate_syn[window.low]
    rate, rate_b, rate_c = cell.rate, rate_syn[0], rate_syn[1]
    before, after = window.start - window.origin, window.stop - window.origin
    half = (window.stop - window.start) ** 2 / 2.0
    rest = compute_rest(neurons.neuron)
    kappa_b, kappa_c = 1.0 / (rate - rate_b), 1.0 / (rate - rate_c)
    start_a, end_a = math.exp(-rate * before), math.exp(-rate * after)
    start_b, end_b = math.exp(-rate_b * before), math.exp(-rate_b * after)
    start_c, end_c = math.exp(-rate_c * before), math.exp(-rate_c * after)
    bend_a = -half * rate * rate
    bend_b, bend_c = -half * kappa_b * rate_b**2, -half * kappa_c * rate_c**2
    height = cell.threshold - rest
    return PscFrame(
        rest,
        height - MARGIN * (abs(cell.threshold) + abs(rest)),
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
    )


@bare
def may_fire(f: PscFrame, a: float, b: float, c: float) -> bool:
    """Say whether a neuron with these modes might fire before the window ends."""
    end = f.end_a * a + f.end_b * b + f.end_c * c
    bend = max(f.bend_a_start * a, f.bend_a_end * a)
    bend += max(f.bend_b_start * b, f.bend_b_end * b)
    bend += max(f.bend_c_start * c, f.bend_c_end * c)
    return end + max(bend, 0.0) >= f.height


@bare
def add_weights(
    modes: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    row: SynapseRange,
    s: int,
    mode: int,
    excites: bool,
    factor: float,
    factor_syn: float,
    f: PscFrame,
) -> int:
    """Add to the targets of a row, from synapse s.

    mode: of the current. excites: whether any weight increases it. factor, factor_syn: factors
    of the weights for mode a and for the mode of the current. Stops after a target that is
    unscaled or might fire; returns its synapse, or the end of the row.
    """
    alike = row.common_weight == row.common_weight  # not NaN
    step, step_syn = row.common_weight * factor, row.common_weight * factor_syn
    a, b, c, own = modes[0], modes[1], modes[2], modes[mode]
    while s < row.stop:
        j = s + row.shift if row.contiguous else target[s]
        a[j] += step if alike else weight[s] * factor
        own[j] += step_syn if alike else weight[s] * factor_syn
        if a[j] >= UNSCALED or (excites and may_fire(f, a[j], b[j], c[j])):
            break
        s += 1
    return s


@bare
def unscale_candidates(
    neurons: NeuronTable, scaled: ScaledState, window: BlockWindow, f: PscFrame
) -> None:
    """Unscale neurons that might fire without input; update neurons that come free."""
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
    low, high = window.low, window.high
    marks, a = scaled.marks[low:high], modes[0, low:high]
    b, c = modes[1, low:high], modes[2, low:high]
    for k in range(a.size):
        marks[k] = may_fire(f, a[k], b[k], c[k])
    k = find_next_mark(marks, 0)
    while k < marks.size:
        if abs(a[k]) < UNSCALED:
            unscale_neuron(neurons, scaled, window, f, low + k, window.start, decays)
        k = find_next_mark(marks, k + 1)


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
    """Write v and currents at time t to the record of neuron ``j``; list it as unscaled."""
    modes, lists = scaled.modes, scaled.lists
    b, c = modes[1, j] * decays.b, modes[2, j] * decays.c
    neurons.current[j, 0], neurons.current[j, 1] = b, c
    neurons.neuron[j].v = f.rest + modes[0, j] * decays.a + f.kappa_b * b + f.kappa_c * c
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
    """Scale unscaled neurons again if they are not refractory at the end of the window."""
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
            modes[0, j] = (own.v - f.rest - f.kappa_b * b - f.kappa_c * c) * growth
            modes[1, j], modes[2, j] = b * growth_b, c * growth_c
            end -= 1
            lists[UNSCALED_LIST, a] = lists[UNSCALED_LIST, end]
        else:
            a += 1
    lists[UNSCALED_COUNT, window.low] = end - window.low
