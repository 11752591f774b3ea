"""Runs whose records exceed memory: simulated into a folder piece by piece, and read back.

Each piece of stimulus starts from the final state of the previous one, so the result equals
that of one run. If a run is interrupted, its complete files stay readable.

stream.json                  digests of graph, clock, recording and first state
chunk-000000.safetensors     the Record of a piece; its ticks count from the start of the piece
state.safetensors            the state at the end of the last complete chunk

Each chunk holds the digests of everything before it and of its stimulus. So the reader and a
continued run notice a chunk that is missing, in the wrong place or from another stream.

Axes: T ticks, B samples, N neurons of a node in C order of its shape.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Shaped

from neuro.base.units import Seconds, Ticks
from neuro.events import Clock, EngineState, Grid, Recording, simulate
from neuro.events.exact.state import ExactState, Pending
from neuro.graph import Edge, Graph
from neuro.graph.inputs import find_span
from neuro.io.graph_digest import digest_graph
from neuro.io.pytree import digest, flatten, unflatten
from neuro.io.schema import SchemaError, convert
from neuro.io.store import Arrays, StoreError, load_value, read_json, save_arrays, write_json
from neuro.spikes import Events, Times, join_in_time, measure_in_ticks
from neuro.spikes.record import Counts, Record, sum_counts

Inputs = Mapping[str, Events | Times]
Piece = Inputs | Ticks | int
State = EngineState | ExactState


class StreamError(ValueError):
    """The folder holds another stream, or another stream's chunks; names them and a cure."""


class _Progress(NamedTuple):
    """The complete part of a stream on disk.

    chunks: number of chunks.
    ticks: number of ticks of all chunks together.
    history: digest of header and stimuli.
    state: state at the end.
    """

    chunks: int
    ticks: int
    history: str
    state: State | None


class _Chunk(NamedTuple):
    """The contents of a chunk file.

    number: position in the stream.
    history: digest of the header and of the stimuli before the chunk.
    stimulus: digest of the chunk's stimulus.
    """

    number: int
    history: str
    stimulus: str
    record: Record


@dataclass(frozen=True)
class _Header:
    """The contents of stream.json. dt: [s]. The other fields are digests or names."""

    dt: float
    graph: str
    clock: str
    record: str
    state: str


NAME = re.compile(r"chunk-(\d{6,})\.safetensors")
RESTORE = "restore it from a copy, or simulate the stream again in another folder"
_TYPES = (
    Record,
    Counts,
    Events,
    Times,
    Edge,
    EngineState,
    ExactState,
    Pending,
    _Progress,
    _Chunk,
)


@dataclass(frozen=True)
class Stream:
    """The stream in a folder; iteration yields the Record of each complete chunk, in order.

    folder: written by :func:`simulate_to_disk`, which may still be running.
    dt: length of a tick [s].

    Only one chunk at a time is in memory, plus the result of a method.

    Raises:
        StreamError: a chunk is missing, in the wrong place, or from another stream.
        StoreError: a file is damaged.
    """

    folder: Path
    dt: Seconds

    def __len__(self) -> int:
        return len(_list_chunks(self.folder, _read_state(self.folder)))

    def __iter__(self) -> Iterator[Record]:
        progress = _read_state(self.folder)  # first, because the stream may still be written
        paths = _list_chunks(self.folder, progress)
        history = digest(_read_header(self.folder)) if paths else ""
        for number, path in enumerate(paths):
            chunk = _read_chunk(path, number, history)
            history = digest((history, chunk.stimulus))
            if progress is not None and number == progress.chunks - 1:
                _require_end(self.folder, progress, history)
            yield chunk.record

    def spikes(self, name: str) -> Events:
        """Return the spikes of one node over the whole run."""
        return join_in_time([(r.spikes[name], r.ticks) for r in self], 1)

    def times(self, name: str) -> Times:
        """Return the spikes of one node over the whole run, in continuous time [s]."""
        return join_in_time([(r.times[name], r.ticks) for r in self], self.dt)

    def values(self, name: str) -> Shaped[np.ndarray, "T B N"]:
        """Return the values of one read-out over the whole run."""
        return np.concatenate([r.values[name] for r in self])

    def counts(self) -> dict[str, Counts]:
        """Return the spikes, synaptic events and updates of the whole run, by node."""
        totals: dict[str, Counts] = {}
        for record in self:
            for name, counts in record.counts.items():
                totals[name] = sum_counts((totals.get(name, Counts()), counts))
        return totals


def open_stream(folder: str | Path) -> Stream:
    """Open the stream in a folder.

    Raises:
        StoreError: the folder has no stream, or stream.json is damaged.
    """
    folder = Path(folder)
    return Stream(folder, Seconds(_read_header(folder).dt))


