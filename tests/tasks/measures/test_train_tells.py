"""What training asks of a task, and what it tells while it goes on."""

import io
import logging
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine
from lightning_fabric import Fabric
from rich.console import Console

from neuro.io.run_folder import RunError
from neuro.training import Progress
from tasks.measures.progress_bar import show_progress
from tasks.measures.train import launch_fabric, require_all_counted
from tasks.report.tables import describe_raised_slopes
from tasks.runs.find import make_run
from tasks.runs.task import ACCURACY

SUPPORT = Path(__file__).parents[2] / "support"


def test_batches_beyond_those_counted_are_refused_before_the_last_is_used() -> None:
    batches = require_all_counted(iter("abcd"), 3)
    assert [next(batches), next(batches)] == ["a", "b"]
    with pytest.raises(RunError, match="an epoch has more than the 3 batches") as told:
        next(batches)
    assert "-(-samples // batch)" in str(told.value)
    assert list(require_all_counted("abc", 3)) == ["a", "b", "c"]
    assert list(require_all_counted("ab", 3)) == ["a", "b"]  # the loop says that it is short


def test_a_task_that_counts_too_few_steps_is_told_in_its_first_epoch(
    tmp_path: Path, cli: CommandLine
) -> None:
    text = (SUPPORT / "forecast_task.py").read_text()
    counted = "steps=lambda config: config.windows // config.batch"
    assert counted in text
    file = tmp_path / "short.py"
    file.write_text(text.replace(counted, f"{counted} - 1"))
    told = cli.refuse("train", file, "--out", tmp_path / "run")
    assert "an epoch has more than the 2 batches that Training.steps says" in told
    assert not (tmp_path / "run" / "last.safetensors").exists()


def test_fabric_does_not_greet_before_what_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, heard = logging.getLogger("lightning_fabric.utilities.distributed"), list[str]()
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: heard.append(record.getMessage()))
    monkeypatch.setattr(log, "handlers", [handler])

    def launch(_: Fabric) -> None:
        log.info("All distributed processes registered.")
        log.warning("a warning")

    monkeypatch.setattr(Fabric, "launch", launch)
    run = make_run("mnist:tiny", tmp_path)
    log.info("before")
    launch_fabric(run, "cpu", 1)
    log.info("after")
    assert heard == ["before", "a warning", "after"]


def test_raised_slopes_are_added_up_over_rows() -> None:
    rows = [{"epoch": 1, "spikes": 800, "raised": 9}, {"epoch": 2, "spikes": 40, "raised": 1}]
    assert describe_raised_slopes(rows) == (
        "EventProp raised the slopes of 10 of 840 spikes (1.19%) to its bound: their gradients "
        "are too small"
    )
    assert describe_raised_slopes([{"epoch": 1}]) == ""


def test_raised_slopes_are_told_once_an_epoch() -> None:
    out = io.StringIO()
    row: dict[str, Any] = {"train_loss": 1.0, "val_accuracy": 0.5, "spikes": 840, "raised": 10}
    history = [{**row, "epoch": 1}]
    with show_progress(Console(file=out, width=200), ACCURACY, "", 2) as tell:
        tell(Progress(epoch=1, history=history), 0, 3)  # resumed behind the first epoch
        history.append({**row, "epoch": 2, "raised": 21})
        for step in range(3):
            tell(Progress(epoch=2, history=history), step, 3)
    told = [line for line in out.getvalue().splitlines() if "raised" in line]
    assert [line.split("/")[0] for line in told] == ["epoch 2"]
    assert "21 of 840 spikes (2.50%)" in told[0]
