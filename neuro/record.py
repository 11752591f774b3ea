"""The result of a simulation, the same for every executor.

The torch clock, the event engine, the integer reference and Lava all return a Record, so that
plots, energy, verification and tests are written once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np
from jaxtyping import Shaped

from neuro.arguments import make_type_error
from neuro.spikes import Events, Times, join


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


def require_records(**records: object) -> None:
    """Raise a TypeError, with the name of the argument, unless all are Records."""
    for name, record in records.items():
        if not isinstance(record, Record):
            cure = "simulate returns (record, state)"
            raise make_type_error(name, "a Record", record, cure)


def _kind(record: Record) -> tuple[object, ...]:
    """Return what records must have in common to be concatenated."""
    parts = (record.spikes, record.values, record.counts, record.times, record.states)
    return (record.executor, record.ticks, *(tuple(part) for part in parts))


def concatenate(records: list[Record]) -> Record:
    """Return records of the same network and T concatenated along the sample axis.

    Raises:
        TypeError: one of them is no Record.
        ValueError: there is none, or they are of different networks.
    """
    if not records:
        raise ValueError("no records to join; give one at least")
    require_records(**{f"record {i}": r for i, r in enumerate(records)})
    first = records[0]
    if len({_kind(r) for r in records}) != 1:
        raise ValueError(
            "only records of one executor, network and number of ticks can be joined"
        )
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
    )
