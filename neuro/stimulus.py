"""What can be wrong with the stimulus of a run: every problem, with its cure."""

from collections.abc import Mapping

import numpy as np

from neuro.graph import Graph
from neuro.spikes import Events


def require_inputs(graph: Graph, inputs: Mapping[str, Events]) -> None:
    """Raise one ValueError that lists all that is wrong with the stimulus, by node."""
    problems = _problems_of_names(graph, inputs)
    for name in graph.inputs:
        if name in inputs:
            problems += [f"{name}: {p}" for p in _problems_of_events(inputs[name])]
            size = inputs[name].shape[2]
            if size != graph.size(name):
                problems.append(
                    f"{name}: events of {size} neurons for an Input of {graph.size(name)}; "
                    "flatten its shape in C order"
                )
    problems += _problems_of_shapes(inputs)
    if problems:
        raise ValueError("\n".join(["the run cannot start:", *problems]))


def _problems_of_names(graph: Graph, inputs: Mapping[str, Events]) -> list[str]:
    known = ", ".join(graph.inputs)
    missing = [f"{n}: no events for this Input" for n in graph.inputs if n not in inputs]
    unknown = [
        f"{n}: not an Input of the graph; it has {known}"
        for n in inputs
        if n not in graph.inputs
    ]
    return missing + unknown


def _problems_of_shapes(inputs: Mapping[str, Events]) -> list[str]:
    sizes = {name: e.shape[:2] for name, e in inputs.items()}
    empty = [
        f"{name}: {ticks} ticks and {samples} samples; a run needs at least one of each"
        for name, (ticks, samples) in sizes.items()
        if ticks < 1 or samples < 1
    ]
    if len(set(sizes.values())) > 1:
        empty.append(f"inputs differ in (ticks, samples): {sizes}; give all the same")
    return empty


def _problems_of_events(events: Events) -> list[str]:
    columns = (events.sample, events.tick, events.neuron, events.value)
    lengths = [c.size for c in columns]
    if len(set(lengths)) > 1:
        return [f"columns of different length: sample, tick, neuron, value have {lengths}"]
    found = []
    ticks, samples, size = events.shape
    for what, column, limit in (
        ("sample", events.sample, samples),
        ("tick", events.tick, ticks),
        ("neuron", events.neuron, size),
    ):
        bad = np.flatnonzero((column < 0) | (column >= limit))
        if bad.size:
            found.append(
                f"{what} {column[bad[0]]} of event {bad[0]} is outside 0 ... {limit - 1} "
                f"({bad.size} such events); cut the train or enlarge its shape"
            )
    bad = np.flatnonzero(~np.isfinite(events.value))
    if bad.size:
        found.append(f"value {events.value[bad[0]]} of event {bad[0]} is not finite")
    if not found and not _rises(events):
        found.append(
            "events are not in strictly rising order of (sample, tick, neuron); sort them "
            "with np.lexsort, and add up those at the same place"
        )
    return found


def _rises(events: Events) -> bool:
    ticks, _, size = events.shape
    key = (events.sample.astype(np.int64) * ticks + events.tick) * size + events.neuron
    return bool(np.all(np.diff(key) > 0))
