"""The result of a simulation, the same for every executor.

The torch clock, the event engine, the integer reference and Lava all return a Record, so that
plots, energy, verification and tests are written once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Shaped

from neuro.base.arguments import make_type_error
from neuro.base.text import format_value
from neuro.spikes.trains import Events, Times, join


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Operations of one node over a whole run, summed over samples and ticks.

    spikes: spikes of the node (0 for connections).
    synaptic_events: (spike, target) pairs with a non-zero weight.
    synaptic_events_all: (spike, target) pairs, including those with a weight of zero.
    updates: neuron updates (0 for connections).
    macs: multiply-accumulates on a host instead of a chip: those of host nodes and GatedLIs.
    """

    spikes: int = 0
    synaptic_events: int = 0
    synaptic_events_all: int = 0
    updates: int = 0
    macs: int = 0


def sum_counts(parts: Iterable[Counts]) -> Counts:
    """Add up the operations of one node over several runs."""
    each = [vars(counts) for counts in parts]
    return Counts(**{key: sum(counts[key] for counts in each) for key in vars(Counts())})


@dataclass(frozen=True, kw_only=True)
class Record:
    """The activity of one network over T ticks and B samples.

    executor: "torch", "events", "integers" or "lava".
    spikes: the train of every Input and spiking population, by node name.
    values: the membrane of every read-out (LI or GatedLI), by node name, axes T B N.
    counts: operations, counted by the event engine only. :func:`neuro.energy.count` computes
        the same numbers from the spikes.
    times: the same spikes in continuous time, kept by the exact clock only; the values in
        ``spikes`` are then spike counts per tick.
    states: states of all populations after the requested ticks, by tick and node name, axes
        K B N (K state variables of the neuron's normal form).
    digest: digest of the Graph that ran (:func:`neuro.io.graph_digest.digest_graph`), which
        functions of a Record and a Graph compare. "" if unknown, as for spikes made by hand.
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
        kinds = (
            ("spikes", Events, "Events", "neuro.to_events(raster) makes them"),
            ("times", Times, "Times", "neuro.to_times(events, dt) makes them"),
            ("values", np.ndarray, "a NumPy array", "its axes are T B N"),
        )
        problems = [
            str(make_type_error(f"{part} of {name}", wanted, value, cure))
            for part, kind, wanted, cure in kinds
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
        """Raise a TypeError: a record has several entries for a node."""
        raise TypeError(
            f"a record has several entries for {name!r}; write record.spikes[{name!r}] for a "
            f"spiking population, record.values[{name!r}] for a read-out"
        )


class _ByName(dict[str, Any]):
    """One part of a record by node name; the error for a missing name lists the names.

    part: name of the field, such as "spikes".
    """

    def __init__(self, part: str, entries: Mapping[str, Any]) -> None:
        super().__init__(entries)
        self.part = part

    def __reduce__(self) -> tuple[Any, ...]:
        return _ByName, (self.part, dict(self))

    def __missing__(self, name: object) -> NoReturn:
        names = ", ".join(self) or "none"
        raise NoSuchNode(
            f"the record has no {self.part} of {name!r}, but of: {names}; {_CURES[self.part]}"
        )


class NoSuchNode(KeyError):
    """A record has no entry for a node name; the message lists the names that it does have."""

    def __str__(self) -> str:
        return str(self.args[0])


_CURES = {
    "spikes": "membranes of read-outs are in record.values; Recording selects what is kept",
    "values": "spikes are in record.spikes; Recording selects what is kept",
    "times": "clock=Exact() keeps them, of spiking populations",
}


def require_records(**records: object) -> None:
    """Raise a TypeError that names the argument, unless all arguments are Records."""
    for name, record in records.items():
        if not isinstance(record, Record):
            raise make_type_error(name, "a Record", record, "simulate returns (record, state)")


def concatenate(records: list[Record]) -> Record:
    """Concatenate records of the same network and T along the sample axis.

    Raises:
        TypeError: an element is not a Record.
        ValueError: the list is empty, or the records differ in executor, network, T or parts;
            the message lists how each record differs from the first.
    """
    if not records:
        raise ValueError("no records to join; give at least one")
    require_records(**{f"record {i}": r for i, r in enumerate(records)})
    first = records[0]
    differences = [
        f"record {i}: {difference}"
        for i, record in enumerate(records[1:], 1)
        for difference in _list_differences(first, record)
    ]
    if differences:
        head = "records to join must have one executor, network and number of ticks:"
        raise ValueError("\n".join([head, *differences]))
    return Record(
        executor=first.executor,
        ticks=first.ticks,
        samples=sum(r.samples for r in records),
        spikes={k: join([r.spikes[k] for r in records]) for k in first.spikes},
        values={k: np.concatenate([r.values[k] for r in records], 1) for k in first.values},
        counts={k: sum_counts(r.counts[k] for r in records) for k in first.counts},
        times={k: join([r.times[k] for r in records]) for k in first.times},
        states={
            tick: {k: np.concatenate([r.states[tick][k] for r in records], 1) for k in state}
            for tick, state in first.states.items()
        },
        digest=first.digest,
    )


def _list_differences(first: Record, record: Record) -> list[str]:
    """Explain why a record cannot be joined to the first one; each line has its cure."""
    differences = []
    if record.executor != first.executor:
        differences.append(
            f"is of {record.executor}, the first of {first.executor}; keep them apart"
        )
    if record.ticks != first.ticks:
        differences.append(
            f"has {record.ticks} ticks, the first {first.ticks}; run all for the same time: "
            "pad a shorter stimulus with silence"
        )
    if record.digest != first.digest:
        differences.append("is of another network; keep them apart, or run all on one Graph")
    for part in ("spikes", "values", "counts", "times", "states"):
        names, first_names = list(getattr(record, part)), list(getattr(first, part))
        if names != first_names:
            differences.append(
                f"has {part} of {names}, the first of {first_names}; use one Recording for all"
            )
    return differences
