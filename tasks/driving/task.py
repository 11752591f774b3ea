"""The task: driving by six cameras, as in SAD (Zhu et al. 2024), on nuScenes."""

from tasks.driving import deployment, presets
from tasks.driving.batch import make_dummy_batch
from tasks.driving.chip import make_parts
from tasks.driving.data import count_steps, read_batches, read_batches_from, skip_bad
from tasks.driving.evaluate import METRICS, SCORE, evaluate, validate
from tasks.driving.joules import show_joules
from tasks.driving.model import Driver
from tasks.driving.training import compute_loss, plan
from tasks.runs.names import CONFIGURATIONS
from tasks.runs.task import Deployment, Evaluation, Task, Training

TASK = Task(
    summary="driving by six cameras: perception, prediction, planning (SAD)",
    configs={name: getattr(presets, name) for name in CONFIGURATIONS["driving"]},
    training=Training(
        build=Driver,
        plan=plan,
        steps=count_steps,
        batches=read_batches,
        dummy_batch=make_dummy_batch,
        batches_from=lambda config, epoch, step: read_batches_from(
            config, "train", epoch, step
        ),
        batch_axis=0,
        sharded=True,
        loss=compute_loss,
        validation=SCORE,
        validate=validate,
        seed_changes="the initial weights, and the draws of dropout and latents in training; "
        "order, mirroring and displacement of windows, and disturbed drives, follow from the "
        "epoch",
        skip_bad=skip_bad,
    ),
    deployment=Deployment(
        part=deployment.chip_part,
        stimuli=deployment.stimuli,
        host=deployment.host,
        ann_passes=lambda config: config.past + config.future,
        others=make_parts,
        only_torch=deployment.explain_only_torch,
    ),
    evaluation=Evaluation(
        metrics=METRICS,
        evaluate=evaluate,
        decode=deployment.decode,
        measure=deployment.measure,
        sections=show_joules,
    ),
)
