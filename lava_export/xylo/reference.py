"""The specification of a XyloProgram: a bit-exact executor in NumPy, batched over samples.

The executor follows the equations in the docstring of :mod:`lava_export.xylo.program`. Sums
saturate spike by spike, so the order of spikes counts; where no order can reach a bound, one
product adds all spikes.

Axes: T ticks, B samples, N neurons, K sources.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from lava_export.checks import require_start
from lava_export.excess import Excess, add_excess
from lava_export.xylo.program import (
    CHANNEL_SPIKES,
    LARGEST_STATE,
    NEURON_SPIKES,
    REGISTERS,
    XyloPopulation,
    XyloProgram,
    require_xylo_program,
)
from neuro.spikes import Events, of_sample, to_events, to_raster
from neuro.spikes.record import Record, concatenate

CHUNK = 64  # samples at a time
LEAST_STATE = -LARGEST_STATE - 1


class XyloState(NamedTuple):
    """Currents and membranes, and the spikes of the last step.

    peak: the largest absolute state of the step, before its current fell and its spikes were
        subtracted; at 2^15 - 1 or more, a state stood at a bound.
    """

    i: Int[np.ndarray, "B N"]
    v: Int[np.ndarray, "B N"]
    n: Int[np.ndarray, "B N"]
    peak: Int[np.ndarray, "B N"]


class XyloStep(NamedTuple):
    """The states after one step, for hidden and for output neurons, in chip order."""

    hidden: XyloState
    output: XyloState


class XyloRun(NamedTuple):
    """Every spike and the current of every read-out, and the excess by population."""

    record: Record
    excess: dict[str, Excess]


def require_xylo_run(program: XyloProgram, inputs: Mapping[str, Events], ticks: int) -> None:
    """Raise an error if a run cannot start.

    Raises:
        TypeError: an argument has the wrong type.
        ProgramError: lists everything that keeps the run from starting.
    """
    require_xylo_program(program)
    longer = f"use lower_to_xylo(graph, ticks={ticks})"
    require_start(program, inputs, ticks, longer=longer, check=_list_unfit_events)


def _list_unfit_events(name: str, events: Events) -> Iterator[str]:
    value = events.value
    odd = value[(value % 1 != 0) | (value < 0) | (value > CHANNEL_SPIKES)]
    if odd.size:
        yield (
            f"{name}: {odd.size} values are no whole numbers from 0 to {CHANNEL_SPIKES} "
            f"(first {odd[0]:g}); a channel of Xylo sends so many spikes in a step: encode the "
            "values, e.g. with neuro.spikes.codes.rate"
        )


def run_xylo(program: XyloProgram, inputs: Mapping[str, Events], ticks: int) -> XyloRun:
    """Return the run of T = ``ticks`` ticks; read-outs are currents i (int64).

    Raises:
        TypeError, ProgramError: the run cannot start, see :func:`require_xylo_run`.
    """
    require_xylo_run(program, inputs, ticks)
    parts = [_run_chunk(program, r, ticks) for r in _iterate_rasters(inputs, ticks)]
    excess: dict[str, Excess] = {}
    for part in parts:
        excess = add_excess(excess, part.excess)
    return XyloRun(concatenate([part.record for part in parts]), excess)


def trace_xylo(
    program: XyloProgram, inputs: Mapping[str, Events], ticks: int
) -> dict[str, XyloState]:
    """Return the states of every population after each of its T = ``ticks`` ticks, T B N each.

    Raises:
        TypeError, ProgramError: the run cannot start, see :func:`require_xylo_run`.
    """
    require_xylo_run(program, inputs, ticks)
    parts = [_stack_states(program, r, ticks) for r in _iterate_rasters(inputs, ticks)]
    return {
        name: XyloState(
            *(np.concatenate(x, 1) for x in zip(*(p[name] for p in parts), strict=True))
        )
        for name in parts[0]
    }


def _iterate_rasters(
    inputs: Mapping[str, Events], ticks: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the rasters of some samples at a time, T B N each, with T = ``ticks``."""
    samples = next(iter(inputs.values())).shape[1]
    inputs = {name: e._replace(shape=(ticks, *e.shape[1:])) for name, e in inputs.items()}
    for first in range(0, samples, CHUNK):
        chosen = range(first, min(first + CHUNK, samples))
        yield {
            name: np.concatenate([to_raster(of_sample(e, s)) for s in chosen], 1)
            for name, e in inputs.items()
        }


def _stack_states(
    program: XyloProgram, rasters: Mapping[str, np.ndarray], ticks: int
) -> dict[str, XyloState]:
    channels = np.concatenate([rasters[p.name] for p in program.select("input")], 2)
    silent = np.zeros((program.latency, *channels.shape[1:]))
    steps = list(iterate_steps(program, np.concatenate([channels, silent]).astype(np.int64)))
    found = {}
    both = zip((("hidden",), ("output", "readout")), zip(*steps, strict=True), strict=True)
    for kinds, states in both:
        for p, part in slice_kinds(program, *kinds):
            columns = zip(*states[p.lag : p.lag + ticks], strict=True)
            found[p.name] = XyloState(*(np.stack(column)[:, :, part] for column in columns))
    return found


def _run_chunk(program: XyloProgram, rasters: Mapping[str, np.ndarray], ticks: int) -> XyloRun:
    spikes = {name: to_events(r) for name, r in rasters.items()}
    values, excess = {}, {}
    for name, (i, _, n, peak) in _stack_states(program, rasters, ticks).items():
        if program[name].kind == "readout":
            values[name] = i
        else:
            spikes[name] = to_events(n.astype(np.float32))
        excess[name] = Excess(
            several=int((n > 1).sum()),
            saturated=int((peak >= LARGEST_STATE).sum()),
            of=n.size,
            peak=int(peak.max()),
        )
    record = Record(
        executor="integers",
        ticks=ticks,
        samples=next(iter(rasters.values())).shape[1],
        spikes=spikes,
        values=values,
        digest=program.digest,
    )
    return XyloRun(record, excess)


