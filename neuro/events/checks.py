"""The errors for a state that does not fit the network, and for too many spikes."""

from typing import Any

import numpy as np

from neuro.events.grid.compile import Program
from neuro.events.grid.state import EngineState
from neuro.graph import Graph
from neuro.io.graph_digest import list_foreign
from neuro.neurons import has_normal_form
from neuro.spikes.record import Record


def require_state(program: Program, samples: int, state: object) -> EngineState:
    """Return ``state``; raise a ValueError unless it fits this program and these samples."""
    if not isinstance(state, EngineState):
        raise ValueError(
            f"Grid() continues from an EngineState, got {type(state).__name__}; start at rest "
            "(state=None), or run both parts with one clock"
        )
    graph = program.graph
    want: dict[str, object] = {
        name: (program.dtype.name, (4, samples, graph.size(name))) for name in graph.populations
    }
    have: dict[str, object] = {n: (v.dtype.name, v.shape) for n, v in state.neurons.items()}
    wires = (wire for wires in program.into.values() for wire in wires if wire.delay > 0)
    for wire in sorted(wires, key=lambda wire: wire.delay):  # the longest delay comes last
        want[f"pending {wire.edge}"] = (wire.delay, samples, graph.size(wire.edge.source))
    have |= {f"pending {edge}": events.shape for edge, events in state.pending.items()}
    problems = list_foreign(graph, state.digest) + [
        f"{name}: the state has {have.get(name)}, the run needs {want.get(name)}"
        for name in sorted(want.keys() | have.keys())
        if want.get(name) != have.get(name)
    ]
    for name, values in state.neurons.items():
        if want.get(name) != have[name]:
            continue
        wait = values[3] if has_normal_form(graph.nodes[name]) else np.zeros(1)
        most = getattr(getattr(program.parts[name], "neurons", None), "refractory", 0)
        if not np.isfinite(values).all():
            problems.append(f"{name}: the state is not finite")
        elif ((wait < 0) | (wait > most) | (wait != np.floor(wait))).any():
            problems.append(
                f"{name}: the rest of refractory periods must be whole ticks from 0 to {most}"
            )
    if problems:
        cure = "continue with the same graph, samples and dtype, or start at rest"
        raise ValueError("\n".join([f"the state does not fit; {cure}:", *problems]))
    return state


class Runaway(RuntimeError):
    """A run had more spikes than its budget; :func:`make_runaway_error` makes the error.

    record: the run up to the point where it was stopped, of the samples that ran together then.
    """

    def __init__(self, message: str, record: Record) -> None:
        super().__init__(message)
        self.record = record

    def __reduce__(self) -> tuple[Any, ...]:
        return Runaway, (str(self), self.record)


def make_runaway_error(graph: Graph, record: Record, budget: int) -> Runaway:
    """Return the error for a run that had more spikes than its budget or buffers allow."""
    spikes = {n: record.counts[n].spikes for n in graph.populations}
    name = max(spikes, key=lambda n: spikes[n])
    seconds = graph.size(name) * record.samples * record.ticks * graph.dt
    within = sum(spikes.values()) <= budget
    limit = "16 spikes per neuron in one window" if within else f"{budget} spikes"
    return Runaway(
        f"more than {limit} by tick {record.ticks}: {name} fired most, "
        f"{spikes[name]} spikes, or {spikes[name] / seconds:.4g} Hz per neuron; lower the "
        "weights that excite it, raise its threshold, "
        + ("or shorten Exact.window" if within else "or raise the budget of the clock"),
        record,
    )
