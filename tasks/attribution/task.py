"""The task: which of several corpora a text of a language model comes from."""

from neuro.training import Plan
from tasks.attribution import config as configs
from tasks.attribution.begin import begin
from tasks.attribution.config import AttributionConfig, require_sound
from tasks.attribution.deployment import (
    chip_part,
    count_host_macs,
    count_ticks,
    decode,
    describe,
    explain_only_torch,
    measure,
    stimuli,
)
from tasks.attribution.evaluate import METRICS, evaluate
from tasks.attribution.lm_training import make_lm_plan
from tasks.attribution.loss import (
    LOSS,
    batches,
    count_steps,
    loss,
    make_dummy_batch,
    validate,
)
from tasks.attribution.model import build
from tasks.runs.names import CONFIGURATIONS
from tasks.runs.task import Deployment, Evaluation, Task, Training


def make_plan(config: AttributionConfig) -> Plan:
    """Return how an arm is trained; a probe keeps the weights of its best validation.

    Raises:
        ValueError: the configuration does not hold together; lists every problem.
    """
    require_sound(config)
    if config.is_lm:
        return make_lm_plan(config)
    return Plan(
        epochs=config.epochs,
        lr=config.lr,
        warm=config.warm,
        decay=config.decay,
        clip=config.clip,
    )


TASK = Task(
    summary="Attribution: which corpora a text of a language model comes from",
    configs={name: getattr(configs, name) for name in CONFIGURATIONS["attribution"]},
    training=Training(
        build=build,
        begin=begin,
        plan=make_plan,
        steps=count_steps,
        batches=batches,
        batch_axis=(1, 0),
        dummy_batch=make_dummy_batch,
        loss=loss,
        validation=LOSS,
        validate=validate,
        seed_changes="the initial weights; the documents and their order follow from "
        "seed_of_data, the language model behind a probe from seed_of_lm",
    ),
    deployment=Deployment(
        part=chip_part,
        stimuli=stimuli,
        host=count_host_macs,
        ann_passes=count_ticks,
        only_torch=explain_only_torch,
    ),
    evaluation=Evaluation(
        metrics=METRICS,
        evaluate=evaluate,
        decode=decode,
        measure=measure,
        describe=describe,
        reading="Captions: true corpus → the largest membrane of the read-out, as the mean of "
        "all tokens.",
    ),
)
