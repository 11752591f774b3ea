"""What can be wrong with the stimulus of a run: every problem, with its cure."""

from collections.abc import Mapping

import numpy as np

from neuro.graph.graph import Graph
from neuro.spikes import Events, Times
from neuro.units import Seconds


def require_inputs(graph: Graph, inputs: Mapping[str, Events | Times]) -> None:
    """Raise one ValueError that lists all that is wrong with the stimulus, by node."""
    problems = _problems_of_names(graph, inputs)
    for name in graph.inputs:
        if name in inputs:
            problems += [f"{name}: {p}" for p in _problems_of_train(inputs[name], graph.dt)]
            size = inputs[name].shape[2]
            if size != graph.size(name):
                problems.append(
                    f"{name}: events of {size} neurons for an Input of {graph.size(name)}; "
                    "flatten its shape in C order"
                )
    problems += _problems_of_shapes(inputs)
    if problems:
        raise ValueError("\n".join(["the run cannot start:", *problems]))


def _problems_of_names(graph: Graph, inputs: Mapping[str, Events | Times]) -> list[str]:
    known = ", ".join(graph.inputs)
    missing = [f"{n}: no events for this Input" for n in graph.inputs if n not in inputs]
    unknown = [
        f"{n}: not an Input of the graph; it has {known}"
        for n in inputs
        if n not in graph.inputs
    ]
    return missing + unknown


def _problems_of_shapes(inputs: Mapping[str, Events | Times]) -> list[str]:
    sizes = {name: e.shape[:2] for name, e in inputs.items()}
    empty = [
        f"{name}: {ticks} ticks and {samples} samples; a run needs at least one of each"
        for name, (ticks, samples) in sizes.items()
        if ticks < 1 or samples < 1
    ]
    if len(set(sizes.values())) > 1:
        empty.append(f"inputs differ in (ticks, samples): {sizes}; give all the same")
    return empty


def _problems_of_train(train: Events | Times, dt: Seconds) -> list[str]:
    columns = train[:4]
    lengths = [c.size for c in columns]
    when = "time" if isinstance(train, Times) else "tick"
    if len(set(lengths)) > 1:
        return [f"columns of different length: sample, {when}, neuron, value have {lengths}"]
    ticks, samples, size = train.shape
    found = _outside("sample", train.sample, samples)
    if isinstance(train, Times):
        found += _outside_time(train.time, ticks * dt)
    else:
        found += _outside("tick", train.tick, ticks)
    found += _outside("neuron", train.neuron, size)
    bad = np.flatnonzero(~np.isfinite(train.value))
    if bad.size:
        found.append(f"value {train.value[bad[0]]} of event {bad[0]} is not finite")
    if not found and not _rises(train):
        found.append(
            f"events are not in strictly rising order of (sample, {when}, neuron); sort them "
            "with np.lexsort, and add up those at the same place"
        )
    return found


def _outside(what: str, column: np.ndarray, limit: int) -> list[str]:
    bad = np.flatnonzero((column < 0) | (column >= limit))
    if not bad.size:
        return []
    return [
        f"{what} {column[bad[0]]} of event {bad[0]} is outside 0 ... {limit - 1} "
        f"({bad.size} such events); cut the train or enlarge its shape"
    ]


def _outside_time(time: np.ndarray, stop: float) -> list[str]:
    bad = np.flatnonzero(~((time > 0) & (time <= stop * (1 + 1e-12))))
    if not bad.size:
        return []
    return [
        f"time {time[bad[0]]} s of event {bad[0]} is not in 0 < time <= {stop:.12g} s "
        f"({bad.size} such events); a run begins just after 0 and ends with its last tick: "
        "shift or cut the train, or enlarge its shape"
    ]


def _rises(train: Events | Times) -> bool:
    """Say whether (sample, tick or time, neuron) rises from each event to the next."""
    up = np.zeros(max(train.neuron.size - 1, 0), np.bool_)
    level = ~up
    for column in (train.sample, train[1], train.neuron):
        up |= level & (column[1:] > column[:-1])
        level &= column[1:] == column[:-1]
    return bool(up.all())
