"""A window of identical neurons whose inputs make v jump (delta synapses).

With rest = drive / rate, the scaled membrane u = (v - rest) exp(rate (t - origin)) is constant
between events, and the threshold moves: in scaled form it is

    (threshold - rest) exp(rate (t - origin))

So a synapse costs one addition and one comparison. A neuron above the scaled threshold has
crossed it either without input, as the threshold came down, or by the current arrival.

Axes: n neurons of a component; u is modes[0] of the scaled state.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.events.exact.membrane import NeuronTable, check_threshold, fire_neuron, round_instant
from neuro.events.exact.scaled_state import (
    CANDIDATE_COUNT,
    CANDIDATE_LIST,
    IN_CANDIDATE_LIST,
    IN_TEST_LIST,
    REFRACTORY,
    TEST_LIST,
    UNSCALED,
    UNSCALED_COUNT,
    UNSCALED_LIST,
    BlockWindow,
    ScaledState,
    compute_rest,
    find_next_mark,
    request_test,
)
from neuro.events.exact.synapse_table import (
    GroupArrivals,
    SynapseRange,
    SynapseTable,
    read_synapse,
    select_range,
)
from neuro.ops.jit import bare

# How long a candidate list is valid while the threshold comes down, in membrane time constants.
# A longer time gives more candidates per window, a shorter time more scans.
CANDIDATES_FOR = 0.05

# Contiguous targets that are compared with the threshold together, in vector registers, before
# any is written: 512 bytes of u.
TARGETS_PER_CHUNK = 64


class DeltaFrame(NamedTuple):
    """The constants of a scaled membrane u in a window: v - rest = u / scale.

    height: threshold - rest; the scaled threshold is height * scale.
    margin: how far rounding can leave v below the threshold if the weights sum to the
        threshold.
    lowest: the scaled threshold at the end of the candidate list's validity if it comes down;
        otherwise infinite.
    """

    rate: float
    rest: float
    height: float
    margin: float
    lowest: float


class ScaledInstant(NamedTuple):
    """A time t, with its scale exp(rate (t - origin)) and scaled threshold.

    limit: a neuron whose u is at or above it fires now or is a candidate.
    """

    t: float
    scale: float
    threshold: float
    limit: float


@bare
def run_delta_window(
    neurons: NeuronTable,
    scaled: ScaledState,
    table: SynapseTable,
    arrivals: GroupArrivals,
    window: BlockWindow,
    out: np.ndarray,
) -> None:
    """Run the neurons of one block through one window; spikes go to ``out`` (SPIKE).

    If contiguous targets reach the limit in an instant, the neurons ``opened`` to ``closed``
    are first brought to that instant and are tested at its end; their input is then a plain sum
    of rows.
    """
    f, neuron, u = prepare_frame(neurons, scaled, window), neurons.neuron, scaled.modes[0]
    target, weight = table.target, table.weight
    mark_released(neuron, scaled, window)
    requested, many, opened, closed = 0, arrivals.time.size, 0, 0
    for k in range(many):
        t, row = arrivals.time[k], select_range(table, arrivals.group[k], window.block)
        scale = math.exp(f.rate * (t - window.origin))
        factor, threshold = arrivals.value[k] * scale, (f.height - f.margin) * scale
        now = ScaledInstant(t, scale, threshold, min(threshold, f.lowest))
        s = row.start
        if opened == closed or not row.contiguous:
            s = add_weights(u, target, weight, row, s, factor, now.limit)
        if row.contiguous and s < row.stop:
            first, last = row.start + row.shift, row.stop + row.shift
            opened, closed = (first, first) if opened == closed else (opened, closed)
            update_range(neuron, scaled, window, f, first, opened, now, out)
            update_range(neuron, scaled, window, f, closed, last, now, out)
            opened, closed = min(opened, first), max(closed, last)
            add_row(u[s + row.shift : last], weight[s : row.stop], factor)
            s = row.stop
        while s < row.stop:
            j, w = read_synapse(target, weight, row, s)
            if update_target(neuron, scaled, window, f, j, now, opened <= j < closed, out):
                u[j] += w * factor
                requested = list_target(scaled.lists, window, j, requested, u[j] >= threshold)
            s = add_weights(u, target, weight, row, s + 1, factor, now.limit)
        if (requested > 0 or opened < closed) and (k + 1 == many or arrivals.time[k + 1] != t):
            requested = list_range(scaled, window, opened, closed, now, requested)
            fire_tested(neuron, scaled, window, f, requested, now, out)
            requested, opened, closed = 0, 0, 0
    finish_candidates(neuron, scaled, window, f, out)


@bare
def prepare_frame(neurons: NeuronTable, scaled: ScaledState, window: BlockWindow) -> DeltaFrame:
    """Return a window's frame; make a new candidate list if the old one has expired."""
    cell, lists = neurons.neuron[window.low], scaled.lists
    until, p = scaled.candidates_until, window.block
    rest = compute_rest(neurons.neuron, window.low)
    height, lowest = cell.threshold - rest, math.inf
    short = height < 0.0 and cell.rate * (window.stop - window.start) < CANDIDATES_FOR
    new = not short or window.stop > until[p]
    if new:
        for a in range(window.low, window.low + lists[CANDIDATE_COUNT, window.low]):
            lists[IN_CANDIDATE_LIST, lists[CANDIDATE_LIST, a]] = 0
        lists[CANDIDATE_COUNT, window.low] = 0
    if short:
        if new:
            until[p] = window.start + CANDIDATES_FOR / cell.rate
        lowest = height * math.exp(cell.rate * (until[p] - window.origin))
        if new:
            add_candidates_above(scaled, window, lowest)
    return DeltaFrame(cell.rate, rest, height, cell.margin, lowest)


