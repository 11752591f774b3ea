"""The task: more computation for one answer, in hidden states instead of words."""

from collections.abc import Iterator

from torch import nn

from neuro.io.run_folder import RunError
from neuro.training import Plan
from tasks.reasoning import config as configs
from tasks.reasoning.config import ReasoningConfig
from tasks.reasoning.curriculum import batches, count_steps, list_stages, make_dummy_batch
from tasks.reasoning.data import pin_files
from tasks.reasoning.evaluate import METRICS, evaluate, validate
from tasks.reasoning.loss import loss
from tasks.reasoning.model import build
from tasks.runs.names import CONFIGURATIONS
from tasks.runs.task import (
    ACCURACY,
    Deployment,
    Evaluation,
    Split,
    Stimulus,
    Task,
    Training,
)

ONLY_TORCH = "its maps are of real numbers, and only spikes run on events and chips"


def make_plan(config: ReasoningConfig) -> Plan:
    """Return how a model is trained; the optimizer begins anew with each stage."""
    return Plan(
        epochs=config.epochs,
        lr=config.lr,
        warm=config.warm,
        decay=config.decay,
        clip=config.clip,
        stages=list_stages(config),
    )


def chip_part(config: ReasoningConfig, model: nn.Module) -> nn.Module:  # noqa: ARG001
    """Raise a RunError: no chip runs it."""
    raise RunError(f"this network stays on torch: {ONLY_TORCH}")


def stimuli(config: ReasoningConfig, model: nn.Module, split: Split) -> Iterator[Stimulus]:  # noqa: ARG001
    """Raise a RunError: no chip runs it."""
    raise RunError(f"this network stays on torch: {ONLY_TORCH}")


TASK = Task(
    summary="Reasoning: more computation for one answer, in hidden states instead of words",
    configs={name: getattr(configs, name) for name in CONFIGURATIONS["reasoning"]},
    training=Training(
        build=build,
        plan=make_plan,
        steps=count_steps,
        batches=batches,
        batch_axis=1,
        dummy_batch=make_dummy_batch,
        loss=loss,
        validation=ACCURACY,
        validate=validate,
        pin=pin_files,
        seed_changes="the initial weights; the items and their order follow from seed_of_data",
    ),
    deployment=Deployment(part=chip_part, stimuli=stimuli, only_torch=lambda _: ONLY_TORCH),
    evaluation=Evaluation(metrics=METRICS, evaluate=evaluate),
)
