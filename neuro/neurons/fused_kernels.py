"""The normal form of a population over time, as compiled loops.

Some neurons at a time run through all ticks, so that their state and parameters stay in the
cache. Nothing is contracted or reordered: spikes and states are those of the plain loop, bit
for bit. Innermost loops are short, because compilers give up on loops over many arrays.
Axes: T ticks (of the input: T, or one that stands for all), B samples, M neurons, K neurons of
a chunk, P means of blocks of neurons, or M.
"""

from typing import NamedTuple

import numpy as np

from neuro.compiled import inlined, kernel

CHUNK = 1024
SCRATCH = 2**16  # values of all ticks of a chunk that the cache holds
DECAY, GAIN, FALL, THETA, BETA, RHO = range(6)  # rows of the parameters of a chunk


class Cells(NamedTuple):
    """Membrane, current and adaptation, or what flows back to them; B M, unused ones B 0."""

    v: np.ndarray
    i: np.ndarray
    a: np.ndarray


class Form(NamedTuple):
    """Parameters as of :class:`neuro.neurons.base.Coefficients`; (M), or (1) for all.

    adapts: some threshold rises.
    """

    decay: np.ndarray
    gain: np.ndarray
    decay_syn: np.ndarray
    threshold: np.ndarray
    beta: np.ndarray
    decay_adapt: np.ndarray
    hard: bool
    adapts: bool


class Blocks(NamedTuple):
    """How an average pool cuts images that lie channels last.

    down, across: rows and columns of a block; 0: nothing is pooled. width, channels: of a row.
    """

    down: int
    across: int
    width: int
    channels: int


@inlined
def chunk_of(ticks: int, blocks: Blocks) -> int:
    """Return how many neurons run through the ticks together: those of a row of blocks."""
    if blocks.down:
        return blocks.down * blocks.width * blocks.channels
    return max(64, min(CHUNK, SCRATCH // ticks))


@kernel
def parameters(form: Form, first: int, size: int) -> np.ndarray:
    """Return the parameters of a chunk that begins at ``first``, 6 K."""
    room = np.empty((6, size), form.decay.dtype)
    for row, values in (
        (DECAY, form.decay),
        (GAIN, form.gain),
        (FALL, form.decay_syn),
        (THETA, form.threshold),
        (BETA, form.beta),
        (RHO, form.decay_adapt),
    ):
        for k in range(size):
            room[row, k] = values[0] if values.size == 1 else values[first + k]
    return room


@inlined
def copy(out: np.ndarray, values: np.ndarray) -> None:
    """Write ``values`` to ``out``: a loop, since assigning slices costs more than copying."""
    for k in range(values.size):
        out[k] = values[k]


@inlined
def fire(out: np.ndarray, u: np.ndarray, bar: np.ndarray) -> None:
    """Write 1 where a membrane has reached its threshold, else 0."""
    zero, one = out.dtype.type(0), out.dtype.type(1)
    for k in range(out.size):
        out[k] = one if u[k] - bar[k] >= zero else zero


@inlined
def fire_and_reset(s: np.ndarray, v: np.ndarray, bar: np.ndarray, hard: bool) -> None:
    """Do as :func:`fire`, and reset the membranes that have fired."""
    zero, one = v.dtype.type(0), v.dtype.type(1)
    if hard:
        for k in range(v.size):
            s[k] = one if v[k] - bar[k] >= zero else zero
            v[k] *= one - s[k]
    else:
        for k in range(v.size):
            s[k] = one if v[k] - bar[k] >= zero else zero
            v[k] -= bar[k] * s[k]


@inlined
def integrate(
    u: np.ndarray, v: np.ndarray, i: np.ndarray, x: np.ndarray, room: np.ndarray
) -> None:
    """Write the membranes after a tick of input, through their currents where there are any."""
    decay, gain, fall = room[DECAY], room[GAIN], room[FALL]
    if i.size:
        for k in range(v.size):
            i[k] = fall[k] * i[k] + x[k]
        for k in range(v.size):
            u[k] = decay[k] * v[k] + gain[k] * i[k]
    else:
        for k in range(v.size):
            u[k] = decay[k] * v[k] + gain[k] * x[k]


@inlined
def lower(bar: np.ndarray, a: np.ndarray, room: np.ndarray) -> None:
    """Let the adaptation decay for a tick, and write the thresholds."""
    theta, rho = room[THETA], room[RHO]
    for k in range(bar.size):
        a[k] *= rho[k]
    for k in range(bar.size):
        bar[k] = theta[k] + a[k]


@inlined
def rise(a: np.ndarray, s: np.ndarray, room: np.ndarray) -> None:
    """Let the adaptation rise where a neuron has fired."""
    beta = room[BETA]
    for k in range(a.size):
        a[k] += beta[k] * s[k]


@inlined
def mean(out: np.ndarray, s: np.ndarray, blocks: Blocks) -> None:
    """Write the means of a row of blocks; sums of spikes are exact in any order."""
    down, across, width, channels = blocks
    area = out.dtype.type(down * across)
    row = width * channels
    for k in range(1, down):
        for j in range(row):
            s[j] += s[k * row + j]
    for w in range(out.size // channels):
        sums, first = out[w * channels : (w + 1) * channels], w * across * channels
        copy(sums, s[first : first + channels])
        for k in range(first + channels, first + across * channels, channels):
            for c in range(channels):
                sums[c] += s[k + c]
    for j in range(out.size):
        out[j] /= area


@kernel
def forward(
    x: np.ndarray,
    cells: Cells,
    form: Form,
    samples: tuple[int, int],
    blocks: Blocks,
    out: np.ndarray,
) -> None:
    """Run samples ``samples[0]`` to ``samples[1]``; ``cells`` move on.

    out: spikes, or their means, T B P.
    """
    ticks, many = out.shape[0], chunk_of(out.shape[0], blocks)
    means = blocks.width // max(1, blocks.across) * blocks.channels
    for first in range(0, x.shape[2], many):
        last = min(first + many, x.shape[2])
        room, bar = parameters(form, first, last - first), np.empty(last - first, x.dtype)
        inner = np.empty(last - first if blocks.down else 0, x.dtype)
        whole, h = last - first == many, first // many
        copy(bar, room[THETA])
        for b in range(samples[0], samples[1]):
            v, i, a = cells.v[b, first:last], cells.i[b, first:last], cells.a[b, first:last]
            for t in range(ticks):
                s = inner if blocks.down else out[t, b, first:last]
                integrate(v, v, i, x[min(t, x.shape[0] - 1), b, first:last], room)
                if form.adapts:
                    lower(bar, a, room)
                fire_and_reset(s, v, bar, form.hard)
                if form.adapts:
                    rise(a, s, room)
                if blocks.down and whole:
                    mean(out[t, b, h * means : (h + 1) * means], s, blocks)