@bare
def add_candidates_above(scaled: ScaledState, window: BlockWindow, limit: float) -> None:
    """Add the neurons with u at or above a limit to the candidate list."""
    u = scaled.modes[0, window.low : window.high]
    marks = scaled.marks[window.low : window.high]
    for k in range(u.size):
        marks[k] = u[k] >= limit
    k = find_next_mark(marks, 0)
    while k < marks.size:
        add_candidate(scaled.lists, window, window.low + k)
        k = find_next_mark(marks, k + 1)


@bare
def add_candidate(lists: np.ndarray, window: BlockWindow, j: int) -> None:
    """Add neuron ``j`` to the candidate list."""
    if not lists[IN_CANDIDATE_LIST, j]:
        lists[IN_CANDIDATE_LIST, j] = 1
        lists[CANDIDATE_LIST, window.low + lists[CANDIDATE_COUNT, window.low]] = j
        lists[CANDIDATE_COUNT, window.low] += 1


@bare
def mark_released(neuron: np.ndarray, scaled: ScaledState, window: BlockWindow) -> None:
    """Mark each unscaled neuron: UNSCALED if it is released in this window, else REFRACTORY."""
    lists, u = scaled.lists, scaled.modes[0]
    a, end = window.low, window.low + lists[UNSCALED_COUNT, window.low]
    while a < end:
        j = lists[UNSCALED_LIST, a]
        if neuron[j].free_at > window.stop:
            u[j] = REFRACTORY
            a += 1
        else:
            u[j] = UNSCALED
            add_candidate(lists, window, j)
            end -= 1
            lists[UNSCALED_LIST, a] = lists[UNSCALED_LIST, end]
    lists[UNSCALED_COUNT, window.low] = end - window.low


@bare
def scale_neuron(
    neuron: np.ndarray, u: np.ndarray, f: DeltaFrame, origin: float, j: int
) -> None:
    """Scale neuron ``j`` again at the end of its refractory period."""
    u[j] = (neuron[j].v - f.rest) * math.exp(f.rate * (neuron[j].free_at - origin))


@bare
def mark_refractory(
    neuron: np.ndarray, scaled: ScaledState, window: BlockWindow, j: int
) -> None:
    """Mark neuron ``j`` after its spike: REFRACTORY beyond this window's end, else UNSCALED."""
    u, lists = scaled.modes[0], scaled.lists
    if neuron[j].free_at <= window.stop:
        u[j] = UNSCALED
        add_candidate(lists, window, j)
        return
    u[j] = REFRACTORY
    lists[UNSCALED_LIST, window.low + lists[UNSCALED_COUNT, window.low]] = j
    lists[UNSCALED_COUNT, window.low] += 1


