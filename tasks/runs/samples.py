"""Samples that executors run, and how their answers are judged; checked before a run.

Axes: T ticks, B samples, K classes, ``*N`` the shape of a node.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from inspect import signature
from numbers import Real
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from neuro.base.arguments import make_type_error
from neuro.graph import Graph
from neuro.graph.inputs import require_inputs, require_trains
from neuro.graph.requirements import require_graph
from neuro.io.run_folder import RunError
from neuro.spikes import Events, join, of_sample, to_raster
from neuro.spikes.record import Record
from tasks.runs.task import Tree

BLOCKS = 20  # blocks of samples; the jackknife leaves out one at a time
MAKE_SAMPLES = "Samples(stimulus, labels)"


class Samples(NamedTuple):
    """Samples of a split. inputs: events by input of a Graph. targets: first axis B.

    drawn: how they were drawn from the split, see :class:`tasks.runs.task.Stimulus`.
    """

    inputs: dict[str, Events]
    targets: Tree
    drawn: str = ""

    @property
    def n(self) -> int:
        """The number of samples."""
        return next(iter(self.inputs.values())).shape[1]

    @property
    def ticks(self) -> int:
        """The length of a run."""
        return next(iter(self.inputs.values())).shape[0]

    def take(self, most: int) -> "Samples":
        """Return ``most`` samples, spread at random, or all if there are fewer."""
        few = pick_spread(self.n, most).tolist()
        inputs = {k: join([of_sample(e, i) for i in few]) for k, e in self.inputs.items()}
        return Samples(inputs, tree_map(itemgetter(few), self.targets), self.drawn)


class DrawnBatch(NamedTuple):
    """A batch of drawn samples. x: T B ...; labels: B; drawn: see :class:`Samples`."""

    x: Tensor
    labels: Tensor
    drawn: str


def pick_spread(total: int, most: int) -> Int64[np.ndarray, " K"]:
    """Return the indices of ``most`` of ``total`` samples: one at random of each equal part.

    Even steps would take one class alone where classes alternate, as the embedded digits do.
    The draw is always the same.

    >>> pick_spread(10, 4).tolist(), pick_spread(3, 4).tolist()
    ([1, 3, 6, 7], [0, 1, 2])
    """
    k = min(most, total)
    edges = np.arange(k + 1, dtype=np.int64) * total // max(k, 1)
    return np.random.default_rng(0).integers(edges[:-1], edges[1:])


def draw_spread(
    batches: Callable[[], Iterable[Sequence[Tensor]]], most: int
) -> Iterator[DrawnBatch]:
    """Yield ``most`` samples of a split, spread at random (:func:`pick_spread`); 0: all.

    Neighbours, such as windows of a series, resemble each other: the first samples would stand
    for a part of the split.

    batches: starts the batches of the split, (x T B ..., labels B, more).
    """
    sizes = [len(labels) for _, labels, *_ in batches()] if most else []
    total = sum(sizes)
    if most >= total:
        for x, labels, *_ in batches():
            yield DrawnBatch(x, labels, "all of the split")
        return
    chosen, first, kept = pick_spread(total, most), 0, list[tuple[Tensor, Tensor]]()
    for x, labels, *_ in batches():
        own = chosen[(first <= chosen) & (chosen < first + len(labels))] - first
        kept.append((x[:, own], labels[own]))
        first += len(labels)
    xs, answers = zip(*kept, strict=True)
    size = max(sizes)
    parts = (torch.split(torch.cat(xs, 1), size, 1), torch.split(torch.cat(answers), size))
    for x, labels in zip(*parts, strict=True):
        yield DrawnBatch(x, labels, f"spread at random over {total:,}")


class Judge(NamedTuple):
    """How answers are decoded from outputs, and how they are measured.

    decode: the values of each output of the Graph, by name (float64, T B *N) -> answers, any
    pytree of tensors or arrays whose first axis is B.
    measure: (answers, targets) of all samples, as tensors -> the value of each metric by name.
    """

    decode: Callable[[Mapping[str, Tensor]], Tree]
    measure: Callable[[Tree, Tree], Mapping[str, float]]


def iterate_batches(graph: Graph, samples: Samples | Iterable[Samples]) -> Iterator[Samples]:
    """Yield the batches of samples; a value of :class:`Samples` is one batch.

    Raises:
        TypeError: the graph, the samples or a batch has the wrong type.
        ValueError: there is no batch, or a batch has other inputs than the graph or another
            length than the first batch.
    """
    require_graph(graph)
    batches = [samples] if isinstance(samples, Samples) else samples
    if isinstance(batches, Mapping | str) or not isinstance(batches, Iterable):
        raise make_type_error("samples", "Samples, or batches of them", batches, MAKE_SAMPLES)
    ticks = None
    for i, batch in enumerate(batches):
        if not isinstance(batch, Samples):
            raise make_type_error(f"batch {i}", "Samples", batch, MAKE_SAMPLES)
        require_trains(batch.inputs)
        if batch.inputs.keys() != set(graph.inputs):
            require_inputs(graph, batch.inputs)
        ticks = batch.ticks if ticks is None else ticks
        if batch.ticks != ticks:
            raise ValueError(
                f"batch {i} has {batch.ticks} ticks, those before it {ticks}; cut the longer, "
                "or let the shorter end in silence: events._replace(shape=(ticks, B, N))"
            )
        yield batch
    if ticks is None:
        raise ValueError(f"no samples; give at least one batch, {MAKE_SAMPLES}")


def as_rows(what: str, tree: Tree, samples: int, cure: str) -> Tree:
    """Convert a pytree of tensors or arrays to tensors whose first axis is B = samples.

    Raises:
        TypeError: a leaf is text, or anything else that is not numeric.
        ValueError: the first axis of a leaf has another length.
    """
    leaves = tree_leaves(tree)
    if not all(_is_numeric(leaf) for leaf in leaves):
        odd = next(leaf for leaf in leaves if not _is_numeric(leaf))
        wanted = "numbers, a tensor or an array with one row a sample"
        raise make_type_error(what, wanted, odd if hasattr(odd, "dtype") else tree, cure)
    for leaf in leaves:
        if leaf.shape[:1] != (samples,):
            raise ValueError(
                f"{what} of shape {tuple(leaf.shape)} for {samples} samples; give one row a "
                "sample, in the order of the samples"
            )
    return tree_map(
        lambda x: x if isinstance(x, Tensor) else torch.from_numpy(np.array(x)), tree
    )


def _is_numeric(leaf: object) -> bool:
    return isinstance(leaf, Tensor) or (
        isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc"
    )


class GraphOutputs(dict[str, Tensor]):
    """The values of each output of a Graph, by name."""

    def __missing__(self, name: str) -> Tensor:
        raise RunError(
            f"the graph has no output {name!r}; it has {', '.join(self)}: use one of them in "
            "Evaluation.decode of the task"
        )


def collect_outputs(graph: Graph, record: Record) -> GraphOutputs:
    """Return the values of each output population, by name: float64, T B *N."""
    out = GraphOutputs()
    for name in graph.outputs:
        values = (
            record.values[name] if name in record.values else to_raster(record.spikes[name])
        )
        shape = (*values.shape[:2], *graph.shapes[name])
        out[name] = torch.from_numpy(values.astype(np.float64)).reshape(shape)
    return out


def read_answers(judge: Judge, graph: Graph, record: Record) -> Tree:
    """Return the answers of a record as tensors, first axis B.

    Raises:
        TypeError, ValueError: the answers are not numbers with one row per sample.
    """
    answers = judge.decode(collect_outputs(graph, record))
    cure = "torch.stack(answers)"
    return as_rows("what Judge.decode returns", answers, record.samples, cure)


def read_targets(samples: Samples) -> Tree:
    """Return the targets of samples as tensors, first axis B.

    Raises:
        TypeError, ValueError: the targets are not numbers with one row per sample.
    """
    return as_rows("targets", samples.targets, samples.n, "torch.tensor(labels)")


def join_batches(trees: Sequence[Tree]) -> Tree:
    """Join pytrees of tensors along their first axes."""
    return tree_map(lambda *parts: torch.cat(parts), *trees)


def require_judge(judge: object) -> None:
    """Raise a TypeError unless ``judge`` is a Judge whose functions accept their arguments."""
    if not isinstance(judge, Judge):
        cure = "Judge(decode, measure), two functions"
        raise make_type_error("judge", "a Judge", judge, cure)
    for name, arguments in (("decode", ("outputs",)), ("measure", ("answers", "targets"))):
        if not _takes(getattr(judge, name), arguments):
            raise make_type_error(
                f"Judge.{name}",
                f"a function of ({', '.join(arguments)})",
                getattr(judge, name),
                "Judge(decode, measure) takes them in this order",
            )


def _takes(function: Any, arguments: tuple[str, ...]) -> bool:
    if not callable(function):
        return False
    try:
        signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # the signature is unknown
        return True
    return True


def measure_answers(judge: Judge, answers: Tree, targets: Tree) -> dict[str, float]:
    """Return the value of each metric by its name.

    Raises:
        TypeError: the judge does not return metrics by name.
    """
    values = judge.measure(answers, targets)
    cure = 'for example {"accuracy": 0.9}'
    if not isinstance(values, Mapping):
        wanted = "values by the name of their metric"
        raise make_type_error("what Judge.measure returns", wanted, values, cure)
    for name, value in values.items():
        if not isinstance(value, Real) and getattr(value, "shape", None) != ():
            raise make_type_error(f"{name} of Judge.measure", "a number", value, cure)
    return {name: float(value) for name, value in values.items()}


def estimate_errors(judge: Judge, ours: Tree, theirs: Tree, targets: Tree) -> dict[str, float]:
    """Return the standard error of ours minus theirs by metric, on the same samples.

    Uses the jackknife over :data:`BLOCKS` blocks of consecutive samples, because neighbours may
    resemble each other. A metric is left out if it has no value on all samples, or none without
    one of the blocks; with fewer than two samples, every metric is left out.
    """
    leaves = tree_leaves(ours)
    n = len(leaves[0]) if leaves else 0
    blocks = np.array_split(np.arange(n), min(BLOCKS, n)) if n > 1 else []
    found = dict[str, list[float]]()
    for block in blocks:
        keep = torch.from_numpy(np.delete(np.arange(n), block))
        try:
            values = [
                measure_answers(
                    judge, *(tree_map(itemgetter(keep), x) for x in (answers, targets))
                )
                for answers in (ours, theirs)
            ]
        except ValueError:  # for example, a metric is undefined if only one class is left
            return {}
        for name, value in values[0].items():
            found.setdefault(name, []).append(value - values[1][name])
    factor = (len(blocks) - 1) ** 0.5
    errors = {name: factor * float(np.std(each)) for name, each in found.items()}
    return {name: error for name, error in errors.items() if np.isfinite(error)}


def _read_scores(outputs: Mapping[str, Tensor]) -> Tensor:
    """Return the mean output of each class, B K."""
    if len(outputs) > 1:
        raise ValueError(
            f"the graph has several outputs, {', '.join(outputs)}; say how they answer: "
            "Judge(decode, measure)"
        )
    (y,) = outputs.values()
    return y.mean(0).flatten(1)


def _measure_accuracy(scores: Tensor, labels: Tensor) -> dict[str, float]:
    n, classes = scores.shape
    if labels.shape != (n,) or labels.is_floating_point() or labels.is_complex():
        one_hot = labels.shape == scores.shape
        cure = "of one-hot labels, labels.argmax(1)" if one_hot else "labels.long().flatten()"
        raise ValueError(
            f"labels must be whole numbers, one a sample: ({n},); got {tuple(labels.shape)} "
            f"of {labels.dtype}; give {cure}; other targets need a Judge"
        )
    beyond = labels[(labels < 0) | (labels >= classes)]
    if len(beyond):
        raise ValueError(
            f"label {int(beyond[0])} is outside 0 ... {classes - 1}, and the output has "
            f"{classes} neurons, one a class; count classes from 0, or give a Judge"
        )
    return {"accuracy": int((scores.argmax(1) == labels).sum()) / n}


# For networks that do not answer.
NO_ANSWERS = Judge(lambda outputs: (), lambda answers, targets: {})  # noqa: ARG005
# The answer is the class whose output is highest on average; "accuracy" is the share of
# correct answers.
CLASSIFIER = Judge(_read_scores, _measure_accuracy)
