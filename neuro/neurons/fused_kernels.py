"""The normal form of a population over time, as compiled loops.

One chunk of neurons at a time runs through all ticks, so that its state and parameters stay in
the cache. No operation is contracted or reordered: spikes and states equal those of the plain
loop, bit for bit. Innermost loops are short, because compilers do not vectorise loops over many
arrays.
Axes: T ticks (the input has T, or one that is repeated), B samples, M neurons, K neurons of a
chunk, P outputs (means of an average pool, or M).
"""

from typing import NamedTuple

import numpy as np

from neuro.ops.gather_rows import RowSpan, TargetBlock, Train, add_block
from neuro.ops.jit import bare, inlined, kernel

CHUNK = 1024
SCRATCH = 2**16  # values of a chunk, over all ticks, that fit in the cache
# Rows of a chunk's parameters.
DECAY, GAIN, DECAY_SYN, THRESHOLD, BETA, DECAY_ADAPT = range(6)


class StateArrays(NamedTuple):
    """Membrane, current and adaptation, or their gradients; B M each, or B 0 if absent."""

    v: np.ndarray
    i: np.ndarray
    a: np.ndarray


class FormArrays(NamedTuple):
    """Parameters of :class:`neuro.neurons.normal_form.Coefficients`, (M) or (1) if shared.

    adapts: whether any threshold rises.
    """

    decay: np.ndarray
    gain: np.ndarray
    decay_syn: np.ndarray
    threshold: np.ndarray
    beta: np.ndarray
    decay_adapt: np.ndarray
    hard: bool
    adapts: bool


class PoolBlocks(NamedTuple):
    """The windows of an average pool over channels-last images.

    rows, columns: pixels of a window; 0: no pool.
    width, channels: of an image.
    """

    rows: int
    columns: int
    width: int
    channels: int


class Chunk(NamedTuple):
    """The neurons from ``first`` on: their parameters (6 K) and current thresholds (K)."""

    first: int
    parameters: np.ndarray
    thresholds: np.ndarray


class PoolTarget(NamedTuple):
    """Where a chunk's means go: ``means`` of them (0: none), starting at index ``first``.

    spikes: one tick's spikes before the pool, K.
    """

    blocks: PoolBlocks
    first: int
    means: int
    spikes: np.ndarray