@bare
def add_weights(
    u: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    row: SynapseRange,
    s: int,
    factor: float,
    limit: float,
) -> int:
    """Add weights times ``factor`` to the targets of a row, starting at synapse s.

    Stops before the first target whose u is, or would be, at or above the limit. Returns that
    target's synapse, or the end of the row.
    """
    if row.contiguous:
        return add_contiguous(u, weight, s, row.stop, row.shift, factor, limit)
    if row.common_weight == row.common_weight:  # not NaN
        return add_common(u, target, s, row.stop, row.common_weight * factor, limit)
    return add_listed(u, target, weight, s, row.stop, factor, limit)


@bare
def add_listed(
    u: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    s: int,
    end: int,
    factor: float,
    limit: float,
) -> int:
    """Add weights as :func:`add_weights` does, to listed targets of synapses s to ``end``."""
    while s < end:
        j = target[s]
        old = u[j]
        new = old + weight[s] * factor
        if max(old, new) >= limit:
            break
        u[j] = new
        s += 1
    return s


@bare
def add_common(
    u: np.ndarray, target: np.ndarray, s: int, end: int, step: float, limit: float
) -> int:
    """Add weights as :func:`add_weights` does, with one step for all synapses."""
    while s < end:
        j = target[s]
        old = u[j]
        new = old + step
        if max(old, new) >= limit:
            break
        u[j] = new
        s += 1
    return s


@bare
def add_contiguous(
    u: np.ndarray, weight: np.ndarray, s: int, end: int, shift: int, factor: float, limit: float
) -> int:
    """Add weights as :func:`add_weights` does; synapse s has the target s + shift."""
    while s < end:
        stop, hits = min(s + TARGETS_PER_CHUNK, end), 0
        chunk, steps = u[s + shift : stop + shift], weight[s:stop]
        for k in range(chunk.size):
            hits += max(chunk[k], chunk[k] + steps[k] * factor) >= limit
        if hits > 0:
            k = 0
            while max(chunk[k], chunk[k] + steps[k] * factor) < limit:
                chunk[k] += steps[k] * factor
                k += 1
            return s + k
        add_row(chunk, steps, factor)
        s = stop
    return end


@bare
def add_row(u: np.ndarray, weight: np.ndarray, factor: float) -> None:
    """Add weights times ``factor`` to contiguous targets, one weight per target."""
    for k in range(u.size):
        u[k] += weight[k] * factor


@bare
def update_target(
    neuron: np.ndarray,
    scaled: ScaledState,
    window: BlockWindow,
    f: DeltaFrame,
    j: int,
    now: ScaledInstant,
    updated: bool,
    out: np.ndarray,
) -> bool:
    """Bring neuron ``j`` to now unless it is ``updated``; say whether it takes input.

    A refractory neuron takes no input.
    """
    u = scaled.modes[0]
    if u[j] >= UNSCALED and neuron[j].free_at > now.t:
        return False
    if u[j] >= UNSCALED and neuron[j].v < neuron[j].threshold:
        scale_neuron(neuron, u, f, window.origin, j)
    if u[j] >= now.threshold and not (updated or scaled.lists[IN_TEST_LIST, j]):
        catch_up_neuron(neuron, scaled, window, f, j, now.t, out)
    return abs(u[j]) < UNSCALED


@bare
def list_target(
    lists: np.ndarray, window: BlockWindow, j: int, requested: int, above: bool
) -> int:
    """List neuron ``j`` for the test at the instant's end if it is above its threshold.

    Otherwise it becomes a candidate. Returns the length of the test list.
    """
    if above:
        return request_test(lists, window, j, requested)
    add_candidate(lists, window, j)
    return requested


@bare
def update_range(
    neuron: np.ndarray,
    scaled: ScaledState,
    window: BlockWindow,
    f: DeltaFrame,
    first: int,
    last: int,
    now: ScaledInstant,
    out: np.ndarray,
) -> None:
    """Bring those neurons from ``first`` to ``last`` to now whose u has reached the limit."""
    u = scaled.modes[0]
    j = find_next_above(u, first, last, now.limit)
    while j < last:
        update_target(neuron, scaled, window, f, j, now, False, out)
        j = find_next_above(u, j + 1, last, now.limit)


@bare
def list_range(
    scaled: ScaledState,
    window: BlockWindow,
    first: int,
    last: int,
    now: ScaledInstant,
    requested: int,
) -> int:
    """Apply :func:`list_target` to neurons ``first`` to ``last`` that reach the limit."""
    u = scaled.modes[0]
    j = find_next_above(u, first, last, now.limit)
    while j < last:
        if u[j] < UNSCALED:
            requested = list_target(scaled.lists, window, j, requested, u[j] >= now.threshold)
        j = find_next_above(u, j + 1, last, now.limit)
    return requested


