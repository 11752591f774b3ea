"""Shows the progress of a training: as a bar in a terminal, as lines elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress as Bars, TextColumn, TimeRemainingColumn

from neuro.training import Progress
from tasks.measures.train import Tell
from tasks.report.tables import describe_raised_slopes
from tasks.runs.task import Metric, TaskRun

Row = dict[str, float | int]  # one validation in the history of a training


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
def show_share(words: str) -> Iterator[Callable[[float], None]]:
    """Yield a function that shows a share from 0 to 1 on stderr, with the remaining time.

    It shows nothing if stderr is not a terminal.
    """
    console = Console(stderr=True)
    columns: list[Any] = [TextColumn(words, markup=False), BarColumn(), TimeRemainingColumn()]
    hidden = not console.is_terminal
    with Bars(*columns, console=console, transient=True, disable=hidden) as bars:
        item = bars.add_task(words, total=1.0)
        yield lambda share: bars.update(item, completed=share)


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
