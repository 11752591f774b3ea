"""A Record in a file: trains, values and states as arrays, names and shapes as JSON."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuro.base.units import Seconds
from neuro.io.schema import SchemaError, convert
from neuro.io.store import Arrays, load_value, save_arrays
from neuro.spikes import Events, Times, list_problems
from neuro.spikes.record import Counts, Record, require_records


@dataclass(frozen=True, kw_only=True)
class RecordMeta:
    """The JSON part of a Record's file.

    shapes, times: (T, B, N) of each spike train, by node.
    values: names of the nodes that have values.
    states: names of nodes, by tick.
    digest: digest of the Graph that ran.
    """

    executor: str
    ticks: int
    samples: int
    shapes: dict[str, tuple[int, int, int]]
    times: dict[str, tuple[int, int, int]]
    values: list[str]
    states: dict[str, list[str]]
    counts: dict[str, Counts]
    digest: str


def save_record(path: str | Path, record: Record) -> None:
    """Write a Record to a file; :func:`load_record` returns it bit for bit.

    Raises:
        TypeError: the value is not a Record.
        StoreError: the file cannot be written.
    """
    require_records(record=record)
    save_arrays(path, "record", *_encode(record))


def load_record(path: str | Path) -> Record:
    """Read a Record from a file.

    Raises:
        StoreError: the file is damaged, has another kind or version, has a missing or unknown
            field, or its arrays contradict each other.
    """
    return load_value(path, "record", _decode, _encode)


def _encode(record: Record) -> tuple[Arrays, Any]:
    arrays = {f"values/{k}": v for k, v in record.values.items()}
    for kind, trains in (("spikes", record.spikes), ("times", record.times)):
        for name, train in trains.items():
            columns = zip(train._fields[:4], train[:4], strict=True)
            arrays |= {f"{kind}/{name}/{part}": column for part, column in columns}
    for tick, states in record.states.items():
        arrays |= {f"states/{tick}/{name}": state for name, state in states.items()}
    meta = RecordMeta(
        executor=record.executor,
        ticks=record.ticks,
        samples=record.samples,
        shapes={k: e.shape for k, e in record.spikes.items()},
        times={k: e.shape for k, e in record.times.items()},
        values=list(record.values),
        states={str(tick): list(states) for tick, states in record.states.items()},
        counts=dict(record.counts),
        digest=record.digest,
    )
    return arrays, asdict(meta)


def _decode(arrays: Arrays, plain: Any) -> Record:
    meta: RecordMeta = convert(plain, RecordMeta)
    odd = [tick for tick in meta.states if not tick.isdecimal()]
    if odd:
        raise SchemaError(f"states: {', '.join(map(repr, odd))} are no ticks")
    spikes = {k: _train(Events, "spikes", k, v, arrays) for k, v in meta.shapes.items()}
    times = {k: _train(Times, "times", k, v, arrays) for k, v in meta.times.items()}
    values = {k: arrays[f"values/{k}"] for k in meta.values}
    states = {
        int(tick): {k: arrays[f"states/{tick}/{k}"] for k in names}
        for tick, names in meta.states.items()
    }
    size = (meta.ticks, meta.samples)
    shapes = {f"spikes/{k}": e.shape for k, e in spikes.items()}
    shapes |= {f"times/{k}": e.shape for k, e in times.items()}
    shapes |= {f"values/{k}": v.shape for k, v in values.items()}
    problems = [
        f"{k}: is {shape}, not {size} and a number of neurons"
        for k, shape in shapes.items()
        if shape[:2] != size or len(shape) != 3
    ]
    problems += [
        f"states/{tick}/{k}: is {state.shape}, not of {meta.samples} samples"
        for tick, named in states.items()
        for k, state in named.items()
        if state.ndim != 3 or state.shape[1] != meta.samples
    ]
    if problems:
        raise SchemaError(*problems)
    return Record(
        executor=meta.executor,
        ticks=meta.ticks,
        samples=meta.samples,
        spikes=spikes,
        values=values,
        counts=meta.counts,
        times=times,
        states=states,
        digest=meta.digest,
    )


def _train(cls: Any, kind: str, name: str, shape: tuple[int, int, int], arrays: Arrays) -> Any:
    """Return a spike train; times and values must be floats, other columns integers."""
    columns = {part: arrays[f"{kind}/{name}/{part}"] for part in cls._fields[:4]}
    for part, column in columns.items():
        if column.ndim != 1 or column.dtype.kind != ("f" if part in ("time", "value") else "i"):
            raise SchemaError(f"{kind}/{name}/{part} is {column.dtype} {column.shape}")
    train = cls(**columns, shape=shape)
    # The caller, who knows the length of a tick, compares times with the ends of ticks.
    problems = list_problems(train, Seconds(np.inf))
    if problems:
        raise SchemaError(*(f"{kind}/{name}: {problem}" for problem in problems))
    return train