def simulate_to_disk(
    graph: Graph,
    pieces: Iterable[Piece],
    folder: str | Path,
    clock: Clock = Grid(),  # noqa: B008
    *,
    state: State | None = None,
    record: Recording = Recording(),  # noqa: B008
) -> Stream:
    """Run a network piece by piece, or continue a stream that was interrupted.

    Args:
        graph: the network.
        pieces: the stimulus of each chunk, in order: made by :func:`cut`, or generated during
            the run; for a graph without Inputs, the number of ticks of each chunk. To continue
            a stream, pass all pieces again, from the first.
        folder: a folder for this stream only.
        clock: as in :func:`neuro.events.simulate`.
        state: state at the start of the first piece; None: rest.
        record: the parts to record; ticks of ``record.states`` count from the start of the
            stream.

    Returns:
        The stream. It equals one run of all pieces: bit for bit with ``Grid()``; with
        ``Exact()`` up to the rounding of times, which count from the start of each piece.

    Raises:
        StreamError: the folder holds another stream, or a stream with missing chunks.
        ValueError: a piece does not fit the graph.
        Runaway: one chunk has too many spikes; the chunks before it are on disk.
    """
    folder, header = Path(folder), _make_header(graph, clock, record, state)
    history = digest(header)
    progress = _read_progress(folder, header) or _Progress(0, 0, history, state)
    complete, paths = progress.chunks, _list_chunks(folder, progress)
    if len(paths) > complete + 1:  # a killed process leaves one extra chunk
        raise StreamError(
            f"{paths[complete + 1]}: exceeds the stream's {complete} chunks; move it away, or "
            "simulate the stream again in another folder"
        )
    chunk = -1
    for chunk, piece in enumerate(pieces):
        given: Inputs = piece if isinstance(piece, Mapping) else {}
        ticks = None if isinstance(piece, Mapping) else piece
        path, stimulus = _name_chunk(folder, chunk), digest(ticks or dict(given))
        before, history = history, digest((history, stimulus))
        if chunk < complete:
            if _read_chunk(path, chunk, before).stimulus != stimulus:
                raise StreamError(
                    f"{folder}: chunk {chunk} is of another stimulus; pass the pieces that the "
                    "stream began with, or choose another folder"
                )
            if chunk == complete - 1:
                _require_end(folder, progress, history)
            continue
        length, _ = find_span((train.shape[:2] for train in given.values()), ticks, None)
        moments = tuple(t - progress.ticks for t in record.states)  # from this piece's start
        kept = replace(record, states=tuple(t for t in moments if 0 <= t < length))
        result, after = simulate(
            graph, given, clock, state=progress.state, record=kept, ticks=ticks
        )
        progress = _Progress(chunk + 1, progress.ticks + length, history, after)
        write_json(folder / "stream.json", asdict(header))
        _write(path, "chunk", _Chunk(chunk, before, stimulus, result))
        _write(_name_state(folder), "state", progress)
    if chunk + 1 < complete:
        raise StreamError(
            f"{folder}: holds {complete} chunks, got {chunk + 1} pieces; pass all pieces"
        )
    return Stream(folder, graph.dt)


def read_state(folder: str | Path) -> State | None:
    """Return the state after the last complete chunk of a stream."""
    return cast(_Progress, _read(_name_state(Path(folder)), "state", _Progress)).state


def cut(inputs: Inputs, chunk: Ticks, dt: Seconds) -> Iterator[Inputs]:
    """Yield a stimulus in pieces of ``chunk`` ticks of ``dt`` [s]; the last may be shorter.

    Raises:
        ValueError: ``chunk`` < 1.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be >= 1 tick, got {chunk}; 1000 is usual")
    ends = [train.shape[0] for train in inputs.values()]
    starts = range(0, max(ends, default=0), chunk)
    trains = (_cut_train(train, starts, chunk, dt) for train in inputs.values())
    for parts in zip(*trains, strict=True):
        yield dict(zip(inputs, parts, strict=True))


def _cut_train(train: Events | Times, starts: range, chunk: int, dt: Seconds) -> Iterator[Any]:
    """Yield the spikes of ``chunk`` ticks from each start on; their times count from there."""
    moment = np.asarray(train[1])
    # Tick k is (k dt, (k + 1) dt]: a time at the end of a chunk belongs to that chunk.
    step, side = (dt, "right") if isinstance(train, Times) else (1, "left")
    place = measure_in_ticks(train, dt) if isinstance(train, Times) else moment
    by_place = np.argsort(place, kind="stable")
    ticks, samples, size = train.shape
    for start in starts:
        stop = max(start, min(start + chunk, ticks))
        bounds = np.array([start, stop])
        lo, hi = np.searchsorted(place, bounds, cast(Any, side), sorter=by_place)
        part = np.sort(by_place[lo:hi])  # back in the order of the train
        since = (place[part].astype(type(step)) - start) * step
        columns = (train[0][part], since.astype(moment.dtype), train[2][part], train[3][part])
        yield type(train)(*columns, (stop - start, samples, size))


def _make_header(graph: Graph, clock: Clock, record: Recording, state: State | None) -> _Header:
    """Return digests of a stream's arguments, without the stimulus."""
    precision = np.dtype(clock.dtype).name if isinstance(clock, Grid) else "float64"
    return _Header(
        dt=graph.dt,
        graph=digest_graph(graph),
        clock=f"{type(clock).__name__} {precision}",
        record=repr(record),
        state=digest(state),
    )


