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
    count_ties,
    make_classifier,
    show_confusion,
)
from tasks.images.classification.examples import draw_samples, score_baselines
from tasks.report import figures
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
    assert found.counts.tolist() == [[1, 0, 1], [0, 0, 1], [0, 1, 0]]
    assert found.tied == 0


def test_samples_whose_highest_score_several_classes_share_are_counted_as_ties() -> None:
    scores = torch.tensor([[2.0, 2, 0], [0, 0, 0], [0, 0, 1], [1, 1, 3], [1, 2, 2]])
    labels = torch.tensor([0, 1, 2, 2, 1])
    x = scores.expand(4, 5, 3)
    found = count_confusion(Echo(), [(x[:, :2], labels[:2]), (x[:, 2:], labels[2:])], ANSWERS)
    assert found.tied == 3
    assert found.counts.diagonal().tolist() == [1, 1, 2]  # the first of a tie wins
    assert count_ties(3) == "samples, 3 of which tie between classes: the first wins"
    assert count_ties(0) == "samples"


def test_weights_are_selected_on_the_validation_split_and_measured_on_the_test_split(
    tmp_path: Path,
) -> None:
    """One of two samples in "val" is right, and three of four in "test"."""
    labels = {
        "train": torch.tensor([1, 1, 0, 2, 1]),
        "val": torch.tensor([0, 1]),
        "test": torch.tensor([0, 0, 0, 1]),
    }

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
    assert found.beside["most frequent class"] == {"accuracy": 0.25}
    (picture,) = found.pictures
    assert picture.example
    assert (tmp_path / picture.file).read_bytes().startswith(b"\x89PNG")


def test_baselines_are_those_computed_by_hand() -> None:
    """Features are (x[0] + (x[0] + x[1])) / 2; class 1 is absent from the training."""
    train = torch.tensor([[[1.0, 0], [0, 1], [2, 1]], [[0.0, 0], [0, 2], [0, 2]]])
    test = torch.tensor([[[0, 0], [0, 0.9], [0, 0]], [[0, 3], [0, 0], [0, 0]]])
    # Means: (1, 0) of class 0; (1, 2) of class 2, of (0, 2) and (2, 2). Test: y = 1.5, 0.9, 0.
    batches = [(test[:, :1], torch.tensor([2])), (test[:, 1:], torch.tensor([0, 1]))]
    assert score_baselines([(train, torch.tensor([0, 2, 2]))], batches) == {
        "most frequent class": {"accuracy": pytest.approx(1 / 3)},
        "nearest mean of 3 training samples": {"accuracy": pytest.approx(2 / 3)},
    }


@pytest.mark.parametrize(
    ("shape", "n", "size"),
    [((2, 9, 3, 4, 5), 8, (4, 5)), ((3, 2, 1, 1, 7), 2, (7, 3)), ((2, 1, 6), 1, (6, 2))],
)
def test_samples_are_drawn_as_images_or_as_rasters_of_neurons_by_ticks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: Any, n: int, size: Any
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "save_png", lambda figure, *_, **__: drawn.append(figure))
    run = Run(folder=tmp_path, task="echo", name="tiny", seed=0, config=mnist.tiny())
    titles = [f"{k} → {k}" for k in range(9)]
    drawn_as = draw_samples(run, torch.rand(shape), torch.zeros(1), titles).caption
    ways = ("one column per tick, one row per input", "summed over the ticks")
    assert (
        drawn_as == f"Stimuli, {ways[len(shape) == 5 and shape[3] > 1]}: true class → answer."
    )
    plain = draw_samples(run, torch.rand(shape), torch.zeros(1), ["a"]).caption
    assert plain == drawn_as.replace(": true class → answer", "")
    found = [(ax.get_title(), ax.images[0].get_array().shape[:2]) for ax in drawn[0].axes[:n]]
    assert found == [(f"{k}\n→ {k}", size) for k in range(n)]


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
