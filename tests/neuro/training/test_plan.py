import math
import re
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from builders import Killed, course, cpu, killed_at, model
from lightning_fabric import Fabric
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import ExponentialLR, OneCycleLR, ReduceLROnPlateau

from neuro.training import Group, Plan, Progress, Stage, TrainError, fit
from neuro.training.checkpoint import get_weights
from neuro.training.plan import scale_lr

NAMES = [name for name, _ in model().named_parameters()]


def rates(plan: Plan, steps: int = 3) -> list[float]:
    """Return the learning rate of each update of a training without gradients."""
    optimizer = plan.build_optimizer(model())
    schedule = plan.build_schedule(optimizer, steps)
    out = []
    for _ in range(plan.epochs * plan.count_updates(steps)):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return out


def test_the_learning_rate_rises_along_a_line_and_falls_along_a_cosine() -> None:
    plan = Plan(epochs=1, lr=2.0, warm=0.2)
    assert [scale_lr(plan.lr, plan.warm, at) for at in (0.0, 0.5, 1.0)] == [0.0, 1.0, 0.0]
    assert scale_lr(plan.lr, plan.warm, 0.1) == pytest.approx(
        0.5 * (1 + math.cos(0.1 * math.pi))
    )
    assert scale_lr(2.0, 0.0, 0.0) == 2.0


def test_the_default_schedule_has_that_rate_at_each_update() -> None:
    plan = Plan(epochs=2, lr=0.3, warm=0.3)
    shares = [(epoch + step / 3) / 2 for epoch in range(2) for step in range(3)]
    assert rates(plan) == [scale_lr(plan.lr, plan.warm, at) for at in shares]
    plan = Plan(epochs=2, lr=0.3, accumulate=2)
    assert rates(plan) == [
        scale_lr(plan.lr, plan.warm, (epoch + step / 3) / 2)
        for epoch in (0, 1)
        for step in (0, 2)
    ]


def test_only_weights_decay() -> None:
    optimizer = Plan(epochs=1, lr=0.1, decay=0.5).build_optimizer(model())
    assert isinstance(optimizer, torch.optim.AdamW)
    decay = {p: g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert {(p.dim() >= 2, d) for p, d in decay.items()} == {(True, 0.5), (False, 0.0)}
    assert len(decay) == len(NAMES)


def test_groups_have_their_own_rates_and_decay() -> None:
    first, *_, last = NAMES
    groups = (Group(parameters=(first,), lr=3.0, decay=False), Group(parameters=("a.*", last)))
    plan = Plan(epochs=2, lr=0.1, decay=0.5, groups=groups, warm=0.3)
    net = model()
    optimizer, found = plan.build_optimizer(net), {}
    for group in optimizer.param_groups:
        of = {id(p): n for n, p in net.named_parameters()}
        found |= {of[id(p)]: (group["lr"], group["weight_decay"]) for p in group["params"]}
    assert set(found) == set(NAMES)
    for name, p in net.named_parameters():
        rate = 0.1 * 3 if name == first else 0.1
        assert found[name] == (rate, 0.5 * (p.dim() >= 2 and name != first))
    schedule = plan.build_schedule(optimizer, 3)
    for at in (0.0, 1 / 6, 2 / 6):
        now = [group["lr"] for group in optimizer.param_groups]
        assert now[0] == pytest.approx(3 * scale_lr(plan.lr, plan.warm, at))
        assert now[1:] == pytest.approx([scale_lr(plan.lr, plan.warm, at)] * (len(now) - 1))
        optimizer.step()
        schedule.step()
    every = Plan(epochs=1, lr=0.1, groups=(Group(parameters=("*",), lr=2.0),))
    assert [g["lr"] for g in every.build_optimizer(net).param_groups] == [0.2, 0.2]
    twice = Plan(epochs=1, lr=0.1, groups=(groups[0], groups[0]))
    with pytest.raises(TrainError, match=f"{re.escape(first)} matches none of .*{last}"):
        twice.build_optimizer(net)
    for wrong in ({"parameters": ()}, {"parameters": ("a",), "lr": 0.0}):
        with pytest.raises(ValueError, match="a factor lr > 0"):
            Group(**wrong)


def test_an_optimizer_of_torch_is_given_groups_and_rate() -> None:
    plan = Plan(epochs=1, lr=0.1, decay=0.5, optimizer=partial(SGD, momentum=0.9))
    optimizer = plan.build_optimizer(model())
    found = [(type(optimizer), g["lr"], g["momentum"]) for g in optimizer.param_groups]
    assert found == [(SGD, 0.1, 0.9)] * 2
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.5, 0.0]


