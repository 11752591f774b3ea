"""The two clocks of the event engine with their settings, and what a run records."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neuro.base.arguments import is_real, make_type_error, require_whole
from neuro.base.units import Seconds, Ticks
from neuro.graph import Graph
from neuro.graph.poisson import find_tables


@dataclass(frozen=True)
class Grid:
    """Run in ticks of the graph's dt, with the same result as the torch clock.

    dtype: precision of membranes and sums, float64 or float32.
    stretch: most ticks for which a node is computed at a time [ticks]; bounds the memory.
    threads: number of threads that share the neurons of a loop of populations.
    budget: most spikes of all populations in a run; a run with more raises Runaway.
    """

    dtype: type[np.float32 | np.float64] = np.float64
    stretch: int = 128
    threads: int = 1
    budget: int = 10**9

    def __post_init__(self) -> None:
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(
                f"Grid.dtype must be np.float32 or np.float64, got {self.dtype!r}; "
                "float64 is usual"
            )
        _require_at_least_one("Grid", "stretch", self.stretch, "tick; 128 is usual")
        _require_at_least_one("Grid", "threads", self.threads, "thread; 1 is usual")
        _require_at_least_one("Grid", "budget", self.budget, "spike; 10**9 is usual")


@dataclass(frozen=True)
class Exact:
    """Run in continuous time, in float64: a spike is a threshold crossing, even between ticks.

    window: look-ahead window of a loop [s], at most the least delay inside the loop; None uses
        that least delay.
    driver: "window" runs loops in look-ahead windows; "heap" runs them event by event and also
        supports loops without delays; "auto" uses windows if there is a delay.
    threads: number of threads that share the target neurons of a network.
    budget: most spikes of all populations in a run; a run with more raises Runaway.
    """

    window: Seconds | None = None
    driver: Literal["auto", "window", "heap"] = "auto"
    threads: int = 1
    budget: int = 10**8

    def __post_init__(self) -> None:
        if self.window is not None and not is_real(self.window):
            cure = "1 ms is 1e-3; None: the least delay"
            raise make_type_error("Exact.window", "a number of seconds", self.window, cure)
        if self.window is not None and not 0 < float(self.window) < np.inf:
            raise ValueError(
                f"Exact.window must be > 0 s and finite, got {self.window}; None: the least "
                "delay"
            )
        if self.driver not in ("auto", "window", "heap"):
            raise ValueError(
                f"Exact.driver must be 'auto', 'window' or 'heap', got {self.driver!r}"
            )
        _require_at_least_one("Exact", "threads", self.threads, "thread; 1 is usual")
        _require_at_least_one("Exact", "budget", self.budget, "spike; 10**8 is usual")


Clock = Grid | Exact
BYTES_PER_SPIKE = 40  # bytes per spike of a source: as drawn, and as an event


def _require_at_least_one(clock: str, field: str, value: int, cure: str) -> None:
    require_whole(f"{clock}.{field}", value, f"at least 1 {cure}")
    if value < 1:
        raise ValueError(f"{clock}.{field} must be >= 1, got {value} {cure}")


@dataclass(frozen=True)
class Recording:
    """The parts of a run to record in addition to the counts.

    spikes: names of the Inputs and spiking populations whose spikes are kept; None: all.
    values: names of the LIs and GatedLIs whose membranes are kept; None: all read-outs.
    states: ticks [0 to T - 1] after which the states of all populations are kept.
    """

    spikes: tuple[str, ...] | None = None
    values: tuple[str, ...] | None = None
    states: tuple[Ticks | int, ...] = ()

    def keeps_spikes(self, name: str) -> bool:
        """Return whether the spikes of this Input or population are kept."""
        return self.spikes is None or name in self.spikes

    def keeps_values(self, graph: Graph, name: str) -> bool:
        """Return whether the membranes of this LI or GatedLI are kept."""
        return name in (graph.readouts if self.values is None else self.values)


def measure_draws(graph: Graph, recording: Recording, ticks: int) -> dict[str, int]:
    """Return how many bytes the recorded spikes of Poisson nodes take, by content.

    ticks: number of ticks of all samples together.
    """
    return {
        f"the spikes of {name}": int(
            BYTES_PER_SPIKE * find_tables(graph, name)[0].spikes * ticks
        )
        for name in graph.poisson
        if recording.keeps_spikes(name)
    }


def require_recording(recording: Recording, graph: Graph, ticks: int) -> None:
    """Raise a TypeError or ValueError unless a Recording fits a run of ``ticks`` ticks."""
    if not isinstance(recording, Recording):
        cure = 'for example Recording(spikes=("hidden",))'
        raise make_type_error("record", "a Recording", recording, cure)
    if recording == Recording():
        return
    for field in ("spikes", "values"):
        names = getattr(recording, field)
        if isinstance(names, str):
            cure = f"write {field}=({names!r},)"
            raise make_type_error(f"Recording.{field}", "a tuple of names", names, cure)
    problems = _unknown("spikes", recording.spikes or (), [*graph.sources, *graph.firing])
    problems += _unknown("values", recording.values or (), list(graph.integrators))
    problems += [
        f"states: tick {tick} is not one of 0 ... {ticks - 1}"
        for tick in recording.states
        if not 0 <= tick < ticks
    ]
    if problems:
        raise ValueError("\n".join(["the recording does not fit the graph:", *problems]))


def _unknown(field: str, names: Iterable[str], known: list[str]) -> list[str]:
    """Return a message for each name that is not among the known ones."""
    cure = f"use {', '.join(known)}" if known else "no node of the graph has"
    return [f"{field}: {n} has no {field}; {cure}" for n in names if n not in known]
