"""The task: images by rectified flow, one by one (SiT) or after noisier images (ARFlow)."""

from functools import partial

from tasks.flow import config as configs
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
from tasks.runs.configuration import make_plan
from tasks.runs.names import CONFIGURATIONS, SUMMARIES
from tasks.runs.task import Deployment, Evaluation, Task, Training

TASK = Task(
    summary=SUMMARIES["flow"],
    about=lambda config: (
        "Noise goes in, and a new image like those of the training set comes out after some "
        "steps of the network. It sees the present image"
        f"{' and, through a state, the noisier ones before it' * ('arflow' in config.arm)}. "
        f"From layer to layer pass {'counts of' if config.maps == 'spiking' else 'no'} spikes."
    ),
    configs={name: getattr(configs, name) for name in CONFIGURATIONS["flow"]},
    training=Training(
        build=build,
        plan=partial(make_plan, keep="last"),
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
        metrics=(*METRICS, *EXECUTED),
        evaluate=evaluate,
        decode=decode,
        measure=measure,
        controls=lambda config: (
            {"SiT": {"arm": config.arm.replace("arflow", "sit")}} if config.has_state else {}
        ),
    ),
)
