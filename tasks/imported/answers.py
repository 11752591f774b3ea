"""Compares answers and spikes of an import with its source, in the source's own precision too.

Axes: T ticks, B samples, ``*N`` the shape of a node.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from neuro.interop.decoding import Decoding, DecodingError, make_count, sum_ticks
from neuro.interop.imported import (
    ComparedPopulation,
    ImportedNetwork,
    OwnPrecision,
    SourceRun,
)
from neuro.io.run_folder import RunError
from neuro.nn.net import Net
from tasks.imported.files import AnswerFacts, PrecisionFacts
from tasks.imported.stimulus import ImportedStimulus, split_samples

REFUSED = (
    "Nothing was written, since an accuracy would be of other answers than those of the "
    "module; without labels it is imported for spikes and energy"
)


def find_answers(
    name: str, network: ImportedNetwork, stimulus: ImportedStimulus
) -> Decoding | None:
    """Return how the source decodes its answers for this stimulus; None if there are no labels.

    Raises:
        RunError: a run folder cannot store the way in which the source decodes.
    """
    if stimulus.labels is None:
        return None
    if network.find_decoding is None:
        return make_count(stimulus.ticks, network.graph.size(network.graph.outputs[0]))
    try:
        return network.find_decoding(stimulus.ticks)
    except DecodingError as error:
        raise RunError(f"{name}: {error}. {REFUSED}") from error


def say_otherwise(decoding: Decoding) -> str:
    """Return the message that a decoding does not hold for all inputs, with the cure."""
    return (
        f"what the module returns is not always {decoding.describe()}: it depends on its "
        f"values in another way. {REFUSED}"
    )


def describe_answers(network: ImportedNetwork, ticks: int, *, shown: bool) -> dict[str, str]:
    """Describe how a source decodes its answers from ``ticks`` ticks, as the choice "answers".

    shown: whether its outputs matched this decoding under every stimulus.
    """
    if network.find_decoding is None:
        return {}
    try:
        told = network.find_decoding(ticks).describe()
        return {"answers": told if shown else f"not decoded: not always {told}"}
    except DecodingError as error:
        return {"answers": f"not decoded: {error}"}


def compare_precision(
    network: ImportedNetwork,
    own: OwnPrecision,
    compare: Callable[[ImportedNetwork], Sequence[ComparedPopulation]],
) -> PrecisionFacts:
    """Count the spikes in which a source in its own precision differs from our float64 clock.

    compare: compares a source with our clock under all stimuli.
    """
    narrow = replace(network, run_source=own.run, find_decoding=None)
    rows: Sequence[ComparedPopulation] = ()
    failed = ""
    try:
        rows = compare(narrow)
    except RuntimeError as error:  # for example, torch lacks a layer in this precision
        failed = str(error)
    return PrecisionFacts(
        name=own.name,
        casts=list(own.casts),
        spikes=sum(row.spikes for row in rows),
        different=sum(row.different for row in rows),
        failed=failed,
    )


def compare_answers(
    name: str, network: ImportedNetwork, stimulus: ImportedStimulus, decoding: Decoding
) -> AnswerFacts:
    """Count the correct answers of the source and of the run.

    network: the source answers in its ``own`` precision, or in float64 if that is None.

    Raises:
        RunError: the answers differ in float64, too.
    """
    labels = np.asarray(stimulus.labels)
    net = Net(network.graph).double()
    kind, own = "float64", network.run_source
    if network.own is not None:
        kind, own = network.own.name, network.own.run
    facts = AnswerFacts(precision=kind, samples=stimulus.samples, source=0, run=0, different=0)
    for some, inputs in split_samples(network.graph, stimulus):
        with torch.no_grad():
            activity, _ = net({name: torch.from_numpy(x) for name, x in inputs.items()})
        output = activity[network.graph.outputs[0]]
        ours = decoding.score(output).argmax(1)
        theirs = _read_answers(own(inputs), decoding)
        if (ours != theirs).any():
            wide = _read_answers(network.run_source(inputs), decoding)
            if others := decoding.count_others(output, wide):
                raise RunError(f"{name}: {say_otherwise(decoding)} ({others} samples)")
        facts["source"] += int((theirs == labels[some]).sum())
        facts["run"] += int((ours == labels[some]).sum())
        facts["different"] += int((ours != theirs).sum())
    return facts


def _read_answers(run: SourceRun, decoding: Decoding) -> np.ndarray:
    """Return the answers in a run of the source (B)."""
    scores = np.asarray(sum_ticks(run.returned, decoding.axis))
    return scores.astype(np.int64) if scores.ndim == 1 else scores.argmax(1)
