"""What can be wrong with the stimulus of a run: every problem, with its cure."""

from collections.abc import Mapping

import numpy as np

from neuro.graph.graph import Graph
from neuro.spikes import Events, Times, list_problems
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
    found = list_problems(train, dt)
    if not found and not _rises(train):
        when = "time" if isinstance(train, Times) else "tick"
        found.append(
            f"events are not in strictly rising order of (sample, {when}, neuron); sort them "
            "with np.lexsort, and add up those at the same place"
        )
    return found


def _rises(train: Events | Times) -> bool:
    """Say whether (sample, tick or time, neuron) rises from each event to the next."""
    up = np.zeros(max(train.neuron.size - 1, 0), np.bool_)
    level = ~up
    for column in (train.sample, train[1], train.neuron):
        up |= level & (column[1:] > column[:-1])
        level &= column[1:] == column[:-1]
    return bool(up.all())
