"""The task: driving by six cameras, as in SAD (Zhu et al. 2024), on nuScenes.

Training: stages and their parameters, learning rates, and the loss of a batch.
"""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from neuro.training import Plan
from neuro.training.plan import Stage, scale_lr
from tasks.driving import deployment, presets
from tasks.driving.batch import DrivingBatch, Unrounded, keep_frames, make_dummy_batch
from tasks.driving.chip import make_parts
from tasks.driving.config import CHANNELS, DrivingConfig, Phase, find_phase
from tasks.driving.data import count_windows, read_batches, read_batches_from, skip_bad
from tasks.driving.data_size import describe_data
from tasks.driving.driven import show_driving
from tasks.driving.estimate import estimate_training
from tasks.driving.evaluate import METRICS, SCORE, evaluate, validate
from tasks.driving.joules import show_joules
from tasks.driving.losses import compute_losses, weigh_losses
from tasks.driving.model import HEADS, TASKS, Driver
from tasks.runs.configuration import make_plan
from tasks.runs.names import CONFIGURATIONS, SUMMARIES
from tasks.runs.task import Deployment, Evaluation, Task, Training

WARM = 0.1  # share of a phase during which the learning rate rises


def plan(config: DrivingConfig) -> Plan:
    """Return the plan: the learning rate rises and falls in each phase."""
    optimizer = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimizer]
    return make_plan(
        config,
        lr=max(p.lr for p in config.phases),
        # "last", not the best score: the distance to recorded paths is a poor guide to driving
        # quality (docs/driving.md).
        keep="last",
        precision=config.precision,
        optimizer=optimizer,
        schedule=lambda optimizer, updates: make_schedule(config, optimizer, updates),
        stages=tuple(
            Stage(name=p.name, epochs=p.epochs, frozen=list_frozen(config, p))
            for p in config.phases
        ),
    )


def make_schedule(config: DrivingConfig, optimizer: Optimizer, updates: int) -> LRScheduler:
    """Return the schedule over all updates of the training."""
    peak = max(p.lr for p in config.phases)

    def factor(update: int) -> float:
        phase, at = find_phase(config, min(update / updates, 1.0))
        return scale_lr(phase.lr / peak, WARM, at)

    return LambdaLR(optimizer, factor)


def list_tasks(config: DrivingConfig, phase: Phase) -> tuple[str, ...]:
    """Return the tasks whose losses count in a phase."""
    trains_depth = config.depth_loss and "encoder" not in phase.frozen
    heads = HEADS[phase.name]
    tasks = [k for k in heads if k in TASKS and f"heads.parts.{k}" not in phase.frozen]
    tasks += ["depth"] if trains_depth else []
    moves = config.prediction.moves and phase.futures and "prediction" not in phase.frozen
    tasks += ["motion"] if moves else []
    return (*tasks, *(("choice", "path") if phase.name == "planning" else ()))


def list_frozen(config: DrivingConfig, phase: Phase) -> tuple[str, ...]:
    """Return patterns of the parameters that stay constant and get no gradient."""
    parts = [f"{part}.*" for part in phase.frozen]
    if not phase.futures and "prediction" not in phase.frozen:
        parts.append("prediction.*")
    if phase.name != "planning":
        parts.append("planner.*")
    heads = [f"heads.parts.{name}.*" for name in CHANNELS if name not in HEADS[phase.name]]
    tasks = [f"balance.{name}" for name in TASKS if name not in list_tasks(config, phase)]
    return (*parts, *heads, *tasks)


def compute_loss(
    config: DrivingConfig, model: nn.Module, batch: DrivingBatch, at: float
) -> Tensor:
    """Return the loss of a batch; ``at``, the finished share of training, selects the phase."""
    phase, _ = find_phase(config, at)
    seen, truth = batch if phase.past is None else keep_frames(batch, phase.past)
    outputs = model(Unrounded(seen), phase.name, phase.futures, Unrounded(truth), phase.frozen)
    losses = compute_losses(config, outputs, truth, list_tasks(config, phase))
    return weigh_losses(losses, outputs.balance)


TASK = Task(
    summary=SUMMARIES["driving"],
    about="From the images of six cameras around a car, a network draws a map of road, lanes, "
    "vehicles and pedestrians, predicts where the vehicles will be, and plans the car's path. "
    "Its layers spike, except in twins without spikes; a host projects the images to the map.",
    configs={name: getattr(presets, name) for name in CONFIGURATIONS["driving"]},
    training=Training(
        build=Driver,
        plan=plan,
        steps=lambda config: count_windows(config, "train") // config.batch,
        batches=read_batches,
        dummy_batch=make_dummy_batch,
        describe_data=describe_data,
        estimate=estimate_training,
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
        headline=show_driving,
        sections=show_joules,
    ),
)
