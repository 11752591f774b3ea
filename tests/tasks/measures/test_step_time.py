"""What ``neuro train --dry-run`` tells of the time that a training takes."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import torch

from neuro.training import Stage
from tasks.measures import step_time
from tasks.measures.dry_run import DryRun, Memory
from tasks.measures.step_time import RATE, describe_time, make_batch, measure_step
from tasks.runs.find import make_run
from tasks.runs.task import TaskRun

STAGED = """
from dataclasses import replace
from neuro.training import Plan, Stage
from tasks.images import task_template

def plan(config):
    first = Stage(name="first", {length}, frozen=("fc2.*",))
    then = Stage(name="then", epochs=3, frozen=("fc1.*",))
    return Plan(epochs=4, lr=0.01, stages=(first, then))

def loss(config, model, batch, at):
    frozen = "fc1" if at > 1 / 4 else "fc2"
    assert all(p.requires_grad == (frozen not in n) for n, p in model.named_parameters())
    return model(batch[0])[0].square().mean()

TASK = task_template.TASK
TASK = replace(TASK, training=replace(TASK.training, plan=plan, loss=loss))
"""
ABOUT = (
    "an estimate from a few steps of random values, without validations and the reading of data"
)


@pytest.fixture
def run(tmp_path: Path) -> TaskRun:
    config = replace(make_run("mnist:tiny").config, train=60, held=20, batch=20, epochs=3)
    return replace(make_run("mnist:tiny", tmp_path / "run"), config=config)


def take(size: int, devices: int = 1) -> DryRun:
    memory = Memory(parameters=size, gradients=0, optimizer=0, activations=0, gathered=0)
    return DryRun(parameters=1, devices=devices, whole=memory, sharded=None)


def refuse(*_: object) -> NoReturn:
    raise AssertionError("measured or counted")


@pytest.mark.parametrize(
    ("marks", "seconds"),
    [
        ((0.0, 5.0, 6.0, 9.0, 11.0), 2.0),
        ((0.0, 5.0, 6.0, 20.5), 7.75),
        ((0.0, 30.0, 37.0), 7.0),
    ],
)
def test_steps_after_the_first_are_measured_until_they_take_long(
    run: TaskRun, monkeypatch: pytest.MonkeyPatch, marks: tuple[float, ...], seconds: float
) -> None:
    clock = iter(marks)
    monkeypatch.setattr(step_time, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert measure_step(run, 1, "cpu", 0.0, None) == seconds
    assert list(clock) == []
    assert not run.folder.exists()


def test_only_a_training_that_fits_into_a_quarter_of_the_free_memory_is_measured(
    run: TaskRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*args: Any) -> float:
        assert args == (run, 2, "cpu", 0.0, None)
        return 450.5

    monkeypatch.setattr(step_time, "find_free_memory", lambda: 8e9)
    monkeypatch.setattr(step_time, "measure_step", measure)
    assert describe_time(run, take(2 * 10**9, 2), "cpu") == (
        "time: about 1:07:34: 3 steps per epoch, 3 epochs, 450 s per step on this machine "
        f"(cpu); {ABOUT}, on one device"
    )
    monkeypatch.setattr(step_time, "measure_step", refuse)
    assert describe_time(run, take(2 * 10**9 + 1), "cpu") == (
        "time: not measured: it would take 2.0 GB of memory, and may take 2.0 GB"
    )
    exact = describe_time(replace(run, gradient="eventprop"), take(1), "cpu")
    assert exact == "time: not measured: that of EventProp depends on the spikes"


def test_what_cannot_be_measured_or_counted_is_said(
    run: TaskRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = describe_time(run, take(1), "cuda")
    if not torch.cuda.is_available():
        assert told.startswith("time: not measured: --device cuda: torch sees no CUDA device")
    training = replace(run.definition.training, describe_data=lambda _: (), steps=refuse)
    unknown = replace(run, definition=replace(run.definition, training=training))
    monkeypatch.setattr(step_time, "measure_step", lambda *_: 0.25)
    assert describe_time(unknown, take(1), "cpu") == (
        f"time: 0.25 s per step on this machine (cpu); {ABOUT}"
    )


@pytest.mark.parametrize("length", ["epochs=1", "steps=10"])
def test_stages_count_by_their_lengths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: str
) -> None:
    (tmp_path / "staged.py").write_text(STAGED.format(length=length))
    run = make_run(f"{tmp_path}/staged.py:tiny", tmp_path / "run")
    real, stages = measure_step, list[tuple[float, str]]()

    def measure(run: TaskRun, n: int, device: str, at: float, stage: Stage | None) -> float:
        assert stage is not None
        assert real(run, n, device, at, stage) > 0
        stages.append((at, stage.name))
        return 2.0 * len(stages)

    monkeypatch.setattr(step_time, "measure_step", measure)
    told = describe_time(run, take(1), "cpu")
    assert stages == [(1 / 8, "first"), (5 / 8, "then")]
    assert "10 steps per epoch, 4 epochs, 3.5 s per step" in told
    assert told.startswith("time: about 0:02:20: ")


def test_zeros_of_a_dummy_batch_become_spikes_at_random(run: TaskRun) -> None:
    x, labels = make_batch(run)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert float(x.mean()) == pytest.approx(RATE, abs=0.01)
    assert not labels.any()
    training = replace(run.definition.training, dummy_batch=lambda _: (x + 2, labels + 3))
    definition = replace(run.definition, training=training)
    kept = make_batch(replace(run, definition=definition))
    assert torch.equal(kept[0], x + 2)
    assert torch.equal(kept[1], labels + 3)
    training = replace(training, dummy_batch=None)
    first = make_batch(replace(run, definition=replace(definition, training=training)))
    assert torch.equal(first[0], next(iter(training.batches(run.config, "train", 0)))[0])
