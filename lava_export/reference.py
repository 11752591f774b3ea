"""The specification: a LoihiProgram executed bit for bit in NumPy, batched over samples.

Time runs in ticks of the graph. A population rests until its own tick 0, so the lags between
layers change nothing but the step at which a tick happens; they appear only on Lava.
Axes: T ticks, B samples, N neurons.
"""

import graphlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.lib.stride_tricks import sliding_window_view

from lava_export.checks import rasterize
from lava_export.program import STATE_LIMIT, LoihiConnection, LoihiProgram, Population
from neuro.record import Record, concatenate
from neuro.spikes import Events, to_events

CHUNK = 64  # samples at once: their images stay in the processor's cache

WeightedSum = Callable[[np.ndarray], np.ndarray]


class NeuronState(NamedTuple):
    """u, v and a of a population, in units of v."""

    u: Int[np.ndarray, "B N"]
    v: Int[np.ndarray, "B N"]
    a: Int[np.ndarray, "B N"]


class Tick(NamedTuple):
    """One tick: what every population sent, and the states after it."""

    out: dict[str, np.ndarray]
    states: dict[str, NeuronState]


def run(program: LoihiProgram, inputs: Mapping[str, Events], ticks: int) -> Record:
    """Return every spike and every read-out's v (int64, units of v) of T = ``ticks`` ticks.

    Raises:
        TypeError, ProgramError: the run cannot start, see
            :func:`lava_export.checks.require_run`.
    """
    rasters = rasterize(program, inputs, ticks)
    samples = next(iter(rasters.values())).shape[1]
    parts = [
        _run_chunk(program, {k: r[:, lo : lo + CHUNK] for k, r in rasters.items()}, ticks)
        for lo in range(0, samples, CHUNK)
    ]
    return concatenate(parts)


