"""What is no loss is refused with what it should be, and a training that diverges is told."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import batches, course, cpu, loss, model
from torch import nn

from neuro.training import Plan, Progress, Stage, TrainError, fit


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (lambda _: None, "must return one number, a tensor without axes, got None; return"),
        (lambda _: 0.5, "got 0.5; return torch.nn.functional.cross_entropy, say"),
        (lambda y: y.mean(0), r"got a Tensor of shape \(.*\), torch.float32; return its mean"),
        (lambda y: y.mean().long(), r"got a Tensor of shape \(\), torch.int64"),
        (lambda y: y.mean().detach(), "the loss depends on no trainable parameter"),
    ],
)
def test_what_is_no_loss_is_refused_with_what_it_should_be(
    found: Callable[[Any], Any], told: str, tmp_path: Path
) -> None:
    bad = replace(course(), loss=lambda net, batch, _: found(net(batch[0])[0]))
    with pytest.raises(TrainError, match=told):
        fit(model(), bad, Plan(epochs=1, lr=1e-2), cpu(), tmp_path)


def test_a_loss_that_carries_a_state_returns_two_things(tmp_path: Path) -> None:
    bad = replace(course(), carry="epoch", loss=lambda net, batch, at, _: loss(net, batch, at))
    with pytest.raises(TrainError, match=r"must return \(mean loss, state\), got a Tensor of"):
        fit(model(), bad, Plan(epochs=1, lr=1e-2), cpu(), tmp_path)


@pytest.mark.parametrize("steps", [1, None])  # validated after it, or not yet
def test_a_learning_rate_that_is_far_too_high_is_named_with_what_it_did(
    steps: int | None, tmp_path: Path
) -> None:
    bad = course() if steps is None else replace(course(), steps=steps)
    with pytest.raises(TrainError, match=r"^the training has diverged: ") as told:
        fit(model(), bad, Plan(epochs=1, lr=1e12), cpu(), tmp_path)
    assert " at a learning rate of 1e+12; lower the learning rate" in str(told.value)
    assert "b.weight grew from 0.339 to 1e+12" in str(told.value)
    assert ("(ALIF.leak must be in (0, 1], got 0.0" in str(told.value)) == (steps is None)
    assert not (tmp_path / "last.safetensors").exists()


def test_an_error_in_the_loss_of_a_network_that_has_not_grown_is_told_as_it_is(
    tmp_path: Path,
) -> None:
    def fail(*_: Any) -> Any:
        raise ValueError("its own")

    with pytest.raises(ValueError, match=r"^its own$"):
        fit(model(), replace(course(), loss=fail), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)


def test_a_silent_population_is_told_and_remembered(tmp_path: Path) -> None:
    net, plan = model(), Plan(epochs=1, lr=1e-2)
    nn.init.zeros_(net.get_parameter("a.weight"))
    nn.init.zeros_(net.get_parameter("a.bias"))
    x, _ = next(batches(0))
    runs = replace(course(), validate=lambda net: net(x)[0].mean().item())
    assert fit(net, runs, plan, cpu(), tmp_path).silent == ("alif",)
    assert fit(model(), runs, plan, cpu(), tmp_path).silent == ("alif",)  # read again
    assert fit(model(), runs, plan, cpu(), tmp_path / "fires").silent == ()


def test_a_population_is_not_called_silent_before_its_stage(tmp_path: Path) -> None:
    net, told = model(), dict[int, tuple[str, ...]]()
    nn.init.zeros_(net.get_parameter("a.weight"))
    nn.init.zeros_(net.get_parameter("a.bias"))
    x, _ = next(batches(0))
    stages = (
        Stage(name="b", epochs=1, frozen=("a.*", "alif.*")),
        Stage(name="both", epochs=1),
        Stage(name="b again", epochs=1, frozen=("a.*", "alif.*")),
    )
    plan = Plan(epochs=3, lr=1e-9, stages=stages)
    runs = replace(course(), validate=lambda net: net(x)[0].mean().item())

    def note(progress: Progress, _: int) -> None:
        told[progress.epoch] = progress.silent

    last = fit(net, runs, plan, cpu(), tmp_path, on_step=note).silent
    assert (told, last) == ({0: (), 1: (), 2: ("alif",)}, ("alif",))


def test_weights_that_the_last_update_left_infinite_are_refused(tmp_path: Path) -> None:
    class Breaks(torch.optim.SGD):
        def step(self, *_: Any) -> None:  # type: ignore[override]
            for p in (p for group in self.param_groups for p in group["params"]):
                p.data.fill_(torch.inf)

    steps = course().steps
    bad = Plan(epochs=1, lr=1e-2, accumulate=steps, optimizer=Breaks)
    net = model()
    names = [f"more{k}" for k in range(7)]
    for name in names:
        net.register_parameter(name, torch.nn.Parameter(torch.zeros(1)))
    every = [n for n, _ in net.named_parameters()]
    told = f"{', '.join(every[:5])} and {len(every) - 5} more: not finite after an update"
    with pytest.raises(TrainError, match=rf"{told} at a learning rate of 0.01; the last"):
        fit(net, course(), bad, cpu(), tmp_path)
    assert not (tmp_path / "best.safetensors").exists()


@pytest.mark.parametrize("score", ["inf", "nan"])
def test_a_score_that_is_not_finite_is_refused(tmp_path: Path, score: str) -> None:
    with pytest.raises(TrainError, match=f"the validation score is {score}"):
        fit(model(), course(float(score)), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)


@pytest.mark.parametrize(
    ("first", "last", "diverged"),
    [
        (2.0, 4.0, False),
        (2.0, 4.1, True),
        (-2.0, -0.1, False),
        (-2.0, 0.1, True),
        (None, 9.0, False),
    ],
)
def test_a_training_has_diverged_if_its_loss_rose_by_more_than_its_size(
    first: float | None, last: float, diverged: bool
) -> None:
    rows: list[dict[str, float | int]] = [{"train_loss": 9.9}, {"train_loss": last}]
    assert Progress(first_loss=first, history=rows).has_diverged == diverged
    assert not Progress(first_loss=first).has_diverged


def test_the_first_loss_is_that_of_the_first_batch_also_in_a_later_process(
    tmp_path: Path,
) -> None:
    (batch, *_) = course().batches(0)
    wanted = loss(model(), batch).item()
    fit(model(), course(), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)
    again = fit(model(), course(), Plan(epochs=2, lr=1e-2), cpu(), tmp_path)
    assert again.first_loss == pytest.approx(wanted, rel=1e-6)
