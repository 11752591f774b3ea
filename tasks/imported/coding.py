"""Codes a stimulus of values for a run: as graded spikes, as a rate, or unchanged.

A chip takes spikes. Values of an image become 8-bit integers (graded spikes, which Loihi 2
multiplies by its weights), or spikes at a rate. Axes: T ticks, B samples.
"""

from dataclasses import replace
from typing import Literal, NamedTuple, TypedDict, get_args

import numpy as np
import torch
from jaxtyping import Shaped

from neuro.base.units import Ticks
from neuro.graph import Graph
from neuro.graph.grading import BITS, find_unit, grade_inputs
from neuro.interop.decoding import Decoding
from neuro.nn.net import Net
from neuro.spikes.codes import rate
from tasks.imported.files import CodeFacts
from tasks.imported.stimulus import ImportedStimulus, StimulusError, split_samples
from tasks.runs.names import require_one_of

Code = Literal["graded", "rate", "real"]
FIELD = "input"  # its name in --set


class CodedNetwork(NamedTuple):
    """The graph and the stimulus of a run. facts: None if the stimulus was not coded."""

    graph: Graph
    stimulus: ImportedStimulus
    facts: CodeFacts | None


def is_constant(values: Shaped[np.ndarray, "T B ..."]) -> bool:
    """Say whether each sample shows the same values in every tick."""
    return bool((values == values[:1]).all())


def choose_code(word: str, stimulus: ImportedStimulus) -> Code:
    """Return the code of a stimulus; word: the value of ``--set input=``, "" without it.

    By default, spikes and values that change from tick to tick stay as they are, and constant
    values are graded.

    Raises:
        StimulusError: the code does not suit the stimulus; lists all problems.
    """
    values = stimulus.values
    if not word:
        constant = values and all(is_constant(x) for x in values.values())
        return "graded" if constant else "real"
    code: Code = require_one_of(word, get_args(Code), "input code")  # type: ignore[assignment]
    problems = []
    if not values:
        problems.append(
            f"{FIELD} is {word}, and the stimulus is spikes; leave --set {FIELD} out"
        )
    if code == "rate":
        for name, x in values.items():
            if not is_constant(x):
                problems.append(
                    f"{name}: its values change from tick to tick, and a rate needs constant "
                    f"ones; use --set {FIELD}=graded"
                )
            elif x.min() < 0 or x.max() > 1:
                problems.append(
                    f"{name}: its values are {x.min():g} to {x.max():g}; a rate must be >= 0 "
                    f"and <= 1 spikes per tick. Scale them, or use --set {FIELD}=graded"
                )
    if problems:
        raise StimulusError(problems)
    return code


def code_network(
    code: Code, graph: Graph, stimulus: ImportedStimulus, decoding: Decoding | None
) -> CodedNetwork:
    """Return a network with its stimulus in a code, and the effect on spikes and answers.

    Raises:
        GraphError: a graded input leads to no weights that its unit can be folded into; lists
            all.
    """
    values = stimulus.values
    if code == "real" or not values:
        return CodedNetwork(graph, stimulus, None)
    units: dict[str, float] = {}
    if code == "graded":
        units = {name: find_unit(x) for name, x in values.items()}
        coded = grade_inputs(graph, units)
        own = {n: np.rint(x / units[n]).astype(np.int16) for n, x in values.items()}
    else:
        coded = graph
        own = {n: _draw_rate(x) for n, x in values.items()}
    shown = replace(stimulus, inputs={**stimulus.inputs, **own})
    plain, graded = CodedNetwork(graph, stimulus, None), CodedNetwork(coded, shown, None)
    facts = CodeFacts(
        code=code,
        bits=BITS if code == "graded" else 1,
        units=units,
        samples=stimulus.samples,
        **_compare(plain, graded, decoding),
    )
    return CodedNetwork(coded, shown, facts)


def _draw_rate(x: Shaped[np.ndarray, "T B ..."]) -> Shaped[np.ndarray, "T B ..."]:
    spikes = rate(torch.from_numpy(x[0].astype(np.float64)), Ticks(len(x)))
    return spikes.numpy().astype(np.bool_)


class _Compared(TypedDict):
    """As of :class:`tasks.imported.files.CodeFacts`."""

    spikes: int
    different: int
    right: list[int] | None
    changed: int


@torch.no_grad()
def _compare(plain: CodedNetwork, coded: CodedNetwork, decoding: Decoding | None) -> _Compared:
    """Compare spikes and answers without and with the code, in batches that memory holds."""
    both = (plain, coded)
    nets = [Net(one.graph).double() for one in both]
    right = None if decoding is None else [0, 0]
    found = _Compared(spikes=0, different=0, right=right, changed=0)
    for batches in zip(*(split_samples(x.graph, x.stimulus) for x in both), strict=True):
        before, after = (
            net({name: torch.from_numpy(x) for name, x in inputs.items()})[0]
            for net, (_, inputs) in zip(nets, batches, strict=True)
        )
        for name in plain.graph.firing:
            found["spikes"] += int((before[name] != 0).sum())
            found["different"] += int(((before[name] != 0) != (after[name] != 0)).sum())
        if decoding is not None and plain.stimulus.labels is not None:
            (output,), labels = plain.graph.outputs, plain.stimulus.labels[batches[0][0]]
            hits = [decoding.score(x[output]).argmax(1) == labels for x in (before, after)]
            found["right"] = [
                known + int(own.sum())
                for known, own in zip(found["right"] or (), hits, strict=True)
            ]
            found["changed"] += int((hits[0] != hits[1]).sum())
    return found
