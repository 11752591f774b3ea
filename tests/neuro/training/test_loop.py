import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
import torch
from builders import Killed, batches, course, cpu, killed_at, loss, model
from lightning_fabric import Fabric
from lightning_fabric.loggers import CSVLogger
from safetensors.torch import load_file
from torch import nn
from torch.optim.lr_scheduler import ConstantLR
from torch.utils._pytree import tree_leaves

from neuro.io.store import StoreError, load_tensors
from neuro.neurons import LI
from neuro.nn.layers import Spiking, Stack
from neuro.training import (
    Batch,
    Course,
    Plan,
    Progress,
    Stage,
    TrainError,
    fit,
    get_best_weights_path,
    load_weights,
)
from neuro.training.checkpoint import get_weights, load_checkpoint, save_checkpoint
from neuro.training.plan import scale_lr


def changed(**changes: Any) -> Plan:
    return Plan(epochs=2, lr=1e-2, **changes)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def note_steps(steps: list[tuple[int, int]]) -> Callable[[Progress, int], None]:
    return lambda progress, step: steps.append((progress.epoch, step))


def test_a_killed_training_resumes_to_the_same_end(tmp_path: Path) -> None:
    plan, net = Plan(epochs=4, lr=1e-2), model()
    fit(model(), course(), plan, cpu(), tmp_path / "whole")
    with pytest.raises(Killed):
        fit(model(), course(), plan, cpu(), tmp_path / "killed", killed_at(2, 1))
    fit(net, course(), plan, cpu(), tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    last = load_file(tmp_path / "whole" / "last.safetensors")
    assert all(torch.equal(last[k], v) for k, v in net.state_dict().items())


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


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_a_plan_may_keep_the_last_weights(
    tmp_path: Path, better: Literal["higher", "lower"]
) -> None:
    scores = iter([0.7, 0.9, 0.5, 0.6])
    one = replace(course(), validate=lambda _: next(scores), better=better)
    plan = Plan(epochs=4, lr=1e-2, keep="last")
    with pytest.raises(Killed):
        fit(model(), one, plan, cpu(), tmp_path, killed_at(3, 0))
    assert load_tensors(tmp_path / "best.safetensors", "weights")[1]["epoch"] == 3
    net = model()
    assert fit(net, one, plan, cpu(), tmp_path).best == 0.6
    kept, about = load_tensors(tmp_path / "best.safetensors", "weights")
    assert about == {"epoch": 4, "score": 0.6, "run": ""}
    assert all(v.equal(kept[k]) for k, v in get_weights(net).items())


def test_a_score_that_is_better_when_lower_stands_as_it_is(tmp_path: Path) -> None:
    scores = iter([0.9, 0.5, 0.5, 0.6])
    low = replace(course(), validate=lambda _: next(scores), metric="rmse", better="lower")
    with pytest.raises(Killed):
        fit(model(), low, Plan(epochs=4, lr=1e-2), cpu(), tmp_path, killed_at(3, 0))
    kept = load_tensors(tmp_path / "best.safetensors", "weights")[1]
    assert kept == {"epoch": 2, "score": 0.5, "run": ""}
    end = fit(model(), low, Plan(epochs=4, lr=1e-2), cpu(), tmp_path)
    assert end.best == 0.5
    assert [row["val_rmse"] for row in end.history] == [0.9, 0.5, 0.5, 0.6]
    assert load_tensors(tmp_path / "best.safetensors", "weights")[1] == kept


def test_a_checkpoint_of_another_metric_is_refused(tmp_path: Path) -> None:
    fit(model(), course(), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)
    other = replace(course(), metric="rmse", better="lower")
    with pytest.raises(TrainError, match="its validations have no val_rmse"):
        fit(model(), other, Plan(epochs=2, lr=1e-2), cpu(), tmp_path)


def test_what_a_loss_counts_stands_in_the_row_it_belongs_to(tmp_path: Path) -> None:
    def counting() -> Course:
        tally = {"batches": 5, "samples": 0}  # what was there before is not counted

        def counted(net: nn.Module, batch: Batch, at: float) -> torch.Tensor:
            tally["batches"] += 1
            tally["samples"] += len(batch[1])
            return loss(net, batch, at)

        return replace(course(), loss=counted, tally=tally)

    plan = changed(checkpoint_every=1)
    whole = fit(model(), counting(), plan, cpu(), tmp_path / "whole")
    found = [(row["batches"], row["samples"]) for row in whole.history]
    assert found == [(3, 24), (3, 24)]
    with pytest.raises(Killed):
        fit(model(), counting(), plan, cpu(), tmp_path / "killed", killed_at(1, 2))
    assert fit(model(), counting(), plan, cpu(), tmp_path / "killed").history == whole.history


def test_of_equal_scores_the_first_is_kept(tmp_path: Path) -> None:
    fit(model(), course(0.5), Plan(epochs=3, lr=1e-2), cpu(), tmp_path)
    assert load_tensors(tmp_path / "best.safetensors", "weights")[1]["epoch"] == 1


def test_a_model_trains_in_training_mode_and_is_validated_in_evaluation_mode(
    tmp_path: Path,
) -> None:
    modes: list[tuple[str, bool]] = []

    def watched(net: nn.Module, batch: Batch, at: float) -> torch.Tensor:
        modes.append(("train", all(m.training for m in net.modules())))
        return loss(net, batch, at)

    def score(net: nn.Module) -> float:
        modes.append(("validate", any(m.training for m in net.modules())))
        return 0.0

    watching = replace(course(), loss=watched, validate=score)
    fit(model(), watching, changed(validate_every=2), cpu(), tmp_path)
    assert modes.count(("train", True)) == 6
    assert modes.count(("validate", False)) == 3
    assert len(modes) == 9


def test_a_loss_is_told_which_share_of_the_training_is_done(tmp_path: Path) -> None:
    told = []

    def watched(net: nn.Module, batch: Batch, at: float) -> torch.Tensor:
        told.append(at)
        return loss(net, batch, at)

    fit(model(), replace(course(), loss=watched), Plan(epochs=2, lr=1e-2), cpu(), tmp_path)
    assert told == pytest.approx([k / 6 for k in range(6)], abs=1e-12)


def test_a_gradient_is_clipped_to_its_largest_norm(tmp_path: Path) -> None:
    def moved(clip: float) -> float:
        net = model()
        before = {k: v.clone() for k, v in get_weights(net).items()}
        plan = Plan(
            epochs=1,
            lr=0.5,
            clip=clip,
            optimizer=torch.optim.SGD,
            schedule=lambda o, _: ConstantLR(o, 1.0),
        )
        fit(net, replace(course(), steps=1), plan, cpu(), tmp_path / str(clip))
        after = get_weights(net)
        return float(sum((after[k] - v).double().square().sum() for k, v in before.items()))

    whole = moved(1e6) ** 0.5 / 0.5
    assert whole > 0.01
    assert moved(whole / 4) ** 0.5 / 0.5 == pytest.approx(whole / 4, rel=1e-3)


def test_after_a_resume_checkpoints_are_counted_from_there(tmp_path: Path) -> None:
    plan = changed(checkpoint_every=2, checkpoint_minutes=None)
    with pytest.raises(Killed):
        fit(model(), course(), plan, cpu(), tmp_path, killed_at(1, 1))
    written = []

    def watch(_: Progress, step: int) -> None:
        meta = load_checkpoint(tmp_path)
        assert meta is not None
        written.append((step, meta.state["epoch"], meta.state["step"]))

    # Resumed behind epoch 0: the next is due two steps later, and not after the first.
    fit(model(), course(), plan, cpu(), tmp_path, watch)
    assert written == [(0, 1, 0), (1, 1, 0), (2, 1, 2)]


def test_weights_that_are_gone_come_back_from_the_checkpoint(tmp_path: Path) -> None:
    fit(model(), course(), changed(), cpu(), tmp_path)
    before = contents(tmp_path)
    (tmp_path / "best.safetensors").unlink()
    fit(model(), course(), changed(), cpu(), tmp_path)
    assert contents(tmp_path) == before


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
    told = r"a membrane is not finite: the input of a is not finite"
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


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    fit(model(), course(1.0), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)
    with pytest.raises(TrainError, match=r"a.bias, a.weight differ in name or shape"):
        load_weights(tmp_path / "best.safetensors", Stack(**dict(_other().named_children())))


def _other() -> nn.Module:
    other = model()
    other.a = nn.Linear(6, 9)
    other.b = nn.Linear(8, 3)
    return other


@pytest.mark.slow
@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.nightly)])
def test_sigkill_at_any_point_between_file_operations_changes_nothing(
    tmp_path: Path, stride: int
) -> None:
    """Six steps, a checkpoint each, three validations, a stage that ends inside an epoch."""
    support = Path(__file__).parents[2] / "support"
    path = os.pathsep.join([str(support.parents[1]), str(support)])
    subprocess.run(
        [sys.executable, str(support / "killed.py"), str(tmp_path), str(stride)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        timeout=600,
        check=True,
    )
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["files"] == ["best.safetensors", "last.safetensors"]
    assert found["points"] == list(range(1, 28, stride))
    assert found["equal"] == len(found["points"])


@pytest.mark.parametrize("every", [{"checkpoint_every": 2}, {"checkpoint_minutes": 0.0}])
def test_a_checkpoint_inside_an_epoch_is_where_a_killed_training_goes_on(
    tmp_path: Path, every: dict[str, Any]
) -> None:
    whole = fit(model(), course(), changed(), cpu(), tmp_path / "whole")
    with pytest.raises(Killed):
        fit(model(), course(), changed(**every), cpu(), tmp_path / "killed", killed_at(1, 2))
    steps: list[tuple[int, int]] = []
    folder = tmp_path / "killed"
    end = fit(model(), course(), changed(), cpu(), folder, note_steps(steps))
    assert steps == [(1, 2)]
    assert end == whole
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("each", "takes", "expected"),  # seconds of a step, seconds of a checkpoint
    [
        (30.0, 0.0, [2, 3, 5, 6, 8, 9, 11]),
        (29.9, 0.0, [3, 6, 9]),
        (40.0, 8.0, [2, 3, 5, 6, 8, 9, 11]),
        (40.0, 8.1, [2, 3, 6, 9]),
    ],
)
def test_a_checkpoint_is_written_every_minute_and_a_training_goes_on_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, each: float, takes: float, expected: Any
) -> None:
    now, written, steps = [7.0], list[int](), list[tuple[int, int]]()
    plan, whole, killed = Plan(epochs=4, lr=1e-2), tmp_path / "whole", tmp_path / "killed"
    fit(model(), course(), plan, cpu(), whole)

    def save(*args: Any) -> None:
        save_checkpoint(*args)
        written.append(3 * args[-1]["epoch"] + args[-1]["step"])
        now[0] += takes

    def kill(progress: Progress, step: int) -> None:
        now[0] += each
        killed_at(3, 2)(progress, step)

    monkeypatch.setattr("neuro.training.loop.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("neuro.training.loop.save_checkpoint", save)
    with pytest.raises(Killed):
        fit(model(), course(), plan, cpu(), killed, kill)
    assert written == expected
    fit(model(), course(), plan, cpu(), killed, note_steps(steps))
    assert steps[0] == divmod(expected[-1], 3)
    assert contents(killed) == contents(whole)


def test_batches_may_be_asked_to_start_at_a_step(tmp_path: Path) -> None:
    asked = []

    def batches_from(epoch: int, step: int) -> Iterator[Batch]:
        asked.append((epoch, step))
        return islice(batches(epoch), step, None)

    started = replace(course(), batches_from=batches_from)
    fit(model(), course(), changed(), cpu(), tmp_path / "whole")
    plan = changed(checkpoint_every=1)
    with pytest.raises(Killed):
        fit(model(), started, plan, cpu(), tmp_path / "killed", killed_at(1, 1))
    assert asked == []
    fit(model(), started, changed(), cpu(), tmp_path / "killed")
    assert asked == [(1, 1)]
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_an_epoch_takes_as_many_steps_as_it_says_of_an_endless_stream(tmp_path: Path) -> None:
    def endless(epoch: int) -> Iterator[Batch]:
        while True:
            yield from batches(epoch)

    one = fit(model(), course(), changed(), cpu(), tmp_path / "one")
    stream = replace(course(), batches=endless)
    assert fit(model(), stream, changed(), cpu(), tmp_path / "other") == one
    short = replace(course(), steps=4)
    with pytest.raises(TrainError, match=r"epoch 0 has 3 batches, Course\.steps is 4"):
        fit(model(), short, changed(), cpu(), tmp_path / "short")


def test_another_number_of_batches_is_told_on_resume(tmp_path: Path) -> None:
    fit(model(), course(), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)
    with pytest.raises(TrainError, match="written with 3 batches an epoch, now there are 2"):
        fit(model(), replace(course(), steps=2), changed(), cpu(), tmp_path)


def test_a_plan_with_another_optimizer_is_told_on_resume(tmp_path: Path) -> None:
    fit(model(), course(), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)
    one_group = changed(
        optimizer=lambda groups, lr: torch.optim.SGD(groups[0]["params"], lr=lr)
    )
    with pytest.raises(TrainError, match="written with another optimizer or schedule"):
        fit(model(), course(), one_group, cpu(), tmp_path)


def test_accumulated_batches_make_the_update_of_their_union(tmp_path: Path) -> None:
    """Three batches, two an update: the second update of an epoch has one batch."""

    def in_float64(epoch: int) -> Iterator[Batch]:
        return ((x.double(), y) for x, y in batches(epoch))

    def joined(epoch: int) -> Iterator[Batch]:
        (x, y), (x1, y1), last = in_float64(epoch)
        yield torch.cat([x, x1], 1), torch.cat([y, y1])
        yield last

    def exact() -> nn.Module:
        return model().double()

    plan = {"schedule": lambda o, _: torch.optim.lr_scheduler.ConstantLR(o, 1.0)}
    one, other = exact(), exact()
    three = replace(course(), batches=in_float64)
    fit(one, three, changed(accumulate=2, **plan), cpu(), tmp_path / "one")
    two = replace(course(), batches=joined, steps=2)
    fit(other, two, changed(**plan), cpu(), tmp_path / "other")
    for name, value in get_weights(one).items():
        torch.testing.assert_close(value, get_weights(other)[name], rtol=1e-6, atol=1e-7)


def test_accumulation_is_resumed_between_updates_alone(tmp_path: Path) -> None:
    plan = changed(accumulate=2, checkpoint_every=1)
    fit(model(), course(), plan, cpu(), tmp_path / "whole")
    with pytest.raises(Killed):
        fit(model(), course(), plan, cpu(), tmp_path / "killed", killed_at(1, 1))
    steps: list[tuple[int, int]] = []
    fit(model(), course(), plan, cpu(), tmp_path / "killed", note_steps(steps))
    assert steps == [(1, 0), (1, 1), (1, 2)]
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_validation_every_two_steps_writes_a_row_each(tmp_path: Path) -> None:
    losses: list[float] = []

    def kept(net: nn.Module, batch: Batch, at: float) -> torch.Tensor:
        out = loss(net, batch, at)
        losses.append(out.item())
        return out

    scores = iter([0.5, 0.9, 0.7, 0.8])
    often = Course(batches=batches, steps=3, loss=kept, validate=lambda _: next(scores))
    plan = Plan(epochs=2, lr=1e-2, validate_every=2)
    history = fit(model(), often, plan, cpu(), tmp_path).history
    assert [row["epoch"] for row in history] == [2 / 3, 1 + 1 / 3, 2]
    assert [row["val_score"] for row in history] == [0.5, 0.9, 0.7]
    means = [sum(losses[k : k + 2]) / 2 for k in (0, 2, 4)]
    assert [row["train_loss"] for row in history] == pytest.approx(means, rel=1e-6)
    odd = Plan(epochs=1, lr=1e-2, validate_every=2)
    rows = fit(model(), replace(often, validate=lambda _: 0.1), odd, cpu(), tmp_path / "odd")
    assert [row["epoch"] for row in rows.history] == [2 / 3, 1]


@pytest.mark.parametrize(("carry", "starts"), [("epoch", 2), ("training", 1)])
def test_a_loss_carries_its_state_from_batch_to_batch(
    tmp_path: Path, carry: Any, starts: int
) -> None:
    """The state of the network is handed on, without its gradient."""
    given: list[Any] = []

    def stream(net: nn.Module, batch: Batch, at: float, state: Any) -> Any:  # noqa: ARG001
        given.append(state)
        y, state = net(batch[0], state)
        return nn.functional.cross_entropy(y.mean(0), batch[1]), state

    streamed = replace(course(), loss=stream, carry=carry)
    plan = changed(checkpoint_every=1)
    fit(model(), streamed, plan, cpu(), tmp_path / "whole")
    assert [state is None for state in given].count(True) == starts
    assert given[0] is None
    assert not any(t.requires_grad for t in tree_leaves(given) if isinstance(t, torch.Tensor))
    with pytest.raises(Killed):
        fit(model(), streamed, plan, cpu(), tmp_path / "killed", killed_at(1, 1))
    fit(model(), streamed, plan, cpu(), tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_batch_is_any_pytree(tmp_path: Path) -> None:
    def named(epoch: int) -> Iterator[dict[str, Any]]:
        for x, y in batches(epoch):
            yield {"inputs": {"spikes": x}, "labels": [y], "name": "digits"}

    def of_names(net: nn.Module, batch: Any, at: float) -> torch.Tensor:
        assert batch["name"] == "digits"
        return loss(net, (batch["inputs"]["spikes"], batch["labels"][0]), at)

    axes = {"inputs": 1, "labels": 0, "name": None}
    other = replace(course(), batches=named, loss=of_names, batch_axis=axes)
    one = fit(model(), course(), changed(), cpu(), tmp_path / "one")
    assert fit(model(), other, changed(), cpu(), tmp_path / "other") == one


def test_curves_go_to_the_loggers_of_fabric(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path / "curves", name="", flush_logs_every_n_steps=1)
    fabric = Fabric(accelerator="cpu", devices=1, loggers=logger)
    end = fit(model(), course(0.5), changed(), fabric, tmp_path / "run")
    with (tmp_path / "curves/version_0/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = {row["step"]: row["lr"] for row in rows if row["lr"]}
    assert list(steps) == ["1", "2", "3", "4", "5", "6"]
    plan = changed()
    assert [float(lr) for lr in steps.values()] == [
        scale_lr(plan.lr, plan.warm, (epoch + step / 3) / 2)
        for epoch in (0, 1)
        for step in range(3)
    ]
    losses = {row["step"]: float(row["train_loss"]) for row in rows if row["train_loss"]}
    assert losses == {"3": end.history[0]["train_loss"], "6": end.history[1]["train_loss"]}
    assert {row["val_score"] for row in rows} == {"", "0.5"}
    without = fit(model(), course(0.5), changed(), cpu(), tmp_path / "without")
    assert without == end


def test_a_run_of_an_earlier_version_is_told_with_a_cure(tmp_path: Path) -> None:
    for name in ("checkpoint.npz", "weights.npz"):
        (tmp_path / name).write_bytes(b"")
    told = r"checkpoint.npz and weights.npz come from an earlier version"
    for do in (
        lambda: fit(model(), course(), changed(), cpu(), tmp_path),
        lambda: load_weights(get_best_weights_path(tmp_path), model()),
        lambda: load_weights(tmp_path / "best.safetensors", model()),
    ):
        with pytest.raises(StoreError, match=told):
            do()


def test_weights_are_read_by_any_reader_of_safetensors(tmp_path: Path) -> None:
    net = model()
    fit(net, course(), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)
    found = load_file(get_best_weights_path(tmp_path))
    assert found.keys() == net.state_dict().keys()
    last = load_file(tmp_path / "last.safetensors")
    assert all(torch.equal(last[k], v) for k, v in net.state_dict().items())


@pytest.mark.slow
def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    leave = "import sys, neuro.io.store as t; print(t.name_own('last.safetensors'))"
    left = subprocess.run([sys.executable, "-c", leave], capture_output=True, check=True)
    (tmp_path / left.stdout.decode().strip()).write_bytes(b"half")
    fit(model(), course(), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)
    assert set(contents(tmp_path)) == {"last.safetensors", "best.safetensors"}


class Memory(NamedTuple):
    total: torch.Tensor


def test_a_named_tuple_that_no_file_knows_is_told_when_it_is_written(tmp_path: Path) -> None:
    def stream(net: nn.Module, batch: Batch, at: float, state: Any) -> Any:
        value = loss(net, batch, at)
        return value, Memory(value if state is None else value + state.total)

    streamed = replace(course(), loss=stream, carry="training")
    with pytest.raises(TrainError, match=r"\('Memory'\); build it .* in Course\.carry_types"):
        fit(model(), streamed, changed(), cpu(), tmp_path / "unknown")
    fit(model(), replace(streamed, carry_types=(Memory,)), changed(), cpu(), tmp_path)


def test_an_epoch_without_batches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="an epoch has 0 batches; use a smaller batch"):
        fit(model(), replace(course(), steps=0), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)


def test_a_sharded_model_has_no_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(epochs=1, lr=1e-2, stages=(Stage(name="all", epochs=1),))
    fit(model(), course(), plan, cpu(), tmp_path / "whole")
    monkeypatch.setattr("neuro.training.loop.is_sharded", lambda _: True)
    with pytest.raises(TrainError, match="a sharded model trains in one stage"):
        fit(model(), course(), plan, cpu(), tmp_path / "sharded")


def test_a_checkpoint_of_another_seed_or_run_is_refused_and_changes_nothing(
    tmp_path: Path,
) -> None:
    plan, net = Plan(epochs=2, lr=1e-2), model()
    mine = replace(course(), seed=1, run="ab")
    fit(model(), mine, Plan(epochs=1, lr=1e-2), cpu(), tmp_path)
    before = get_weights(net)
    for other, told in (
        (replace(mine, seed=2), "its seed is 1, the seed of this training is 2"),
        (replace(mine, run="cd"), "of another task or configuration"),
    ):
        with pytest.raises(TrainError, match=rf"last.safetensors: {told}.*\(--out\)$"):
            fit(net, other, plan, cpu(), tmp_path)
        assert all(torch.equal(v, get_weights(net)[k]) for k, v in before.items())
    assert fit(net, replace(mine, run=""), plan, cpu(), tmp_path).epoch == 2
    with pytest.raises(TrainError, match=r"last.safetensors: names no run"):
        fit(model(), mine, plan, cpu(), tmp_path)


def test_weights_of_another_run_are_refused(tmp_path: Path) -> None:
    fit(model(), replace(course(), run="ab"), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)
    path = tmp_path / "best.safetensors"
    for run in ("", "ab"):
        load_weights(path, model(), run)
    with pytest.raises(TrainError, match=r"best.safetensors: weights of another"):
        load_weights(path, model(), "cd")
    fit(model(), course(), Plan(epochs=1, lr=1e-2), cpu(), tmp_path / "unnamed")
    path = tmp_path / "unnamed" / "best.safetensors"
    load_weights(path, model())
    with pytest.raises(TrainError, match=r"best.safetensors: weights without a run"):
        load_weights(path, model(), "cd")
