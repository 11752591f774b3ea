"""The specification of a LoihiProgram: a bit-exact executor in NumPy, batched over samples.

Time runs in ticks of the graph. A population rests until its own tick 0, so the lags between
layers change only the step at which a tick happens; they appear only on Lava.
Axes: T ticks, B samples, N neurons.
"""

import graphlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from lava_export.checks import rasterize
from lava_export.population import SUM_LIMIT, SUMS, ProgramError
from lava_export.program import (
    STATE_LIMIT,
    Kind,
    LoihiConnection,
    LoihiProgram,
    Population,
    as_int32,
)
from lava_export.sigma_delta import (
    CoderState,
    require_bits,
    step_delta,
    step_sigma,
    step_sigma_delta,
)
from neuro.ops.sparse_linear import apply_linear
from neuro.spikes import Events, to_events
from neuro.spikes.record import Record, concatenate

CHUNK = 64  # samples per pass, so that their images stay in the processor's cache

WeightedSum = Callable[[np.ndarray], np.ndarray]
Arrival = Callable[[Sequence[Mapping[str, np.ndarray]]], Any]


class NeuronState(NamedTuple):
    """u, v and a of a population, in units of v.

    wait: ticks for which v is still held; None without a refractory period.
    """

    u: Int[np.ndarray, "B N"]
    v: Int[np.ndarray, "B N"]
    a: Int[np.ndarray, "B N"]
    wait: Int[np.ndarray, "B N"] | None = None


State = NeuronState | CoderState
Step = Callable[
    [Population, Any, Int[np.ndarray, "B N"], bool], tuple[Shaped[np.ndarray, "B N"], Any]
]


class Tick(NamedTuple):
    """The output and the sums of every population in one tick, and the states after it."""

    out: dict[str, np.ndarray]
    sums: dict[str, np.ndarray]
    states: dict[str, State]


def run(program: LoihiProgram, inputs: Mapping[str, Events], ticks: int) -> Record:
    """Return every spike, and every read-out's v (int64, units of v), of T = ``ticks`` ticks.

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
    """Return a read-out's value in units of the float network."""
    return v / program[name].unit


def _run_chunk(
    program: LoihiProgram, rasters: Mapping[str, Shaped[np.ndarray, "T B N"]], ticks: int
) -> Record:
    done = list(iterate_ticks(program, rasters, ticks))
    out = {p.name: np.stack([tick.out[p.name] for tick in done]) for p in program.populations}
    read_outs = {p.name for p in program.populations if not p.fires}
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
    program: LoihiProgram, rasters: Mapping[str, Shaped[np.ndarray, "T B N"]], ticks: int
) -> Iterator[Tick]:
    """Yield the :class:`Tick` of every tick, in order."""
    samples = next(iter(rasters.values())).shape[1]
    order = [program[name] for name in order_populations(program)]
    incoming = {p.name: [make_arrival(program, c) for c in program.into(p.name)] for p in order}
    graded = {
        p.name: any(program[c.source].signed for c in program.into(p.name)) for p in order
    }
    states = {p.name: make_rest_state(p, samples) for p in order if p.kind != "input"}
    past: list[dict[str, np.ndarray]] = []
    for t in range(ticks):
        now: dict[str, np.ndarray] = {}
        sums: dict[str, np.ndarray] = {}
        past.append(now)
        for p in order:
            if p.kind == "input":
                now[p.name] = rasters[p.name][t]
                continue
            x = sums[p.name] = np.zeros((samples, p.size), np.int64)
            for arrive in incoming[p.name]:
                x += arrive(past)
            if graded[p.name]:
                require_bits(p, "the sum of a tick", x, SUM_LIMIT)
            before = make_rest_state(p, samples) if p.clears(t) else states[p.name]
            now[p.name], states[p.name] = STEPS[p.kind](p, before, x, t >= p.bias_after)
        yield Tick(now, sums, dict(states))


