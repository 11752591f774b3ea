"""The task: forecast a series, guided by a teacher that sees later values.

Future-Guided Learning (Gunasekaran et al. 2025, Nature Communications 16, 8645), with controls
that show the cause of its gain. Axes: T ticks, B samples, K bins, L samples of a window.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from neuro.io.run_folder import RunError
from tasks.forecasting import config as configs, recordings, seizures as seizure_configs
from tasks.forecasting.config import ForecastConfig
from tasks.forecasting.data import (
    Batch,
    batches,
    count_steps,
    count_ticks,
    make_dummy_batch,
)
from tasks.forecasting.evaluate import (
    METRICS,
    MSE,
    decode,
    describe,
    evaluate,
    measure,
    validate,
)
from tasks.forecasting.network import GuidedForecaster, ask_teacher, build, compute_loss
from tasks.forecasting.teacher import make_teacher_training
from tasks.runs.configuration import make_plan
from tasks.runs.names import CONFIGURATIONS, SUMMARIES
from tasks.runs.samples import draw_spread
from tasks.runs.task import (
    Deployment,
    EarlierTraining,
    Evaluation,
    Split,
    Stimulus,
    Task,
    Training,
)

MAKERS = {**vars(configs), **vars(seizure_configs), **vars(recordings)}
NO_SPIKES = "a student without spikes has no Graph; use a run of forecasting:tiny"


def loss(config: ForecastConfig, model: nn.Module, batch: Batch, at: float) -> Tensor:  # noqa: ARG001
    """Return the mean loss of a batch; student and teacher each answer it once."""
    x, labels, later = batch
    scores, guided = model(x)[0][-1], _require_guided(model)
    taught = None
    if guided.teacher is not None:
        with torch.no_grad():
            taught = ask_teacher(guided.teacher, later)
    return compute_loss(config, scores, labels, taught)


def _require_guided(model: nn.Module) -> GuidedForecaster:
    inner = getattr(model, "module", model)
    if not isinstance(inner, GuidedForecaster):
        raise RunError(f"{type(inner).__name__} is no forecaster; tasks.forecasting builds one")
    return inner


def list_earlier(config: ForecastConfig, model: nn.Module) -> list[EarlierTraining]:
    """Return the training of the teacher, if there is one."""
    teacher = _require_guided(model).teacher
    return [] if teacher is None else [make_teacher_training(config, teacher)]


def chip_part(_: ForecastConfig, model: nn.Module) -> nn.Module:
    """Return the student."""
    return _require_guided(model).student


def explain_only_torch(config: ForecastConfig) -> str:
    """Explain why only torch can run the student. Returns "" if every executor can."""
    return NO_SPIKES if config.cells == "tanh" else ""


def stimuli(config: ForecastConfig, model: nn.Module, split: Split) -> Iterator[Stimulus]:  # noqa: ARG001
    """Yield the events of ``compared`` windows of a split, and their true bins."""
    for x, labels, drawn in draw_spread(partial(batches, config, split, 0), config.compared):
        yield Stimulus({"input": x}, labels, drawn)


TASK = Task(
    summary=SUMMARIES["forecasting"],
    about="A network reads the last values of a series and forecasts a later value, as a "
    "probability of each of several bins; of a recording, it forecasts whether a seizure is "
    "about to begin. Its neurons spike, except in the twins without spikes, and during "
    "training a teacher that sees later values may guide it.",
    configs={name: MAKERS[name] for name in CONFIGURATIONS["forecasting"]},
    training=Training(
        build=build,
        earlier=list_earlier,
        plan=make_plan,
        steps=count_steps,
        batches=batches,
        batch_axis=(1, 0, 0),
        dummy_batch=make_dummy_batch,
        loss=loss,
        validation=MSE,
        validate=validate,
        seed_changes="the initial weights of student and teacher; the series and the order of "
        "its windows follow from the epoch and seed_of_data",
    ),
    deployment=Deployment(
        part=chip_part,
        stimuli=stimuli,
        ann_passes=count_ticks,
        only_torch=explain_only_torch,
    ),
    evaluation=Evaluation(
        metrics=METRICS,
        evaluate=evaluate,
        decode=decode,
        measure=measure,
        describe=describe,
        controls=lambda config: (
            {}
            if config.arm == "none"
            else {"a student of labels alone": {"arm": "none", "surprise": 0.0}}
        ),
        reading="Captions: true bin → expectation of the distribution over the bins.",
    ),
)
