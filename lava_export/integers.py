"""Runs a LoihiProgram in the integers of the chip: compiled loops, or the specification.

:func:`lava_export.reference.run` is the specification. Programs whose populations all have the
kinds in :data:`COMPILED` run in :mod:`lava_export.kernels`, with the same record and errors.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from lava_export.checks import require_run
from lava_export.kernels import (
    CONNECTION,
    FAILED,
    POPULATION,
    ProgramArrays,
    SpikeLog,
    Working,
    copy_spikes,
    run_ticks,
)
from lava_export.program import Kind, LoihiConnection, LoihiProgram, Population
from lava_export.reference import order_populations, run
from neuro.graph.convolutions import find_window_at
from neuro.spikes import Events
from neuro.spikes.record import Record

COMPILED: frozenset[Kind] = frozenset(("input", "lif", "alif", "li", "ternary"))
NEVER = -(2**30)  # a lower threshold that no v reaches
Fields = Mapping[str, int]


def run_integers(program: LoihiProgram, inputs: Mapping[str, Events], ticks: int) -> Record:
    """Return every spike, and every read-out's v (int64, units of v), of T = ``ticks`` ticks.

    Raises:
        TypeError, ProgramError: the run cannot start, see
            :func:`lava_export.checks.require_run`, or a sum of messages has too many bits.
    """
    return run_counting_clips(program, inputs, ticks)[0]


def run_counting_clips(
    program: LoihiProgram, inputs: Mapping[str, Events], ticks: int
) -> tuple[Record, dict[str, int]]:
    """Return :func:`run_integers`, and how often v clipped, by population with a ``v_bound``.

    Programs of the kinds that are not compiled have no such population.
    """
    require_run(program, inputs, ticks)
    if not is_compiled(program):
        return run(program, inputs, ticks), {}
    order, log, clips = _run_compiled(program, inputs, ticks)
    trains = {p.name: _collect(log, i, p) for i, p in enumerate(order) if p.fires}
    shown = _split([p for p in order if not p.fires], log.shown)
    clipped = {p.name: int(n) for p, n in zip(order, clips, strict=True) if p.v_bound}
    record = Record(
        executor="integers",
        ticks=ticks,
        samples=len(log.start),
        spikes={p.name: trains[p.name] for p in program.populations if p.fires},
        values={p.name: shown[p.name].copy() for p in program.populations if not p.fires},
        digest=program.digest,
    )
    return record, clipped


def trace_membranes(
    program: LoihiProgram, inputs: Mapping[str, Events], ticks: int
) -> dict[str, Int[np.ndarray, "T B N"]]:
    """Return by population how far v stands above its threshold, before any reset.

    Of a read-out, v. The kernels must have all of the program (:func:`is_compiled`).

    Raises:
        TypeError, ProgramError: as :func:`run_integers`.
    """
    require_run(program, inputs, ticks)
    order, log, _ = _run_compiled(program, inputs, ticks, traced=True)
    found = _split(order, log.above) | _split([p for p in order if not p.fires], log.shown)
    return {p.name: found[p.name] for p in order if p.kind != "input"}


def _run_compiled(
    program: LoihiProgram, inputs: Mapping[str, Events], ticks: int, traced: bool = False
) -> tuple[list[Population], SpikeLog, Int[np.ndarray, " P"]]:
    """Return the populations in order, the log of a run, and how often v of each clipped."""
    order = [program[name] for name in order_populations(program)]
    arrays, working = _lay_out(program, order)
    log = _start_log(order, inputs, ticks, traced)
    for sample in range(len(log.start)):
        for state in working[:4]:
            state.fill(0)
        reached = 0
        while reached < ticks:
            reached = run_ticks(arrays, working, log, sample, reached)
            if reached == FAILED:
                run(program, inputs, ticks)  # finds the sum, too, and raises what it is
                raise RuntimeError("the compiled loops refuse a run of the specification")
            log = log if reached == ticks else _enlarge(log, len(working.u))
    return order, log, working.clipped


def _split(populations: list[Population], values: np.ndarray) -> dict[str, np.ndarray]:
    """Return values of all neurons, along the last axis, by population."""
    ends = np.cumsum([p.size for p in populations])
    parts = np.split(values, ends, 2)
    return dict(zip([p.name for p in populations], parts, strict=False))


def is_compiled(program: LoihiProgram) -> bool:
    """Say whether the kernels have all of a program; others run by the specification.

    That checks a sum of messages before its shift to the right even if it arrives after the
    end of the run.
    """
    late = [c for c in program.connections if c.delays_out is not None]
    cut = any(c.weight_exp < 0 and program[c.source].message_bits for c in late)
    return not cut and {p.kind for p in program.populations} <= COMPILED


def _start_log(
    order: list[Population], inputs: Mapping[str, Events], ticks: int, traced: bool
) -> SpikeLog:
    """Return a log that begins with the spikes of all inputs."""
    samples = next(iter(inputs.values())).shape[1]
    start, stop = np.zeros((2, samples, ticks, len(order)), np.int64)
    used, neurons, values = 0, [], []
    for i, p in enumerate(order):
        if p.kind == "input":
            e = inputs[p.name]
            kept = np.flatnonzero(e.value)
            cell = e.sample[kept].astype(np.int64) * ticks + e.tick[kept]
            counts = np.bincount(cell, minlength=samples * ticks)
            stop[:, :, i] = used + np.cumsum(counts).reshape(samples, ticks)
            start[:, :, i] = stop[:, :, i] - counts.reshape(samples, ticks)
            used += kept.size
            neurons.append(e.neuron[kept])
            values.append(e.value[kept])
    shown = np.empty((ticks, samples, sum(p.size for p in order if not p.fires)), np.int64)
    neuron, value = (np.concatenate(x).astype(np.int32) for x in (neurons, values))
    above = np.empty((ticks, samples, traced * sum(p.size for p in order)), np.int32)
    log = SpikeLog(start, stop, neuron, value, np.array([used]), shown, above)
    return _enlarge(log, sum(p.size for p in order))


def _enlarge(log: SpikeLog, neurons: int) -> SpikeLog:
    """Return a log with twice the space, and with enough for some ticks of all neurons."""
    more = np.empty(max(log.neuron.size, 4 * neurons), np.int32)
    neuron, value = (np.concatenate([old, more]) for old in (log.neuron, log.value))
    return log._replace(neuron=neuron, value=value)


def _collect(log: SpikeLog, i: int, p: Population) -> Events:
    """Return the spikes of a population, number ``i`` in the log."""
    samples, ticks, _ = log.start.shape
    spikes = int((log.stop[:, :, i] - log.start[:, :, i]).sum())
    sample, tick, neuron = np.empty((3, spikes), np.int32)
    value = np.empty(spikes, np.float64 if p.signed else np.float32)
    copy_spikes(log, i, (sample, tick, neuron, value))
    return Events(sample, tick, neuron, value, (ticks, samples, p.size))


class _Part(NamedTuple):
    """Synapses of a connection: fields of CONNECTION, and arrays as in ProgramArrays."""

    fields: Fields
    start: np.ndarray
    reached: np.ndarray
    tap: np.ndarray
    weight: np.ndarray


def _lay_out(program: LoihiProgram, order: list[Population]) -> tuple[ProgramArrays, Working]:
    """Return a program as arrays, its populations in this order, and its working memory."""
    number = {p.name: i for i, p in enumerate(order)}
    rows: list[Fields] = []
    parts: list[_Part] = []
    neurons = shown = 0
    for p in order:
        begin, incoming = len(parts), program.into(p.name)
        for c in incoming:
            parts += _list_parts(c, p.size, number[c.source], program.delay(c))
        row = {name: getattr(p, name) for name in POPULATION.names or () if hasattr(p, name)}
        row |= {"input": p.kind == "input", "first": neurons, "begin": begin, "end": len(parts)}
        row["checked"] = any(program[c.source].signed for c in incoming)
        row["shown"] = -1 if p.fires else shown
        rows.append(row)
        neurons += p.size
        shown += p.size if not p.fires else 0
    sizes = np.array([[x.size for x in part[1:]] for part in parts], np.int64).reshape(-1, 4)
    ends = np.cumsum(sizes, 0) - sizes
    connections = [
        {**part.fields, "start": start, "weight": weight}
        for part, (start, _, _, weight) in zip(parts, ends, strict=True)
    ]
    starts = [part.start + k for part, k in zip(parts, ends[:, 1], strict=True)]
    arrays = ProgramArrays(
        _make_records(POPULATION, rows),
        _make_records(CONNECTION, connections),
        np.concatenate([_list_numbers(p) for p in order], 1),
        _join(np.int64, starts),
        _join(np.int32, [part.reached for part in parts]),
        _join(np.int32, [part.tap for part in parts]),
        _join(np.int16, [part.weight for part in parts]),
    )
    # Sums of binary spikes stay below 2^24, see list_wide_integers; int32 halves their time.
    kind = np.int64 if any(p.message_bits for p in order) else np.int32
    sums = np.zeros((2, max(p.size for p in order)), kind)
    u, v, a, wait = np.zeros((4, neurons), np.int64)
    clipped = np.zeros(len(order), np.int64)
    return arrays, Working(u, v, a, wait, x=sums[0], by_place=sums[1], clipped=clipped)


def _make_records(kind: np.dtype, rows: Sequence[Fields]) -> np.ndarray:
    return np.array([tuple(row[name] for name in kind.names or ()) for row in rows], kind)


def _join(kind: type, arrays: Iterable[np.ndarray]) -> np.ndarray:
    out: np.ndarray = np.concatenate([np.zeros(0, kind), *arrays]).astype(kind)
    return out


def _list_numbers(p: Population) -> np.ndarray:
    """Return the parameters of each neuron, in the order of KEEP_U to RESET."""
    numbers = (
        4095 - p.du,
        4096 - p.dv,
        4096 - p.da,
        p.vth << 6,
        p.lowest if p.kind == "ternary" else NEVER,
        p.beta << 6,
        p.bias,
        p.after_hard if p.hard else p.subtracted,
    )
    return np.array([np.broadcast_to(x, p.size) for x in numbers], np.int32)


def _list_parts(c: LoihiConnection, size: int, source: int, delay: int) -> Iterator[_Part]:
    """Yield the synapses of a connection: as rows of weights, or as a list for each delay."""
    channels = c.out_shape[0] if c.kind == "conv" else size
    cut = c.kind == "conv" or c.weight_exp < 0  # before other sums are added
    fields = {
        "source": source,
        "delay": delay,
        "channels": channels,
        "places": size // channels,
        "direct": not cut,
        "folds": cut,
        "shift": max(-c.weight_exp, 0),
    }
    waits = [c.delays_in, c.delays_out]
    if c.kind in ("dense", "conv"):
        rows = _lay_out_rows(c, fields)
        if all(w is None for w in waits):
            yield rows
            return
        of, to, weight = _list_rows(rows)
    else:
        to, of = c.places if c.kind == "sparse" else (np.arange(size), np.arange(size))
        weight = c.weight << max(c.weight_exp, 0)
    late = np.zeros(weight.size, np.int64)
    for wait, end in zip(waits, (of, to), strict=True):
        late += 0 if wait is None else wait[end]
    listed = dict.fromkeys(("places_in", "taps", "share", "width"), 0)
    listed |= {"channels": 1, "places": size}
    different = np.unique(late)
    for wait in different:
        here = np.flatnonzero(late == wait)
        here = here[np.argsort(of[here], kind="stable")]
        start = np.searchsorted(of[here], np.arange(c.in_size + 1))
        own = {"delay": delay + wait, "folds": cut and wait == different[-1]}
        yield _Part(fields | listed | own, start, to[here], weight[here], weight[:0])


def _lay_out_rows(c: LoihiConnection, fields: Fields) -> _Part:
    """Return the rows of weights of a convolution; a matrix is one of a single place."""
    groups, columns, axes = 1, 1, [np.zeros((1, 1), np.int64)] * 2
    if c.kind == "conv":
        groups, columns = c.conv.groups, c.out_shape[2]
        steps = zip(c.stride, c.padding, c.conv.dilation, strict=True)
        sizes = zip(c.shape[1:], c.weight.shape[2:], steps, strict=True)
        axes = [find_window_at(size, kernel, *step) for size, kernel, step in sizes]
    y, x = axes[0][:, None, :, None], axes[1][:, None]
    met = ((y >= 0) & (x >= 0)).reshape(len(axes[0]) * len(axes[1]), -1)
    places_in, taps = met.shape
    width, share = len(c.weight) // groups, c.in_size // (places_in * groups)
    weight = c.weight.reshape(groups, width, share, taps).transpose(0, 2, 3, 1).ravel()
    own = {"places_in": places_in, "taps": taps, "share": share, "width": width}
    return _Part(
        {**fields, **own},
        np.append(0, np.cumsum(met.sum(1))),
        (y * columns + x).reshape(met.shape)[met],
        np.nonzero(met)[1],
        weight << max(c.weight_exp, 0),
    )


def _list_rows(rows: _Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the source, the target and the weight of each synapse of rows."""
    f = rows.fields
    weight = rows.weight.reshape(-1, f["taps"], f["width"])[:, rows.tap]
    channel, place, of_group = np.ogrid[: len(weight), :1, : f["width"]]
    place = np.repeat(np.arange(f["places_in"]), np.diff(rows.start))[:, None]
    to = (channel // f["share"] * f["width"] + of_group) * f["places"] + rows.reached[:, None]
    of = np.broadcast_to(channel * f["places_in"] + place, weight.shape)
    return of.ravel(), to.ravel(), weight.ravel()