def test_a_schedule_of_torch_is_told_the_updates_of_the_whole_training() -> None:
    told = []

    def schedule(optimizer: Optimizer, updates: int) -> ExponentialLR:
        told.append(updates)
        return ExponentialLR(optimizer, 0.5)

    plan = Plan(epochs=2, lr=1.0, accumulate=2, schedule=schedule)
    assert rates(plan, steps=5) == [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125]
    assert told == [6]


def test_what_cannot_be_done_is_refused_by_name() -> None:
    for changes, match in (
        ({"accumulate": 0}, "accumulate must be a whole number >= 1, got 0"),
        ({"validate_every": 0, "checkpoint_every": -1}, "validate_every .* checkpoint_every"),
        ({"warm": 0.1, "schedule": ExponentialLR}, "warm=0.1 belongs to the default schedule"),
        ({"schedule": OneCycleLR}, "got the class OneCycleLR"),
        ({"precision": "16-mixed"}, "16-mixed is not supported: its loss scaling"),
        ({"precision": "64-true"}, r"64-true is not supported: .* call model.double\(\)"),
        ({"keep": "latest"}, "keep must be one of best, last, got 'latest'"),
        ({"precision": "8-bit"}, "8-bit is not supported: use one of 32-true, bf16-mixed"),
    ):
        with pytest.raises(ValueError, match=match):
            Plan(epochs=1, lr=0.1, **changes)
    with pytest.raises(TrainError, match="LBFGS"):
        Plan(epochs=1, lr=0.1, optimizer=lambda groups, lr: torch.optim.LBFGS([
            p for group in groups for p in group["params"]
        ], lr=lr)).build_optimizer(model())  # fmt: skip
    plateau = Plan(epochs=1, lr=0.1, schedule=lambda optimizer, _: ReduceLROnPlateau(optimizer))
    with pytest.raises(TrainError, match="ReduceLROnPlateau steps on a metric"):
        rates(plateau)


def test_a_schedule_that_cannot_be_called_is_told_how_it_is_called() -> None:
    plan = Plan(epochs=2, lr=0.1, schedule=partial(OneCycleLR, max_lr=0.1))
    with pytest.raises(TrainError, match=r"called with \(optimizer, 6\).* total_steps=updates"):
        rates(plan)


def test_precisions_of_plan_and_fabric_must_agree(tmp_path: Path) -> None:
    plan = Plan(epochs=1, lr=0.1, precision="bf16-mixed")
    with pytest.raises(TrainError, match="has precision bf16-mixed, Fabric has 32-true"):
        fit(model(), course(), plan, cpu(), tmp_path)


