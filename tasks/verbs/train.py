"""``neuro train`` and ``neuro eval``."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.csv_logs import CSVLogger
from lightning_fabric.loggers.logger import Logger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from torch import Tensor, nn
from torch.utils._pytree import (
    _broadcast_to_and_flatten,
    tree_flatten,
    tree_map_only,
    tree_unflatten,
)

from neuro.eventprop import Tally, outputs_of
from neuro.io.run_folder import Run, RunError, begin
from neuro.training.distributed import own
from neuro.training.loop import Course, Progress, fit
from tasks.find import keep_task_file, task_of
from tasks.task import Metric, Training, Tree, as_json
from tasks.verbs.trained_run import fresh_model, require_declared, trained_model

Tell = Callable[[Progress, int, int], None]
LOGGED = 10  # steps from one loss that a logger is told to the next


def require_device(device: str) -> None:
    """Raise a RunError unless torch can compute on ``device`` here."""
    if device == "cuda" and not torch.cuda.is_available():
        raise RunError("--device cuda: torch sees no CUDA device here; use --device cpu")


def launch_fabric(device: str, devices: int, loggers: Sequence[Logger] = ()) -> Fabric:
    """Return Fabric, launched, on ``devices`` processes of a device; torchrun's where it runs.

    Raises:
        RunError: there is no such device here.
    """
    require_device(device)
    if devices < 1:
        raise RunError(f"--devices must be >= 1, got {devices}")
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", devices))
    strategy = "ddp" if devices > 1 else "auto"
    out = Fabric(accelerator=device, devices=devices, strategy=strategy, loggers=list(loggers))
    out.launch()
    return out


def make_loggers(kind: Literal["none", "csv", "tensorboard"], folder: Path) -> list[Logger]:
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

    tell: called after every step with (progress, step, steps in an epoch). Fabric's loggers are
    told the loss of every :data:`LOGGED` th step, and the figures of every epoch.
    """
    training, config = task_of(run).training, run.config
    steps = training.steps(config)
    if run.gradient == "eventprop":
        require_exact(run, fabric)
    begin(run, write=fabric.is_global_zero)
    if fabric.is_global_zero:
        keep_task_file(run)
    fabric.barrier()
    model, tally = fresh_model(run), Tally()
    exact = InExactTime(model, tally) if run.gradient == "eventprop" else None
    stream = _Stream(training, config, exact)
    curves = _Curves(fabric, steps)

    def watch(progress: Progress, step: int) -> None:
        if tell is not None:
            tell(progress, step, steps)
        curves.log(progress, step, stream.last)
        if step == 0 and progress.history and fabric.is_global_zero:
            run.write_lines("metrics.jsonl", progress.history)

    sign = 1 if training.validation.better == "higher" else -1
    course = Course(
        batches=stream.batches,
        steps=steps,
        loss=stream.loss,
        score=lambda model: sign * training.validate(config, in_trained_time(run, model)),
        metric=name_in_history(training.validation),
        seed=run.seed,
    )
    progress = fit(model, course, training.plan(config), fabric, run.folder, watch)
    curves.finish(progress)
    if fabric.is_global_zero:
        run.write_lines("metrics.jsonl", progress.history)
        if tally.spikes:
            run.write("eventprop.json", vars(tally))
    return progress


def name_in_history(metric: Metric) -> str:
    """Return the name of a validation metric in ``metrics.jsonl``, where greater is better."""
    return metric.name if metric.better == "higher" else f"minus {metric.name}"


class _Curves:
    """What Fabric's loggers are told, once: the history of a resumed training they know."""

    def __init__(self, fabric: Fabric, steps: int) -> None:
        self.fabric, self.steps = fabric, steps
        self.epochs: int | None = None  # how many epochs they know, once training goes on

    def log(self, progress: Progress, step: int, loss: Tensor) -> None:
        """Log a step of an epoch, and the epochs before it."""
        if not self.fabric.loggers:
            return
        self._log_epochs(progress)
        if step % LOGGED == 0:
            at = progress.epoch * self.steps + step
            self.fabric.log_dict({"loss": float(loss)}, step=at)

    def finish(self, progress: Progress) -> None:
        """Log what is left, and close the files."""
        self._log_epochs(progress)
        for logger in self.fabric.loggers:
            logger.finalize("success")

    def _log_epochs(self, progress: Progress) -> None:
        known = len(progress.history) if self.epochs is None else self.epochs
        for row in progress.history[known:]:
            figures = {k: v for k, v in row.items() if k != "epoch"}
            self.fabric.log_dict(figures, step=int(row["epoch"]) * self.steps)
        self.epochs = len(progress.history)


