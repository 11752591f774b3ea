"""Cases of a benchmark: subjects with the same work, and the pairs that are compared."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from tasks.bench.harness import Build, Measurement, measure
from tasks.bench.rows import Row, find_ratio, list_versions, name_processor

PACKAGES = {
    "NEST": ("nest-simulator",),
    "Brian2": ("brian2",),
    "SpikingJelly": ("spikingjelly", "torch"),
    "Norse": ("norse", "torch"),
    "snnTorch": ("snntorch", "torch"),
    "torch": ("torch",),
    "litespark": ("litespark-inference",),
    "Lava": ("lava-nc",),
    "torch.compile": ("torch",),
}  # first word of a subject -> packages that determine its speed
BOUND = "scatter-add"


MEMORY = "its peak memory needs the /proc of Linux"


class Pair(NamedTuple):
    """One of our subjects beside the best of some peers.

    target: smallest ratio that we aim for. by: compare time, or the memory that a run needs.
    """

    ours: str
    theirs: tuple[str, ...]
    target: float | None = None
    by: Literal["time", "memory"] = "time"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Subjects that are timed together.

    unit: of the times, each divided by ``per``. clock: the time that is compared.
    cell_seconds: neurons times simulated seconds, which turns spikes into rates; 0: no rates.
    conditions: further conditions in a row.
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


def measure_case(case: Case, repeats: int) -> list[Row]:
    """Measure a case; return one row per pair, even if one of the two could not be measured."""
    measurements = measure(case.subjects, repeats, case.threads)
    return [_row(case, pair, measurements, repeats) for pair in case.pairs]


def find_best(names: Iterable[str], values: Mapping[str, float | None]) -> str:
    """Return the name with the smallest value; the first name if none has a value."""
    names = tuple(names)
    known = [(value, name) for name in names if (value := values[name]) is not None]
    return min(known)[1] if known else names[0]


def describe_machine(peer: str) -> dict[str, Any]:
    """Return the description of this machine and the versions of both sides, for a row."""
    packages = PACKAGES.get(peer.split()[0].rstrip(","), ())
    return {
        "processor": name_processor(),
        "cores": os.cpu_count(),
        "versions": list_versions(*packages),
    }


def _row(case: Case, pair: Pair, measurements: Mapping[str, Measurement], repeats: int) -> Row:
    timed = pair.by == "time"
    measured = {name: measurements[name] for name in (pair.ours, *pair.theirs)}
    if timed:
        values = {
            n: m.best(case.clock) / case.per if m.runs else None for n, m in measured.items()
        }
    else:
        values = {n: None if m.grown is None else m.grown / 1e6 for n, m in measured.items()}
    peer = find_best(pair.theirs, values)
    about = {
        side: _about(case, measurements[name])
        for side, name in (("ours", pair.ours), ("theirs", peer))
    }
    rated = "rate" in about["ours"]
    ours, theirs = values[pair.ours], values[peer]
    problems = {name: measurements[name].problem for name in (pair.ours, peer)}
    if not timed:
        problems |= {n: MEMORY for n in problems if measurements[n].runs and values[n] is None}
    how = {"time": f"{case.clock}, best of {repeats}"} if timed else {"memory": "peak, grown"}
    return Row(
        case=case.name if timed else f"{case.name}, peak memory",
        subject=pair.ours,
        peer=peer,
        unit=case.unit if timed else "MB",
        ours=ours,
        theirs=theirs,
        ratio=find_ratio(ours, theirs),
        note="; ".join(f"{name}: {why}" for name, why in problems.items() if why),
        conditions={
            **case.conditions,
            **({"target": pair.target} if pair.target is not None else {}),
            **how,
            "threads": case.threads,
            **({"activity": {"value": about["ours"]["rate"], "unit": "Hz"}} if rated else {}),
            **about,
            **_work(case, measurements, pair.ours),
            **describe_machine(peer),
        },
    )


def _about(case: Case, measured: Measurement) -> dict[str, Any]:
    """Return the measured values of one side besides its time."""
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
        **({} if measured.grown is None else {"grown_bytes": measured.grown}),
    }


def _work(case: Case, measurements: Mapping[str, Measurement], ours: str) -> dict[str, float]:
    """Return synaptic events per second, and their share of the rate of additions alone."""
    if not measurements[ours].runs or not measurements[ours].runs[0].events:
        return {}
    speed = _speed(measurements[ours], case.clock)
    work = {"synaptic_events_per_second": speed}
    if BOUND in measurements and measurements[BOUND].runs and case.threads == 1:
        work["share_of_bound"] = speed / _speed(measurements[BOUND], case.clock)
    return work


def _speed(measured: Measurement, clock: str) -> float:
    return measured.runs[0].events / measured.best(clock)