def test_membranes_are_float32_in_mixed_precision(tmp_path: Path) -> None:
    net, found = model(), set()

    def look(module: nn.Module, given: Any, made: Any) -> None:  # noqa: ARG001
        found.add((given[0].dtype, made[0].dtype, made[1].v.dtype))

    net.alif.register_forward_hook(look)
    plan = Plan(epochs=1, lr=1e-2, precision="bf16-mixed")
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    mixed = fit(net, course(), plan, fabric, tmp_path / "mixed")
    assert found == {(torch.bfloat16, torch.float32, torch.float32)}
    assert [p.dtype for p in net.parameters()] == [p.dtype for p in model().parameters()]
    full = fit(model(), course(), Plan(epochs=1, lr=1e-2), cpu(), tmp_path / "full")
    losses = [p.history[0]["train_loss"] for p in (mixed, full)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


# What of the network learns in each of six steps, in turn.
STAGES = (
    Stage(name="readout", steps=2, frozen=("*",), thawed=("b.*",)),
    Stage(name="rest", epochs=1, frozen=("b.*",), lr=0.0),
    Stage(name="all", steps=1),
)


def test_stages_freeze_and_thaw_by_name(tmp_path: Path) -> None:
    net, seen = model(), [get_weights(model())]

    def look(progress: Progress, step: int) -> None:  # noqa: ARG001
        seen.append({k: v.clone() for k, v in get_weights(net).items()})

    end = fit(net, course(), Plan(epochs=2, lr=1e-2, stages=STAGES), cpu(), tmp_path, look)
    assert end.epoch == 2
    changed = [
        {name for name in NAMES if not torch.equal(before[name], after[name])}
        for before, after in pairwise(seen)
    ]
    everything = set(NAMES)
    assert changed[:5] == [{"b.weight", "b.bias"}] * 2 + [set()] * 3
    assert changed[5] == everything
    assert all(p.requires_grad for p in net.parameters())


def test_a_stage_scales_the_rate_of_any_schedule(tmp_path: Path) -> None:
    made: list[Any] = []

    class Recorded(SGD):
        def step(self, closure: Any = None) -> Any:
            made.append(self.param_groups[0]["lr"])
            return super().step(closure)

    stages = (Stage(name="slow", steps=2, lr=0.1), Stage(name="fast", steps=4))
    plan = Plan(
        epochs=2,
        lr=1.0,
        optimizer=Recorded,
        schedule=lambda optimizer, _: ExponentialLR(optimizer, 0.5),
        stages=stages,
    )
    fit(model(), course(), plan, cpu(), tmp_path)
    assert made == [0.1, 0.05, 0.25, 0.125, 0.0625, 0.03125]


def fresh(**length: int) -> Stage:
    return Stage(name="fresh", fresh_optimizer=True, **length)


def test_a_stage_can_begin_with_a_fresh_optimizer(tmp_path: Path) -> None:
    seen: list[tuple[int, ...]] = []

    class Recorded(torch.optim.AdamW):
        def step(self, closure: Any = None) -> Any:
            out = super().step(closure)
            seen.append(tuple(sorted({int(own["step"]) for own in self.state.values()})))
            return out

    stages = (
        Stage(name="one", steps=2),
        fresh(steps=1),
        Stage(name="on", steps=1),
        fresh(steps=2),
    )
    plan = Plan(epochs=2, lr=1e-2, optimizer=Recorded, stages=stages)
    fit(model(), course(), plan, cpu(), tmp_path)
    assert seen == [(1,), (2,), (1,), (2,), (1,), (2,)]


def test_stages_that_do_not_fit_are_told_together() -> None:
    stages = (
        Stage(name="one", epochs=1, frozen=("encoder.*",)),
        Stage(name="two", steps=2, frozen=("*",)),
    )
    with pytest.raises(TrainError) as told:
        Plan(epochs=2, lr=0.1, stages=stages).check_stages(NAMES, 3)
    assert "stages last 5 steps, 2 epochs of 3 last 6" in str(told.value)
    assert "stage one: 'encoder.*' matches none of a.weight, a.bias" in str(told.value)
    many = [f"{part}.{k}" for part in ("encoder", "head") for k in range(9)]
    plan = Plan(epochs=1, lr=0.1, stages=(Stage(name="one", epochs=1, frozen=("a.*",)),))
    with pytest.raises(TrainError, match=r"'a\.\*' matches none of encoder\.\*, head\.\*$"):
        plan.check_stages(many, 3)
    assert "stage two: every parameter is frozen" in str(told.value)
    with pytest.raises(ValueError, match="stage one: set either epochs or steps"):
        Stage(name="one", epochs=1, steps=2)


def test_a_stage_begins_with_an_update() -> None:
    plan = Plan(epochs=1, lr=0.1, stages=STAGES)
    lengths = [stage.count_steps(3) for stage in STAGES]
    assert list(accumulate(lengths)) == [2, 5, 6]
    found = [plan.find_stage(step, 3) for step in range(6)]
    assert found == [STAGES[0]] * 2 + [STAGES[1]] * 3 + [STAGES[2]]
    assert Plan(epochs=1, lr=0.1).find_stage(0, 3) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": partial(SGD, momentum=0.9)},
        {"schedule": lambda o, n: OneCycleLR(o, max_lr=0.1, total_steps=n)},
        {"schedule": lambda o, _: torch.optim.lr_scheduler.MultiStepLR(o, [2, 4])},
        {"stages": STAGES, "warm": 0.5},
        {"stages": (Stage(name="old", steps=4), fresh(steps=2))},
        {"stages": (Stage(name="old", epochs=1), fresh(epochs=1))},
        {"stages": (Stage(name="old", steps=5), fresh(steps=1))},
    ],
    ids=[
        *("momentum", "one cycle", "multi step", "stages"),
        *("fresh where killed", "fresh before", "fresh later"),
    ],
)
def test_any_plan_resumes_inside_an_epoch_to_the_same_end(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    plan = Plan(epochs=2, lr=1e-2, checkpoint_every=1, **changes)
    fit(model(), course(), plan, cpu(), tmp_path / "whole")
    with pytest.raises(Killed):
        fit(model(), course(), plan, cpu(), tmp_path / "killed", killed_at(1, 1))
    fit(model(), course(), plan, cpu(), tmp_path / "killed")
    for name in ("last.safetensors", "best.safetensors"):
        one, other = (tmp_path / k / name for k in ("whole", "killed"))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"epochs": 0}, "epochs must be a whole number >= 1, got 0"),
        ({"epochs": 3.0}, "epochs must be a whole number >= 1, got 3.0"),
        ({"epochs": True}, "epochs must be a whole number >= 1, got True"),
        ({"epochs": None}, "epochs must be a whole number >= 1, got None"),
        ({"accumulate": None}, "accumulate must be a whole number >= 1, got None"),
        ({"validate_every": 0.5}, "validate_every must be a whole number >= 1, got 0.5"),
        ({"lr": "0.1"}, "lr must be a finite number > 0, got '0.1'"),
        ({"lr": 0.0}, "lr must be a finite number > 0, got 0.0"),
        ({"lr": math.nan}, "lr must be a finite number > 0, got nan"),
        ({"lr": None}, "lr must be a finite number > 0, got None"),
        ({"lr": True}, "lr must be a finite number > 0, got True"),
        ({"clip": 0}, "clip must be a number > 0 (math.inf clips nothing), got 0"),
        ({"warm": 5}, "warm must be a share of the training, 0 to 1, got 5"),
        ({"warm": -0.1}, "warm must be a share of the training, 0 to 1, got -0.1"),
        ({"decay": -1e-4}, "decay must be a finite number >= 0, got -0.0001"),
        ({"checkpoint_minutes": "10"}, "checkpoint_minutes must be a number >= 0, or None"),
        ({"epochs": 0, "lr": -1}, "; lr must be"),
    ],
)
def test_numbers_that_are_none_or_out_of_range_are_told(
    changes: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As users run it: in tests beartype would be there first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=re.escape(told)):
        Plan(**{"epochs": 1, "lr": 0.1, **changes})
    least = {"clip": math.inf, "warm": 1.0, "decay": 0.0, "checkpoint_minutes": 0}
    Plan(epochs=1, lr=1, validate_every=None, checkpoint_every=1, **least)
    with pytest.raises(ValueError, match=r"stage a: .* got epochs='1'"):
        Stage(name="a", epochs="1")  # type: ignore[arg-type]
