"""Trainings that end before that of a run: of a teacher, of the model that a probe reads.

Each keeps its checkpoints in ``earlier/NUMBER-DIGEST`` of the run folder until the training of
the run has ended; the digest is that of the run's configuration, so that nothing is taken from
another configuration.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from torch import nn

from neuro.io.run_folder import begin_run
from neuro.training import Progress, fit, get_best_weights_path, load_weights
from neuro.training.checkpoint import read_curve
from tasks.runs.task import EarlierTraining, TaskRun

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Tell = Callable[[Progress, int, int], None]  # progress, step, steps per epoch
Show = Callable[[str, int], AbstractContextManager[Tell | None]]  # title, epochs
FOLDER = "earlier"


def train_earlier(run: TaskRun, model: nn.Module, fabric: "Fabric", show: Show) -> int:
    """Train what comes before a run's model, from the last checkpoints; return the number."""
    list_earlier = run.definition.training.earlier
    stages = [] if list_earlier is None else [*list_earlier(run.config, model)]
    for k, stage in enumerate(stages, 1):
        folder = run.folder / FOLDER / f"{k}-{begin_run(run, write=False)}"
        curve = read_curve(folder)
        is_done = curve is not None and curve["epoch"] == stage.plan.epochs
        what = f"{stage.what} is trained" if is_done else f"training {stage.what}"
        with show(f"stage {k} of {len(stages) + 1}: {what}", stage.plan.epochs) as tell:
            stage.finish(train_stage(stage, fabric, folder, tell))
    return len(stages)


def train_stage(
    stage: EarlierTraining, fabric: "Fabric", folder: Path, tell: Tell | None = None
) -> nn.Module:
    """Train a network on the devices of ``fabric``; return it on the CPU, for evaluation."""

    def watch(progress: Progress, step: int) -> None:
        if tell is not None:
            tell(progress, step, stage.course.steps)

    with _leave_out_loggers(fabric):  # their curves are those of the run's model
        fit(deepcopy(stage.model), stage.course, stage.plan, fabric, folder, watch)
    fabric.barrier()  # the first process writes the weights
    load_weights(get_best_weights_path(folder), stage.model)
    return stage.model.eval()


def train_alone(stage: EarlierTraining) -> nn.Module:
    """Train a network on the CPU, without a run; return it for evaluation."""
    from lightning_fabric import Fabric

    with TemporaryDirectory() as folder:
        return train_stage(stage, Fabric(accelerator="cpu", devices=1), Path(folder))


@contextmanager
def _leave_out_loggers(fabric: "Fabric") -> Iterator[None]:
    kept = [*fabric.loggers]
    fabric.loggers.clear()
    try:
        yield
    finally:
        fabric.loggers.extend(kept)


def list_kept(run: TaskRun) -> list[Path]:
    """Return the folders of the earlier trainings that a run has begun, in order."""
    return sorted((run.folder / FOLDER).glob(f"*-{begin_run(run, write=False)}"))
