"""Shows the progress of a verb: as a bar in a terminal, as lines elsewhere."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress as Bars,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from neuro.training import Progress
from neuro.training.checkpoint import read_curve
from tasks.measures.earlier import Tell, list_kept
from tasks.report.tables import describe_raised_slopes
from tasks.report.terminal import NOTHING_KEPT, make_console
from tasks.runs.share import REPORT
from tasks.runs.task import Metric, TaskRun

Row = dict[str, float | int]  # one validation in the history of a training
PERIOD = 30.0  # seconds between lines on the share that is done


@contextmanager
def show_progress(console: Console, metric: Metric, title: str, epochs: int) -> Iterator[Tell]:
    """Yield the function that shows the progress of a training. metric: of its validations."""
    if title:
        console.print(title, markup=False, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        with _print_lines(console, epochs, metric) as tell_lines:
            yield tell_lines
        return
    words = TextColumn("{task.description}", markup=False)
    columns: list[Any] = [words, BarColumn(), TimeRemainingColumn()]
    with Bars(*columns, console=console, transient=True) as bars:
        item = bars.add_task("training", total=None)
        tell_news = _make_teller(console)

        def tell(progress: Progress, step: int, steps: int) -> None:
            tell_news(progress, step)
            text = f"epoch {progress.epoch + 1}/{epochs}"
            if progress.history:
                text += f"  {_describe(progress.history[-1], metric)}"
            done = progress.epoch * steps + step + 1
            bars.update(item, description=text, completed=done, total=epochs * steps)

        yield tell


@contextmanager
def show_share(verb: str) -> Iterator[None]:
    """Show on stderr which share of a block is done, and the remaining time.

    A terminal shows a bar; elsewhere a line is printed every :data:`PERIOD` seconds.
    """
    console, end = make_console(stderr=True), Event()
    columns: list[Any] = [TextColumn("{task.description}", markup=False), BarColumn()]
    with Bars(
        *columns,
        TimeElapsedColumn(),
        _TimeLeft(),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # what a task's file prints stays on stdout
        disable=not console.is_terminal,
    ) as bars:
        bars.add_task(verb, total=None)

        def report(what: str, share: float) -> None:
            about, total = (f"{verb}: {what}", 1.0) if share < 1 else (verb, None)
            (item,) = bars.tasks
            if item.description != about or item.completed > share:
                bars.remove_task(item.id)
                bars.add_task(about, total=total, begun=share)
            bars.update(bars.task_ids[0], completed=share)

        def print_lines() -> None:
            while not end.wait(PERIOD):
                console.print(describe_share(bars.tasks[0]), highlight=False, soft_wrap=True)

        thread = Thread(target=print_lines, daemon=True)
        token = REPORT.set(report)
        try:
            if not console.is_terminal:
                thread.start()
            yield
        finally:
            REPORT.reset(token)
            end.set()


def describe_share(item: Task) -> str:
    """Return a line: what is being done, since when, its share, and the remaining time."""
    line = f"{item.description}, {write_time(item.elapsed or 0)} so far"
    if item.total is not None:
        line += f", {item.percentage:.0f}%"
    left = _estimate_left(item)
    return line if left is None else f"{line}, about {write_time(left)} left"


def _estimate_left(item: Task) -> float | None:
    """Return the remaining time [s], which grows while the share stands still."""
    done = item.completed - item.fields.get("begun", 0.0)
    if item.total is None or done <= 0:
        return None
    return (item.elapsed or 0) * (item.total - item.completed) / done


class _TimeLeft(ProgressColumn):
    """The remaining time in a terminal; rich's own waits for the next share."""

    def render(self, task: Task) -> Text:
        left = _estimate_left(task)
        return Text("-:--:--" if left is None else write_time(left), "progress.remaining")


def write_time(seconds: int | float) -> str:
    """Return a duration as hours, minutes and seconds: 1:02:03."""
    return str(timedelta(seconds=round(seconds)))


@contextmanager
def _print_lines(console: Console, epochs: int, metric: Metric) -> Iterator[Tell]:
    """Yield a function that prints one line per validation since this process began."""
    history: list[Row] = []  # it grows; ``done`` rows of it are printed
    done = 0
    tell_news = _make_teller(console)

    def print_new() -> None:
        nonlocal done
        for row in history[done:]:
            line = f"epoch {row['epoch']:g}/{epochs}  {_describe(row, metric)}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        done = len(history)

    def tell(progress: Progress, step: int, steps: int) -> None:  # noqa: ARG001
        nonlocal history, done
        if history is not progress.history:
            history, done = progress.history, len(progress.history)
        print_new()
        tell_news(progress, step)

    yield tell
    print_new()


def _make_teller(console: Console) -> Callable[[Progress, int], None]:
    """Return a function that prints where a training resumes, and newly silent populations."""
    silent: tuple[str, ...] | None = None  # None: nothing is printed yet

    def tell(progress: Progress, step: int) -> None:
        nonlocal silent
        news = []
        if silent is None and (progress.epoch or step):
            batch = f", batch {step + 1}" if step else ""
            news.append(f"resuming at epoch {progress.epoch + 1}{batch}")
        if progress.silent != (silent or ()):
            news += describe_silence(progress.silent)
        silent = progress.silent
        for line in news:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    return tell


def describe_training(run: TaskRun, progress: Progress) -> list[str]:
    """Describe the end of a training in lines: its score, and its problems."""
    training = run.definition.training
    metric, keep = training.validation, training.plan(run.config).keep
    lines = [
        f"trained {progress.epoch} epoch{'s' * (progress.epoch != 1)}, {keep} validation "
        f"{metric.label} {metric.text(progress.best)}, in {run.folder}"
    ]
    if progress.has_diverged:
        last = progress.history[-1]["train_loss"]
        lines.append(
            f"the loss rose from {progress.first_loss:.4g} to {last:.4g}: the training has "
            f"diverged; {progress.grown and progress.grown + '; '}lower the learning rate, or "
            "look at the loss, and train again in another folder (--out)"
        )
    slopes = describe_raised_slopes(progress.history)
    return [*lines, *describe_silence(progress.silent), *([slopes] if slopes else [])]


def describe_kept(run: TaskRun) -> str:
    """Say what an interrupted training has kept in its run folder."""
    folders = [*list_kept(run), run.folder]
    for k, folder in reversed([*enumerate(folders, 1)]):
        if curve := read_curve(folder):
            steps = curve["steps"]
            epoch, step = divmod(curve["epoch"] * steps + curve["step"] - 1, steps)
            stage = f"stage {k}, " if len(folders) > 1 else ""
            return (
                f"kept: {stage}epoch {epoch + 1}, step {step + 1}; the same command continues"
            )
    return NOTHING_KEPT


def describe_silence(names: Sequence[str]) -> list[str]:
    """Return a line on populations that never fire, with the cure; no line if all fire."""
    if not names:
        return []
    return [
        f"no spike of {', '.join(names)} in the whole validation: the layers behind it learn "
        "nothing about the input; raise its weights or input, or lower its threshold; if it "
        "fired in an earlier epoch, lower the learning rate"
    ]


def _describe(row: Row, metric: Metric) -> str:
    """Describe a row of the history: loss, validation score and raised slopes."""
    value = metric.text(row[f"val_{metric.name}"])
    slopes = describe_raised_slopes([row])
    return f"loss {row['train_loss']:.3f}  val {value}" + (f"  {slopes}" if slopes else "")
