"""Checks of a run's stimulus that list every problem with its cure."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

from neuro.base.arguments import make_type_error, require_whole
from neuro.base.units import Seconds
from neuro.graph.graph import Graph
from neuro.graph.nodes import GradedInput
from neuro.spikes import (
    Events,
    Times,
    list_problems,
    list_problems_of_order,
    list_problems_of_types,
)

CANNOT_START = "the run cannot start:"


def require_inputs(
    graph: Graph, inputs: Mapping[str, Events | Times], *, in_ticks: bool = False
) -> None:
    """Raise one ValueError that lists all problems of the stimulus, by node.

    in_ticks: whether the executor takes Events only.
    """
    sizes = {name: graph.size(name) for name in graph.inputs}
    problems = list_problems_of_inputs(sizes, inputs, None if in_ticks else graph.dt)
    for name in () if problems else graph.inputs:
        node = graph.nodes[name]
        if isinstance(node, GradedInput):
            problems += list_ungraded_values(name, inputs[name].value, node.message_bits)
    if problems:
        raise ValueError("\n".join([CANNOT_START, *problems]))


def list_ungraded_values(
    name: str, value: Shaped[np.ndarray, " E"], message_bits: int
) -> list[str]:
    """List graded spikes that do not fit into ``message_bits`` bits."""
    half = 1 << (message_bits - 1)
    bad = value[(value != np.rint(value)) | (value < -half) | (value >= half)]
    if not bad.size:
        return []
    return [
        f"{name}: {bad.size} values like {bad[0]} are no whole numbers from {-half} to "
        f"{half - 1}, which {message_bits} bits hold; round them, or raise message_bits"
    ]


def require_trains(inputs: Mapping[str, Events | Times]) -> None:
    """Raise a TypeError unless the stimulus maps names of Inputs to spike trains."""
    kinds = "Events or Times"
    if not isinstance(inputs, Mapping):
        cure = 'for example {"input": neuro.to_events(raster)}'
        raise make_type_error("inputs", f"{kinds} by the name of their Input", inputs, cure)
    cure = "neuro.to_events(raster) makes Events, of axes (ticks, samples, *neurons)"
    problems = [
        str(make_type_error(name, kinds, train, cure))
        for name, train in inputs.items()
        if not isinstance(train, Events | Times)
    ]
    if problems:
        raise TypeError("\n".join([CANNOT_START, *problems]))


def find_span(
    spans: Iterable[tuple[int, int]], ticks: int | None, samples: int | None
) -> tuple[int, int]:
    """Return the numbers of ticks and samples of a run.

    spans: (ticks, samples) of each input, all equal.
    ticks, samples: the user's values; without inputs ticks is required, and samples defaults to
        1.

    Raises:
        TypeError, ValueError: ticks or samples is not a valid number, or differs from the
            inputs'.
    """
    span: Any = next(iter(spans), (ticks, 1 if samples is None else samples))
    if span[0] is None:
        raise ValueError(
            f"{CANNOT_START} ticks is not given, and there is no Input that gives the length "
            "of the run; write for example ticks=1000"
        )
    for what, given, own in zip(("ticks", "samples"), (ticks, samples), span, strict=True):
        require_whole(what, own, "1000 is usual")
        if given not in (None, own):
            raise ValueError(f"{what} is {given}; the inputs have {own}. Leave {what} out")
        if own < 1:
            raise ValueError(f"{what} is {own}; it must be >= 1")
    return int(span[0]), int(span[1])


def list_problems_of_inputs(
    sizes: Mapping[str, int], inputs: Mapping[str, Events | Times], dt: Seconds | None
) -> list[str]:
    """List all problems of a stimulus; the list is the same for every executor.

    sizes: number of neurons of each Input.
    dt: length of a tick [s]; None: Times are refused.

    Raises:
        TypeError: as :func:`require_trains`.
    """
    require_trains(inputs)
    known = ", ".join(sizes) or "none"
    problems = [f"{n}: no events for this Input" for n in sizes if n not in inputs]
    problems += [f"{n}: not an Input; there are {known}" for n in inputs if n not in sizes]
    whole = {}  # trains whose types and shape are right
    for name in (n for n in sizes if n in inputs):
        train = inputs[name]
        if dt is None and isinstance(train, Times):
            problems.append(
                f"{name}: Times, and this executor runs in ticks; convert them with "
                "neuro.spikes.to_ticks(times, dt)"
            )
            continue
        own = list_problems(train, dt or Seconds(1.0)) or list_problems_of_order(train)
        problems += [f"{name}: {p}" for p in own]
        if list_problems_of_types(train):
            continue
        whole[name] = train
        if train.shape[2] != sizes[name]:
            problems.append(
                f"{name}: events of {train.shape[2]} neurons for an Input of {sizes[name]}; "
                "flatten its shape in C order"
            )
    spans = {name: e.shape[:2] for name, e in whole.items()}
    problems += [
        f"{name}: {ticks} ticks and {samples} samples; a run needs at least one of each"
        for name, (ticks, samples) in spans.items()
        if ticks < 1 or samples < 1
    ]
    if len(set(spans.values())) > 1:
        problems.append(f"inputs differ in (ticks, samples): {spans}; give all the same")
    return problems
