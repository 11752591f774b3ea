"""A training of a task for a benchmark: on one CPU, in a folder that need not stay."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from neuro.base.seeds import seeded
from neuro.training import Course, fit
from tasks.runs.task import Task


def train_task(task: Task[Any], config: Any, seed: int, folder: Path) -> nn.Module:
    """Return a fresh model of a task with the last weights of its training.

    seed: of its weights and of the order of its draws. folder: gets checkpoints, and the best
    weights.

    Raises:
        TrainError: the training has diverged.
    """
    training = task.training
    with seeded(seed):
        model = training.build(config)
    if training.begin is not None:
        with seeded(seed):
            training.begin(config, model)
    course = Course(
        batches=lambda epoch: training.batches(config, "train", epoch),
        steps=training.steps(config),
        loss=lambda net, batch, at: training.loss(config, net, batch, at),
        validate=lambda net: training.validate(config, net),
        better=training.validation.better,
        seed=seed,
        batch_axis=training.batch_axis,
    )
    fit(model, course, training.plan(config), Fabric(accelerator="cpu", devices=1), folder)
    return model


def list_training_versions() -> Mapping[str, str]:
    """Return the versions on which all trainings depend."""
    return {"python": platform.python_version(), "torch": str(torch.__version__)}
