"""``neuro train`` and ``neuro eval``."""

import logging
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from neuro.base.arguments import describe
from neuro.base.seeds import seeded
from neuro.eventprop import LEAST, Tally, compute_module_outputs
from neuro.io.run_folder import RunError, begin_run
from neuro.io.store import require_utf_8, require_writable
from neuro.training import Course, Plan, Progress, fit, has_checkpoint
from neuro.training.distributed import make_sharding
from tasks.measures.earlier import FOLDER, Show, Tell, train_earlier
from tasks.runs.allocator import keep_freed_memory
from tasks.runs.find import keep_task_file
from tasks.runs.provenance import digest_file, write_result
from tasks.runs.share import report_share
from tasks.runs.task import TaskRun, Tree, as_json
from tasks.runs.trained_run import build_fresh_model, open_trained_run, require_declared

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.loggers.logger import Logger

Kind = Literal["none", "csv", "tensorboard"]  # kinds of loggers
SILENT = "silent.json"  # the populations without a spike in the last validation


def require_device(device: str, devices: int = 1) -> None:
    """Raise a RunError unless torch has ``devices`` devices of this kind here."""
    if device == "cuda" and not torch.cuda.is_available():
        raise RunError("--device cuda: torch sees no CUDA device here; use --device cpu")
    if devices < 1:
        raise RunError(f"--devices must be >= 1, got {devices}")
    count = torch.cuda.device_count()
    if device == "cuda" and devices > count:
        raise RunError(f"--devices {devices}: torch sees {count} CUDA devices here; use fewer")


def launch_fabric(
    run: TaskRun, device: str, devices: int, logger: Kind = "none", *, sharded: bool = False
) -> "Fabric":
    """Return Fabric, launched on ``devices`` processes, or on those of torchrun.

    sharded: each process keeps a share of the parameters (FSDP), otherwise all of them (DDP).

    Raises:
        RunError: the device or the logger is missing here, or one process is to shard a model.
    """
    from lightning_fabric import Fabric

    require_device(device, devices)
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", devices))
    plan = make_plan(run)
    precision: Any = plan.precision
    number = int(os.environ.get("WORLD_SIZE", devices))
    if sharded and number == 1:
        raise RunError("--sharded needs several processes to share a model: add --devices 2")
    strategy: Any = make_sharding(number) if sharded else "ddp"
    out = Fabric(
        accelerator=device,
        devices=devices,
        strategy=strategy if devices > 1 else "auto",
        precision=precision,
        loggers=make_loggers(logger, run.folder),
    )
    with _keep_quiet():
        out.launch()
    return out


@contextmanager
def _keep_quiet() -> Iterator[None]:
    """Run a block in which Fabric prints only warnings, without its message at every launch."""
    log = logging.getLogger("lightning_fabric")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def make_plan(run: TaskRun) -> Plan:
    """Return the plan of a training.

    Raises:
        RunError: the task does not return a Plan.
        ValueError: a number of the plan is out of range.
    """
    plan = run.definition.training.plan(run.config)
    if not isinstance(plan, Plan):
        raise RunError(
            f"{run.task}: Training.plan must return a Plan, got {describe(plan)}; return "
            "Plan(epochs=3, lr=5e-3)"
        )
    return plan


def count_steps(run: TaskRun) -> int:
    """Return the number of batches in an epoch of training.

    Raises:
        RunError: the task does not return an integer >= 1.
    """
    steps = run.definition.training.steps(run.config)
    if not isinstance(steps, Integral) or steps < 1:
        raise RunError(
            f"{run.task}: Training.steps must be a whole number of batches >= 1, got "
            f"{describe(steps)}; -(-samples // batch) counts a smaller last one, too"
        )
    return int(steps)


def make_loggers(kind: Kind, folder: Path) -> "list[Logger]":
    """Return Fabric's logger of a kind, which writes into ``logs`` of a run folder.

    csv: ``logs/version_K/metrics.csv``, with a new K each time the training resumes.
    tensorboard: event files in ``logs``; ``tensorboard --logdir logs`` shows them.

    Raises:
        RunError: TensorBoard is not installed.
    """
    from lightning_fabric.loggers.csv_logs import CSVLogger
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    logs = folder / "logs"
    try:
        if kind == "csv":
            return [CSVLogger(logs, name="")]
        return [TensorBoardLogger(logs, name="", version="")] if kind == "tensorboard" else []
    except ModuleNotFoundError as error:
        raise RunError(
            "--logger tensorboard needs TensorBoard: pip install tensorboard; or take csv"
        ) from error


