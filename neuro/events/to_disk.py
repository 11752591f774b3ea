"""Runs longer than memory: simulated piece by piece into a folder, and read back from it.

A run in parts equals one run, so a stream is a loop: each piece of stimulus starts from the
state that the one before it left. What is whole on disk stays readable, whatever happens next.

stream.json            what was asked: graph, clock, recording and first state, as digests
chunk-000000.npz ...   the Record of each piece; its ticks count from its own first one
state.npz              where the last whole chunk stopped

Axes: T ticks, B samples, N neurons of a node in C order of its shape.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from neuro.events import Clock, EngineState, Grid, Recording, simulate
from neuro.events.exact.state import ExactState, Pending
from neuro.graph import Edge, Graph
from neuro.io.pytree import digest, flatten, unflatten
from neuro.io.store import StoreError, load_arrays, read_json, save_arrays, write_json
from neuro.neurons.normal_form import as_array
from neuro.record import Counts, Record
from neuro.spikes import Events, Times, Train
from neuro.units import Seconds, Ticks

Piece = Mapping[str, Events | Times]
State = EngineState | ExactState


class StreamError(ValueError):
    """A folder holds another stream than the one asked for; says what differs."""


class _Stop(NamedTuple):
    """Where a stream stands: whole chunks, their ticks, the last one's stimulus, the state."""

    chunks: int
    ticks: int
    stimulus: str
    state: State | None


_TYPES = (Record, Counts, Events, Times, Edge, EngineState, ExactState, Pending, _Stop)
_ASKED = {"dt", "graph", "clock", "record", "state"}


@dataclass(frozen=True)
class Stream:
    """What a folder holds; iterating yields the Record of each whole chunk, in order.

    folder: as given to :func:`simulate_to_disk`, which may still be writing. dt: [s].

    Only one chunk is in memory at a time, beside what is asked for.
    """

    folder: Path
    dt: Seconds

    def __len__(self) -> int:
        return len(self._paths())

    def __iter__(self) -> Iterator[Record]:
        for path in self._paths():
            yield cast(Record, _read(path, "chunk"))

    def spikes(self, name: str) -> Events:
        """Return the spikes of one node in the whole run."""
        return _one_train([(r.spikes[name], r.ticks) for r in self], 1)

    def times(self, name: str) -> Times:
        """Return the spikes of one node in the whole run, in continuous time [s]."""
        return _one_train([(r.times[name], r.ticks) for r in self], self.dt)

    def values(self, name: str) -> Shaped[np.ndarray, "T B N"]:
        """Return the values of one read-out in the whole run."""
        return np.concatenate([r.values[name] for r in self])

    def counts(self) -> dict[str, Counts]:
        """Return the operations of the whole run, by node."""
        totals: dict[str, Counts] = {}
        for record in self:
            for name, counts in record.counts.items():
                before = vars(totals.get(name, Counts()))
                totals[name] = Counts(**{k: before[k] + n for k, n in vars(counts).items()})
        return totals

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("chunk-*.npz"))


def open_stream(folder: Path) -> Stream:
    """Return the stream of a folder.

    Raises:
        StoreError: there is none, or stream.json is damaged.
    """
    return Stream(folder, Seconds(_asked_before(folder)["dt"]))


def simulate_to_disk(
    graph: Graph,
    pieces: Iterable[Piece],
    folder: Path,
    clock: Clock = Grid(),  # noqa: B008
    *,
    state: State | None = None,
    record: Recording = Recording(),  # noqa: B008
) -> Stream:
    """Run a network piece by piece, or go on with a stream that was interrupted.

    Args:
        graph: the network.
        pieces: the stimulus of one chunk after the other: from :func:`cut`, or generated as
            the run goes. To go on with a stream, give all of them again from the first.
        folder: of this stream alone.
        clock: as of :func:`neuro.events.simulate`.
        state: what the first piece starts from; None: at rest.
        record: what to keep; ticks of ``record.states`` count from the start of the stream.

    Returns:
        The stream; the same as one run of all pieces: bit for bit on the grid, and under the
        exact clock but for the rounding of times that count from another tick.

    Raises:
        StreamError: the folder holds a stream of something else.
        ValueError: a piece does not fit the graph.
        Runaway: too many spikes in one chunk; those before it are on disk.
    """
    asked = _asked(graph, clock, record, state)
    stop = _begun(folder, asked) or _Stop(0, 0, "", state)
    done = stop.chunks
    seen = -1
    for seen, piece in enumerate(pieces):
        if seen < done:
            if seen == done - 1 and digest(dict(piece)) != stop.stimulus:
                raise StreamError(f"{folder}: chunk {seen} was made from another stimulus")
            continue
        length = next(iter(piece.values())).shape[0]
        kept = replace(record, states=_within(record.states, stop.ticks, length))
        found, after = simulate(graph, piece, clock, state=stop.state, record=kept)
        stop = _Stop(seen + 1, stop.ticks + length, digest(dict(piece)), after)
        write_json(folder / "stream.json", asked)
        _write(folder / f"chunk-{seen:06}.npz", "chunk", found)
        _write(folder / "state.npz", "state", stop)
    if seen + 1 < done:
        raise StreamError(
            f"{folder}: holds {done} chunks, and only {seen + 1} pieces were given"
        )
    return Stream(folder, graph.dt)