def _read_progress(folder: Path, header: _Header) -> _Progress | None:
    """Return the progress of a stream with this header; None if it has no complete chunk."""
    progress = _read_state(folder)
    if progress is None:
        return None
    stored, wanted = asdict(_read_header(folder)), asdict(header)
    differ = [key for key in wanted if stored[key] != wanted[key]]
    if differ:
        raise StreamError(
            f"{folder}: holds a stream with another {', '.join(differ)}; choose another folder"
        )
    return progress


def _read_state(folder: Path) -> _Progress | None:
    """Return the contents of state.safetensors, or None if it does not exist."""
    path = _name_state(folder)
    return cast(_Progress, _read(path, "state", _Progress)) if path.exists() else None


def _read_header(folder: Path) -> _Header:
    path = folder / "stream.json"
    try:
        return cast(_Header, convert(read_json(path), _Header))
    except SchemaError as error:
        raise StoreError(
            f"{path}: is not the header of a stream ({error}); simulate it again in another "
            "folder"
        ) from error


def _name_state(folder: Path) -> Path:
    return folder / "state.safetensors"


def _name_chunk(folder: Path, number: int) -> Path:
    return folder / f"chunk-{number:06}.safetensors"


def _list_chunks(folder: Path, progress: _Progress | None) -> list[Path]:
    """Return the files of all chunks, in order; raise a StreamError if a file is missing."""
    matches = {path: NAME.fullmatch(path.name) for path in sorted(folder.glob("chunk-*"))}
    odd = [path for path, match in matches.items() if match is None]
    if odd:
        raise StreamError(
            f"{odd[0]}: is not the name of a chunk, or is of an earlier version; move it away, "
            "or simulate the stream again in another folder"
        )
    numbers = [int(match[1]) for match in matches.values() if match]
    number = max([n + 1 for n in numbers] + [progress.chunks if progress else 0])
    wanted = [_name_chunk(folder, k) for k in range(number)]
    needed = wanted if number < 2 else [*wanted, _name_state(folder)]
    lost = [path for path in needed if not path.exists()]
    if lost:
        raise StreamError(f"{lost[0]}: is missing; {RESTORE}")
    return wanted


def _read_chunk(path: Path, number: int, history: str) -> _Chunk:
    """Return a chunk; raise a StreamError if its number or history differs."""
    chunk = cast(_Chunk, _read(path, "chunk", _Chunk))
    if chunk.number != number:
        raise StreamError(
            f"{path}: holds chunk {chunk.number}, not chunk {number}; put each chunk in its "
            "place, or simulate the stream again in another folder"
        )
    if chunk.history != history:
        raise StreamError(
            f"{path}: does not continue the chunks before it: it, one of them or stream.json "
            f"is of another stream; {RESTORE}"
        )
    return chunk


def _require_end(folder: Path, progress: _Progress, history: str) -> None:
    """Raise a StreamError if state.safetensors does not belong to the chunks before it."""
    if history != progress.history:
        raise StreamError(
            f"{_name_state(folder)}: is not the state at the end of "
            f"{_name_chunk(folder, progress.chunks - 1).name}: one of them is of another "
            f"stream; {RESTORE}"
        )


def _write(path: Path, kind: str, value: object) -> None:
    save_arrays(path, kind, *_encode(value))


def _read(path: Path, kind: str, cls: Any) -> Any:
    def decode(arrays: Arrays, plain: Any) -> Any:
        return convert(unflatten(plain, arrays, _TYPES), cls)

    return load_value(path, kind, decode, _encode)


def _encode(value: object) -> tuple[Arrays, Any]:
    plain, arrays = flatten(value)
    return arrays, plain