def train_run(run: TaskRun, fabric: "Fabric", show: Show | None = None) -> Progress:
    """Train a run from its last checkpoint to the end; a finished run is left as it is.

    show: (title, epochs) -> a context that shows a training, and yields the function that is
    called after every step; None: nothing is shown.
    """
    show = show or (lambda *_: nullcontext())
    keep_freed_memory(of_any_size=True)
    training, config = run.definition.training, run.config
    steps, plan = count_steps(run), make_plan(run)
    exact = run.gradient == "eventprop"
    least = require_exact(run, fabric) if exact else LEAST
    if fabric.is_global_zero:
        require_utf_8(run.folder)
        require_writable(run.folder)
    begin_run(run, write=False)  # only checks, since initial weights may take long or fail
    model, before = build_beginning(run, fabric, show)
    tally = Tally()
    digest = begin_run(run, write=fabric.is_global_zero)
    if fabric.is_global_zero:
        keep_task_file(run)
    fabric.barrier()

    def watch(tell: Tell | None, progress: Progress, step: int) -> None:
        report_share("training", (progress.epoch + step / steps) / plan.epochs)
        if tell is not None:
            tell(progress, step, steps)
        if step == 0 and progress.history and fabric.is_global_zero:
            write_progress(run, progress)

    def batches(epoch: int) -> Iterable[Tree]:
        whole = training.batches(config, "train", epoch)
        return whole if epoch else require_all_counted(whole, steps)

    def loss(wrapped: nn.Module, batch: Tree, at: float, *state: Any) -> Any:
        timed = InExactTime(model, tally, least) if exact else wrapped
        return training.loss(config, timed, batch, at, *state)

    resume = training.batches_from
    course = Course(
        batches=batches,
        batches_from=None if resume is None else partial(resume, config),
        batch_axis=training.batch_axis,
        sharded=training.sharded,
        steps=steps,
        loss=loss,
        carry=training.carry,
        carry_types=training.carry_types,
        validate=partial(validate_run, run),
        metric=training.validation.name,
        better=training.validation.better,
        seed=run.seed,
        watched=not exact,  # watching traces the model
        tally=vars(tally) if exact else {},
        run=digest,
    )
    stage = f"stage {before + 1} of {before + 1}: training {run.task}:{run.name}"
    with show(stage if before else "", plan.epochs) as tell:
        progress = fit(model, course, plan, fabric, run.folder, partial(watch, tell))
    for logger in fabric.loggers:
        logger.finalize("success")
    if fabric.is_global_zero:
        write_progress(run, progress)
        shutil.rmtree(run.folder / FOLDER, ignore_errors=True)
    return progress


def build_beginning(run: TaskRun, fabric: "Fabric", show: Show) -> tuple[nn.Module, int]:
    """Build a model, and let the task set its initial weights unless there is a checkpoint.

    Returns:
        The model, and the number of trainings that came before its own.
    """
    model, training, before = build_fresh_model(run), run.definition.training, 0
    if not has_checkpoint(run.folder):
        with seeded(run.seed):
            before = train_earlier(run, model, fabric, show)
            if training.begin is not None:
                training.begin(run.config, model)
    return model, before


def write_progress(run: TaskRun, progress: Progress) -> None:
    """Write ``metrics.jsonl`` and, if there are any, the silent populations."""
    run.write_lines("metrics.jsonl", progress.history)
    if progress.silent:
        epoch = progress.history[-1]["epoch"]
        run.write(SILENT, {"epoch": epoch, "silent": list(progress.silent)})
    else:
        (run.folder / SILENT).unlink(missing_ok=True)


