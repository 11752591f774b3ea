"""The answers of a classifier, and how they are counted."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from neuro.io.run_folder import Run
from neuro.io.store import StoreError
from tasks.images.classification import mnist
from tasks.images.classification.classifier import (
    Answers,
    count_confusion,
    make_classifier,
    show_confusion,
)
from tasks.runs.configuration import make_plan
from tasks.runs.find import find_task
from tasks.runs.task import Pair, Split

ANSWERS = Answers(classes=("cat", "dog", "owl"), scores=lambda y: y.mean(0))


class Echo(nn.Module):
    """A model whose output is its input; it has a parameter, as every model has."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        return x * self.scale, None


def test_a_confusion_matrix_has_a_row_for_each_true_class() -> None:
    answers = torch.tensor([0, 2, 2, 1])  # of cat, cat, dog, owl
    x = nn.functional.one_hot(answers, 3).float().expand(4, 4, 3)
    labels = torch.tensor([0, 0, 1, 2])
    halves = [(x[:, :3], labels[:3]), (x[:, 3:], labels[3:])]
    found = count_confusion(Echo(), halves, ANSWERS)
    assert found.tolist() == [[1, 0, 1], [0, 0, 1], [0, 1, 0]]


def test_weights_are_selected_on_the_validation_split_and_measured_on_the_test_split(
    tmp_path: Path,
) -> None:
    """One of two samples in "val" is right, and three of four in "test"."""
    labels = {"val": torch.tensor([0, 1]), "test": torch.tensor([0, 0, 0, 1])}

    def batches(_: object, split: Split, __: int) -> list[Pair]:
        x = torch.zeros(3, len(labels[split]), 3)
        x[..., 0] = 1
        return [(x, labels[split])]

    task = make_classifier(
        summary="echo",
        configs={"tiny": mnist.tiny},
        build=lambda _: Echo(),
        plan=make_plan,
        steps=lambda _: 1,
        batches=batches,
        loss=lambda _, y, __: y.sum(),
        answers=ANSWERS,
    )
    assert task.training.validate(mnist.tiny(), Echo()) == 0.5
    run = Run(folder=tmp_path, task="echo", name="tiny", seed=0, config=mnist.tiny())
    found = task.evaluation.evaluate(run, Echo())
    assert (found.values, found.n, found.split) == ({"accuracy": 0.75}, 4, "test")
    assert found.facts["confusion"] == [[3, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_a_wrong_answer_is_marked() -> None:
    evaluation = find_task("mnist").evaluation
    given, labels = torch.tensor([3, 5, 5, 0]), torch.tensor([3, 5, 2, 1])
    assert list(evaluation.describe(None, given, labels)) == [
        "3 → 3", "5 → 5", "2 → 5  ✗", "1 → 0  ✗"
    ]  # fmt: skip
    assert evaluation.measure(None, given, labels) == {"accuracy": 0.5}


def test_an_output_answers_by_its_mean_over_all_ticks() -> None:
    y = torch.zeros(3, 1, 10)
    y[0, 0, 0], y[1, 0, 1], y[2, 0, 1] = 3.0, 2.0, 2.0
    given = find_task("mnist").evaluation.decode(None, Echo(), {"readout": y})
    assert given.tolist() == [1]


CONFUSED: dict[str, Any] = {
    "n": 3,
    "split": "test",
    "correct": 2,
    "classes": ["cat", "dog"],
    "confusion": [[1, 0], [1, 1]],
}


def test_a_confusion_is_shown_with_how_many_were_right(tmp_path: Path) -> None:
    run = Run(folder=tmp_path, task="mnist", name="tiny", seed=0, config=mnist.tiny())
    (page,) = show_confusion(run, CONFUSED)
    assert "2 of 3 test samples correct. Rows: true class. Columns: answer." in page


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"correct": "2"}, "correct: is '2', expected a whole number"),
        ({"classes": "cd"}, "classes: is 'cd', expected a list"),
        ({"confusion": [[1, 0], [1]]}, "its confusion matrix is not 2 x 2"),
        ({"confusion": [[1, 0]]}, "its confusion matrix is not 2 x 2"),
    ],
)
def test_facts_that_are_no_confusion_are_refused_by_name(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    run = Run(folder=tmp_path, task="mnist", name="tiny", seed=0, config=mnist.tiny())
    with pytest.raises(StoreError, match=rf"eval.json: .*{told}"):
        show_confusion(run, {**CONFUSED, **change})