def slice_kinds(program: XyloProgram, *kinds: str) -> Iterator[tuple[XyloPopulation, slice]]:
    """Yield each population of given kinds, and its range among the neurons of these kinds."""
    first = 0
    for p in program.select(*kinds):
        yield p, slice(first, first + p.size)
        first += p.size


class XyloArrays(NamedTuple):
    """A program as the chip holds it; weights are (source, target), by number on the chip.

    The weights are not yet shifted.

    hidden, output: dash_syn, dash_mem, threshold and bias of the neurons, (4, N).
    """

    w_in: Int[np.ndarray, "K N"]
    w_rec: Int[np.ndarray, "N N"]
    w_out: Int[np.ndarray, "N M"]
    hidden: Int[np.ndarray, "4 N"]
    output: Int[np.ndarray, "4 M"]


def lay_out(program: XyloProgram) -> XyloArrays:
    """Return the matrices and registers of a program, with all populations joined."""
    inputs, hidden, output = (
        {p.name: part for p, part in slice_kinds(program, *kinds)}
        for kinds in (("input",), ("hidden",), ("output", "readout"))
    )

    def join_weights(sources: dict[str, slice], targets: dict[str, slice]) -> np.ndarray:
        ends = (max((s.stop for s in own.values()), default=0) for own in (sources, targets))
        out = np.zeros((*ends,), np.int64)
        for c in program.connections:
            if c.source in sources and c.target in targets:
                out[sources[c.source], targets[c.target]] += c.weight.T
        return out

    def join_registers(names: dict[str, slice]) -> np.ndarray:
        rows = np.zeros((4, 0), np.int64)
        for p in map(program.__getitem__, names):
            own = [np.broadcast_to(getattr(p, key), p.size) for key in REGISTERS]
            rows = np.concatenate([rows, own], 1)
        return rows

    return XyloArrays(
        w_in=join_weights(inputs, hidden),
        w_rec=join_weights(hidden, hidden),
        w_out=join_weights(hidden, output),
        hidden=join_registers(hidden),
        output=join_registers(output),
    )


def iterate_steps(
    program: XyloProgram, channels: Int[np.ndarray, "T B K"]
) -> Iterator[XyloStep]:
    """Yield the states after each step. channels: spikes per step and channel."""
    chip, samples = lay_out(program), channels.shape[1]
    w_in, w_rec = chip.w_in << program.shift, chip.w_rec << program.shift
    w_out = chip.w_out << program.shift_out
    hidden, output = (
        XyloState(*np.zeros((4, samples, registers.shape[1]), np.int64))
        for registers in (chip.hidden, chip.output)
    )
    for sent in channels:
        current = add_spikes(hidden.i, np.minimum(sent, CHANNEL_SPIKES), w_in)
        current = add_spikes(current, hidden.n, w_rec)
        shown = add_spikes(output.i, hidden.n, w_out)
        hidden = evolve(current, hidden.v, chip.hidden, NEURON_SPIKES)
        output = evolve(shown, output.v, chip.output, 1)
        yield XyloStep(hidden, output)


def add_spikes(
    i: Int[np.ndarray, "B N"], sent: Int[np.ndarray, "B K"], weight: Int[np.ndarray, "K N"]
) -> Int[np.ndarray, "B N"]:
    """Return currents with spikes added one by one, saturated after each."""
    real = weight.astype(np.float64)  # exact: sums are far below 2^53
    out = i + (sent.astype(np.float64) @ real).astype(np.int64)
    reach = np.abs(i) + (sent.astype(np.float64) @ np.abs(real)).astype(np.int64)
    for sample in np.flatnonzero((reach > LARGEST_STATE).any(1)):
        row = i[sample]
        for source in np.flatnonzero(sent[sample]):
            for _ in range(sent[sample, source]):
                row = np.clip(row + weight[source], LEAST_STATE, LARGEST_STATE)
        out[sample] = row
    return out


def decay(x: Int[np.ndarray, "B N"], dash: Int[np.ndarray, " N"]) -> Int[np.ndarray, "B N"]:
    """Return the amount by which a state falls in a step: a shift, but at least 1."""
    shifted = x >> dash
    return np.where(shifted == 0, np.sign(x), shifted)


def evolve(
    i: Int[np.ndarray, "B N"],
    v: Int[np.ndarray, "B N"],
    registers: Int[np.ndarray, "4 N"],
    most: int,
) -> XyloState:
    """Return the states after a step. i: currents with the spikes of the step added."""
    dash_syn, dash_mem, threshold, bias = registers
    peak, i = np.abs(i), i - decay(i, dash_syn)
    fall = -decay(v, dash_mem)
    fall = np.where(fall > LARGEST_STATE, LEAST_STATE, fall)  # 16 bits: -(-2^15) stays
    rise = np.clip(fall + i, LEAST_STATE, LARGEST_STATE)
    rise = np.clip(rise + bias, LEAST_STATE, LARGEST_STATE)
    v = np.clip(v + rise, LEAST_STATE, LARGEST_STATE)
    peak = np.maximum.reduce([peak, np.abs(rise), np.abs(v)])
    n = np.where(v >= threshold, np.minimum(v // threshold, most), 0)
    return XyloState(i, v - n * threshold, n, peak)