def validate_run(run: TaskRun, model: nn.Module) -> float:
    """Return the score of a model on the validation split.

    Raises:
        RunError: the split is empty.
    """
    training = run.definition.training
    try:
        score = training.validate(run.config, place_in_trained_time(run, model))
    except ZeroDivisionError:
        score = math.nan
    is_nan = score != score  # a task may return NaN, too
    if is_nan and next(iter(training.batches(run.config, "val", 0)), None) is None:
        raise RunError(
            f"{run.task}: the validation split is empty, and the best weights cannot be "
            'chosen; let batches(config, "val", 0) give samples that training does not use'
        )
    return score


def require_all_counted(batches: Iterable[Tree], steps: int) -> Iterator[Tree]:
    """Yield ``steps`` batches; raise before the last of them if there are more.

    Raises:
        RunError: there are more batches, which every epoch would leave out.
    """
    rest = iter(batches)
    for step, batch in enumerate(rest, 1):
        if step == steps and next(rest, None) is not None:
            raise RunError(
                f"an epoch has more than the {steps} batches that Training.steps says: the "
                "rest would never be trained on; count them all (-(-samples // batch) where "
                "the last may be smaller), or end the batches there (itertools.islice)"
            )
        yield batch


class InExactTime(nn.Module):
    """A model in the continuous time of EventProp; maps (x) to (y, None).

    tally, least: see :func:`neuro.eventprop.compute_outputs`.
    """

    def __init__(
        self, model: nn.Module, tally: Tally | None = None, least: float = LEAST
    ) -> None:
        super().__init__()
        self.model = model
        self.tally = tally or Tally()
        self.least = least

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return (outputs, None): there is no state."""
        return compute_module_outputs(self.model, x, self.tally, self.least), None


def place_in_trained_time(run: TaskRun, model: nn.Module) -> nn.Module:
    """Return a model as it is, or in continuous time if EventProp trains the run."""
    return InExactTime(model) if run.gradient == "eventprop" else model


def require_exact(run: TaskRun, fabric: "Fabric") -> float:
    """Return the smallest slope; raise unless EventProp can train the run with this Fabric."""
    if fabric.world_size > 1:
        raise RunError("--gradient eventprop runs in one process; leave --devices out")
    training = run.definition.training
    if training.eventprop is None:
        raise RunError(
            f"{run.task} cannot be trained with --gradient eventprop: its Training.eventprop "
            "is None; leave --gradient out, or, if its loss calls the model as y, _ = model(x) "
            "once, give eventprop=lambda config: 0.1 (the least slope at a spike)"
        )
    least = training.eventprop(run.config)
    x, _ = next(iter(training.batches(run.config, "val", 0)))
    InExactTime(build_fresh_model(run), least=least)(x[:, :1].to(fabric.device))
    return least


def evaluate_run(run: TaskRun, device: str = "cpu") -> dict[str, Any]:
    """Measure the trained model on the test split; write and return ``eval.json``.

    A run trained by EventProp is also measured in continuous time.

    Returns:
        The values of the metrics by name; n, split, counted, gradient; the facts that the task
        adds; notes, tables and pictures if there are any; and under ``metrics`` the direction,
        unit and format of each metric.
    """
    require_device(device)
    trained = open_trained_run(run)
    model = place_in_trained_time(run, trained.model.to(device)).eval()
    evaluation = run.definition.evaluation
    findings = evaluation.evaluate(run, model)
    for values in (findings.values, *findings.beside.values()):
        require_declared(run, values)
    shown = {
        "notes": dict(findings.notes),
        "tables": [asdict(table) for table in findings.tables],
        "pictures": [
            {**asdict(picture), "digest": digest_file(run.folder / picture.file)}
            for picture in findings.pictures
        ],
        "beside": {who: dict(row) for who, row in findings.beside.items()},
        "errors": {who: dict(row) for who, row in findings.errors.items()},
    }
    result = {
        **findings.values,
        "n": findings.n,
        "split": findings.split,
        "counted": findings.counted,
        **findings.facts,
        **{k: v for k, v in shown.items() if v},
        "metrics": as_json(m for m in evaluation.metrics if m.name in findings.values),
        "gradient": run.gradient,
        "seed_changes": run.definition.training.seed_changes,
    }
    write_result(run, "eval", result, trained.measured_on)
    return result
