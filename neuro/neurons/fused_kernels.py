"""The normal form of a population over time, as compiled loops.

Some neurons at a time run through all ticks, so that their state and parameters stay in the
cache. Nothing is contracted or reordered: spikes and states are those of the plain loop, bit
for bit. Innermost loops are short, because compilers give up on loops over many arrays.
Axes: T ticks (of the input: T, or one that stands for all), B samples, M neurons, K neurons of
a chunk, P means of blocks of neurons, or M.
"""

from typing import NamedTuple

import numpy as np

from neuro.ops.gather_rows import Block, Span, Train, add_block
from neuro.ops.jit import bare, inlined, kernel

CHUNK = 1024
SCRATCH = 2**16  # values of all ticks of a chunk that the cache holds
DECAY, GAIN, FALL, THETA, BETA, RHO = range(6)  # rows of the parameters of a chunk


class Cells(NamedTuple):
    """Membrane, current and adaptation, or what flows back to them; B M, unused ones B 0."""

    v: np.ndarray
    i: np.ndarray
    a: np.ndarray


class Form(NamedTuple):
    """Parameters as of :class:`neuro.neurons.normal_form.Coefficients`; (M), or (1) for all.

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


class Chunk(NamedTuple):
    """Neurons from ``first`` on: their parameters, 6 K, and thresholds, K."""

    first: int
    room: np.ndarray
    bar: np.ndarray


class Into(NamedTuple):
    """The blocks that a chunk is pooled in, and where their ``means`` lie from; 0: nowhere.

    inner: room for spikes that are pooled.
    """

    blocks: Blocks
    at: int
    means: int
    inner: np.ndarray


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


@kernel
def chunk_at(form: Form, first: int, size: int) -> Chunk:
    """Return so many neurons with their thresholds at rest."""
    room = parameters(form, first, size)
    return Chunk(first, room, room[THETA].copy())


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
def advance(s: np.ndarray, cells: Cells, x: np.ndarray, chunk: Chunk, form: Form) -> None:
    """Run a chunk of neurons through a tick of input; its cells and thresholds move on."""
    (v, i, a), room, bar = cells, chunk.room, chunk.bar
    integrate(v, v, i, x, room)
    if form.adapts:
        lower(bar, a, room)
    fire_and_reset(s, v, bar, form.hard)
    if form.adapts:
        rise(a, s, room)


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
    many = chunk_of(out.shape[0], blocks)
    means = blocks.width // max(1, blocks.across) * blocks.channels
    for first in range(0, x.shape[2], many):
        size = min(many, x.shape[2] - first)
        chunk = chunk_at(form, first, size)
        inner = np.empty(size if blocks.down else 0, x.dtype)
        into = Into(blocks, first // many * means, means if size == many else 0, inner)
        run_chunk(x, cells, form, samples, chunk, (out, into))


@bare
def run_chunk(
    x: np.ndarray,
    cells: Cells,
    form: Form,
    samples: tuple[int, int],
    chunk: Chunk,
    made: tuple[np.ndarray, Into],
) -> None:
    """Do as :func:`forward` for a chunk."""
    (first, _, bar), (out, into) = chunk, made
    last, pooled = first + bar.size, into.blocks.down > 0
    for b in range(samples[0], samples[1]):
        v, i, a = cells.v[b, first:last], cells.i[b, first:last], cells.a[b, first:last]
        for t in range(out.shape[0]):
            s = into.inner if pooled else out[t, b, first:last]
            advance(s, Cells(v, i, a), x[min(t, x.shape[0] - 1), b, first:last], chunk, form)
            if pooled and into.means:
                mean(out[t, b, into.at : into.at + into.means], s, into.blocks)


@kernel
def feed(
    train: Train, rows: np.ndarray, bias: np.ndarray, cells: Cells, form: Form, out: np.ndarray
) -> None:
    """Run all ticks on the rows of weights of their spikes; ``cells`` move on.

    train: of one sample, whose ticks are T times B. rows: blocks, inputs, neurons of a block.
    bias: (M), or (0). out: spikes, T B M.
    """
    width, sums = rows.shape[2], np.empty((1, rows.shape[0], rows.shape[2]), out.dtype)
    for own in range(rows.shape[0]):
        chunk = chunk_at(form, own * width, width)
        feed_chunk(train, (rows, bias, sums), cells, form, chunk, out)


@bare
def feed_chunk(
    train: Train,
    products: tuple[np.ndarray, np.ndarray, np.ndarray],
    cells: Cells,
    form: Form,
    chunk: Chunk,
    out: np.ndarray,
) -> None:
    """Do as :func:`feed` for a chunk. products: rows, bias, and room for their sums."""
    (rows, bias, sums), (first, _, bar), (ticks, samples, _) = products, chunk, out.shape
    last, width = first + bar.size, bar.size
    own = first // width
    x = sums[0, own]
    for b in range(samples):
        v, i, a = cells.v[b, first:last], cells.i[b, first:last], cells.a[b, first:last]
        for t in range(ticks):
            for k in range(width):
                x[k] = 0
            add_block(sums, Block(own, width), Span(0, 1, t * samples + b), train, rows)
            if bias.size:
                for k in range(width):
                    x[k] += bias[first + k]
            advance(out[t, b, first:last], Cells(v, i, a), x, chunk, form)