def to_float(
    program: LoihiProgram, name: str, v: Int[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Return integer membranes of a population in units of the float network."""
    return v / (program[name].scale * 64)


def _run_chunk(
    program: LoihiProgram, rasters: Mapping[str, Bool[np.ndarray, "T B N"]], ticks: int
) -> Record:
    done = list(iterate_ticks(program, rasters, ticks))
    out = {p.name: np.stack([tick.out[p.name] for tick in done]) for p in program.populations}
    read_outs = {p.name for p in program.populations if p.kind == "li"}
    return Record(
        executor="integers",
        ticks=ticks,
        samples=next(iter(rasters.values())).shape[1],
        spikes={
            name: to_events(raster) for name, raster in out.items() if name not in read_outs
        },
        values={name: out[name] for name in read_outs},
        digest=program.digest,
    )


def iterate_ticks(
    program: LoihiProgram, rasters: Mapping[str, Bool[np.ndarray, "T B N"]], ticks: int
) -> Iterator[Tick]:
    """Yield one :class:`Tick` after the other."""
    samples = next(iter(rasters.values())).shape[1]
    order = [program[name] for name in order_populations(program)]
    incoming = {
        p.name: [
            (c.source, program.delay(c), make_weighted_sum(c)) for c in program.into(p.name)
        ]
        for p in order
    }
    states = {
        p.name: NeuronState(*np.zeros((3, samples, p.size), np.int64))
        for p in order
        if p.kind != "input"
    }
    past: list[dict[str, np.ndarray]] = []
    for t in range(ticks):
        now: dict[str, np.ndarray] = {}
        past.append(now)
        for p in order:
            if p.kind == "input":
                now[p.name] = rasters[p.name][t]
                continue
            x = np.zeros((samples, p.size), np.int64)
            for source, delay, synapses in incoming[p.name]:
                if t >= delay:
                    x += synapses(past[t - delay][source])
            now[p.name], states[p.name] = step(p, states[p.name], x, t >= p.bias_after)
        yield Tick(now, dict(states))


def order_populations(program: LoihiProgram) -> list[str]:
    """Return the names of the populations, sources first along connections without delay.

    There is one: every connection takes a step, so a loop has a delay somewhere.
    """
    needs = {
        p.name: [c.source for c in program.into(p.name) if program.delay(c) == 0]
        for p in program.populations
    }
    return list(graphlib.TopologicalSorter(needs).static_order())


def step(
    p: Population, state: NeuronState, x: Int[np.ndarray, "B N"], biased: bool = True
) -> tuple[Bool[np.ndarray, "B N"] | Int[np.ndarray, "B N"], NeuronState]:
    """Advance one tick by the equation of :mod:`lava_export.program`: (spikes or v, state)."""
    u = wrap(trunc(state.u * (4095 - p.du.astype(np.int64))) + (x << 6))
    bias = (p.bias_mant.astype(np.int64) << p.bias_exp) * biased
    v = trunc(state.v * (4096 - p.dv.astype(np.int64))) + u + bias
    v = np.clip(v, 1 - STATE_LIMIT, STATE_LIMIT - 1)
    if p.kind == "li":
        return v, NeuronState(u, v, state.a)
    a = trunc(state.a * (4096 - p.da.astype(np.int64)))
    threshold = (p.vth.astype(np.int64) << 6) + a
    s = v > threshold
    v = np.where(s, p.after_hard if p.hard else v - (p.subtracted + a), v)
    a = np.minimum(a + s * (p.beta.astype(np.int64) << 6), STATE_LIMIT - 1)
    return s, NeuronState(u, v, a)


def trunc(product: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """Return product / 4096, rounded towards zero."""
    return np.asarray((product + 4095 * (product < 0)) >> 12)


def wrap(u: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """Return u brought back into (-M, M] by 2 M, once: what lies further out stays out."""
    turns = (u <= -STATE_LIMIT).astype(np.int64) - (u > STATE_LIMIT)
    return np.asarray(u + 2 * STATE_LIMIT * turns)


def make_weighted_sum(c: LoihiConnection) -> WeightedSum:
    """Return the function that maps spikes (B, N_in) to sums of weights (B, N_out), int64.

    BLAS is exact here: all sums are integers below 2^24 in float32, or below 2^53 in float64.
    """
    if c.kind == "identity":
        return lambda s: s * c.weight.astype(np.int64)
    if c.kind == "sparse":
        return lambda s: _sum_listed(c, s)
    rows = np.abs(c.weight.reshape(len(c.weight), -1).astype(np.int64)).sum(1)
    weight: Any = c.weight.astype(np.float32 if rows.max(initial=0) < 2**24 else np.float64)
    if c.kind == "dense":
        return lambda s: (s.astype(weight.dtype) @ weight.T).astype(np.int64)
    return lambda s: _convolve(c, weight, s)


def _sum_listed(c: LoihiConnection, s: np.ndarray) -> np.ndarray:
    """Add up the weights of listed synapses, one after the other."""
    target, source = c.places
    out = np.zeros((len(s), c.sizes[0]), np.int64)
    for sums, row in zip(out, s, strict=True):
        active = row[source]
        np.add.at(sums, target[active], c.weight[active])
    return out


def _convolve(c: LoihiConnection, weight: Any, s: np.ndarray) -> np.ndarray:
    (ph, pw), (sh, sw) = c.padding, c.stride
    images = s.reshape(len(s), *c.shape).astype(weight.dtype)
    padded: Any = np.pad(images, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    kernel: tuple[int, ...] = weight.shape[2:]
    windows = sliding_window_view(padded, kernel, axis=(2, 3))[:, :, ::sh, ::sw]  # type: ignore[call-overload]
    sums = np.tensordot(windows, weight, ((1, 4, 5), (1, 2, 3)))
    out = np.moveaxis(sums, 3, 1).reshape(len(s), -1).astype(np.int64)
    # Lava's Conv keeps 24 bits, modulo.
    return (out + STATE_LIMIT) % (2 * STATE_LIMIT) - STATE_LIMIT
