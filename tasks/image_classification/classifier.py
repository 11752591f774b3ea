"""The task of a classifier: accuracy, confusion matrix, and the part of the model for the chip.

Axes: T ticks, B batch, K classes.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any, Generic, TypedDict

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from neuro.arguments import describe
from neuro.energy import count_macs
from neuro.eventprop import LEAST
from neuro.io.run_folder import Run, RunError
from neuro.io.store import StoreError
from neuro.nn.layers import Spiking, Stack, list_steps
from neuro.nn.trace import trace
from neuro.training import Plan
from tasks.report import html as page
from tasks.runs.results import check_facts
from tasks.runs.task import (
    ACCURACY,
    C,
    Deployment,
    Evaluation,
    Findings,
    Html,
    Pair,
    Split,
    Stimulus,
    Task,
    Training,
)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How a classifier answers.

    classes: names of the classes.
    scores: output, T B ``*K`` -> one score a class, axes B K; the greatest wins.
    """

    classes: Sequence[str]
    scores: Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Classifier(Generic[C]):
    """A classifier whose model maps (x, state) to (y, state), and its three parts of a Task.

    batches: (configuration, split, epoch) -> batches of stimuli T B ... and labels B.
    loss: (configuration, y, labels) -> mean loss; y has axes T B ``*K``.
    answers: classes and scores.
    encodes: whether the input is analog. The model is a Stack then, whose first population
        turns it into spikes: that far, and through a maximum of them, a host runs it, and a
        chip from there.
    compared: how many samples of a split other executors run; 0: all.
    """

    batches: Callable[[C, Split, int], Iterable[Pair]]
    loss: Callable[[C, Tensor, Tensor], Tensor]
    answers: Answers
    encodes: Callable[[C], bool]
    compared: Callable[[C], int]

    def batch_loss(self, config: C, model: nn.Module, batch: Pair, at: float) -> Tensor:
        """Return the mean loss of a batch.

        Raises:
            RunError: the model does not answer with a score for each class.
        """
        x, labels = batch
        y = model(x)[0]
        if at == 0:
            require_scores(self.answers, self.answers.scores(y))
        return self.loss(config, y, labels)

    def validate(self, config: C, model: nn.Module) -> float:
        """Return the accuracy on the validation split."""
        found = count_confusion(model, self.batches(config, "val", 0), self.answers)
        return float(found.trace() / found.sum())

    def evaluate(self, run: Run, model: nn.Module) -> Findings:
        """Return the accuracy on the test split, and the confusion matrix."""
        found = count_confusion(model, self.batches(run.config, "test", 0), self.answers)
        n, correct = int(found.sum()), int(found.trace())
        classes = list(self.answers.classes)
        facts = {"correct": correct, "classes": classes, "confusion": found.tolist()}
        return Findings(values={"accuracy": correct / n}, n=n, facts=facts)

    def chip_part(self, config: C, model: nn.Module) -> nn.Module:
        """Return the model, without its encoder where a host runs it."""
        return _behind(model) if self.encodes(config) else model

    def stimuli(self, config: C, model: nn.Module, split: Split) -> Iterator[Stimulus]:
        """Yield what drives that part, and the labels."""
        left = self.compared(config) or sys.maxsize
        for x, labels in self.batches(config, split, 0):
            some, known = x[:, :left], labels[:left]
            if self.encodes(config):
                some = _encoded(model, some)
            yield Stimulus({"input": some}, known)
            left -= len(known)
            if left <= 0:
                return

    def host(self, config: C, model: nn.Module) -> dict[str, int]:
        """Return the multiply-accumulates of the encoder."""
        if not self.encodes(config):
            return {}
        x, _ = next(iter(self.batches(config, "val", 0)))
        return count_macs(trace(_head(model), tuple(x.shape[2:])))

    def decode(self, config: C, model: nn.Module, outputs: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        """Return the class that wins for each sample."""
        (y,) = outputs.values()
        return self.answers.scores(y).argmax(1)

    def measure(self, config: C, given: Tensor, labels: Tensor) -> dict[str, float]:  # noqa: ARG002
        """Return the share of right answers."""
        return {"accuracy": int((given == labels).sum()) / len(labels)}

    def describe(self, config: C, given: Tensor, labels: Tensor) -> list[str]:  # noqa: ARG002
        """Return "true class → answer" of each sample."""
        names = self.answers.classes
        return [
            f"{names[true]} → {names[answer]}" + "  ✗" * (true != answer)
            for true, answer in zip(labels.tolist(), given.tolist(), strict=True)
        ]


def make_classifier(  # noqa: PLR0913 - the named parts of a task
    *,
    summary: str,
    configs: Mapping[str, Callable[[], C]],
    build: Callable[[C], nn.Module],
    plan: Callable[[C], Plan],
    steps: Callable[[C], int],
    batches: Callable[[C, Split, int], Iterable[Pair]],
    loss: Callable[[C, Tensor, Tensor], Tensor],
    answers: Answers,
    encodes: Callable[[C], bool] = lambda _: False,
    compared: Callable[[C], int] = lambda _: 0,
    eventprop: Callable[[C], float] = lambda _: LEAST,
    dummy_batch: Callable[[C], Pair] | None = None,
    seed_changes: str = "",
) -> Task[C]:
    """Return the task of a classifier.

    summary, configs: as of a Task. build, plan, steps, eventprop, dummy_batch, seed_changes: as
    of a Training. The rest: as of a :class:`Classifier`.
    """
    batches = partial(_check_batches, batches, len(answers.classes))
    use = Classifier(
        batches=batches, loss=loss, answers=answers, encodes=encodes, compared=compared
    )
    return Task(
        summary=summary,
        configs=configs,
        training=Training(
            build=build,
            plan=plan,
            steps=steps,
            batches=batches,
            loss=use.batch_loss,
            validation=ACCURACY,
            validate=use.validate,
            eventprop=eventprop,
            dummy_batch=dummy_batch,
            seed_changes=seed_changes,
        ),
        deployment=Deployment(part=use.chip_part, stimuli=use.stimuli, host=use.host),
        evaluation=Evaluation(
            metrics=(ACCURACY,),
            evaluate=use.evaluate,
            decode=use.decode,
            measure=use.measure,
            describe=use.describe,
            reading="Captions: true class → answer, the class whose output is highest.",
            sections=show_confusion,
        ),
    )


def _check_batches(
    batches: Callable[[C, Split, int], Iterable[Pair]],
    classes: int,
    config: C,
    split: Split,
    epoch: int,
) -> Iterator[Pair]:
    """Yield the batches of a classifier.

    Raises:
        RunError: there are no samples, or the labels are not one whole number for each, or
            name no class.
    """
    samples = 0
    for x, labels in batches(config, split, epoch):
        samples += len(labels)
        if labels.shape != x.shape[1:2] or labels.dtype != torch.int64:
            raise RunError(
                f"batches of {split!r}: the labels of a stimulus T B ... must be one whole "
                f"number a sample, ({x.shape[1]},) of torch.int64; got {describe(labels)}; "
                "labels.flatten().long() makes them of a column, labels.argmax(1) of one-hot "
                "rows"
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise RunError(
                f"batches of {split!r}: there are {classes} classes, and labels from "
                f"{int(labels.min())} to {int(labels.max())}; count them from 0, and name all "
                "in Answers.classes"
            )
        yield x, labels
    if samples == 0:
        raise RunError(
            f"batches of {split!r}: there are no samples, and nothing can be measured; give "
            "some to each split, which no other split has"
        )


class Confused(TypedDict):
    """What ``eval.json`` of a classifier holds more. confusion: rows are true classes."""

    correct: int
    classes: list[str]
    confusion: list[list[int]]


def show_confusion(run: Run, evaluation: Mapping[str, Any]) -> list[Html]:
    """Return the confusion matrix of ``eval.json`` as a section of the report.

    Raises:
        StoreError: it is none.
    """
    check_facts(run.folder, evaluation, Confused)
    k = len(evaluation["classes"])
    if [len(row) for row in evaluation["confusion"]] != [k] * k:
        raise StoreError(
            f"{run.folder / 'eval.json'}: its confusion matrix is not {k} x {k}; neuro eval "
            "writes it again"
        )
    told = (
        f"{evaluation['correct']:,} of {evaluation['n']:,} {evaluation['split']} samples "
        "right. Rows: true class. Columns: answer. Shade: share of the row."
    )
    matrix = page.matrix(evaluation["classes"], evaluation["confusion"])
    return [page.section("Confusion matrix", matrix, page.paragraph(told, "caption"))]


def require_scores(answers: Answers, scores: Tensor) -> None:
    """Raise a RunError unless there is one score a class, axes B K."""
    k = len(answers.classes)
    if scores.dim() != 2 or scores.shape[1] != k:
        raise RunError(
            f"there are {k} classes, and the scores of a batch have shape "
            f"{tuple(scores.shape)}, which must be (samples, {k}); make the last layer as "
            f"wide, nn.Linear(..., {k}), or name in Answers.classes what there is"
        )


@torch.no_grad()
def count_confusion(
    model: nn.Module, batches: Iterable[Pair], answers: Answers
) -> Int64[np.ndarray, "K K"]:
    """Return counts of answers: row = true class, column = answer."""
    k = len(answers.classes)
    counts = np.zeros((k, k), np.int64)
    device = next(model.parameters()).device
    for x, labels in batches:
        y, _ = model(x.to(device))
        scores = answers.scores(y)
        require_scores(answers, scores)
        np.add.at(counts, (labels.numpy(), scores.argmax(1).cpu().numpy()), 1)
    return counts


@torch.no_grad()
def _encoded(model: nn.Module, x: Tensor) -> Tensor:
    """Return the spikes of the first population of a Stack."""
    y: Tensor = _head(model)(x)[0]
    return y


def _head(model: nn.Module) -> Stack:
    """Return a Stack up to its first population, for evaluation."""
    return Stack(**dict(list_steps(model)[: _encoder(model)])).eval()


def _behind(model: nn.Module) -> Stack:
    """Return what comes after the first population of a Stack."""
    return Stack(**dict(list_steps(model)[_encoder(model) :]))


def _encoder(model: nn.Module) -> int:
    """Return how many steps of a Stack it takes to make spikes, and maxima of them."""
    steps = [module for _, module in list_steps(model)]
    first = next(k for k, module in enumerate(steps) if isinstance(module, Spiking))
    pools = takewhile(lambda module: isinstance(module, nn.MaxPool2d), steps[first + 1 :])
    return first + 1 + len(list(pools))