class _Stream:
    """The batches and the loss of a task, with the state carried from batch to batch.

    exact: takes the place of the model where EventProp trains it.
    """

    def __init__(self, training: Training[Any], config: Any, exact: nn.Module | None) -> None:
        self.training, self.config, self.exact = training, config, exact
        self.state: Any = None
        self.last = torch.zeros(())  # loss

    def batches(self, epoch: int) -> Iterator[Any]:
        """Yield the batches of an epoch; a new epoch begins without a state."""
        self.state = None
        for batch in self.training.batches(self.config, "train", epoch):
            yield _Divisible(batch, self.training.batch_axes).as_pair()

    def loss(self, wrapped: nn.Module, batch: Any, at: float) -> Tensor:
        """Return the loss of a batch, and keep the state for the next."""
        model = wrapped if self.exact is None else self.exact
        loss, state = self.training.loss(self.config, model, batch[0].tree, at, self.state)
        self.state = tree_map_only(Tensor, Tensor.detach, state)
        self.last = loss.detach()
        return loss


class _Divisible:
    """A pytree of tensors that ``fit`` divides among processes as it does a tensor."""

    def __init__(self, tree: Tree, axes: Any) -> None:
        self.tree, self.axes = tree, axes
        leaves, self.spec = tree_flatten(tree)
        self.leaves: list[tuple[Tensor, int]] = list(
            zip(leaves, _broadcast_to_and_flatten(axes, self.spec) or (), strict=True)
        )

    def as_pair(self) -> tuple["_Divisible", Tensor]:
        """Return what ``fit`` takes apart: this, and something as long as the batch."""
        leaf, axis = self.leaves[0]
        return self, torch.empty(leaf.shape[axis])

    def __getitem__(self, _: Any) -> "_Divisible":
        mine = [x[(slice(None),) * axis + (own(),)] for x, axis in self.leaves]
        return _Divisible(tree_unflatten(mine, self.spec), self.axes)

    def to(self, device: torch.device) -> "_Divisible":
        """Return the same on a device."""
        there = [x.to(device) for x, _ in self.leaves]
        return _Divisible(tree_unflatten(there, self.spec), self.axes)


class InExactTime(nn.Module):
    """A model in the continuous time of EventProp; maps (x) to (y, None)."""

    def __init__(self, model: nn.Module, tally: Tally | None = None) -> None:
        super().__init__()
        self.model = model
        self.tally = tally or Tally()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return (outputs, None): no state is handed on."""
        return outputs_of(self.model, x, self.tally), None


def in_trained_time(run: Run, model: nn.Module) -> nn.Module:
    """Return a run's model on the clock, or where EventProp trains it, in continuous time."""
    return InExactTime(model) if run.gradient == "eventprop" else model


def require_exact(run: Run, fabric: Fabric) -> None:
    """Raise unless EventProp can train a run's network where Fabric is to run it."""
    if fabric.world_size > 1:
        raise RunError("--gradient eventprop runs in one process; leave --devices out")
    training = task_of(run).training
    if not training.eventprop:
        raise RunError(
            f"{run.task} cannot be trained with --gradient eventprop: its loss asks more of "
            "the model than (x) -> (y, state); leave --gradient out"
        )
    x, _ = next(iter(training.batches(run.config, "val", 0)))
    InExactTime(fresh_model(run))(x[:, :1].to(fabric.device))


def evaluate_run(run: Run, device: str = "cpu") -> dict[str, Any]:
    """Measure the trained model on the test split; write and return ``eval.json``.

    A run that EventProp trained is measured in continuous time, as it was trained.

    Returns:
        The value of each metric by its name; n, split, gradient; the facts that the task adds;
        notes, tables and pictures where there are any; and direction, unit and format of
        ``metrics``.
    """
    require_device(device)
    model = in_trained_time(run, trained_model(run).to(device)).eval()
    evaluation = task_of(run).evaluation
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
