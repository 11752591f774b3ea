"""The event target, windows without labels, and what a predictor learns by them."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tasks.forecasting.data import batches, prepare
from tasks.forecasting.network import (
    ask_teacher,
    build,
    compute_loss,
    reduce_period,
)
from tasks.forecasting.seizures import seizures_ann
from tasks.forecasting.task import loss

SHORT = replace(seizures_ann(), points=40_000)


def test_the_event_target_is_the_answer_to_the_most_certain_window() -> None:
    scores = torch.tensor(
        [[[0.0, 1.0], [3.0, 5.0], [-9.0, -8.0]], [[1.0, 0.0], [2.0, 0.0], [0.0, -3]]]
    )
    found = reduce_period(scores)
    assert found.tolist() == [[3, 5], [1, 0]]
    p = scores.softmax(-1)[..., 1].amax(1)
    torch.testing.assert_close(found.softmax(-1)[:, 1], p)


def test_a_teacher_answers_each_window_alone() -> None:
    later = torch.randn(5, 3, 4)
    teacher = nn.Sequential(nn.Linear(4, 2))

    class Answering(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
            return teacher(x), None

    found = ask_teacher(Answering(), later)
    for k in range(5):
        torch.testing.assert_close(found[k], reduce_period(teacher(later[k : k + 1]))[0])
    torch.testing.assert_close(ask_teacher(Answering(), later[:, 1]), teacher(later[:, 1]))


@pytest.mark.parametrize("arm", ["none", "oracle", "smoothing", "future"])
def test_a_window_without_a_label_teaches_by_its_teacher_alone(arm: str) -> None:
    config = replace(SHORT, arm=arm)  # type: ignore[arg-type]
    scores = torch.randn(4, 2, requires_grad=True)
    taught = torch.randn(4, 2) if arm == "future" else None
    labels = torch.tensor([0, 1, -1, -1])
    compute_loss(config, scores, labels, taught).backward()
    gradient = scores.grad
    assert gradient is not None
    assert gradient[:2].any(1).all()
    assert bool((gradient[2:].abs() > 1e-6).any()) == (arm == "future")


def test_a_detector_is_trained_on_each_window_of_the_training_part() -> None:
    assert prepare(SHORT).teaching["train"].own.shape == (24_000 // 32 - 1, 13)


@pytest.mark.parametrize("cells", ["tanh", "lif"])
@pytest.mark.parametrize("arm", ["future", "present", "shuffled", "none"])
def test_a_batch_has_a_finite_loss_and_only_the_student_learns(cells: str, arm: str) -> None:
    config = replace(SHORT, cells=cells, arm=arm, batch=16, hidden=8)  # type: ignore[arg-type]
    model = build(config)
    batch = next(iter(batches(config, "train", 0)))
    loss(config, model, batch, 0.0).backward()
    assert all(p.grad is None for n, p in model.named_parameters() if n.startswith("teacher"))
    assert any(p.grad is not None and p.grad.any() for p in model.student.parameters())
