"""The task: more computation for one answer, in hidden states instead of words."""

from tasks.reasoning import config as configs
from tasks.reasoning.batches import batches, count_steps, make_dummy_batch
from tasks.reasoning.curriculum import list_stages
from tasks.reasoning.data import pin_files
from tasks.reasoning.deployment import (
    EXECUTED,
    chip_part,
    count_host_macs,
    count_runs,
    count_ticks,
    decode,
    explain_only_torch,
    measure,
    stimuli,
)
from tasks.reasoning.evaluate import METRICS, evaluate, validate
from tasks.reasoning.loss import loss
from tasks.reasoning.model import build
from tasks.runs.configuration import make_plan
from tasks.runs.names import CONFIGURATIONS, SUMMARIES
from tasks.runs.task import (
    ACCURACY,
    Deployment,
    Evaluation,
    Task,
    Training,
)

TASK = Task(
    summary=SUMMARIES["reasoning"],
    about=lambda config: (
        "A small language model reads a puzzle and says its answer; before the answer it may "
        "think, in hidden states that are not words. Its layers send "
        f"{'spikes' if config.linear == 'spiking' else 'real numbers, no spikes'}."
    ),
    configs={name: getattr(configs, name) for name in CONFIGURATIONS["reasoning"]},
    training=Training(
        build=build,
        # Each stage begins with a new optimizer.
        plan=lambda config: make_plan(config, stages=list_stages(config)),
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
    deployment=Deployment(
        part=chip_part,
        stimuli=stimuli,
        runs=count_runs,
        host=count_host_macs,
        ann_passes=count_ticks,
        step="token",
        only_torch=explain_only_torch,
    ),
    evaluation=Evaluation(
        metrics=(*METRICS, *EXECUTED),
        evaluate=evaluate,
        decode=decode,
        measure=measure,
        controls=lambda config: (
            {"pauses instead of thoughts": {"arm": "pause"}}
            if config.arm in ("coconut", "codi")
            else {}
        ),
    ),
)
