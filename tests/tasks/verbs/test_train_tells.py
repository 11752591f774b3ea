"""What training asks of a task, and what it tells while it goes on."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from neuro.io.run_folder import Run, RunError
from neuro.training import Progress
from tasks.cli import main
from tasks.find import make_run
from tasks.image_classification.mnist import tiny
from tasks.report.tables import describe_raised_slopes
from tasks.verbs.progress_bar import show_progress
from tasks.verbs.train import require_all_counted

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
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (SUPPORT / "forecast_task.py").read_text()
    counted = "steps=lambda config: config.windows // config.batch"
    assert counted in text
    file = tmp_path / "short.py"
    file.write_text(text.replace(counted, f"{counted} - 1"))
    with pytest.raises(SystemExit):
        main(["train", str(file), "--out", str(tmp_path / "run")])
    told = " ".join(capsys.readouterr().err.split())
    assert "an epoch has more than the 2 batches that Training.steps says" in told
    assert not (tmp_path / "run" / "last.safetensors").exists()


def test_raised_slopes_are_added_up_over_rows() -> None:
    rows = [{"epoch": 1, "spikes": 800, "raised": 9}, {"epoch": 2, "spikes": 40, "raised": 1}]
    assert describe_raised_slopes(rows) == (
        "EventProp raised the slopes of 10 of 840 spikes (1.19%) to its bound: their gradients "
        "are too small"
    )
    assert describe_raised_slopes([{"epoch": 1}]) == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_raised_slopes_are_told_once_an_epoch(tmp_path: Path, *, terminal: bool) -> None:
    run = Run(folder=tmp_path, task="mnist", name="tiny", seed=0, config=tiny())
    out = io.StringIO()
    row: dict[str, Any] = {"train_loss": 1.0, "val_accuracy": 0.5, "spikes": 840, "raised": 10}
    progress = Progress(epoch=1, history=[{**row, "epoch": 1}])
    console = Console(file=out, width=200, force_terminal=terminal)
    with show_progress(console, run, shown=True) as tell:
        assert tell is not None
        tell(progress, 0, 3)  # resumed behind the first epoch
        progress.history.append({**row, "epoch": 2, "raised": 21})
        for step in range(3):
            tell(progress, step, 3)
    told = [line for line in out.getvalue().splitlines() if "raised" in line]
    assert len(told) == 1
    assert "epoch 2: EventProp raised the slopes of 21 of 840 spikes (2.50%)" in strip(told[0])


def strip(line: str) -> str:
    """Return a line without the codes of a terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line)


def test_piped_training_prints_a_line_an_epoch_and_which_configuration_it_took(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["train", "mnist", "--out", str(tmp_path / "run")])
    first, *epochs, last = capsys.readouterr().out.splitlines()
    assert first == (
        "mnist names no configuration: this is mnist:tiny; neuro tasks lists the others"
    )
    assert [line.split("  ")[0] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert all("  loss " in line and "  val " in line and line.endswith("%") for line in epochs)
    assert last.startswith("✓ trained 2 epochs")
    main(["train", "mnist:tiny", "--out", str(tmp_path / "run")])
    assert len(capsys.readouterr().out.splitlines()) == 1  # it was done


def row(epoch: float, loss: float, score: float) -> dict[str, Any]:
    return {"epoch": epoch, "train_loss": loss, "val_accuracy": score}


def test_a_training_that_goes_on_prints_its_own_lines_alone(tmp_path: Path) -> None:
    run = make_run("mnist:tiny", tmp_path)
    out = io.StringIO()
    progress = Progress(epoch=1, history=[row(1, 2.0, 0.25)])
    with show_progress(Console(file=out), run, shown=True) as tell:
        assert tell is not None
        tell(progress, 0, 2)
        progress.history.append(row(1.5, 1.0, 0.5))
        tell(progress, 1, 2)
        assert out.getvalue() == "epoch 1.5/2  loss 1.000  val 50.00%\n"
        tell(progress, 1, 2)
        progress.history.append(row(2, 0.5, 1.0))
    assert out.getvalue().splitlines()[1:] == ["epoch 2/2  loss 0.500  val 100.00%"]


def test_a_terminal_shows_a_bar_and_other_processes_nothing(tmp_path: Path) -> None:
    run = make_run("mnist:tiny", tmp_path)
    out = io.StringIO()
    with show_progress(Console(file=out, force_terminal=True), run, shown=True) as tell:
        assert tell is not None
        tell(Progress(history=[row(1, 2.0, 0.25)]), 0, 2)
    assert "epoch 1/2  loss 2.000  val 25.00%" in out.getvalue()
    with show_progress(Console(file=out), run, shown=False) as tell:
        assert tell is None
