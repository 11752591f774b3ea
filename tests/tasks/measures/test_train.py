"""What training tells where nobody watches a progress bar."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine
from lightning_fabric import Fabric
from rich.console import Console

from neuro.training import Course, Progress
from tasks.measures import train
from tasks.measures.progress_bar import show_progress
from tasks.runs.find import make_run
from tasks.runs.task import ACCURACY


@pytest.mark.slow
def test_piped_training_prints_a_line_an_epoch_and_which_configuration_it_took(
    tmp_path: Path, cli: CommandLine
) -> None:
    told = cli.run("train", "mnist", "--out", tmp_path / "run")
    first, *epochs, last, following = told.splitlines()
    assert following == f"next: neuro eval {tmp_path / 'run'}"
    assert first == (
        "mnist names no configuration: this is mnist:tiny; it also has demo, relu, counted, "
        "full, fashion, fast, fast_fixed, fast_adaptive, paper"
    )
    assert [line.split("  ")[0] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert all("  loss " in line and "  val " in line and line.endswith("%") for line in epochs)
    assert last.startswith("✓ trained 2 epochs")
    done = cli.run("train", "mnist:tiny", "--out", tmp_path / "run")
    assert done.count("\n") == 2
    told = cli.run("eval", tmp_path / "run")
    assert told.splitlines()[-1] == f"next: neuro report {tmp_path / 'run'}"


def row(epoch: float, loss: float, score: float) -> dict[str, Any]:
    return {"epoch": epoch, "train_loss": loss, "val_accuracy": score}


def test_a_training_that_goes_on_prints_its_own_lines_alone() -> None:
    out = io.StringIO()
    progress = Progress(epoch=1, history=[row(1, 2.0, 0.25)])
    with show_progress(Console(file=out), ACCURACY, "", 2) as tell:
        tell(progress, 0, 2)
        progress.history.append(row(1.5, 1.0, 0.5))
        tell(progress, 1, 2)
        assert out.getvalue() == ("resuming at epoch 2\nepoch 1.5/2  loss 1.000  val 50.00%\n")
        tell(progress, 1, 2)
        progress.history.append(row(2, 0.5, 1.0))
    assert out.getvalue().splitlines()[2:] == ["epoch 2/2  loss 0.500  val 100.00%"]


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(
    ("epoch", "step", "told"),
    [(0, 0, ""), (20, 0, "resuming at epoch 21"), (0, 3, "resuming at epoch 1, batch 4")],
)
def test_from_where_a_training_goes_on_is_told_once(
    epoch: int, step: int, told: str, terminal: bool
) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=200)
    with show_progress(console, ACCURACY, "", 2) as tell:
        for k in (step, step + 1):
            tell(Progress(epoch=epoch, step=k), k, 9)
    lines = [line.strip() for line in out.getvalue().splitlines() if "resuming" in line]
    assert [line[line.index("resuming") :] for line in lines] == [told] * bool(told)


@pytest.mark.parametrize("terminal", [False, True])
def test_silence_is_told_when_it_changes(terminal: bool) -> None:
    out, progress = io.StringIO(), Progress()
    console = Console(file=out, force_terminal=terminal, width=200)
    with show_progress(console, ACCURACY, "", 2) as tell:
        for silent in ((), ("alif1",), ("alif1",), (), ("alif1", "alif2")):
            progress.silent = silent
            tell(progress, 0, 9)
    found = [line for line in out.getvalue().splitlines() if "no spike of" in line]
    found = [line[line.index("no spike") :].split(" in the")[0] for line in found]
    assert found == ["no spike of alif1", "no spike of alif1, alif2"]


def test_a_terminal_shows_a_bar() -> None:
    out = io.StringIO()
    with show_progress(Console(file=out, force_terminal=True), ACCURACY, "", 2) as tell:
        tell(Progress(history=[row(1, 2.0, 0.25)]), 0, 2)
    assert "epoch 1/2  loss 2.000  val 25.00%" in out.getvalue()


def test_a_training_says_of_which_run_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With that a checkpoint of another run is refused."""
    courses: list[Course] = []

    def keep(model: Any, course: Course, *_: Any) -> Progress:  # noqa: ARG001
        courses.append(course)
        return Progress()

    monkeypatch.setattr(train, "fit", keep)
    for seed in (1, 2):
        run = make_run("yinyang:tiny", tmp_path / str(seed), seed)
        train.train_run(run, Fabric(accelerator="cpu", devices=1))
        header = json.loads((run.folder / "config.json").read_text())
        assert courses[-1].run == header["trained"]
        assert courses[-1].seed == seed
    assert courses[0].run != courses[1].run
