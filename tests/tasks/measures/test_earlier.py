"""Trainings before that of a run: shown as stages, kept when interrupted, continued."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import CommandLine
from lightning_fabric import Fabric
from lightning_fabric.loggers.csv_logs import CSVLogger
from safetensors.torch import load_file
from torch import nn

from neuro.training import Course, Plan, Progress
from tasks.measures import progress_bar
from tasks.measures.earlier import train_stage
from tasks.runs.task import EarlierTraining

WORDS = [
    word
    for field in ("points=500", "batch=40", "epochs=2", "teacher_epochs=3", "hidden=8")
    for word in ("--set", field)
]


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, int], None]:
    """Make Ctrl-C happen in a stage, at an epoch and step."""
    show = progress_bar.show_progress

    def stop(name: str, epoch: int, step: int) -> None:
        @contextmanager
        def interrupt(console: Any, metric: Any, title: str, epochs: int) -> Iterator[Any]:
            with show(console, metric, title, epochs) as tell:

                def tell_or_stop(progress: Progress, at: int, steps: int) -> None:
                    tell(progress, at, steps)
                    if title.startswith(f"stage {name}") and (progress.epoch, at) == (
                        epoch,
                        step,
                    ):
                        raise KeyboardInterrupt

                yield tell_or_stop

        monkeypatch.setattr(progress_bar, "show_progress", interrupt)

    return stop


def list_stages(told: str) -> list[str]:
    return [line for line in told.splitlines() if line.startswith(("stage", "resum", "interr"))]


def test_an_interrupted_stage_is_kept_and_ends_as_without_the_interruption(
    tmp_path: Path, cli: CommandLine, stop_at: Callable[[str, int, int], None]
) -> None:
    words = ("train", "forecasting:tiny", *WORDS, "--out")
    whole = cli.run(*words, tmp_path / "whole")
    assert list_stages(whole) == [
        "stage 1 of 2: training the teacher",
        "stage 2 of 2: training forecasting:tiny",
    ]
    assert whole.count("epoch ") == 5
    assert whole.count("bins²") == 6
    stop_at("1", 0, 3)
    told = cli.end(130, *words, tmp_path / "run")[0]
    assert told.splitlines()[-1] == "interrupted; kept: nothing yet; the next start begins anew"
    stop_at("1", 2, 4)
    told = cli.end(130, *words, tmp_path / "run")[0]
    assert list_stages(told)[-1] == (
        "interrupted; kept: stage 1, epoch 2, step 7; the same command continues"
    )
    stop_at("2", 0, 1)
    told = cli.end(130, *words, tmp_path / "run")[0]
    assert list_stages(told) == [
        "stage 1 of 2: training the teacher",
        "resuming at epoch 3",
        "stage 2 of 2: training forecasting:tiny",
        "interrupted; kept: stage 1, epoch 3, step 7; the same command continues",
    ]
    stop_at("2", 1, 1)
    told = cli.end(130, *words, tmp_path / "run")[0]
    assert list_stages(told) == [
        "stage 1 of 2: the teacher is trained",
        "stage 2 of 2: training forecasting:tiny",
        "interrupted; kept: stage 2, epoch 1, step 7; the same command continues",
    ]
    stop_at("3", 0, 0)
    assert list_stages(cli.run(*words, tmp_path / "run")) == ["resuming at epoch 2"]
    ends = [load_file(tmp_path / name / "best.safetensors") for name in ("whole", "run")]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert not (tmp_path / "run" / "earlier").exists()


def test_another_configuration_takes_nothing_of_an_interrupted_stage(
    tmp_path: Path, cli: CommandLine, stop_at: Callable[[str, int, int], None]
) -> None:
    words = ("train", "forecasting:tiny", *WORDS, "--out", tmp_path / "run")
    stop_at("1", 1, 0)
    cli.end(130, *words)
    stop_at("1", 2, 0)
    told = cli.end(130, *words, "--seed", 4)[0]
    assert "resuming" not in told
    assert "kept: stage 1, epoch 2, step 7" in told
    told = cli.end(130, *words)[0]
    assert "resuming at epoch 2" in told


def test_a_stage_is_trained_by_a_copy_and_without_the_loggers_of_the_run(
    tmp_path: Path,
) -> None:
    model, seen = nn.Linear(2, 1, bias=False), list[nn.Module]()
    first = model.weight.detach().clone()

    def validate(own: nn.Module) -> float:
        seen.append(own)
        return -float(len(seen))  # the first epoch is the best

    course = Course(
        batches=lambda _: [(torch.ones(1, 4, 2), torch.zeros(4))] * 3,
        steps=3,
        loss=lambda own, batch, at: own(batch[0]).square().mean() + 0 * at,
        validate=validate,
        watched=False,
    )
    stage = EarlierTraining(
        what="a line", model=model, course=course, plan=Plan(epochs=2, lr=0.1), finish=print
    )
    logger = CSVLogger(tmp_path / "logs", name="")
    fabric = Fabric(accelerator="cpu", devices=1, loggers=[logger])
    steps: list[tuple[int, int]] = []
    trained = train_stage(
        stage, fabric, tmp_path, lambda own, step, of: steps.append((own.epoch * 10 + step, of))
    )
    assert trained is model
    assert steps == [(0, 3), (1, 3), (2, 3), (10, 3), (11, 3), (12, 3)]
    assert model not in seen
    assert not model.training
    assert not torch.equal(model.weight, first)
    assert not torch.equal(model.weight, seen[0].weight)  # type: ignore[arg-type]
    assert fabric.loggers == [logger]
    assert not (tmp_path / "logs").exists()
