"""The training of a teacher, which ends before that of its student begins.

A teacher learns from the labels of its own, later windows; on recordings of seizures it is a
detector, which learns from windows in seizures and as many others. Axes: N windows, L inputs.
"""

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from neuro.training import Course, Plan
from tasks.forecasting.config import ForecastConfig
from tasks.forecasting.data import EVALUATED, order_batches, prepare
from tasks.forecasting.evaluate import MSE
from tasks.forecasting.network import cross_entropy
from tasks.forecasting.patients import read_detector
from tasks.forecasting.recordings import RecordingConfig
from tasks.forecasting.windows import read_bins
from tasks.runs.task import EarlierTraining, Pair


def make_teacher_training(config: ForecastConfig, teacher: nn.Module) -> EarlierTraining:
    """Return the training of a teacher, which begins with its present weights.

    The weights of the best validation are kept. A detector has no windows to validate on: its
    last weights are kept, and its score is that of its training windows.

    Raises:
        TrainError: no window of a recording lies in a seizure.
    """
    plan = Plan(epochs=config.teacher_epochs, lr=config.lr)
    if isinstance(config, RecordingConfig):
        train = val = read_detector(config)
        plan = Plan(
            epochs=config.teacher_epochs,
            lr=config.lr,
            clip=math.inf,
            schedule=lambda optimizer, _: LambdaLR(optimizer, lambda _: 1.0),
            keep="last",
        )
    else:
        parts = prepare(config).teaching
        train, val = (
            (torch.from_numpy(parts[split].own), torch.from_numpy(parts[split].labels))
            for split in ("train", "val")
        )
    batch = min(config.batch, len(train[1]))

    def batches(epoch: int) -> Iterator[Pair]:
        for some in order_batches(replace(config, batch=batch), len(train[1]), epoch):
            yield train[0][some][None], train[1][some]

    @torch.no_grad()
    def validate(model: nn.Module) -> float:
        scores = [model(x[None])[0][-1] for x in torch.split(val[0], EVALUATED)]
        answers = read_bins(torch.cat(scores).double().softmax(-1))
        return float((answers - val[1]).square().mean())

    course = Course(
        batches=batches,
        steps=len(train[1]) // batch,
        loss=lambda model, own, at: cross_entropy(model(own[0])[0][-1], own[1]),  # noqa: ARG005
        validate=validate,
        metric=MSE.name,
        better=MSE.better,
    )
    return EarlierTraining(
        what="the teacher",
        model=deepcopy(teacher).requires_grad_(),
        course=course,
        plan=plan,
        finish=lambda trained: teacher.load_state_dict(trained.state_dict()),
    )
