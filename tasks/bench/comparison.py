"""Cases of a benchmark: subjects that do the same, and which of them stand side by side."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from tasks.bench.harness import Build, Measured, measure
from tasks.bench.rows import Row, processor, versions

PACKAGES = {
    "NEST": ("nest-simulator",),
    "Brian2": ("brian2",),
    "SpikingJelly": ("spikingjelly", "torch"),
    "Norse": ("norse", "torch"),
    "snnTorch": ("snntorch", "torch"),
    "torch": ("torch",),
}  # by the first word of a subject: what its speed depends on
BOUND = "scatter-add"


class Pair(NamedTuple):
    """One of ours beside the fastest of some of theirs. target: the least ratio."""

    ours: str
    theirs: tuple[str, ...]
    target: float | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """Subjects that are timed together.

    unit: of the times, each divided by ``per``. cell_seconds: cells times simulated seconds,
    by which spikes become rates; 0: they do not. clock: which time is compared.
    conditions: what else a row says.
    """

    name: str
    subjects: Mapping[str, Build]
    pairs: tuple[Pair, ...]
    unit: str
    per: float
    cell_seconds: float = 0.0
    threads: int = 1
    clock: Literal["cpu", "wall"] = "cpu"
    conditions: Mapping[str, Any] = field(default_factory=dict)


def compared(case: Case, repeats: int) -> list[Row]:
    """Measure a case; return a row a pair, also where one of the two could not be measured."""
    found = measure(case.subjects, repeats, case.threads)
    return [_row(case, pair, found, repeats) for pair in case.pairs]


def fastest(names: Iterable[str], found: Mapping[str, Measured], clock: str) -> str:
    """Return the fastest of those that ran, else the first."""
    names = tuple(names)
    ran = [name for name in names if found[name].runs]
    return min(ran, key=lambda name: found[name].best(clock)) if ran else names[0]


def machine(peer: str) -> dict[str, Any]:
    """Return what a row says about this machine, and of the versions of both sides."""
    packages = PACKAGES.get(peer.split()[0], ())
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "versions": versions(*packages),
    }


def _row(case: Case, pair: Pair, found: Mapping[str, Measured], repeats: int) -> Row:
    peer = fastest(pair.theirs, found, case.clock)
    sides = {"ours": found[pair.ours], "theirs": found[peer]}
    times = {k: m.best(case.clock) / case.per if m.runs else None for k, m in sides.items()}
    ours, theirs = times["ours"], times["theirs"]
    problems = [
        f"{name}: {m.problem}"
        for name, m in zip((pair.ours, peer), sides.values(), strict=True)
        if m.problem
    ]
    return Row(
        case=case.name,
        subject=pair.ours,
        peer=peer,
        unit=case.unit,
        ours=ours,
        theirs=theirs,
        ratio=None if ours is None or theirs is None else theirs / ours,
        note="; ".join(problems),
        conditions={
            **case.conditions,
            **({"target": pair.target} if pair.target is not None else {}),
            "time": f"{case.clock}, best of {repeats}",
            "threads": case.threads,
            **_activity(case, found[pair.ours]),
            **{k: _about(case, m) for k, m in sides.items()},
            **_work(case, found, pair.ours),
            **machine(peer),
        },
    )


def _activity(case: Case, ours: Measured) -> dict[str, Any]:
    if not case.cell_seconds or not ours.runs:
        return {}
    return {"activity": {"value": ours.runs[0].counted / case.cell_seconds, "unit": "Hz"}}


def _about(case: Case, measured: Measured) -> dict[str, Any]:
    """Return what is known of one side beside its time."""
    if not measured.runs:
        return {}
    spikes = measured.runs[0].counted
    about: dict[str, Any] = {"spikes": spikes}
    if case.cell_seconds:
        about["rate"] = spikes / case.cell_seconds
    return {
        **about,
        **{
            clock: {
                "best": measured.best(clock) / case.per,
                "median": measured.median(clock) / case.per,
            }
            for clock in ("cpu", "wall")
        },
        "build_seconds": measured.built,
    }


def _work(case: Case, found: Mapping[str, Measured], ours: str) -> dict[str, float]:
    """Return synaptic events a second, and which share that is of the additions alone."""
    if not found[ours].runs or not found[ours].runs[0].events:
        return {}
    speed = _speed(found[ours], case.clock)
    work = {"synaptic_events_per_second": speed}
    if BOUND in found and found[BOUND].runs and case.threads == 1:
        work["share_of_bound"] = speed / _speed(found[BOUND], case.clock)
    return work


def _speed(measured: Measured, clock: str) -> float:
    return measured.runs[0].events / measured.best(clock)
