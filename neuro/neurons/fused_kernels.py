"""The normal form of a population over time, as compiled loops.

Some neurons at a time run through all ticks, so that their state and parameters stay in the
cache. Nothing is contracted or reordered: spikes and states are those of the plain loop, bit
for bit. Innermost loops are short, because compilers give up on loops over many arrays.
Axes: T ticks, B samples, M neurons, K neurons of a chunk.
"""

from typing import NamedTuple

import numpy as np

from neuro.compiled import inlined, kernel

CHUNK = 1024
DECAY, GAIN, FALL, THETA, BETA, RHO = range(6)  # rows of the parameters of a chunk


class Cells(NamedTuple):
    """Membrane, current and adaptation, or what flows back to them; B M each."""

    v: np.ndarray
    i: np.ndarray
    a: np.ndarray


class Form(NamedTuple):
    """Parameters as of :class:`neuro.neurons.base.Coefficients`; (M), or (1) for all.

    flows: there are currents. adapts: some threshold rises.
    """

    decay: np.ndarray
    gain: np.ndarray
    decay_syn: np.ndarray
    threshold: np.ndarray
    beta: np.ndarray
    decay_adapt: np.ndarray
    hard: bool
    flows: bool
    adapts: bool


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
    for k in range(out.size):
        out[k] = values[k]


@inlined
def fire(out: np.ndarray, u: np.ndarray, bar: np.ndarray) -> None:
    """Write 1 where a membrane has reached its threshold, else 0."""
    zero, one = out.dtype.type(0), out.dtype.type(1)
    for k in range(out.size):
        out[k] = one if u[k] - bar[k] >= zero else zero


@inlined
def reset(v: np.ndarray, s: np.ndarray, bar: np.ndarray, hard: bool) -> None:
    """Reset the membranes that have fired."""
    one = v.dtype.type(1)
    if hard:
        for k in range(v.size):
            v[k] *= one - s[k]
    else:
        for k in range(v.size):
            v[k] -= bar[k] * s[k]


@inlined
def integrate(
    v: np.ndarray, i: np.ndarray, x: np.ndarray, room: np.ndarray, flows: bool
) -> None:
    """Add a tick of input to membranes, through their currents where it ``flows``."""
    decay, gain, fall = room[DECAY], room[GAIN], room[FALL]
    if flows:
        for k in range(v.size):
            i[k] = fall[k] * i[k] + x[k]
        for k in range(v.size):
            v[k] = decay[k] * v[k] + gain[k] * i[k]
    else:
        for k in range(v.size):
            v[k] = decay[k] * v[k] + gain[k] * x[k]


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


@kernel
def forward(
    x: np.ndarray,
    cells: Cells,
    form: Form,
    samples: tuple[int, int],
    spikes: np.ndarray,
    kept: np.ndarray,
) -> None:
    """Run samples ``samples[0]`` to ``samples[1]``; ``cells`` move on.

    spikes: T B M. kept: room for the membranes before their reset, T B M; empty: none is kept.
    """
    ticks, _, n = x.shape
    for first in range(0, n, CHUNK):
        last = min(first + CHUNK, n)
        room, bar = parameters(form, first, last - first), np.empty(last - first, x.dtype)
        copy(bar, room[THETA])
        for b in range(samples[0], samples[1]):
            v, i, a = cells.v[b, first:last], cells.i[b, first:last], cells.a[b, first:last]
            for t in range(ticks):
                out = spikes[t, b, first:last]
                integrate(v, i, x[t, b, first:last], room, form.flows)
                if kept.size:
                    copy(kept[t, b, first:last], v)
                if form.adapts:
                    lower(bar, a, room)
                fire(out, v, bar)
                reset(v, out, bar, form.hard)
                if form.adapts:
                    rise(a, out, room)
