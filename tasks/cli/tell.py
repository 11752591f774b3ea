"""What the verbs of the command line share: they open a run, train it, and tell its state.

Heavy imports wait inside the functions, so that ``neuro --help`` answers at once.
"""

import os
import shlex
from functools import partial
from pathlib import Path
from typing import Any

from tasks.report.terminal import DONE, FAILED, make_console

console = make_console()


def train_and_tell(
    run: Any, device: str, devices: int, logger: Any = "none", sharded: bool = False
) -> None:
    """Train a run, and print its progress; a training that diverged ends with 1.

    Raises:
        KeyboardInterrupt: the user has interrupted it; the message says what is kept.
    """
    from tasks.measures.progress_bar import describe_kept, describe_training, show_progress
    from tasks.measures.train import launch_fabric, train_run

    fabric = launch_fabric(run, device, devices, logger, sharded=sharded)
    show = partial(show_progress, console, run.definition.training.validation)
    try:
        progress = train_run(run, fabric, show if fabric.is_global_zero else None)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(describe_kept(run)) from stop
    if fabric.is_global_zero:
        mark = FAILED if progress.has_diverged or progress.silent else DONE
        first, *more = describe_training(run, progress)
        console.print(mark, first, soft_wrap=True)
        for line in more:
            console.print(line, soft_wrap=True)
        tell_out_of_date(run)
        if progress.has_diverged:
            raise SystemExit(1)


def tell_integers(
    folder: str, chip: Any, out: Path | None, largest_weight: int, others: tuple[Any, ...]
) -> None:
    """Train a run on the integers of a chip and print its metrics beside those of its control.

    others: the other flags of ``neuro train``, which must keep their defaults.
    """
    from tasks.measures.progress_bar import show_share
    from tasks.measures.train import launch_fabric
    from tasks.measures.train_on_integers import tune_run
    from tasks.report.tables import make_table

    if others != (0, "cpu", 1, "surrogate", "none", False, False, False, (), True):
        raise ValueError(
            "--integers takes a RUN, --out and --largest-weight; the rest is that of the run"
        )
    run = open_to_write(Path(folder))
    with show_share("train on integers"):
        result = tune_run(run, launch_fabric(run, "cpu", 1), out, largest_weight, chip)
    known = [m for m in list_metrics(run) if m.name in next(iter(result["metrics"].values()))]
    rows = [
        (who, *(m.text(values[m.name]) for m in known))
        for who, values in result["metrics"].items()
    ]
    which = "integers of Xylo" if chip == "xylo" else f"integer weights up to {largest_weight}"
    title = f"{result['n']:,} test samples, {which}"
    console.print(make_table(title, "", *(m.label for m in known), rows=rows))
    epochs = f"{result['epochs']} epoch{'s' * (result['epochs'] > 1)} each"
    files = "graph.safetensors, and program.safetensors, which was trained"
    line = f"{epochs}; wrote {result['folder']}: {files}"
    console.print(DONE, line, highlight=False, soft_wrap=True)


def tell_dry_run(run: Any, device: str, devices: int) -> None:
    """Print the memory that a training would need on each of so many devices, and its time."""
    from tasks.measures.dry_run import describe_dry_run, explain_dry_run, measure_dry_run
    from tasks.measures.step_time import describe_stages, describe_time
    from tasks.report.tables import make_table

    memory = measure_dry_run(run, devices)
    title = "MB on one device" if devices == 1 else f"MB on each of {devices} devices"
    table = make_table(title, "of what", "whole models (DDP)", "sharded (FSDP)")
    for row in describe_dry_run(memory):
        table.add_row(*row)
    console.print(table)
    for line in (explain_dry_run(memory), *memory.data, *describe_stages(run)):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(describe_time(run, memory, device), highlight=False, soft_wrap=True)
    estimate = run.definition.training.estimate
    for found in estimate(run.config) if estimate else ():
        console.print(make_table(found.title, *found.head, rows=found.rows))
        console.print(found.caption, highlight=False, soft_wrap=True)


def is_first_process() -> bool:
    """Say whether this process, of all that share the work, is the one that prints."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def tell_out_of_date(run: Any, verb: str = "") -> None:
    """Print what is out of date or unfinished in a run folder, and the remark of its origin.

    verb: the verb that has just written its results; "": none, as after a training.
    """
    from tasks.report.key_figures import name_command
    from tasks.runs.provenance import describe_trained, describe_unfinished, list_out_of_date
    from tasks.runs.results import KEY

    if line := describe_unfinished(run):
        console.print(line, highlight=False, soft_wrap=True)
    origin = run.definition.origin
    if origin and origin.remark:
        console.print(origin.remark, highlight=False, soft_wrap=True)
    now = run.read(f"{verb}.json")[KEY] if verb else describe_trained(run.folder)
    for old, why in list_out_of_date(run.folder, now).items():
        line = f"{old}.json is {why}; measure again: {name_command(run, old)}"
        console.print(line, highlight=False, soft_wrap=True)


def open_to_write(folder: Path) -> Any:
    """Return the run of a folder, into which a verb can write its results."""
    from neuro.io.store import require_writable
    from tasks.runs.find import open_folder

    run = open_folder(folder)
    require_writable(folder)
    return run


def list_metrics(run: Any) -> Any:
    """Return the metrics of the task of a run."""
    return run.definition.evaluation.metrics


def tell_next(folder: Path, *verbs: str) -> None:
    """Print the commands that go on with a run folder, one per line."""
    for verb in verbs if is_first_process() else ():
        line = f"next: neuro {verb} {shlex.quote(str(folder))}"
        console.print(line, highlight=False, soft_wrap=True)
