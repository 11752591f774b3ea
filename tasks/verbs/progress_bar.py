"""The progress bar of a training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress as Bars, TextColumn, TimeRemainingColumn

from neuro.io.run_folder import Run
from neuro.training import Progress
from tasks.find import find_task_of
from tasks.verbs.train import Tell, name_in_history


@contextmanager
def show_progress(console: Console, run: Run, *, shown: bool) -> Iterator[Tell | None]:
    """Yield what training tells its progress to; None where nothing is shown."""
    if not shown:
        yield None
        return
    training = find_task_of(run).training
    epochs, metric = training.plan(run.config).epochs, training.validation
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()]
    with Bars(*columns, console=console, transient=True) as bars:
        item = bars.add_task("training", total=None)

        def tell(progress: Progress, step: int, steps: int) -> None:
            text = f"epoch {progress.epoch + 1}/{epochs}"
            if progress.history:
                last = progress.history[-1]
                score = last[f"val_{name_in_history(metric)}"]
                value = metric.text(score if metric.better == "higher" else -score)
                text += f"  loss {last['train_loss']:.3f}  val {value}"
            done = progress.epoch * steps + step + 1
            bars.update(item, description=text, completed=done, total=epochs * steps)

        yield tell
