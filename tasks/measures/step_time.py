"""``neuro train --dry-run``: tells the time to expect, from a measured step."""

import time
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise, repeat
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from neuro.events.resources import find_free_memory
from neuro.training import Course, Progress, Stage, fit
from neuro.training.distributed import shard_batch
from tasks.measures.dry_run import DryRun, list_stages
from tasks.measures.progress_bar import write_time
from tasks.measures.train import count_steps, launch_fabric, make_plan
from tasks.runs.allocator import keep_freed_memory
from tasks.runs.task import TaskRun, Tree
from tasks.runs.trained_run import build_fresh_model

MEASURED = 3  # steps, after one that warms up
LONG = 20.0  # seconds after which no further step is measured
RATE = 0.15  # share of ones in a dummy batch: usual spikes per tick
SHARE = 0.25  # of the free memory of the machine that the measured steps may take


class _Measured(Exception):
    """Enough steps are measured."""


def describe_time(run: TaskRun, memory: DryRun, device: str) -> str:
    """Return a line: the time to expect of a training here, or why it was not measured.

    memory: result of the dry run of the memory, whose total must fit.
    """
    if run.gradient == "eventprop":
        return "time: not measured: that of EventProp depends on the spikes"
    free = SHARE * find_free_memory()
    if device == "cuda" and torch.cuda.is_available():
        free = torch.cuda.mem_get_info()[0]
    if memory.whole.total > free:
        needed, most = (f"{size / 1e9:,.1f} GB" for size in (memory.whole.total, free))
        return f"time: not measured: it would take {needed} of memory, and may take {most}"
    plan, stages = make_plan(run), list_stages(run, make_plan(run))
    try:
        seconds = [measure_step(run, memory.devices, device, *stage) for stage in stages]
        # Where a training would generate its data, counting them would generate them.
        steps = None if run.definition.training.describe_data else count_steps(run)
    except (ValueError, RuntimeError, OSError) as error:
        return f"time: not measured: {str(error).splitlines()[0]}"
    lengths = [stage.count_steps(steps or 1) if stage else 1 for _, stage in stages]
    mean = sum(s * n for s, n in zip(seconds, lengths, strict=True)) / sum(lengths)
    line = f"{mean:.3g} s per step on this machine"
    if steps is not None:
        whole = write_time(mean * steps * plan.epochs)
        line = f"about {whole}: {steps:,} steps per epoch, {plan.epochs} epochs, {line}"
    left_out = "validations and the reading of data"
    if run.definition.training.begin is not None:
        left_out += ", and without what the task trains or computes before the first step"
    return (
        f"time: {line} ({device}); an estimate from a few steps of random values, without "
        f"{left_out}" + ", on one device" * (memory.devices > 1)
    )


def describe_stages(run: TaskRun) -> list[str]:
    """Describe the trainings that come before that of a run's model, one line each."""
    if (list_earlier := run.definition.training.earlier) is None:
        return []
    try:
        stages = list_earlier(run.config, build_fresh_model(run))
    except (ValueError, RuntimeError, OSError) as error:
        return [f"earlier trainings: not known: {str(error).splitlines()[0]}"]
    return [
        f"stage {k} of {len(stages) + 1}: training {stage.what}, {stage.course.steps:,} steps "
        f"per epoch, {stage.plan.epochs} epochs; the time below is without it"
        for k, stage in enumerate(stages, 1)
    ]


def measure_step(
    run: TaskRun, devices: int, device: str, at: float, stage: Stage | None
) -> float:
    """Return the median duration of a training step of one device's share of a batch [s].

    at, stage: the share of the training that is done, and its stage.
    """
    training = run.definition.training
    keep_freed_memory(of_any_size=True)  # as a training does
    model = build_fresh_model(run)
    for name, parameter in model.named_parameters():
        if stage is not None and stage.is_frozen(name):
            parameter.requires_grad_(False)
    batch = shard_batch(make_batch(run), training.batch_axis, torch.device("cpu"), (0, devices))
    marks = [time.perf_counter()]

    def loss(wrapped: nn.Module, some: Tree, _: float, *state: Any) -> Any:
        return training.loss(run.config, wrapped, some, at, *state)

    def mark(_: Progress, step: int) -> None:
        marks.append(time.perf_counter())
        if step == MEASURED or (step and marks[-1] - marks[0] > LONG):
            raise _Measured

    course = Course(
        batches=lambda _: repeat(batch),
        batch_axis=training.batch_axis,
        steps=MEASURED + 2,
        loss=loss,
        carry=training.carry,
        carry_types=training.carry_types,
        validate=lambda _: 0.0,  # it ends before the first
    )
    own = replace(make_plan(run), stages=(), checkpoint_every=None, checkpoint_minutes=None)
    with TemporaryDirectory() as folder, suppress(_Measured):
        fit(model, course, own, launch_fabric(run, device, 1), Path(folder), mark)
    return median(b - a for a, b in pairwise(marks[1:]))


def make_batch(run: TaskRun) -> Tree:
    """Return a batch with the shapes of a training's: zeros of a dummy batch become random."""
    training, rng = run.definition.training, torch.Generator().manual_seed(run.seed)
    if training.dummy_batch is None:
        return next(iter(training.batches(run.config, "train", 0)))

    def fill(x: Tensor) -> Tensor:
        if not x.is_floating_point() or x.any():
            return x
        return (torch.rand(x.shape, generator=rng) < RATE).to(x.dtype)

    return tree_map_only(Tensor, fill, training.dummy_batch(run.config))
