"""A teacher learns before its student, from its own windows, and never with it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from neuro.base.seeds import seeded
from tasks.forecasting import teacher as teaching
from tasks.forecasting.baselines import list_baselines
from tasks.forecasting.config import tiny_ann
from tasks.forecasting.data import batches, prepare
from tasks.forecasting.network import build, build_teacher, cross_entropy
from tasks.forecasting.recordings import RecordingConfig
from tasks.forecasting.task import TASK, list_earlier, loss
from tasks.forecasting.teacher import make_teacher_training
from tasks.measures.earlier import train_alone

SMALL = replace(tiny_ann(), points=500, batch=40, teacher_epochs=3, hidden=8, lookback=4)


@pytest.mark.parametrize("arm", ["future", "none"])
def test_the_teacher_is_trained_before_the_student_and_never_with_it(arm: str) -> None:
    config = replace(SMALL, arm=arm, teacher_epochs=1)  # type: ignore[arg-type]
    with seeded(0):
        model = build(config)
    before = {name: p.clone() for name, p in model.state_dict().items()}
    for stage in list_earlier(config, model):
        stage.finish(train_alone(stage))
    moved = {name for name, p in model.state_dict().items() if not torch.equal(p, before[name])}
    assert {name.split(".")[0] for name in moved} == ({"teacher"} if arm == "future" else set())
    assert TASK.training.earlier is list_earlier
    if model.teacher is not None:
        loss(config, model, next(batches(config, "train", 0)), 0.0).backward()
        assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
        assert all(p.grad is not None for p in model.student.parameters())


def test_a_teacher_beats_the_last_value_of_the_student_it_sees_later_than() -> None:
    config = replace(SMALL, points=1500, lookback=1, teacher_epochs=8, lr=1e-2)
    with seeded(0):
        stage = make_teacher_training(config, build_teacher(config))
    train_alone(stage)
    prepared = prepare(config)
    answers = list_baselines(prepared)["persistence"]
    error = np.mean((answers - prepared.windows["test"].labels) ** 2)
    assert stage.course.validate(stage.model) < 0.5 * error


def test_a_teacher_learns_from_its_later_windows_and_is_scored_in_bins() -> None:
    with seeded(0):
        stage = make_teacher_training(SMALL, build_teacher(SMALL))
    part = prepare(SMALL).teaching["train"]
    (x, labels), *rest = stage.course.batches(2)
    assert (x.shape[:2], len(rest) + 1, stage.course.steps) == ((1, 40), 7, 7)
    rows = [(part.own == row).all(1).nonzero()[0][0] for row in x[0].numpy()]
    assert labels.tolist() == part.labels[rows].tolist()
    assert not torch.equal(x, next(iter(stage.course.batches(1)))[0])
    val = prepare(SMALL).teaching["val"]
    found = stage.course.validate(stage.model)
    with torch.no_grad():
        p = stage.model(torch.from_numpy(val.own)[None])[0][-1].double().softmax(-1)
    answers = p @ torch.arange(SMALL.bins).double()
    assert found == pytest.approx(
        float((answers - torch.from_numpy(val.labels)).square().mean())
    )
    some = (x, labels)
    expected = cross_entropy(stage.model(x)[0][-1], labels)
    assert torch.equal(stage.course.loss(stage.model, some, 0.5), expected)


def test_a_detector_keeps_its_last_weights_at_a_constant_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = torch.randn(6, 4), torch.tensor([0, 0, 0, 1, 1, 1])
    monkeypatch.setattr(teaching, "read_detector", lambda _: shown)
    stage = make_teacher_training(RecordingConfig(batch=9), nn.Linear(4, 2))
    assert (stage.plan.keep, stage.plan.clip, stage.course.steps) == ("last", math.inf, 1)
    optimizer = torch.optim.SGD(stage.model.parameters(), lr=0.5)
    schedule = stage.plan.build_schedule(optimizer, 1)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.5