def make_arrival(program: LoihiProgram, c: LoihiConnection) -> Arrival:
    """Return a function from the outputs of all ticks so far to a connection's sums (B, N_out).

    It is called once in every tick, in order. Before the first spike arrives, the sums are 0.
    """
    delay, synapses = program.delay(c), make_weighted_sum(c, program[c.source].largest)
    if c.delays_in is None and c.delays_out is None:
        return lambda past: synapses(past[-1 - delay][c.source]) if len(past) > delay else 0
    before = as_int32(np.zeros(program[c.source].size) if c.delays_in is None else c.delays_in)
    behind = as_int32(
        np.zeros(program[c.target].size) if c.delays_out is None else c.delays_out
    )
    sums: deque[np.ndarray] = deque(maxlen=int(behind.max()) + 1)

    def arrive(past: Sequence[Mapping[str, np.ndarray]]) -> Any:
        if len(past) <= delay:
            return 0
        last = len(past) - delay
        sent = [t[c.source] for t in past[max(0, last - 1 - int(before.max())) : last]]
        sums.append(synapses(take_delayed(sent, before)))
        return take_delayed(sums, behind)

    return arrive


def take_delayed(
    history: Sequence[Shaped[np.ndarray, "B N"]], waits: Int[np.ndarray, " N"]
) -> Shaped[np.ndarray, "B N"]:
    """Return for each neuron n the value waits[n] ticks before the last of a history, or 0."""
    out = np.zeros_like(history[-1])
    for wait in np.unique(waits[waits < len(history)]):
        out[:, waits == wait] = history[-1 - int(wait)][:, waits == wait]
    return out


def order_populations(program: LoihiProgram) -> list[str]:
    """Return population names, sources before targets along connections without delay.

    Such an order exists: every connection takes one step, so a loop has a delay somewhere.
    """
    needs = {
        p.name: [c.source for c in program.into(p.name) if program.delay(c) == 0]
        for p in program.populations
    }
    return list(graphlib.TopologicalSorter(needs).static_order())


def make_rest_state(p: Population, samples: int) -> State:
    """Return the state of a population at rest."""
    if p.kind in SUMS:
        return CoderState(*np.zeros((4, samples, p.size), np.int64))
    zero = np.zeros((samples, p.size), np.int64)
    return NeuronState(zero, zero, zero, zero if p.refractory else None)


def step(
    p: Population, state: NeuronState, x: Int[np.ndarray, "B N"], biased: bool = True
) -> tuple[Shaped[np.ndarray, "B N"], NeuronState]:
    """Return spikes (or v of a read-out) and state after one tick of the program's equation."""
    u, v = charge(p, state, x, biased)
    if p.kind == "li":
        return v, NeuronState(u, v, state.a)
    adapts = bool(p.beta.any() or state.a.any())
    a = decay(state.a, 4096 - p.da.astype(np.int64)) if adapts else state.a
    threshold = (p.vth.astype(np.int64) << 6) + a
    s = v > threshold
    wait = state.wait
    if wait is not None:
        s, v = s & (wait == 0), np.where(wait == 0, v, state.v)
        wait = np.where(s, p.refractory, np.maximum(wait - 1, 0))
    v = np.where(s, p.after_hard if p.hard else v - (p.subtracted + a), v)
    if adapts:
        a = np.minimum(a + s * (p.beta.astype(np.int64) << 6), STATE_LIMIT - 1)
    return s, NeuronState(u, v, a, wait)


def step_ternary(
    p: Population, state: NeuronState, x: Int[np.ndarray, "B N"], biased: bool = True
) -> tuple[Int[np.ndarray, "B N"], NeuronState]:
    """Return spikes (1 above the threshold, -1 below the lower one) and state after a tick."""
    u, v = charge(p, state, x, biased)
    s = (v > p.vth.astype(np.int64) << 6).astype(np.int64) - (v < p.lowest)
    return s, NeuronState(u, np.where(s == 0, v, 0), state.a)


def charge(
    p: Population, state: NeuronState, x: Int[np.ndarray, "B N"], biased: bool
) -> tuple[Int[np.ndarray, "B N"], Int[np.ndarray, "B N"]]:
    """Return u and v after the weighted sums x of a tick, before any spike or hold."""
    u = wrap(decay(state.u, 4095 - p.du.astype(np.int64)) + (x << 6))
    v = decay(state.v, 4096 - p.dv.astype(np.int64)) + u
    if biased and p.bias_mant.any():
        v += p.bias
    return u, np.clip(v, 1 - STATE_LIMIT, STATE_LIMIT - 1)


