"""``neuro train`` and ``neuro eval``."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from neuro.eventprop import Tally, outputs_of
from neuro.runs import Run, RunError, begin
from neuro.train import Batch, Course, Progress, fit
from tasks.task import Split
from tasks.work import fresh_model, task_of, trained_model

Tell = Callable[[Progress, int, int], None]


def require_device(device: str) -> None:
    """Raise a RunError unless torch can compute on ``device`` here."""
    if device == "cuda" and not torch.cuda.is_available():
        raise RunError("--device cuda: torch sees no CUDA device here; use --device cpu")


def fabric(device: str, devices: int) -> Fabric:
    """Return Fabric, launched, on ``devices`` processes of a device; torchrun's where it runs.

    Raises:
        RunError: there is no such device here.
    """
    require_device(device)
    if devices < 1:
        raise RunError(f"--devices must be >= 1, got {devices}")
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", devices))
    strategy = "ddp" if devices > 1 else "auto"
    out = Fabric(accelerator=device, devices=devices, strategy=strategy)
    out.launch()
    return out


def train(run: Run, fabric: Fabric, tell: Tell | None = None) -> Progress:
    """Train a run, from where it was left off; a finished run is left as it is.

    tell: called after every step with (progress, step, steps in an epoch).
    """
    task, config = task_of(run), run.config
    steps = task.steps(config)
    if run.gradient == "eventprop":
        require_exact(run, fabric)
    begin(run, write=fabric.is_global_zero)
    fabric.barrier()
    model = fresh_model(run)
    tally = Tally()

    def loss(wrapped: nn.Module, batch: Batch) -> torch.Tensor:
        one = model if run.gradient == "eventprop" else wrapped
        return task.loss(output(run, one, batch[0], tally), batch[1])

    def watch(progress: Progress, step: int) -> None:
        if tell is not None:
            tell(progress, step, steps)
        if step == 0 and progress.history and fabric.is_global_zero:
            run.write_lines("metrics.jsonl", progress.history)

    course = Course(
        batches=lambda epoch: task.batches(config, "train", epoch),
        steps=steps,
        loss=loss,
        score=lambda model: _accuracy(run, model, "val"),
    )
    progress = fit(model, course, task.plan(config), fabric, run.folder, watch)
    if fabric.is_global_zero:
        run.write_lines("metrics.jsonl", progress.history)
        if tally.spikes:
            run.write("eventprop.json", vars(tally))
    return progress


def output(
    run: Run, model: nn.Module, x: torch.Tensor, tally: Tally | None = None
) -> torch.Tensor:
    """Return what a run's model says: on the clock, or where EventProp trains it, exactly."""
    if run.gradient == "eventprop":
        return outputs_of(model, x, tally or Tally())
    y: torch.Tensor = model(x)[0]
    return y


def require_exact(run: Run, fabric: Fabric) -> None:
    """Raise unless EventProp can train a run's network where Fabric is to run it."""
    if fabric.world_size > 1:
        raise RunError("--gradient eventprop runs in one process; leave --devices out")
    x, _ = next(iter(task_of(run).batches(run.config, "val", 0)))
    output(run, fresh_model(run), x[:, :1].to(fabric.device))


def evaluate(run: Run, device: str = "cpu") -> dict[str, Any]:
    """Measure the trained network on the test split; write and return ``eval.json``.

    Returns:
        accuracy, n, correct, and ``confusion``: row = true class, column = answer. A run that
        EventProp trained is measured in continuous time, as it was trained.
    """
    require_device(device)
    task = task_of(run)
    model = trained_model(run).to(device)
    k = len(task.classes)
    confusion = np.zeros((k, k), np.int64)
    for labels, answer in _answers(run, model, "test"):
        np.add.at(confusion, (labels, answer), 1)
    n, correct = int(confusion.sum()), int(confusion.trace())
    result = {
        "accuracy": correct / n,
        "n": n,
        "correct": correct,
        "split": "test",
        "gradient": run.gradient,
        "classes": list(task.classes),
        "confusion": confusion.tolist(),
    }
    run.write("eval.json", result)
    return result


def _accuracy(run: Run, model: nn.Module, split: Split) -> float:
    right = [labels == answer for labels, answer in _answers(run, model, split)]
    return float(np.concatenate(right).mean())


@torch.no_grad()
def _answers(
    run: Run, model: nn.Module, split: Split
) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    task = task_of(run)
    device = next(model.parameters()).device
    for x, labels in task.batches(run.config, split, 0):
        y = output(run, model, x.to(device))
        yield labels.numpy(), task.scores(y).argmax(1).cpu().numpy()
