"""Scaled state: neurons in coordinates that are constant between events.

Between events a neuron's state is a sum of exponentials. Its amplitudes, each divided by its
decay since a common origin, are constant: an arrival is one addition, and a neuron without
arrivals costs nothing.

    u_0 = (v - rest - sum_r i_r / (rate - rate_syn_r)) exp(rate (t - origin))
    u_r = i_r exp(rate_syn_r (t - origin)),  r = 1 ... R          rest = drive / rate

A neuron that is refractory, or may fire without input in this window, is *unscaled*: its record
in the :class:`~neuro.events.exact.membrane.NeuronTable` is valid and integrated event by event.

Axes: n neurons of a component, R currents, P blocks of neurons.
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.events.exact.membrane import NeuronTable, advance_neuron, check_threshold, settle_sum
from neuro.ops.jit import bare, inlined, kernel

# Families of components, by the kernel that runs a window. DELTA: inputs make v jump, and all
# neurons are alike. PSC: two currents, and all neurons have the same rates. GENERAL: any
# neurons; none is scaled.
DELTA, PSC, GENERAL = range(3)

# Values of u_0 that mark an unscaled neuron; adding a weight does not change them.
# REFRACTORY: refractory beyond this window. UNSCALED: an arrival must advance the neuron.
UNSCALED, REFRACTORY = 1e300, -1e300

# Rows of ``ScaledState.lists`` (int64, one column per neuron). The first three are lists of
# neurons, where a block's list starts at the block's first column: unscaled neurons, neurons to
# test at the end of this instant, and candidates, which may cross the threshold by the end of
# the window. Then, by neuron, whether it is on the second and third list. Then, at each block's
# first column, the lengths of its first and third list.
UNSCALED_LIST, TEST_LIST, CANDIDATE_LIST = 0, 1, 2
IN_TEST_LIST, IN_CANDIDATE_LIST, UNSCALED_COUNT, CANDIDATE_COUNT = 3, 4, 5, 6
LISTS = 7

# The largest exponent of a scale: after this many of the fastest time constants the origin
# moves. exp(50) = 5e21 keeps scaled amplitudes far below UNSCALED, and rescaling remains rare.
MAX_EXPONENT = 50.0

# How far rounding can leave a firing neuron below threshold, relative to |threshold| + |rest|.
MARGIN = 1e-9

MARKS_PER_CHUNK = 16  # marks per test: one vector register of bytes

SPIKES_PER_NEURON = 16  # room for spikes per window and neuron, averaged over a block
SPARE_SPIKES = 2**14  # additional room per block, for a few neurons that fire often


class ScaledState(NamedTuple):
    """Scaled amplitudes of neurons that cannot fire in this window, and lists of the others.

    modes: R+1 n, the amplitudes u_0 ... u_R. For an unscaled neuron modes[0] is UNSCALED or
        REFRACTORY; for a scaled neuron the record is out of date.
    lists: LISTS n, see above.
    origin: one element, the time when the scale was 1.
    marks: n, whether to check a neuron; scratch space.
    candidates_until: P, the time until which a block's candidate list is valid.
    sums, before, height: 4 n, n 3 and n, for :mod:`~neuro.events.exact.step_psc`: sums of a
        window's positive arrivals; modes of candidates without these arrivals; and threshold -
        rest, lowered by how far rounding can leave a firing neuron below it.
    """

    modes: np.ndarray
    lists: np.ndarray
    origin: np.ndarray
    marks: np.ndarray
    candidates_until: np.ndarray
    sums: np.ndarray
    before: np.ndarray
    height: np.ndarray


class BlockWindow(NamedTuple):
    """Neurons ``low`` to ``high`` (block ``block``) from time ``start`` to ``stop`` [ticks].

    origin: the time when the scale was 1.
    quantum: quantum of instants, see :mod:`~neuro.events.exact.membrane`.
    """

    low: int
    high: int
    block: int
    start: float
    stop: float
    origin: float
    quantum: float


@inlined
def select_spikes(spikes: np.ndarray, low: int, high: int, block: int) -> np.ndarray:
    """Return the part of the array for spikes (SPIKE) that belongs to one block."""
    first = SPIKES_PER_NEURON * low + SPARE_SPIKES * block
    return spikes[first : SPIKES_PER_NEURON * high + SPARE_SPIKES * (block + 1)]


@bare
def compute_rest(neuron: np.ndarray, j: int) -> float:
    """Return the value that v of neuron ``j`` approaches without input; 0 without leak."""
    rest = 0.0
    if neuron[j].rate > 0.0:
        rest = neuron[j].drive / neuron[j].rate
    return rest


@kernel
def scale_neurons(
    family: int, neurons: NeuronTable, scaled: ScaledState, edges: np.ndarray
) -> None:
    """Fill the scaled state from the records at time 0; refractory neurons are unscaled.

    edges: P+1; block p is the neurons edges[p]:edges[p + 1].
    """
    neuron, current, rate_syn = neurons
    modes, lists = scaled.modes, scaled.lists
    lists[:] = 0
    if family == GENERAL:
        return
    for p in range(edges.size - 1):
        unscaled = 0
        for j in range(edges[p], edges[p + 1]):
            rest, high = compute_rest(neuron, j), neuron[j].threshold
            scaled.height[j] = high - rest - MARGIN * (abs(high) + abs(rest))
            a = neuron[j].v - rest
            for r in range(current.shape[1]):
                a -= current[j, r] / (neuron[j].rate - rate_syn[j, r])
                modes[r + 1, j] = current[j, r]
            modes[0, j] = a
            if neuron[j].free_at > 0.0:
                modes[0, j] = UNSCALED
                lists[UNSCALED_LIST, edges[p] + unscaled] = j
                unscaled += 1
        if edges[p] < edges[p + 1]:
            lists[UNSCALED_COUNT, edges[p]] = unscaled


@kernel
def unscale_neurons(
    family: int,
    neurons: NeuronTable,
    scaled: ScaledState,
    stop: float,
    quantum: float,
    spikes: np.ndarray,
) -> None:
    """Bring all records to the time ``stop``; no neuron fires before it."""
    neuron, current, rate_syn = neurons
    modes, h = scaled.modes, scaled.origin[0] - stop
    out = spikes[:SPARE_SPIKES]
    out[0].neuron = 0
    for j in range(neuron.size):
        if family == GENERAL:
            advance_neuron(neuron, current, rate_syn, j, stop, quantum, out)
            continue
        v = 0.0
        for r in range(current.shape[1]):
            current[j, r] = modes[r + 1, j] * math.exp(rate_syn[j, r] * h)
            v += current[j, r] / (neuron[j].rate - rate_syn[j, r])
        if abs(modes[0, j]) < UNSCALED:
            neuron[j].v = (
                compute_rest(neuron, j) + v + modes[0, j] * math.exp(neuron[j].rate * h)
            )
        neuron[j].time = stop


@bare
def move_origin(
    family: int, neurons: NeuronTable, scaled: ScaledState, start: float, stop: float
) -> None:
    """Move the origin to ``start`` if the scale would grow too far by ``stop``."""
    modes, rate, rate_syn = scaled.modes, neurons.neuron[0].rate, neurons.rate_syn[0]
    fastest = rate
    for r in range(rate_syn.size):
        fastest = max(fastest, rate_syn[r])
    elapsed = start - scaled.origin[0]
    if family == GENERAL or fastest * (elapsed + stop - start) <= MAX_EXPONENT:
        return
    scaled.origin[0] = start
    for j in range(neurons.neuron.size):
        if abs(modes[0, j]) < UNSCALED:
            modes[0, j] *= math.exp(-rate * elapsed)
        for r in range(rate_syn.size):
            modes[r + 1, j] *= math.exp(-rate_syn[r] * elapsed)


@bare
def request_test(lists: np.ndarray, window: BlockWindow, j: int, requested: int) -> int:
    """Put neuron ``j`` on this instant's test list; return the length of the list."""
    if lists[IN_TEST_LIST, j]:
        return requested
    lists[IN_TEST_LIST, j] = 1
    lists[TEST_LIST, window.low + requested] = j
    return requested + 1


@bare
def run_tests(
    neuron: np.ndarray,
    lists: np.ndarray,
    window: BlockWindow,
    requested: int,
    t: float,
    out: np.ndarray,
) -> None:
    """Test the neurons on the test list, which are unscaled, at time t."""
    for a in range(window.low, window.low + requested):
        j = lists[TEST_LIST, a]
        lists[IN_TEST_LIST, j] = 0
        settle_sum(neuron, j)
        check_threshold(neuron, j, t, out)


@bare
def find_next_mark(marks: np.ndarray, k: int) -> int:
    """Return the first marked index from k on, or the size if there is none."""
    while k < marks.size:
        if k % MARKS_PER_CHUNK == 0:
            any_marked, chunk = False, marks[k : min(k + MARKS_PER_CHUNK, marks.size)]
            for m in range(chunk.size):
                any_marked |= chunk[m]
            if not any_marked:
                k += MARKS_PER_CHUNK
                continue
        if marks[k]:
            return k
        k += 1
    return marks.size
