"""The parts of a run that are recorded."""

from collections.abc import Iterable
from dataclasses import dataclass

from neuro.arguments import make_type_error
from neuro.graph import Graph
from neuro.units import Ticks


@dataclass(frozen=True)
class Recording:
    """The parts of a run to record in addition to the counts.

    spikes: Inputs and spiking populations whose spikes are kept, by name; None: all.
    values: LIs and GatedLIs whose membranes are kept, by name; None: all read-outs.
    states: the ticks [0 to T - 1] after which the state of all populations is kept.
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
    firing = [*graph.inputs, *graph.firing]
    problems = _unknown("spikes", recording.spikes or (), firing)
    problems += _unknown("values", recording.values or (), list(graph.integrators))
    problems += [
        f"states: tick {tick} is not one of 0 ... {ticks - 1}"
        for tick in recording.states
        if not 0 <= tick < ticks
    ]
    if problems:
        raise ValueError("\n".join(["the recording does not fit the graph:", *problems]))


def _unknown(field: str, names: Iterable[str], known: list[str]) -> list[str]:
    """Return a message for each name that is not known."""
    cure = f"use {', '.join(known)}" if known else "no node of the graph has"
    return [f"{field}: {n} has no {field}; {cure}" for n in names if n not in known]
