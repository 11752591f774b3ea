"""``neuro train`` and ``neuro eval``."""

import os
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from neuro.eventprop import Tally, outputs_of
from neuro.io.run_folder import Run, RunError, begin_run
from neuro.training import Batch, Course, Progress, fit
from tasks.verbs.trained_run import fresh_model, task_of, trained_model

Tell = Callable[[Progress, int, int], None]


def require_device(device: str) -> None:
    """Raise a RunError unless torch can compute on ``device`` here."""
    if device == "cuda" and not torch.cuda.is_available():
        raise RunError("--device cuda: torch sees no CUDA device here; use --device cpu")


def fabric(device: str, devices: int, precision: Any = "32-true") -> Fabric:
    """Return Fabric, launched, on ``devices`` processes of a device; torchrun's where it runs.

    precision: of the plan.

    Raises:
        RunError: there is no such device here.
    """
    require_device(device)
    if devices < 1:
        raise RunError(f"--devices must be >= 1, got {devices}")
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", devices))
    strategy = "ddp" if devices > 1 else "auto"
    out = Fabric(accelerator=device, devices=devices, strategy=strategy, precision=precision)
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
    begin_run(run, write=fabric.is_global_zero)
    fabric.barrier()
    model, tally = fresh_model(run), Tally()

    def watch(progress: Progress, step: int) -> None:
        if tell is not None:
            tell(progress, step, steps)
        if step == 0 and progress.history and fabric.is_global_zero:
            run.write_lines("metrics.jsonl", progress.history)

    def loss(wrapped: nn.Module, batch: Batch, at: float) -> torch.Tensor:
        exact = run.gradient == "eventprop"
        return task.loss(config, InExactTime(model, tally) if exact else wrapped, batch, at)

    course = Course(
        batches=lambda epoch: task.batches(config, "train", epoch),
        steps=steps,
        loss=loss,
        validate=lambda model: task.quality(config, timed(run, model)),
        metric=task.metric,
        seed=run.seed,
    )
    progress = fit(model, course, task.plan(config), fabric, run.folder, watch)
    if fabric.is_global_zero:
        run.write_lines("metrics.jsonl", progress.history)
        if tally.spikes:
            run.write("eventprop.json", vars(tally))
    return progress


class InExactTime(nn.Module):
    """A model in the continuous time of EventProp; maps (x) to (y, None)."""

    def __init__(self, model: nn.Module, tally: Tally | None = None) -> None:
        super().__init__()
        self.model = model
        self.tally = tally or Tally()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return (outputs, None): no state is handed on."""
        return outputs_of(self.model, x, self.tally), None


def timed(run: Run, model: nn.Module) -> nn.Module:
    """Return a run's model on the clock, or where EventProp trains it, in continuous time."""
    return InExactTime(model) if run.gradient == "eventprop" else model


def require_exact(run: Run, fabric: Fabric) -> None:
    """Raise unless EventProp can train a run's network where Fabric is to run it."""
    if fabric.world_size > 1:
        raise RunError("--gradient eventprop runs in one process; leave --devices out")
    if task_of(run).answers is None:
        raise RunError(f"--gradient eventprop trains classifiers, and {run.task} is none")
    x, _ = next(iter(task_of(run).batches(run.config, "val", 0)))
    InExactTime(fresh_model(run))(x[:, :1].to(fabric.device))


def evaluate(run: Run, device: str = "cpu") -> dict[str, Any]:
    """Measure the trained model on the test split; write and return ``eval.json``.

    What it holds is for the task to say. A run that EventProp trained is measured in continuous
    time, as it was trained.
    """
    require_device(device)
    model = timed(run, trained_model(run).to(device)).eval()
    result = {**task_of(run).evaluate(run, model), "gradient": run.gradient}
    run.write("eval.json", result)
    return result