def decay(state: Int[np.ndarray, "B N"], kept: Int[np.ndarray, " _"]) -> np.ndarray:
    """Return kept / 4096 of a state, rounded towards zero."""
    return trunc(state * kept) if kept.any() else np.zeros_like(state)


STEPS: Mapping[Kind, Step] = {
    **dict.fromkeys(("lif", "alif", "li"), step),
    "ternary": step_ternary,
    "delta": step_delta,
    "sigma_delta": step_sigma_delta,
    "sigma": step_sigma,
}


def trunc(product: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """Return product / 4096, rounded towards zero."""
    out = product >> 63  # -1 if product is negative
    out &= 4095
    out += product
    out >>= 12
    return out


def wrap(u: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """Return u shifted once by 2 M into (-M, M]; a value further out stays outside."""
    if np.abs(u).max(initial=0) < STATE_LIMIT:
        return u
    turns = (u <= -STATE_LIMIT).astype(np.int64) - (u > STATE_LIMIT)
    return np.asarray(u + 2 * STATE_LIMIT * turns)


def make_weighted_sum(c: LoihiConnection, largest: int = 1) -> WeightedSum:
    """Return a function from spikes (B, N_in) to weighted sums (B, N_out), int64.

    Floats are exact here: all sums are integers, below 2^24 in float32 or 2^53 in float64.

    Args:
        c: the connection.
        largest: the largest absolute value of a spike.
    """
    if c.kind == "identity":
        return lambda s: _shift(c, s * c.weight.astype(np.int64))
    if c.kind == "sparse":
        return lambda s: _shift(c, _sum_listed(c, s))
    if c.kind == "conv" and (c.groups, c.dilation) != (1, (1, 1)):
        kernel = c.conv.plain().weight
        return make_weighted_sum(replace(c, weight=kernel, groups=1, dilation=(1, 1)), largest)
    rows = np.abs(c.weight.reshape(len(c.weight), -1).astype(np.int64)).sum(1)
    single = int(rows.max(initial=0)) * largest < 2**24
    weight: Any = c.weight.astype(np.float32 if single else np.float64)
    if c.kind == "dense":
        by_input = torch.from_numpy(np.ascontiguousarray(weight.T)).t()
        return lambda s: _shift(c, _multiply(by_input, s.astype(weight.dtype)))
    return lambda s: _convolve(c, weight, s)


def _multiply(weight: Tensor, s: Float[np.ndarray, "B N"]) -> Int[np.ndarray, "B _"]:
    """Return s weight^T; zeros of s are skipped, which leaves whole numbers exact."""
    product: np.ndarray = apply_linear(torch.from_numpy(s), weight, None).numpy()
    return product.astype(np.int64)


def _shift(c: LoihiConnection, sums: Int[np.ndarray, "B N"]) -> Int[np.ndarray, "B N"]:
    """Return weighted sums shifted by the exponent of the connection.

    Raises:
        ProgramError: Lava, which shifts 32-bit integers, would lose some bits.
    """
    exp = c.weight_exp
    if exp >= 0:
        return np.asarray(sums << exp)
    if np.abs(sums).max(initial=0) >= 2**31:
        raise ProgramError(
            f"{c.name}: a sum of a tick before its weight_exp needs more than 32 bits; use "
            "fewer message_bits or fewer sources"
        )
    return np.asarray(sums >> -exp)


def _sum_listed(c: LoihiConnection, s: np.ndarray) -> np.ndarray:
    """Return the sums of the listed weights, synapse by synapse."""
    target, source = c.places
    out = np.zeros((len(s), c.sizes[0]), np.int64)
    for sums, row in zip(out, s, strict=True):
        value = row[source].astype(np.int64)
        active = value != 0
        np.add.at(sums, target[active], c.weight[active] * value[active])
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
