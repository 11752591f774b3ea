"""How to train: optimizer, learning rates, stages, precision, validations, checkpoints."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from neuro.base.arguments import describe, is_real, is_whole
from neuro.training.course import TrainError

REFUSED_PRECISIONS = {
    "16-mixed": "its loss scaling skips steps with infinite gradients, which are errors here; "
    "use bf16-mixed",
    "64-true": "only the forward pass would use float64, and verbs load weights as float32; "
    "call model.double(), yield float64 batches and use 32-true",
    "16-true": "neurons keep their membranes in float32; use bf16-mixed",
    "bf16-true": "neurons keep their membranes in float32; use bf16-mixed",
}
PRECISIONS = ("32-true", "bf16-mixed")
KEEPS = ("best", "last")
LISTED = 12  # names listed in a message
# Allowed values of each number of a Plan, as a test and in words.
NUMBERS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "lr": (lambda x: 0 < x < math.inf, "a finite number > 0"),
    "clip": (lambda x: x > 0, "a number > 0 (math.inf clips nothing)"),
    "warm": (lambda x: 0 <= x <= 1, "a share of the training, 0 to 1"),
    "decay": (lambda x: 0 <= x < math.inf, "a finite number >= 0"),
    "checkpoint_minutes": (lambda x: x >= 0, "a number >= 0, or None"),
}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a training in which only some parameters are trained.

    name: name for messages.
    epochs, steps: length of the stage, either in epochs or in batches.
    frozen, thawed: patterns (of :mod:`fnmatch`) of parameter names. Parameters that match
        ``frozen`` but not ``thawed`` stay constant in this stage. Running statistics of batch
        norms always follow the data.
    lr: factor on the schedule's learning rate.
    fresh_optimizer: whether the optimizer starts with a new state (moments).
    """

    name: str
    epochs: int | None = None
    steps: int | None = None
    frozen: tuple[str, ...] = ()
    thawed: tuple[str, ...] = ()
    lr: float = 1.0
    fresh_optimizer: bool = False

    def __post_init__(self) -> None:
        lengths = [n for n in (self.epochs, self.steps) if n is not None]
        if len(lengths) != 1 or not _is_count(lengths[0]):
            raise ValueError(
                f"stage {self.name}: set either epochs or steps, to a whole number >= 1; got "
                f"epochs={self.epochs!r}, steps={self.steps!r}"
            )

    def count_steps(self, steps: int) -> int:
        """Return the stage's length in batches. steps: batches per epoch."""
        return self.steps if self.steps is not None else (self.epochs or 0) * steps

    def is_frozen(self, parameter: str) -> bool:
        """Return whether the parameter with this name stays constant."""
        frozen = any(fnmatchcase(parameter, pattern) for pattern in self.frozen)
        return frozen and not any(fnmatchcase(parameter, p) for p in self.thawed)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Parameters with their own learning rate or weight decay.

    parameters: patterns (of :mod:`fnmatch`) of parameter names; a parameter belongs to the
        first group with a matching pattern.
    lr: factor on the learning rate.
    decay: whether the weight decay applies to them.
    """

    parameters: tuple[str, ...]
    lr: float = 1.0
    decay: bool = True

    def __post_init__(self) -> None:
        if not self.parameters or not 0 < self.lr < math.inf:
            raise ValueError(
                f"Group: needs patterns of names and a factor lr > 0, got {self.parameters} "
                f"and {self.lr}; to freeze parameters use a Stage"
            )

    def has(self, parameter: str) -> bool:
        """Return whether the parameter with this name matches a pattern."""
        return any(fnmatchcase(parameter, pattern) for pattern in self.parameters)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to train. A step is one batch; an update is one step of the optimizer.

    epochs: passes over the data. lr: peak learning rate.
    clip: largest norm of the gradient.
    warm: share of the training over which the learning rate rises linearly, times a cosine
        factor that falls from 1 to 0 over the whole training.
    decay: weight decay; parameters with fewer than two axes (biases, norms, neurons) have none.
    optimizer: takes parameter groups, each with its ``weight_decay``, and ``lr=``: a class of
        torch.optim, or ``partial(torch.optim.SGD, momentum=0.9)``.
    schedule: (optimizer, updates of the whole training) -> a torch scheduler, which steps after
        every update; None: warm-up and cosine. It must be a function, because the second
        argument of most scheduler classes means something else.
    groups: parameters with their own learning rate or weight decay.
    stages: parts of the training in order; their lengths must add up to ``epochs``. A stage
        begins with the first update whose first batch lies in it.
    accumulate: batches per update, which uses their mean gradient; the last update of an epoch
        may have fewer. Batch norms see one batch at a time.
    precision: "32-true" or "bf16-mixed", as in Lightning Fabric; Fabric must have the same.
    validate_every: steps between validations, counted over the whole training; the training
        always ends with a validation. None: one after each epoch.
    keep: which weights are the result: those of the "best" validation, or of the "last" one if
        the score is a poor guide.
    checkpoint_every, checkpoint_minutes: write a checkpoint after this many steps or minutes,
        at the next update, in addition to one after each epoch. None: no additional ones.
        Minutes count from the end of the last checkpoint; unless they are 0, they are at least
        ten times as long as it took to write.

    Raises:
        ValueError: a number has a wrong type or is out of range, the schedule is a class, or
            a plan has both ``schedule`` and ``warm``.
    """

    epochs: int
    lr: float
    clip: float = 1.0
    warm: float = 0.0
    decay: float = 0.0
    optimizer: Callable[..., Optimizer] = torch.optim.AdamW
    schedule: Callable[[Optimizer, int], LRScheduler] | None = None
    groups: tuple[Group, ...] = ()
    stages: tuple[Stage, ...] = ()
    accumulate: int = 1
    precision: str = "32-true"
    validate_every: int | None = None
    keep: str = "best"
    checkpoint_every: int | None = None
    checkpoint_minutes: float | None = 1.0

    def __post_init__(self) -> None:
        wrong = list(_list_wrong_numbers(self))
        if self.schedule is not None and self.warm:
            wrong.append(
                f"warm={self.warm} belongs to the default schedule; leave it out, or warm up "
                "in the schedule (torch.optim.lr_scheduler.SequentialLR)"
            )
        if isinstance(self.schedule, type):
            wrong.append(
                f"schedule must be a function, got the class {self.schedule.__name__}; write "
                f"lambda optimizer, updates: {self.schedule.__name__}(optimizer, ...)"
            )
        if self.keep not in KEEPS:
            wrong.append(f"keep must be one of {', '.join(KEEPS)}, got {self.keep!r}")
        if self.precision not in PRECISIONS:
            why = REFUSED_PRECISIONS.get(self.precision, f"use one of {', '.join(PRECISIONS)}")
            wrong.append(f"precision {self.precision} is not supported: {why}")
        if wrong:
            raise ValueError("Plan: " + "; ".join(wrong))

    def count_updates(self, steps: int) -> int:
        """Return the number of updates in an epoch of ``steps`` batches."""
        return -(-steps // self.accumulate)

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """Return a model's optimizer; raise a TrainError if it or a group does not fit."""
        groups: list[dict[str, Any]] = []
        named = dict(model.named_parameters())
        for group in (*self.groups, Group(parameters=("*",))):  # the last takes the rest
            own = [named.pop(name) for name in list(named) if group.has(name)]
            if not own and named:
                raise TrainError(
                    f"Plan.groups: {', '.join(group.parameters)} matches none of "
                    f"{', '.join(named)}; correct the pattern, or leave the group out"
                )
            rate = {"lr": self.lr * group.lr} if self.groups else {}
            wide = [p for p in own if p.dim() >= 2 and group.decay]
            narrow = [p for p in own if p.dim() < 2 or not group.decay]
            groups += [
                {"params": parameters, "weight_decay": decay, **rate}
                for parameters, decay in ((wide, self.decay), (narrow, 0.0))
                if parameters
            ]
        optimizer = self.optimizer(groups, lr=self.lr)
        if isinstance(optimizer, torch.optim.LBFGS):
            raise TrainError("LBFGS needs several losses a step; use another optimizer")
        return optimizer

    def build_schedule(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """Return the learning-rate schedule. steps: batches per epoch."""
        if self.schedule is None:
            return WarmCosine(optimizer, self, steps)
        updates = self.epochs * self.count_updates(steps)
        try:
            schedule = self.schedule(optimizer, updates)
        except (TypeError, ValueError) as error:
            raise TrainError(
                f"Plan.schedule cannot be called with (optimizer, {updates}), the updates of "
                f"the whole training: {error}; write it as lambda optimizer, updates: "
                "OneCycleLR(optimizer, max_lr=0.01, total_steps=updates)"
            ) from error
        if isinstance(schedule, ReduceLROnPlateau):
            raise TrainError(
                "ReduceLROnPlateau steps on a metric, but schedules step on every update; use "
                "another scheduler of torch.optim.lr_scheduler"
            )
        return schedule

    def find_stage(self, step: int, steps: int) -> Stage | None:
        """Return the stage that holds a step of the whole training; None without stages."""
        end = 0
        for stage in self.stages:
            end += stage.count_steps(steps)
            if step < end:
                return stage
        return None

    def is_untrained(self, module: str, stage: Stage | None) -> bool:
        """Return whether a module's parameters are trained only in stages after this one."""
        if stage is None:
            return False
        at = self.stages.index(stage) + 1
        frozen = [s.is_frozen(f"{module}.") for s in self.stages]
        return all(frozen[:at]) and not all(frozen)

    def check_stages(self, trained: Collection[str], steps: int) -> None:
        """Raise a TrainError that lists why the stages do not fit the model and its data.

        trained: names of the parameters that require a gradient.
        steps: batches per epoch.
        """
        if not self.stages:
            return
        wrong = []
        total, staged = self.epochs * steps, sum(s.count_steps(steps) for s in self.stages)
        if staged != total:
            wrong.append(
                f"stages last {staged} steps, {self.epochs} epochs of {steps} last {total}; "
                "change epochs, or the last stage"
            )
        for stage in self.stages:
            wrong += [
                f"stage {stage.name}: {pattern!r} matches none of {_list_names(trained)}"
                for pattern in (*stage.frozen, *stage.thawed)
                if not any(fnmatchcase(name, pattern) for name in trained)
            ]
            if all(stage.is_frozen(name) for name in trained):
                wrong.append(f"stage {stage.name}: every parameter is frozen; thaw some")
        if wrong:
            raise TrainError("; ".join(wrong))


def _list_wrong_numbers(plan: Plan) -> Iterator[str]:
    """Yield a message for each number of a plan that has a wrong type or is out of range."""
    for name in ("epochs", "accumulate", "validate_every", "checkpoint_every"):
        value = getattr(plan, name)
        if not (_is_count(value) or (value is None and name.endswith("every"))):
            yield f"{name} must be a whole number >= 1, got {describe(value)}"
    for name, (is_allowed, requirement) in NUMBERS.items():
        value = getattr(plan, name)
        absent = value is None and name == "checkpoint_minutes"
        if not (is_allowed(value) if is_real(value) else absent):
            yield f"{name} must be {requirement}, got {describe(value)}"


def _is_count(value: object) -> bool:
    """Say whether a value is a whole number >= 1."""
    return is_whole(value) and value >= 1


def scale_lr(peak: float, warm: float, at: float) -> float:
    """Return the warm-up-and-cosine learning rate after a share ``at`` of the training."""
    rise = min(1.0, at / warm) if warm else 1.0
    return peak * rise * (1 + math.cos(math.pi * at)) / 2


class WarmCosine(LRScheduler):
    """The default schedule: :func:`scale_lr` of each group's learning rate, per update."""

    def __init__(self, optimizer: Optimizer, plan: Plan, steps: int) -> None:
        self.plan = plan
        self.steps = steps
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """Return the learning rate of each group for the next update."""
        epoch, update = divmod(self.last_epoch, self.plan.count_updates(self.steps))
        at = (epoch + update * self.plan.accumulate / self.steps) / self.plan.epochs
        return [scale_lr(float(peak), self.plan.warm, at) for peak in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Return the number of updates; everything else follows from the plan."""
        return {"last_epoch": self.last_epoch, "_step_count": self._step_count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the position of a schedule."""
        super().load_state_dict(state_dict)
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr


def _list_names(trained: Collection[str]) -> str:
    """Return parameter names for a message; if there are many, the names of their modules."""
    tops = [f"{name.split('.')[0]}.*" for name in trained]
    return ", ".join(trained if len(trained) <= LISTED else dict.fromkeys(tops))
