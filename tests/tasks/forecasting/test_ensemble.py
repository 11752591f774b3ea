"""Networks trained side by side are those that are trained alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from neuro.base.seeds import seeded
from neuro.training import Course, TrainError, fit, get_best_weights_path, load_weights
from tasks.forecasting.config import ForecastConfig, tiny_ann
from tasks.forecasting.data import batches, count_steps
from tasks.forecasting.ensemble import (
    measure_error,
    put_weights,
    run_networks,
    stack_weights,
    stack_windows,
    teach_labels,
    train_networks,
    train_teachers,
)
from tasks.forecasting.evaluate import validate
from tasks.forecasting.network import GuidedForecaster, build, build_student, build_teacher
from tasks.forecasting.task import TASK, begin, loss

SMALL = replace(tiny_ann(), arm="none", points=500, batch=40, epochs=3, hidden=8, lookback=4)


def make_students(configs: list[ForecastConfig]) -> list[torch.nn.Module]:
    with seeded(0):
        return [build_student(config) for config in configs]


def test_networks_side_by_side_answer_as_each_alone() -> None:
    networks = make_students([SMALL] * 3)
    x = torch.randn(3, 7, 4)
    together = run_networks(stack_weights(networks), x)
    for net, own, answers in zip(networks, x, together, strict=True):
        assert torch.allclose(net(own[None])[0][-1], answers, atol=1e-6)


def test_each_is_trained_as_the_loop_of_training_does_alone(tmp_path: Path) -> None:
    configs = [replace(SMALL, seed_of_data=seed) for seed in (0, 3)]
    networks = make_students(configs)
    train, val = (stack_windows(configs, split) for split in ("train", "val"))  # type: ignore[arg-type]
    alone = [GuidedForecaster(student, None) for student in make_students(configs)]  # type: ignore[arg-type]
    train_networks(networks, configs, lambda _: train, val, teach_labels, SMALL.epochs)
    fabric = Fabric(accelerator="cpu", devices=1)
    for k, config in enumerate(configs):
        course = Course(
            batches=lambda epoch, c=config: batches(c, "train", epoch),  # type: ignore[misc]
            steps=count_steps(config),
            loss=lambda net, batch, at, c=config: loss(c, net, batch, at),  # type: ignore[misc]
            validate=lambda net, c=config: validate(c, net),  # type: ignore[misc]
            better="lower",
            batch_axis=TASK.training.batch_axis,
        )
        fit(alone[k], course, TASK.training.plan(config), fabric, tmp_path / str(k))
        load_weights(get_best_weights_path(tmp_path / str(k)), alone[k])
        pairs = zip(networks[k].parameters(), alone[k].parameters(), strict=True)
        assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-4


def test_the_kept_weights_are_those_of_the_best_validation_and_no_alias() -> None:
    """In the released code the kept weights change on with the network."""
    seen: list[Tensor] = []
    networks = make_students([SMALL])
    train, val = (stack_windows([SMALL], split) for split in ("train", "val"))  # type: ignore[arg-type]

    def worsen(scores: Tensor, labels: Tensor, taught: Tensor | None) -> Tensor:
        """Learn in the first epoch, and unlearn later."""
        seen.append(scores)
        sign = 1 if len(seen) <= train.labels.shape[1] // 40 else -1
        return sign * teach_labels(scores, labels, taught)

    train_networks(networks, [SMALL], lambda _: train, val, worsen, 3)
    kept = measure_error(stack_weights(networks), val)
    seen.clear()
    once = make_students([SMALL])
    config = replace(SMALL, lr=SMALL.lr)
    train_networks(once, [config], lambda _: train, val, worsen, 3)
    assert torch.equal(kept, measure_error(stack_weights(once), val))
    last = make_students([SMALL])
    before = measure_error(stack_weights(last), val)
    assert kept < before


def test_a_network_that_diverges_ends_the_training() -> None:
    """Its first weights would else be kept without a word."""
    wild = replace(SMALL, seed_of_data=4)
    train, val = (stack_windows([wild], split) for split in ("train", "val"))  # type: ignore[arg-type]
    with pytest.raises(TrainError, match="epoch 1: a network of seed_of_data 4 answers NaN"):
        train_networks(make_students([wild]), [wild], lambda _: train, val, lose, 2)


def lose(scores: Tensor, labels: Tensor, taught: Tensor | None) -> Tensor:
    return teach_labels(scores, labels, taught) * float("nan")


def test_a_batch_larger_than_the_data_trains_nothing() -> None:
    large = replace(SMALL, batch=400)
    train, val = (stack_windows([large], split) for split in ("train", "val"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch is 400, and there are 292 windows"):
        train_networks(make_students([large]), [large], lambda _: train, val, teach_labels, 2)


def test_weights_are_put_back_where_they_were() -> None:
    networks = make_students([SMALL] * 2)
    weights = stack_weights(networks)
    put_weights(networks[::-1], weights)
    assert torch.equal(stack_weights(networks)[0][0], weights[0][0].flip(0))


def test_a_teacher_beats_the_student_it_sees_later_than() -> None:
    config = replace(SMALL, points=1500, lookback=1, epochs=8, teacher_epochs=8, lr=1e-2)
    with seeded(0):
        student, teacher = build_student(config), build_teacher(config)
    train, val = (stack_windows([config], split) for split in ("train", "val"))  # type: ignore[arg-type]
    train_networks([student], [config], lambda _: train, val, teach_labels, config.epochs)
    train_teachers([teacher], [config])
    later = stack_windows([config], "val", later=True)
    error = measure_error(stack_weights([teacher]), later)
    assert error < 0.5 * measure_error(stack_weights([student]), val)


@pytest.mark.parametrize("arm", ["future", "none"])
def test_the_teacher_is_trained_before_the_student_and_never_with_it(arm: str) -> None:
    config = replace(SMALL, arm=arm, teacher_epochs=1)  # type: ignore[arg-type]
    with seeded(0):
        model = build(config)
    before = {name: p.clone() for name, p in model.state_dict().items()}
    begin(config, model)
    moved = {name for name, p in model.state_dict().items() if not torch.equal(p, before[name])}
    assert {name.split(".")[0] for name in moved} == ({"teacher"} if arm == "future" else set())
    if model.teacher is not None:
        loss(config, model, next(batches(config, "train", 0)), 0.0).backward()
        assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
        assert all(p.grad is not None for p in model.student.parameters())
