"""The task: images by rectified flow, each alone (SiT) or behind noisier ones (ARFlow)."""

from neuro.training import Plan
from tasks.flow import config as configs
from tasks.flow.config import FlowConfig, require_sound
from tasks.flow.data import batches, count_steps, make_dummy_batch
from tasks.flow.deployment import (
    EXECUTED,
    chip_part,
    count_ticks,
    decode,
    explain_only_torch,
    host,
    list_further_maps,
    measure,
    stimuli,
)
from tasks.flow.evaluate import METRICS, evaluate
from tasks.flow.loss import LOSS, loss, validate
from tasks.flow.model import build
from tasks.runs.names import CONFIGURATIONS
from tasks.runs.task import Deployment, Evaluation, Task, Training


def make_plan(config: FlowConfig) -> Plan:
    """Return how a model is trained: AdamW with a cosine, and the last weights are kept.

    Raises:
        ValueError: the configuration does not hold together; lists every problem.
    """
    require_sound(config)
    return Plan(
        epochs=config.epochs,
        lr=config.lr,
        warm=config.warm,
        decay=config.decay,
        clip=config.clip,
        keep="last",
    )


TASK = Task(
    summary="Flow: images of noise, each alone, or behind noisier images of its class",
    configs={name: getattr(configs, name) for name in CONFIGURATIONS["flow"]},
    training=Training(
        build=build,
        plan=make_plan,
        steps=count_steps,
        batches=batches,
        batch_axis=1,
        dummy_batch=make_dummy_batch,
        loss=loss,
        validation=LOSS,
        validate=validate,
        seed_changes="the initial weights, the draws of times, noise and hidden labels, and "
        "the noise of new images; the order of images follows from the epoch and seed_of_data",
    ),
    deployment=Deployment(
        part=chip_part,
        stimuli=stimuli,
        host=host,
        ann_passes=count_ticks,
        others=list_further_maps,
        only_torch=explain_only_torch,
    ),
    evaluation=Evaluation(
        metrics=(*METRICS, *EXECUTED), evaluate=evaluate, decode=decode, measure=measure
    ),
)
