"""What ``neuro train --dry-run`` tells of the time that a training takes."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from neuro.training import Plan, Stage
from tasks.measures import step_time
from tasks.measures.dry_run import DryRun, Memory
from tasks.measures.step_time import (
    RATE,
    describe_stages,
    describe_time,
    make_batch,
    measure_step,
)
from tasks.runs.find import make_run
from tasks.runs.task import TaskRun

ABOUT = (
    "an estimate from a few steps of random values, without validations and the reading of data"
)


@pytest.fixture
def run(tmp_path: Path) -> TaskRun:
    config = replace(make_run("mnist:tiny").config, train=60, held=20, batch=20, epochs=3)
    return replace(make_run("mnist:tiny", tmp_path / "run"), config=config)


def change(run: TaskRun, **changes: object) -> TaskRun:
    training = replace(run.definition.training, **changes)
    return replace(run, definition=replace(run.definition, training=training))


def take(size: int, devices: int = 1) -> DryRun:
    memory = Memory(parameters=size, gradients=0, optimizer=0, activations=0, gathered=0)
    return DryRun(parameters=1, devices=devices, whole=memory, sharded=None)


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
    assert (list(clock), run.folder.exists()) == ([], False)


def test_only_what_fits_into_a_quarter_of_the_free_memory_is_measured(
    run: TaskRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Mock(return_value=450.5)
    monkeypatch.setattr(step_time, "find_free_memory", lambda: 8e9)
    monkeypatch.setattr(step_time, "measure_step", measure)
    told = describe_time(run, take(2 * 10**9, 2), "cpu")
    begin = "time: about 1:07:34: 3 steps per epoch, 3 epochs, 450 s per step on this machine"
    assert told == f"{begin} (cpu); {ABOUT}, on one device"
    measure.assert_called_once_with(run, 2, "cpu", 0.0, None)
    told = describe_time(
        change(run, describe_data=tuple, steps=Mock(side_effect=[])), take(1), "cpu"
    )
    assert told == f"time: 450 s per step on this machine (cpu); {ABOUT}"
    told = describe_time(change(run, begin=lambda *_: None), take(1), "cpu")
    before = ", and without what the task trains or computes before the first step"
    assert told == f"{begin} (cpu); {ABOUT}{before}"
    measure.side_effect = RuntimeError("no such device\nat all")
    assert describe_time(run, take(1), "cpu") == "time: not measured: no such device"
    measure.side_effect = AssertionError
    told = describe_time(run, take(2 * 10**9 + 1), "cpu")
    assert told == "time: not measured: it would take 2.0 GB of memory, and may take 2.0 GB"
    told = describe_time(replace(run, gradient="eventprop"), take(1), "cpu")
    assert told == "time: not measured: that of EventProp depends on the spikes"


def test_stages_are_measured_with_their_parameters_and_count_by_their_lengths(
    run: TaskRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = (Stage(name="a", epochs=1, frozen=("conv*",)), Stage(name="b", epochs=3))
    seen = set[tuple[float, bool]]()

    def loss(_: object, model: torch.nn.Module, batch: object, at: float) -> torch.Tensor:
        seen.add((at, all(p.requires_grad for p in model.parameters())))
        return own.loss(run.config, model, batch, at)

    own, real = run.definition.training, measure_step
    run = change(run, loss=loss, plan=lambda _: Plan(epochs=4, lr=0.1, stages=stages))
    times = iter([2.0, 4.0])
    monkeypatch.setattr(step_time, "measure_step", lambda *a: real(*a) and next(times))
    told = describe_time(run, take(1), "cpu")
    assert seen == {(1 / 8, False), (5 / 8, True)}
    assert "time: about 0:00:42: 3 steps per epoch, 4 epochs, 3.5 s per step" in told


def test_zeros_of_a_dummy_batch_become_spikes_at_random(run: TaskRun) -> None:
    x, labels = make_batch(run)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert float(x.mean()) == pytest.approx(RATE, abs=0.01)
    assert not labels.any()
    kept = make_batch(change(run, dummy_batch=lambda _: (x + 2, labels + 3)))
    assert torch.equal(kept[0], x + 2)
    assert torch.equal(kept[1], labels + 3)
    first = next(iter(run.definition.training.batches(run.config, "train", 0)))
    assert torch.equal(make_batch(change(run, dummy_batch=None))[0], first[0])


def test_earlier_trainings_are_named_with_their_length_or_with_what_is_missing(
    run: TaskRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert describe_stages(run) == []
    (line,) = describe_stages(make_run("forecasting:tiny", tmp_path / "run"))
    assert line == (
        "stage 1 of 2: training the teacher, 27 steps per epoch, 10 epochs; the time below is "
        "without it"
    )
    monkeypatch.delenv("NEURO_DATA", raising=False)
    (line,) = describe_stages(make_run("forecasting:chb_mit", tmp_path / "other"))
    assert line.startswith("earlier trainings: not known: CHB-MIT must be in $NEURO_DATA")