@bare
def find_next_above(u: np.ndarray, first: int, last: int, limit: float) -> int:
    """Return the first neuron from ``first`` with u at or above a limit, or ``last``."""
    while first < last:
        chunk, hits = u[first : min(first + TARGETS_PER_CHUNK, last)], 0
        for k in range(chunk.size):
            hits += chunk[k] >= limit
        if hits > 0:
            while u[first] < limit:
                first += 1
            return first
        first += chunk.size
    return last


@bare
def catch_up_neuron(
    neuron: np.ndarray,
    scaled: ScaledState,
    window: BlockWindow,
    f: DeltaFrame,
    j: int,
    t: float,
    out: np.ndarray,
) -> None:
    """Bring neuron ``j`` to time t, including its release and its spikes."""
    u, cell = scaled.modes[0], neuron[j]
    while out[0].neuron < out.size:
        if u[j] >= UNSCALED and cell.free_at < t and cell.v >= cell.threshold:  # soft reset
            fire_neuron(neuron, j, cell.free_at, out)
            mark_refractory(neuron, scaled, window, j)
            continue
        if u[j] >= UNSCALED and cell.free_at <= t:
            scale_neuron(neuron, u, f, window.origin, j)
        if f.height >= 0.0 or abs(u[j]) >= UNSCALED:
            return
        crossing = window.origin + math.log(max(u[j] / f.height, 1.0)) / f.rate
        crossing = round_instant(max(crossing, cell.free_at), window.quantum)
        crossing = max(crossing, window.start + window.quantum)
        if crossing >= t:
            return
        cell.v = cell.threshold
        fire_neuron(neuron, j, crossing, out)
        mark_refractory(neuron, scaled, window, j)


@bare
def fire_tested(
    neuron: np.ndarray,
    scaled: ScaledState,
    window: BlockWindow,
    f: DeltaFrame,
    requested: int,
    now: ScaledInstant,
    out: np.ndarray,
) -> None:
    """Let the neurons on the test list fire that are now above their threshold."""
    u, lists = scaled.modes[0], scaled.lists
    for a in range(window.low, window.low + requested):
        j = lists[TEST_LIST, a]
        lists[IN_TEST_LIST, j] = 0
        if now.threshold <= u[j] < UNSCALED:
            fire_scaled(neuron, scaled, window, f, j, now.t, now.scale, out)


@bare
def fire_scaled(
    neuron: np.ndarray,
    scaled: ScaledState,
    window: BlockWindow,
    f: DeltaFrame,
    j: int,
    t: float,
    scale: float,
    out: np.ndarray,
) -> None:
    """Let neuron ``j``, which is scaled and at or above its threshold, fire at time t."""
    u, cell = scaled.modes[0], neuron[j]
    cell.v, cell.free_at = max(f.rest + u[j] / scale, cell.threshold), t
    check_threshold(neuron, j, t, out)
    if cell.free_at > t:
        mark_refractory(neuron, scaled, window, j)
    else:
        u[j] = (cell.v - f.rest) * scale
        add_candidate(scaled.lists, window, j)  # the drive may soon make it fire again


@bare
def finish_candidates(
    neuron: np.ndarray, scaled: ScaledState, window: BlockWindow, f: DeltaFrame, out: np.ndarray
) -> None:
    """Bring the candidates to the window's end, including their releases and spikes."""
    u, lists = scaled.modes[0], scaled.lists
    scale = math.exp(f.rate * (window.stop - window.origin))
    threshold = f.height * scale
    if f.height < 0.0 and f.lowest == math.inf:
        add_candidates_above(scaled, window, threshold)
    for a in range(window.low, window.low + lists[CANDIDATE_COUNT, window.low]):
        j = lists[CANDIDATE_LIST, a]
        if u[j] >= UNSCALED and neuron[j].v < neuron[j].threshold:
            scale_neuron(neuron, u, f, window.origin, j)
        if u[j] >= threshold:
            catch_up_neuron(neuron, scaled, window, f, j, window.stop, out)
            if threshold <= u[j] < UNSCALED:
                fire_scaled(neuron, scaled, window, f, j, window.stop, scale, out)
