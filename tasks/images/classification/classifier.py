"""The task of a classifier: accuracy, confusion matrix, and the part of the model on the chip.

Axes: T ticks, B batch, K classes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, NamedTuple, TypedDict

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from neuro.base.arguments import describe
from neuro.eventprop import LEAST
from neuro.graph import Graph
from neuro.graph.grading import grade_inputs
from neuro.io.run_folder import Run, RunError
from neuro.io.store import StoreError
from neuro.nn.trace import trace
from neuro.training import Plan
from tasks.images.classification.examples import draw_samples, score_baselines
from tasks.report import html as page
from tasks.runs.results import check_facts
from tasks.runs.samples import draw_spread
from tasks.runs.share import track_test
from tasks.runs.task import (
    ACCURACY,
    C,
    Deployment,
    Evaluation,
    Findings,
    Html,
    Pair,
    Picture,
    Split,
    Stimulus,
    Task,
    Training,
)

MESSAGE_BITS = 9  # hold a pixel of 0 to 255, and the sign of a graded spike


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How outputs become answers.

    classes: names of the classes.
    scores: output T B ``*K`` -> scores B K, one per class; the highest wins.
    """

    classes: Sequence[str]
    scores: Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Classifier(Generic[C]):
    """The functions of a classifier's Task; its model maps (x, state) to (y, state).

    batches: (configuration, split, epoch) -> batches of stimuli T B ... and labels B.
    loss: (configuration, y, labels) -> mean loss; y has axes T B ``*K``.
    answers: classes and scores of a configuration.
    unit: what the values of a stimulus are whole multiples of, such as 1 / 255 for pixels. Its
        input then takes graded spikes of :data:`MESSAGE_BITS`. 0: the stimulus is spikes.
    compared: number of samples of a split that other executors run; 0 means all.
    draw: (run, first test batch T B ..., its answers, captions) -> the example for the report.
    """

    batches: Callable[[C, Split, int], Iterable[Pair]]
    loss: Callable[[C, Tensor, Tensor], Tensor]
    answers: Callable[[C], Answers]
    unit: Callable[[C], float]
    compared: Callable[[C], int]
    draw: Callable[[Run, Tensor, Tensor, Sequence[str]], Picture]

    def batch_loss(self, config: C, model: nn.Module, batch: Pair, at: float) -> Tensor:
        """Return the mean loss of a batch.

        Raises:
            RunError: the scores do not have shape (samples, classes).
        """
        x, labels = batch
        y = model(x)[0]
        if at == 0:
            answers = self.answers(config)
            require_scores(answers, answers.scores(y))
        return self.loss(config, y, labels)

    def validate(self, config: C, model: nn.Module) -> float:
        """Return the accuracy on the validation split."""
        batches, answers = self.batches(config, "val", 0), self.answers(config)
        confusion, _ = count_confusion(model, batches, answers)
        return float(confusion.trace() / confusion.sum())

    @torch.no_grad()
    def evaluate(self, run: Run, model: nn.Module) -> Findings:
        """Return the accuracy on the test split beside baselines, and the confusion matrix."""
        answers, read = self.answers(run.config), partial(self.batches, run.config)
        confusion, tied = count_confusion(model, track_test(read("test", 0)), answers)
        n, correct = int(confusion.sum()), int(confusion.trace())
        classes = list(answers.classes)
        facts = {"correct": correct, "classes": classes, "confusion": confusion.tolist()}
        facts |= {"tied": tied} if tied else {}
        x, labels = next(iter(read("test", 0)))
        given = answers.scores(model(x.to(next(model.parameters()).device))[0]).argmax(1).cpu()
        return Findings(
            values={"accuracy": correct / n},
            n=n,
            counted=count_ties(tied),
            facts=facts,
            pictures=[self.draw(run, x, given, self.describe(run.config, given, labels))],
            beside=score_baselines(read("train", 0), read("test", 0)),
        )

    def chip_part(self, config: C, model: nn.Module) -> nn.Module | Graph:
        """Return the whole model; of a graded stimulus, its Graph with a GradedInput."""
        if not (unit := self.unit(config)):
            return model
        x, _ = next(iter(self.batches(config, "test", 0)))
        graph = trace(model, tuple(x.shape[2:]))
        return grade_inputs(graph, dict.fromkeys(graph.inputs, unit), MESSAGE_BITS)

    def stimuli(self, config: C, model: nn.Module, split: Split) -> Iterator[Stimulus]:  # noqa: ARG002
        """Yield the stimuli of the chip part, with labels."""
        unit = self.unit(config)
        batches = partial(self.batches, config, split, 0)
        for x, labels, drawn in draw_spread(batches, self.compared(config)):
            yield Stimulus({"input": (x / unit).round() if unit else x}, labels, drawn)

    def decode(self, config: C, model: nn.Module, outputs: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        """Return the class with the highest score for each sample."""
        (y,) = outputs.values()
        return self.answers(config).scores(y).argmax(1)

    def measure(self, config: C, answers: Tensor, labels: Tensor) -> dict[str, float]:  # noqa: ARG002
        """Return the share of correct answers."""
        return {"accuracy": int((answers == labels).sum()) / len(labels)}

    def describe(self, config: C, answers: Tensor, labels: Tensor) -> list[str]:
        """Return "true class → answer" of each sample."""
        names = self.answers(config).classes
        return [
            f"{names[true]} → {names[answer]}" + "  ✗" * (true != answer)
            for true, answer in zip(labels.tolist(), answers.tolist(), strict=True)
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
    answers: Answers | Callable[[C], Answers],
    unit: Callable[[C], float] = lambda _: 0.0,
    compared: Callable[[C], int] = lambda _: 0,
    eventprop: Callable[[C], float] = lambda _: LEAST,
    dummy_batch: Callable[[C], Pair] | None = None,
    seed_changes: str = "",
    about: str | Callable[[C], str] = "",
    ann_passes: Callable[[C], int] | None = None,
    draw: Callable[[Run, Tensor, Tensor, Sequence[str]], Picture] = draw_samples,
    controls: Callable[[C], Mapping[str, Mapping[str, Any]]] = lambda _: {},
    unpriced: Callable[[C], str] = lambda _: "",
) -> Task[C]:
    """Return the task of a classifier.

    summary, configs, about: see Task. build, plan, steps, eventprop, dummy_batch,
    seed_changes: see Training. ann_passes, unpriced: see Deployment. controls: see Evaluation.
    answers: one value for all configurations, or a function of the configuration. The rest:
    see :class:`Classifier`.
    """

    def find_answers(config: C) -> Answers:
        return answers if isinstance(answers, Answers) else answers(config)

    batches = partial(_check_batches, batches, find_answers)
    classifier = Classifier(
        batches=batches,
        loss=loss,
        answers=find_answers,
        unit=unit,
        compared=compared,
        draw=draw,
    )
    return Task(
        summary=summary,
        about=about,
        configs=configs,
        training=Training(
            build=build,
            plan=plan,
            steps=steps,
            batches=batches,
            loss=classifier.batch_loss,
            validation=ACCURACY,
            validate=classifier.validate,
            eventprop=eventprop,
            dummy_batch=dummy_batch,
            seed_changes=seed_changes,
        ),
        deployment=Deployment(
            part=classifier.chip_part,
            stimuli=classifier.stimuli,
            ann_passes=ann_passes,
            unpriced=unpriced,
        ),
        evaluation=Evaluation(
            metrics=(ACCURACY,),
            evaluate=classifier.evaluate,
            decode=classifier.decode,
            measure=classifier.measure,
            describe=classifier.describe,
            reading="Captions: true class → answer, the class with the highest output.",
            sections=show_confusion,
            controls=controls,
        ),
    )


def _check_batches(
    batches: Callable[[C, Split, int], Iterable[Pair]],
    answers: Callable[[C], Answers],
    config: C,
    split: Split,
    epoch: int,
) -> Iterator[Pair]:
    """Yield the batches of a classifier.

    Raises:
        RunError: there are no samples, or the labels are not one class index per sample.
    """
    samples, classes = 0, len(answers(config).classes)
    for x, labels in batches(config, split, epoch):
        samples += len(labels)
        if labels.shape != x.shape[1:2] or labels.dtype != torch.int64:
            raise RunError(
                f"batches of {split!r}: the labels of a stimulus T B ... must be one whole "
                f"number per sample, ({x.shape[1]},) of torch.int64, got {describe(labels)}; "
                "convert a column with labels.flatten().long(), one-hot rows with "
                "labels.argmax(1)"
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise RunError(
                f"batches of {split!r}: there are {classes} classes, but labels from "
                f"{int(labels.min())} to {int(labels.max())}; count from 0, and name every "
                "class in Answers.classes"
            )
        yield x, labels
    if samples == 0:
        raise RunError(
            f"batches of {split!r}: there are no samples; give each split samples of its own"
        )


class ConfusionFacts(TypedDict):
    """Additional values in ``eval.json`` of a classifier. confusion: rows are true classes."""

    correct: int
    classes: list[str]
    confusion: list[list[int]]


def show_confusion(run: Run, evaluation: Mapping[str, Any]) -> list[Html]:
    """Return the confusion matrix of ``eval.json`` as a section of the report.

    Raises:
        StoreError: ``eval.json`` holds no square confusion matrix.
    """
    check_facts(run.folder, evaluation, ConfusionFacts)
    k = len(evaluation["classes"])
    if [len(row) for row in evaluation["confusion"]] != [k] * k:
        raise StoreError(
            f"{run.folder / 'eval.json'}: its confusion matrix is not {k} x {k}; write it "
            "again with neuro eval"
        )
    caption = (
        f"{evaluation['correct']:,} of {evaluation['n']:,} {evaluation['split']} samples "
        "correct. Rows: true class. Columns: answer. Shade: share of the row."
    )
    matrix = page.matrix(evaluation["classes"], evaluation["confusion"])
    return [page.section("Confusion matrix", matrix, page.paragraph(caption, "caption"))]


def require_scores(answers: Answers, scores: Tensor) -> None:
    """Raise a RunError unless scores have axes B K."""
    k = len(answers.classes)
    if scores.dim() != 2 or scores.shape[1] != k:
        raise RunError(
            f"there are {k} classes, so the scores of a batch must have shape (samples, {k}), "
            f"got {tuple(scores.shape)}; end the model in nn.Linear(..., {k}), or name the "
            "right classes in Answers.classes"
        )


class Confusion(NamedTuple):
    """Numbers of answers. counts: rows are true classes. tied: samples of two best classes."""

    counts: Int64[np.ndarray, "K K"]
    tied: int


def count_ties(tied: int) -> str:
    """Return the noun for the samples of an evaluation, with how many of them tie."""
    return "samples" + f", {tied:,} of which tie between classes: the first wins" * (tied > 0)


@torch.no_grad()
def count_confusion(model: nn.Module, batches: Iterable[Pair], answers: Answers) -> Confusion:
    """Count the answers of a model, and its ties."""
    k, tied = len(answers.classes), 0
    counts = np.zeros((k, k), np.int64)
    device = next(model.parameters()).device
    for x, labels in batches:
        y, _ = model(x.to(device))
        scores = answers.scores(y)
        require_scores(answers, scores)
        np.add.at(counts, (labels.numpy(), scores.argmax(1).cpu().numpy()), 1)
        tied += int(((scores == scores.amax(1, keepdim=True)).sum(1) > 1).sum())
    return Confusion(counts, tied)
