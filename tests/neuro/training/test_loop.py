import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import batches, course, loss, model
from lightning_fabric import Fabric
from torch import nn

from neuro.io.store import StoreError
from neuro.neurons import LI
from neuro.nn.layers import Spiking, Stack
from neuro.training import (
    Batch,
    Course,
    Plan,
    Progress,
    TrainError,
    fit,
    load_weights,
)
from neuro.training.checkpoint import get_weights


def cpu() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


class Killed(Exception):
    pass


def test_a_killed_training_resumes_to_the_same_end(tmp_path: Path) -> None:
    plan = Plan(epochs=4, lr=1e-2)
    whole = model()
    one = fit(whole, course(), plan, cpu(), tmp_path / "whole")

    def kill(progress: Progress, step: int) -> None:
        if (progress.epoch, step) == (2, 1):
            raise Killed

    with pytest.raises(Killed):
        fit(model(), course(), plan, cpu(), tmp_path / "killed", kill)
    resumed = model()
    other = fit(resumed, course(), plan, cpu(), tmp_path / "killed")
    assert other.history == one.history
    assert len(one.history) == 4
    for k, v in get_weights(whole).items():
        assert np.array_equal(v, get_weights(resumed)[k])


def test_a_finished_training_is_left_as_it_is(tmp_path: Path) -> None:
    plan = Plan(epochs=2, lr=1e-2)
    first = fit(model(), course(), plan, cpu(), tmp_path)
    before = (tmp_path / "last.safetensors").read_bytes()
    again = fit(model(), course(), plan, cpu(), tmp_path)
    assert again.history == first.history
    assert (tmp_path / "last.safetensors").read_bytes() == before


def test_the_weights_kept_are_those_of_the_best_epoch(tmp_path: Path) -> None:
    kept = []
    scores = iter([0.5, 0.9, 0.7])

    def score(net: nn.Module) -> float:
        kept.append({k: v.clone() for k, v in get_weights(net).items()})
        return next(scores)

    best = Course(batches=batches, steps=3, loss=loss, validate=score)
    assert fit(model(), best, Plan(epochs=3, lr=1e-2), cpu(), tmp_path).best == 0.9
    back = model()
    load_weights(tmp_path / "best.safetensors", back)
    assert all(np.array_equal(v, kept[1][k]) for k, v in get_weights(back).items())


def test_weights_that_are_gone_come_back_from_the_checkpoint(tmp_path: Path) -> None:
    plan = Plan(epochs=2, lr=1e-2)
    fit(model(), course(), plan, cpu(), tmp_path)
    kept = (tmp_path / "best.safetensors").read_bytes()
    (tmp_path / "best.safetensors").unlink()
    fit(model(), course(), plan, cpu(), tmp_path)
    before, after = model(), model()
    load_weights(tmp_path / "best.safetensors", after)
    (tmp_path / "best.safetensors").write_bytes(kept)
    load_weights(tmp_path / "best.safetensors", before)
    assert all(np.array_equal(v, get_weights(after)[k]) for k, v in get_weights(before).items())


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    tmp_path: Path,
) -> None:
    plan = Plan(epochs=3, lr=1e-2)
    fit(model(), course(), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)
    before = (tmp_path / "last.safetensors").read_bytes()
    bad = replace(course(), loss=lambda n, b, at: loss(n, b, at) * torch.nan)
    with pytest.raises(TrainError, match="the loss is not finite: every layer is finite"):
        fit(model(), bad, plan, cpu(), tmp_path)
    assert (tmp_path / "last.safetensors").read_bytes() == before


def test_the_layer_that_is_not_finite_is_named(tmp_path: Path) -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / (x - x)

    net = Stack(a=nn.Linear(6, 3), ratio=Broken(), b=nn.Linear(3, 3), out=Spiking(LI(tau=0.02)))
    plan = Plan(epochs=1, lr=1e-2)
    with pytest.raises(TrainError, match="not finite: layer ratio is not finite"):
        fit(net, course(), plan, cpu(), tmp_path)
    with torch.no_grad():
        net.get_submodule("b").get_parameter("weight")[1, 2] = torch.inf
    with pytest.raises(TrainError, match=r"not finite: parameter b\.weight is not finite"):
        fit(net, course(), plan, cpu(), tmp_path)


def test_data_that_are_not_finite_are_told_from_layers(tmp_path: Path) -> None:
    def spoilt(epoch: int) -> Iterator[Batch]:
        for x, labels in batches(epoch):
            yield x.where(x == 0, torch.nan), labels

    bad = replace(course(), batches=spoilt)
    told = r"the gradient of a\.weight, .* is not finite: the input of a is not finite"
    with pytest.raises(TrainError, match=told):
        fit(model(), bad, Plan(epochs=1, lr=1e-2), cpu(), tmp_path)


def test_what_a_loss_draws_depends_on_seed_epoch_and_step_alone(tmp_path: Path) -> None:
    drawn: dict[str, list[float]] = {}

    def noisy(name: str, seed: int) -> Course:
        def draw(net: nn.Module, batch: Batch, at: float) -> torch.Tensor:
            drawn.setdefault(name, []).append(torch.rand(()).item())
            return loss(net, batch, at)

        return replace(course(), loss=draw, seed=seed)

    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        torch.rand(len(name))  # what was drawn before is of no matter
        fit(model(), noisy(name, seed), Plan(epochs=2, lr=1e-2), cpu(), tmp_path / name)
    assert drawn["one"] == drawn["again"]
    assert len({*drawn["one"], *drawn["other"]}) == 12


def test_the_learning_rate_rises_along_a_line_and_falls_along_a_cosine() -> None:
    plan = Plan(epochs=1, lr=2.0, warm=0.2)
    assert [plan.lr_at(at) for at in (0.0, 0.5, 1.0)] == [0.0, 1.0, 0.0]
    assert plan.lr_at(0.1) == pytest.approx(0.5 * (1 + math.cos(0.1 * math.pi)))
    assert Plan(epochs=1, lr=2.0).lr_at(0.0) == 2.0


def test_only_weights_decay() -> None:
    optimizer = Plan(epochs=1, lr=0.1, decay=0.5).build_optimizer(model())
    decay = {p: g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert {(p.dim() >= 2, d) for p, d in decay.items()} == {(True, 0.5), (False, 0.0)}
    assert len(decay) == len(list(model().parameters()))


def test_a_checkpoint_cut_short_is_named(tmp_path: Path) -> None:
    fit(model(), course(), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)
    path = tmp_path / "last.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StoreError, match=r"last.safetensors: damaged or cut short"):
        fit(model(), course(), Plan(epochs=2, lr=1e-2), cpu(), tmp_path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    fit(model(), course(1.0), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)
    with pytest.raises(TrainError, match=r"a.bias, a.weight differ in name or shape"):
        load_weights(tmp_path / "best.safetensors", Stack(**dict(_other().named_children())))


def _other() -> nn.Module:
    other = model()
    other.a = nn.Linear(6, 9)
    other.b = nn.Linear(8, 3)
    return other