def stopped(folder: Path) -> State | None:
    """Return the state after the last whole chunk."""
    return cast(_Stop, _read(folder / "state.npz", "state")).state


def cut(inputs: Piece, chunk: Ticks, dt: Seconds) -> Iterator[Piece]:
    """Yield a stimulus in pieces of ``chunk`` ticks of ``dt`` [s]; the last may be shorter."""
    if chunk < 1:
        raise ValueError(f"chunk must be >= 1 tick, got {chunk}; 1000 is usual")
    ends = [train.shape[0] for train in inputs.values()]
    starts = range(0, max(ends, default=0), chunk)
    trains = (_slices(train, starts, chunk, dt) for train in inputs.values())
    for parts in zip(*trains, strict=True):
        yield dict(zip(inputs, parts, strict=True))


def _slices(train: Events | Times, starts: range, chunk: int, dt: Seconds) -> Iterator[Any]:
    """Yield the spikes of ``chunk`` ticks from each start on, counted from there."""
    moment = np.asarray(train[1])
    by_moment = np.argsort(moment, kind="stable")
    # Tick k is (k dt, (k + 1) dt]: a time at the end of a chunk is the last of that chunk.
    step, side = (dt, "right") if isinstance(train, Times) else (1, "left")
    ticks, samples, size = train.shape
    for start in starts:
        stop = max(start, min(start + chunk, ticks))
        bounds = np.array([start, stop]) * step
        lo, hi = np.searchsorted(moment, bounds, cast(Any, side), sorter=by_moment)
        some = np.sort(by_moment[lo:hi])  # back in the order of the train
        columns = (train[0][some], moment[some] - start * step, train[2][some], train[3][some])
        yield type(train)(*columns, (stop - start, samples, size))


def _one_train(trains: list[tuple[Train, int]], step: int | float) -> Train:
    """Return trains that follow each other, each with its ticks, as one."""
    starts = np.cumsum([0, *(ticks for _, ticks in trains)])
    moments = [
        t[1] + start * step for (t, _), start in zip(trains, starts.tolist(), strict=False)
    ]
    sample, neuron, value = (np.concatenate([t[i] for t, _ in trains]) for i in (0, 2, 3))
    order = np.argsort(sample, kind="stable")  # within a sample, time already rises
    columns = (sample, np.concatenate(moments), neuron, value)
    shape = (int(starts[-1]), *trains[0][0].shape[1:])
    whole: Train = cast(Any, type(trains[0][0]))(*(c[order] for c in columns), shape)
    return whole


def _within(ticks: tuple[int, ...], start: int, length: int) -> tuple[int, ...]:
    return tuple(t - start for t in ticks if start <= t < start + length)


def _asked(
    graph: Graph, clock: Clock, record: Recording, state: State | None
) -> dict[str, Any]:
    """Return what decides every bit of a stream, beside its stimulus."""
    precision = np.dtype(clock.dtype).name if isinstance(clock, Grid) else "float64"
    return {
        "dt": graph.dt,
        "graph": digest((_values(graph), graph.edges, graph.dt)),
        "clock": f"{type(clock).__name__} {precision}",
        "record": repr(record),
        "state": digest(state),
    }


def _values(graph: Graph) -> dict[str, Any]:
    """Return the parameters of all nodes; a surrogate only matters in training."""
    return {
        name: (
            type(node).__name__,
            {f.name: _value(getattr(node, f.name)) for f in fields(node)},
        )
        for name, node in graph.nodes.items()
    }


def _value(value: Any) -> Any:
    if isinstance(value, Tensor):
        return as_array(value)
    return None if callable(value) else value


def _begun(folder: Path, asked: dict[str, Any]) -> _Stop | None:
    """Return where the stream of a folder stands; None where none has a whole chunk."""
    if not (folder / "state.npz").exists():
        return None
    found = _asked_before(folder)
    differ = [key for key in asked if found[key] != asked[key]]
    if differ:
        raise StreamError(
            f"{folder}: holds a stream of another {', '.join(differ)}; choose another folder"
        )
    return cast(_Stop, _read(folder / "state.npz", "state"))


def _asked_before(folder: Path) -> dict[str, Any]:
    path = folder / "stream.json"
    found = read_json(path)
    if not isinstance(found, dict) or not _ASKED.issubset(found):
        raise StoreError(f"{path}: is no header of a stream; simulate it again, elsewhere")
    return found


def _write(path: Path, kind: str, value: object) -> None:
    plain, arrays = flatten(value)
    save_arrays(path, kind, arrays, plain)


def _read(path: Path, kind: str) -> Any:
    arrays, plain = load_arrays(path, kind)
    try:
        return unflatten(plain, arrays, _TYPES)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: does not hold a whole {kind} ({error!r})") from error
