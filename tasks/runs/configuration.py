"""The fields that every training has in its configuration, and checks of a configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from neuro.base.bounds import Count, Natural, NotNegative, Positive, Share, list_wrong_fields
from neuro.training import Plan

LIST = "the configuration cannot be used:"
PLANNED = ("epochs", "lr", "warm", "decay", "clip")  # fields of Plan with the same names


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The fields of every training; a configuration inherits them and sets the defaults."""

    epochs: Count
    """Passes over the training data."""
    batch: Count
    """Samples per batch."""
    lr: Positive
    """Peak learning rate."""
    seed_of_data: Natural = 0
    """Seed of generated data and of the order of samples; the seed of weights is --seed."""

    def list_conflicts(self) -> list[str]:
        """Return the problems between fields, each with its cure."""
        return []


@dataclass(frozen=True, kw_only=True)
class ScheduledConfig(TrainingConfig):
    """A training with a warm-up and weight decay."""

    warm: Share = 0.0
    """Share of the training in which the learning rate rises to its peak."""
    decay: NotNegative = 0.0
    """Weight decay of AdamW."""


@dataclass(frozen=True, kw_only=True)
class ClippedConfig(ScheduledConfig):
    """A training that also clips the gradient."""

    clip: Positive = 1.0
    """Largest norm of the gradient."""


def make_plan(config: Any, **more: Any) -> Plan:
    """Return the training plan of a configuration. more: further arguments of the plan.

    Raises:
        ValueError: the configuration is invalid; lists every problem.
    """
    require_sound(config)
    named = {name: getattr(config, name) for name in PLANNED if hasattr(config, name)}
    return Plan(**{**named, **more})


def require_sound(config: Any) -> None:
    """Raise a ValueError with all problems of a configuration, if it has any.

    Fields may be set one by one, so the check runs when data or a model are made from them.
    """
    refuse_problems(list_problems(config))


def list_problems(config: Any) -> list[str]:
    """Return the fields out of bounds or, if there are none, conflicts between fields.

    Rules between fields may divide by a field, so they run only if every field is in bounds.
    """
    conflicts = getattr(config, "list_conflicts", list)
    return list_wrong_fields(config) or conflicts()


def refuse_problems(problems: Sequence[str]) -> None:
    """Raise a ValueError that lists all problems, each with its cure, if there are any."""
    if problems:
        raise ValueError("\n".join([LIST, *problems]))