@inlined
def choose_chunk_size(ticks: int, blocks: PoolBlocks) -> int:
    """Return the number of neurons per chunk; with a pool, those of one row of windows."""
    if blocks.rows:
        return blocks.rows * blocks.width * blocks.channels
    return max(64, min(CHUNK, SCRATCH // ticks))


@kernel
def chunk_parameters(form: FormArrays, first: int, size: int) -> np.ndarray:
    """Return the parameters (6 K) of the chunk that starts at neuron ``first``."""
    out = np.empty((6, size), form.decay.dtype)
    for row, values in (
        (DECAY, form.decay),
        (GAIN, form.gain),
        (DECAY_SYN, form.decay_syn),
        (THRESHOLD, form.threshold),
        (BETA, form.beta),
        (DECAY_ADAPT, form.decay_adapt),
    ):
        for k in range(size):
            out[row, k] = values[0] if values.size == 1 else values[first + k]
    return out


@inlined
def copy_values(out: np.ndarray, values: np.ndarray) -> None:
    """Copy ``values`` to ``out`` in a loop: a slice assignment costs more than the copy."""
    for k in range(values.size):
        out[k] = values[k]


@kernel
def make_chunk(form: FormArrays, first: int, size: int) -> Chunk:
    """Return a chunk whose thresholds are at rest."""
    parameters = chunk_parameters(form, first, size)
    return Chunk(first, parameters, parameters[THRESHOLD].copy())


@inlined
def write_spikes(out: np.ndarray, u: np.ndarray, thresholds: np.ndarray) -> None:
    """Write 1 where a membrane has reached its threshold, else 0."""
    zero, one = out.dtype.type(0), out.dtype.type(1)
    for k in range(out.size):
        out[k] = one if u[k] - thresholds[k] >= zero else zero


@inlined
def fire_and_reset(s: np.ndarray, v: np.ndarray, thresholds: np.ndarray, hard: bool) -> None:
    """Write the same spikes as :func:`write_spikes`, and reset the membranes that fired."""
    zero, one = v.dtype.type(0), v.dtype.type(1)
    if hard:
        for k in range(v.size):
            s[k] = one if v[k] - thresholds[k] >= zero else zero
            v[k] *= one - s[k]
    else:
        for k in range(v.size):
            s[k] = one if v[k] - thresholds[k] >= zero else zero
            v[k] -= thresholds[k] * s[k]


@inlined
def integrate_input(
    u: np.ndarray, v: np.ndarray, i: np.ndarray, x: np.ndarray, parameters: np.ndarray
) -> None:
    """Write the membranes after one tick of input, which passes through currents if any."""
    decay, gain, decay_syn = parameters[DECAY], parameters[GAIN], parameters[DECAY_SYN]
    if i.size:
        for k in range(v.size):
            i[k] = decay_syn[k] * i[k] + x[k]
        for k in range(v.size):
            u[k] = decay[k] * v[k] + gain[k] * i[k]
    else:
        for k in range(v.size):
            u[k] = decay[k] * v[k] + gain[k] * x[k]


@inlined
def decay_adaptation(thresholds: np.ndarray, a: np.ndarray, parameters: np.ndarray) -> None:
    """Decay the adaptation by one tick, and write the thresholds."""
    at_rest, decay_adapt = parameters[THRESHOLD], parameters[DECAY_ADAPT]
    for k in range(thresholds.size):
        a[k] *= decay_adapt[k]
    for k in range(thresholds.size):
        thresholds[k] = at_rest[k] + a[k]


@inlined
def raise_adaptation(a: np.ndarray, s: np.ndarray, parameters: np.ndarray) -> None:
    """Raise the adaptation of the neurons that fired."""
    beta = parameters[BETA]
    for k in range(a.size):
        a[k] += beta[k] * s[k]


@inlined
def advance_chunk(
    s: np.ndarray, state: StateArrays, x: np.ndarray, chunk: Chunk, form: FormArrays
) -> None:
    """Advance a chunk by one tick; its state and thresholds change in place."""
    (v, i, a), parameters, thresholds = state, chunk.parameters, chunk.thresholds
    integrate_input(v, v, i, x, parameters)
    if form.adapts:
        decay_adaptation(thresholds, a, parameters)
    fire_and_reset(s, v, thresholds, form.hard)
    if form.adapts:
        raise_adaptation(a, s, parameters)


@inlined
def average_blocks(out: np.ndarray, s: np.ndarray, blocks: PoolBlocks) -> None:
    """Write the means of one row of windows; sums of spikes are exact in any order."""
    rows, columns, width, channels = blocks
    area = out.dtype.type(rows * columns)
    row = width * channels
    for k in range(1, rows):
        for j in range(row):
            s[j] += s[k * row + j]
    for w in range(out.size // channels):
        sums, first = out[w * channels : (w + 1) * channels], w * columns * channels
        copy_values(sums, s[first : first + channels])
        for k in range(first + channels, first + columns * channels, channels):
            for c in range(channels):
                sums[c] += s[k + c]
    for j in range(out.size):
        out[j] /= area


@kernel
def run_forward(  # noqa: PLR0913
    x: np.ndarray,
    state: StateArrays,
    form: FormArrays,
    first_sample: int,
    last_sample: int,
    blocks: PoolBlocks,
    out: np.ndarray,
) -> None:
    """Run samples ``first_sample`` to ``last_sample``; ``state`` changes in place.

    x: T B M, or one tick.
    out: spikes, or their means, T B P.
    """
    many = choose_chunk_size(out.shape[0], blocks)
    means = blocks.width // max(1, blocks.columns) * blocks.channels
    for first in range(0, x.shape[2], many):
        size = min(many, x.shape[2] - first)
        chunk = make_chunk(form, first, size)
        spikes = np.empty(size if blocks.rows else 0, x.dtype)
        whole = means if size == many else 0
        pool = PoolTarget(blocks, first // many * means, whole, spikes)
        run_chunk(x, state, form, first_sample, last_sample, chunk, pool, out)


@bare
def run_chunk(  # noqa: PLR0913
    x: np.ndarray,
    state: StateArrays,
    form: FormArrays,
    first_sample: int,
    last_sample: int,
    chunk: Chunk,
    pool: PoolTarget,
    out: np.ndarray,
) -> None:
    """Run one chunk; see :func:`run_forward` for arguments."""
    first = chunk.first
    last, pooled = first + chunk.thresholds.size, pool.blocks.rows > 0
    for b in range(first_sample, last_sample):
        v, i, a = state.v[b, first:last], state.i[b, first:last], state.a[b, first:last]
        for t in range(out.shape[0]):
            s = pool.spikes if pooled else out[t, b, first:last]
            x_t = x[min(t, x.shape[0] - 1), b, first:last]
            advance_chunk(s, StateArrays(v, i, a), x_t, chunk, form)
            if pooled and pool.means:
                average_blocks(out[t, b, pool.first : pool.first + pool.means], s, pool.blocks)


@kernel
def run_on_spikes(
    train: Train,
    rows: np.ndarray,
    bias: np.ndarray,
    state: StateArrays,
    form: FormArrays,
    out: np.ndarray,
) -> None:
    """Run all ticks on the weight rows of input spikes; ``state`` changes in place.

    train: the input, as one sample with T B ticks.
    rows: weights, as (blocks, inputs, neurons per block).
    bias: (M), or (0) for none.
    out: spikes, T B M.
    """
    width, sums = rows.shape[2], np.empty((1, rows.shape[0], rows.shape[2]), out.dtype)
    for own in range(rows.shape[0]):
        chunk = make_chunk(form, own * width, width)
        run_chunk_on_spikes(train, rows, bias, sums, state, form, chunk, out)


@bare
def run_chunk_on_spikes(  # noqa: PLR0913
    train: Train,
    rows: np.ndarray,
    bias: np.ndarray,
    sums: np.ndarray,
    state: StateArrays,
    form: FormArrays,
    chunk: Chunk,
    out: np.ndarray,
) -> None:
    """Run one chunk; see :func:`run_on_spikes`. sums: scratch space, 1 blocks K."""
    first, (ticks, samples, _) = chunk.first, out.shape
    width = chunk.thresholds.size
    last = first + width
    own = first // width
    x = sums[0, own]
    for b in range(samples):
        v, i, a = state.v[b, first:last], state.i[b, first:last], state.a[b, first:last]
        for t in range(ticks):
            for k in range(width):
                x[k] = 0
            add_block(
                sums, TargetBlock(own, width), RowSpan(0, 1, t * samples + b), train, rows
            )
            if bias.size:
                for k in range(width):
                    x[k] += bias[first + k]
            advance_chunk(out[t, b, first:last], StateArrays(v, i, a), x, chunk, form)
