"""Shows the progress of a verb: as a bar in a terminal, as lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress as Bars,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from neuro.training import Progress
from neuro.training.checkpoint import read_curve
from tasks.measures.train import Tell
from tasks.report.tables import describe_raised_slopes
from tasks.report.terminal import NOTHING_KEPT, make_console
from tasks.runs.share import REPORT, Report
from tasks.runs.task import Metric, TaskRun

Row = dict[str, float | int]  # one validation in the history of a training
PERIOD = 30.0  # seconds between lines on the share that is done


@contextmanager
def show_progress(console: Console, run: TaskRun, *, shown: bool) -> Iterator[Tell | None]:
    """Yield the function that shows the progress, or None to show nothing."""
    if not shown:
        yield None
        return
    training = run.definition.training
    epochs, metric = training.plan(run.config).epochs, training.validation
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
    console = make_console(stderr=True)
    with (_show_bar if console.is_terminal else _print_shares)(console, verb) as report:
        token = REPORT.set(report)
        try:
            yield
        finally:
            REPORT.reset(token)


@contextmanager
def _show_bar(console: Console, verb: str) -> Iterator[Report]:
    columns: list[Any] = [TextColumn("{task.description}", markup=False), BarColumn()]
    columns += [TimeElapsedColumn(), TimeRemainingColumn()]
    both = sys.stdout.isatty()  # otherwise what a task's file prints stays on stdout
    with Bars(*columns, console=console, transient=True, redirect_stdout=both) as bars:
        item = bars.add_task(verb, total=None)
        work = ShareOfWork(verb)

        def report(what: str, share: float) -> None:
            nonlocal item
            if work.report(what, share):
                bars.remove_task(item)
                about = f"{verb}: {what}" if work.what else verb
                item = bars.add_task(about, total=1.0 if work.what else None)
            bars.update(item, completed=share)

        yield report


@contextmanager
def _print_shares(console: Console, verb: str) -> Iterator[Report]:
    work, end = ShareOfWork(verb), Event()

    def print_all() -> None:
        while not end.wait(PERIOD):
            line = work.describe(time.monotonic())
            console.print(line, highlight=False, soft_wrap=True)

    thread = Thread(target=print_all, daemon=True)
    thread.start()
    try:
        yield work.report
    finally:
        end.set()
        thread.join()


class ShareOfWork:
    """What a verb does, the share of it that is done, and since when; "": unknown."""

    def __init__(self, verb: str) -> None:
        self.verb, self.what = verb, ""
        self.begin = self.since = time.monotonic()
        self.first = self.share = 0.0

    def report(self, what: str, share: float) -> bool:
        """Take note of a share; return whether other work has begun. At 1 it is unknown."""
        what = what if share < 1 else ""
        new = what != self.what or share < self.share
        if new:
            self.what, self.first, self.since = what, share, time.monotonic()
        self.share = share
        return new

    def describe(self, now: float) -> str:
        """Return a line: the time so far, the share that is done, and the remaining time."""
        line = f"{self.verb}: {write_time(now - self.begin)} so far"
        if not self.what:
            return line
        line += f"; {self.what}: {self.share:.0%}"
        if self.share == self.first:
            return line
        left = (1 - self.share) / (self.share - self.first) * (now - self.since)
        return f"{line}, about {write_time(left)} left"


def write_time(seconds: float) -> str:
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


def describe_kept(folder: Path) -> str:
    """Say what an interrupted training has kept in its run folder."""
    curve = read_curve(folder)
    if curve is None:
        return NOTHING_KEPT
    steps = curve["steps"]
    epoch, step = divmod(curve["epoch"] * steps + curve["step"] - 1, steps)
    return f"kept: epoch {epoch + 1}, step {step + 1}; the same command continues"


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
