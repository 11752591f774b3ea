"""``neuro train`` and ``neuro eval``."""

import os
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.csv_logs import CSVLogger
from lightning_fabric.loggers.logger import Logger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from torch import nn

from neuro.eventprop import Tally, compute_module_outputs
from neuro.io.run_folder import Run, RunError, begin_run
from neuro.training import Course, Progress, fit
from tasks.find import find_task_of, keep_task_file
from tasks.task import Metric, Tree, as_json
from tasks.verbs.trained_run import build_fresh_model, load_trained_model, require_declared

Tell = Callable[[Progress, int, int], None]
Kind = Literal["none", "csv", "tensorboard"]  # of a logger


def require_device(device: str) -> None:
    """Raise a RunError unless torch can compute on ``device`` here."""
    if device == "cuda" and not torch.cuda.is_available():
        raise RunError("--device cuda: torch sees no CUDA device here; use --device cpu")


def launch_fabric(run: Run, device: str, devices: int, logger: Kind = "none") -> Fabric:
    """Return Fabric, launched, on ``devices`` processes of a device; torchrun's where it runs.

    Raises:
        RunError: there is no such device here, or the logger is not installed.
    """
    require_device(device)
    if devices < 1:
        raise RunError(f"--devices must be >= 1, got {devices}")
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", devices))
    plan = find_task_of(run).training.plan(run.config)
    precision: Any = plan.precision
    out = Fabric(
        accelerator=device,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=precision,
        loggers=make_loggers(logger, run.folder),
    )
    out.launch()
    return out


def make_loggers(kind: Kind, folder: Path) -> list[Logger]:
    """Return Fabric's logger of that kind, which writes into ``logs`` of a run folder.

    csv: ``logs/version_K/metrics.csv``, a new K each time that training goes on.
    tensorboard: event files in ``logs``; ``tensorboard --logdir logs`` shows them.

    Raises:
        RunError: TensorBoard is not installed.
    """
    logs = folder / "logs"
    try:
        if kind == "csv":
            return [CSVLogger(logs, name="")]
        return [TensorBoardLogger(logs, name="", version="")] if kind == "tensorboard" else []
    except ModuleNotFoundError as error:
        raise RunError(
            "--logger tensorboard needs TensorBoard: pip install tensorboard; or take csv"
        ) from error


def train_run(run: Run, fabric: Fabric, tell: Tell | None = None) -> Progress:
    """Train a run, from where it was left off; a finished run is left as it is.

    tell: called after every step with (progress, step, steps in an epoch).
    """
    training, config = find_task_of(run).training, run.config
    steps = training.steps(config)
    if run.gradient == "eventprop":
        require_exact(run, fabric)
    begin_run(run, write=fabric.is_global_zero)
    if fabric.is_global_zero:
        keep_task_file(run)
    fabric.barrier()
    model, tally = build_fresh_model(run), Tally()

    def watch(progress: Progress, step: int) -> None:
        if tell is not None:
            tell(progress, step, steps)
        if step == 0 and progress.history and fabric.is_global_zero:
            run.write_lines("metrics.jsonl", progress.history)

    def loss(wrapped: nn.Module, batch: Tree, at: float, *state: Any) -> Any:
        exact = run.gradient == "eventprop"
        return training.loss(
            config, InExactTime(model, tally) if exact else wrapped, batch, at, *state
        )

    sign = 1 if training.validation.better == "higher" else -1
    resume = training.batches_from
    course = Course(
        batches=lambda epoch: training.batches(config, "train", epoch),
        batches_from=None if resume is None else partial(resume, config),
        batch_axis=training.batch_axis,
        steps=steps,
        loss=loss,
        carry=training.carry,
        carry_types=training.carry_types,
        validate=lambda model: (
            sign * training.validate(config, place_in_trained_time(run, model))
        ),
        metric=name_in_history(training.validation),
        seed=run.seed,
    )
    progress = fit(model, course, training.plan(config), fabric, run.folder, watch)
    for logger in fabric.loggers:
        logger.finalize("success")
    if fabric.is_global_zero:
        run.write_lines("metrics.jsonl", progress.history)
        if tally.spikes:
            run.write("eventprop.json", vars(tally))
    return progress


def name_in_history(metric: Metric) -> str:
    """Return the name of a validation metric in ``metrics.jsonl``, where greater is better."""
    return metric.name if metric.better == "higher" else f"minus {metric.name}"


class InExactTime(nn.Module):
    """A model in the continuous time of EventProp; maps (x) to (y, None)."""

    def __init__(self, model: nn.Module, tally: Tally | None = None) -> None:
        super().__init__()
        self.model = model
        self.tally = tally or Tally()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return (outputs, None): no state is handed on."""
        return compute_module_outputs(self.model, x, self.tally), None


def place_in_trained_time(run: Run, model: nn.Module) -> nn.Module:
    """Return a run's model on the clock, or where EventProp trains it, in continuous time."""
    return InExactTime(model) if run.gradient == "eventprop" else model


def require_exact(run: Run, fabric: Fabric) -> None:
    """Raise unless EventProp can train a run's network where Fabric is to run it."""
    if fabric.world_size > 1:
        raise RunError("--gradient eventprop runs in one process; leave --devices out")
    training = find_task_of(run).training
    if not training.eventprop:
        raise RunError(
            f"{run.task} cannot be trained with --gradient eventprop: its loss asks more of "
            "the model than (x) -> (y, state); leave --gradient out"
        )
    x, _ = next(iter(training.batches(run.config, "val", 0)))
    InExactTime(build_fresh_model(run))(x[:, :1].to(fabric.device))


def evaluate_run(run: Run, device: str = "cpu") -> dict[str, Any]:
    """Measure the trained model on the test split; write and return ``eval.json``.

    A run that EventProp trained is measured in continuous time, as it was trained.

    Returns:
        The value of each metric by its name; n, split, gradient; the facts that the task adds;
        notes, tables and pictures where there are any; and direction, unit and format of
        ``metrics``.
    """
    require_device(device)
    model = place_in_trained_time(run, load_trained_model(run).to(device)).eval()
    evaluation = find_task_of(run).evaluation
    found = evaluation.evaluate(run, model)
    require_declared(run, found.values)
    shown = {
        "notes": dict(found.notes),
        "tables": [asdict(table) for table in found.tables],
        "pictures": [asdict(picture) for picture in found.pictures],
    }
    result = {
        **found.values,
        "n": found.n,
        "split": found.split,
        **found.facts,
        **{k: v for k, v in shown.items() if v},
        "metrics": as_json(m for m in evaluation.metrics if m.name in found.values),
        "gradient": run.gradient,
    }
    run.write("eval.json", result)
    return result
