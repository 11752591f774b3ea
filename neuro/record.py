"""The result of a simulation, the same for every executor.

The torch clock, the event engine, the integer reference and Lava all return a Record, so that
plots, energy, verification and tests are written once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Shaped

from neuro.arguments import make_type_error
from neuro.spikes import Events, Times, join
from neuro.text import format_value


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Operations of one node over a whole run, summed over samples and ticks.

    spikes: spikes that the node emitted (0 for connections).
    synaptic_events: (spike, target) pairs with a weight that is not zero.
    synaptic_events_all: the same, weights of zero included.
    updates: neuron updates that were computed (0 for connections).
    macs: multiply-accumulates of a host, not of a chip: those of host nodes and GatedLIs.
    """

    spikes: int = 0
    synaptic_events: int = 0
    synaptic_events_all: int = 0
    updates: int = 0
    macs: int = 0


@dataclass(frozen=True, kw_only=True)
class Record:
    """The activity of one network over T ticks and B samples.

    executor: which executor computed it: "torch", "events", "integers" or "lava".
    spikes: the train of every Input and spiking population, by node name.
    values: the membrane of every read-out (LI or GatedLI), by node name, axes T B N.
    counts: operations counted by the executor; only the event engine counts them. The same
        numbers follow from the spikes alone by :func:`neuro.energy.count`.
    times: the same spikes in continuous time, with the engine's exact clock only; the values in
        ``spikes`` are then numbers of spikes in a tick.
    states: the states of all populations after the requested ticks, by tick and node name,
        axes K B N (K state variables of the neuron's normal form).
    digest: of the Graph that ran (:func:`neuro.io.graph_digest.digest_graph`), to which whoever
        takes both holds it; "": nobody said, as of spikes made by hand.
    """

    executor: str
    ticks: int
    samples: int
    spikes: Mapping[str, Events]
    values: Mapping[str, Shaped[np.ndarray, "T B N"]]
    counts: Mapping[str, Counts] = field(default_factory=dict)
    times: Mapping[str, Times] = field(default_factory=dict)
    states: Mapping[int, Mapping[str, Shaped[np.ndarray, "K B _"]]] = field(
        default_factory=dict
    )
    digest: str = ""

    def __post_init__(self) -> None:
        held = (
            ("spikes", Events, "Events", "neuro.to_events(raster) makes them"),
            ("times", Times, "Times", "neuro.to_times(events, dt) makes them"),
            ("values", np.ndarray, "a NumPy array", "its axes are T B N"),
        )
        problems = [
            str(make_type_error(f"{part} of {name}", wanted, value, cure))
            for part, kind, wanted, cure in held
            for name, value in getattr(self, part).items()
            if not isinstance(value, kind)
        ]
        if problems:
            raise TypeError("\n".join(problems))
        for part in ("spikes", "values", "times"):
            object.__setattr__(self, part, _ByName(part, getattr(self, part)))

    def __repr__(self) -> str:
        spikes = ", ".join(f"{n} {e.tick.size:,}" for n, e in self.spikes.items())
        values = ", ".join(f"{n} {format_value(v)}" for n, v in self.values.items())
        parts = (
            f"spikes: {spikes or 'none'}",
            f"values: {values or 'none'}",
            *(name for name in ("counts", "times", "states") if getattr(self, name)),
        )
        size = f"{self.executor}, {self.ticks} ticks, {self.samples} samples"
        return f"Record({size}; {'; '.join(parts)})"

    def __getitem__(self, name: object) -> NoReturn:
        """Raise a TypeError: a record holds several things of a node."""
        raise TypeError(
            f"a record holds several things of {name!r}; write record.spikes[{name!r}] of what "
            f"fires, record.values[{name!r}] of a read-out"
        )


class _ByName(dict[str, Any]):
    """What a record holds of nodes, by name; a name that is not there is told with the others.

    part: of the record, "spikes", say.
    """

    def __init__(self, part: str, held: Mapping[str, Any]) -> None:
        super().__init__(held)
        self.part = part

    def __reduce__(self) -> tuple[Any, ...]:
        return _ByName, (self.part, dict(self))

    def __missing__(self, name: object) -> NoReturn:
        there = ", ".join(self) or "none"
        raise NoSuchNode(
            f"the record has no {self.part} of {name!r}, but of: {there}; {_CURES[self.part]}"
        )


class NoSuchNode(KeyError):
    """A record holds nothing of a node of that name; says of which it does."""

    def __str__(self) -> str:
        return str(self.args[0])


_CURES = {
    "spikes": "the membrane of a read-out is in record.values, and Recording says what is kept",
    "values": "what fires is in record.spikes, and Recording says what is kept",
    "times": "they are kept under clock=Exact(), of what fires",
}


def require_records(**records: object) -> None:
    """Raise a TypeError, with the name of the argument, unless all are Records."""
    for name, record in records.items():
        if not isinstance(record, Record):
            cure = "simulate returns (record, state)"
            raise make_type_error(name, "a Record", record, cure)


def concatenate(records: list[Record]) -> Record:
    """Return records of the same network and T concatenated along the sample axis.

    Raises:
        TypeError: one of them is no Record.
        ValueError: there is none; they are of several executors, networks or T, or hold
            different parts; says how each of those differs from the first.
    """
    if not records:
        raise ValueError("no records to join; give one at least")
    require_records(**{f"record {i}": r for i, r in enumerate(records)})
    first = records[0]
    found = [
        f"record {i}: {told}"
        for i, other in enumerate(records[1:], 1)
        for told in _list_differences(first, other)
    ]
    if found:
        head = "records that are joined must be of one executor, network and number of ticks:"
        raise ValueError("\n".join([head, *found]))
    counts: dict[str, Counts] = {}
    for name in first.counts:
        parts = [r.counts[name] for r in records]
        totals = {f.name: sum(getattr(c, f.name) for c in parts) for f in fields(Counts)}
        counts[name] = Counts(**totals)
    return Record(
        executor=first.executor,
        ticks=first.ticks,
        samples=sum(r.samples for r in records),
        spikes={k: join([r.spikes[k] for r in records]) for k in first.spikes},
        values={k: np.concatenate([r.values[k] for r in records], 1) for k in first.values},
        counts=counts,
        times={k: join([r.times[k] for r in records]) for k in first.times},
        states={
            tick: {k: np.concatenate([r.states[tick][k] for r in records], 1) for k in state}
            for tick, state in first.states.items()
        },
        digest=first.digest,
    )


def _list_differences(first: Record, other: Record) -> list[str]:
    """Return why a record cannot be joined to the first one, each with its cure."""
    found = []
    if other.executor != first.executor:
        found.append(f"is of {other.executor}, the first of {first.executor}; keep them apart")
    if other.ticks != first.ticks:
        found.append(
            f"has {other.ticks} ticks, the first {first.ticks}; run all for as long, a shorter "
            "stimulus with ticks of silence behind it"
        )
    if other.digest != first.digest:
        found.append("is of another network; keep them apart, or run all on one Graph")
    for part in ("spikes", "values", "counts", "times", "states"):
        mine, its = list(getattr(first, part)), list(getattr(other, part))
        if mine != its:
            found.append(f"has {part} of {its}, the first of {mine}; record the same of all")
    return found
