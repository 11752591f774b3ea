"""``neuro train`` and ``neuro eval``."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

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
    begin(run, write=fabric.is_global_zero)
    fabric.barrier()
    model = fresh_model(run)

    def loss(model: nn.Module, batch: Batch) -> torch.Tensor:
        y, _ = model(batch[0])
        return task.loss(y, batch[1])

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
    return progress


def evaluate(run: Run, device: str = "cpu") -> dict[str, Any]:
    """Measure the trained network on the test split; write and return ``eval.json``.

    Returns:
        accuracy, n, correct, and ``confusion``: row = true class, column = answer.
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
        y, _ = model(x.to(device))
        yield labels.numpy(), task.scores(y).argmax(1).cpu().numpy()
