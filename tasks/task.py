"""What every task is: a value with its parts, and how to find one by name."""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from torch import Tensor, nn

from neuro.train import Batch, Plan
from tasks.names import one_of

C = TypeVar("C")
Split = Literal["train", "val", "test"]

NAMES = ("mnist", "yinyang")


@dataclass(frozen=True, kw_only=True)
class Task(Generic[C]):
    """One experiment. Axes: T ticks, B batch, K classes.

    summary: one line for ``neuro tasks``.
    configs: complete configurations by name; "tiny" runs in seconds on a CPU, offline.
    build: a fresh model; it maps (x, state) to (y, state), x with axes T B ``*input_shape``.
    input_shape: of one tick of one sample.
    plan: how to train.
    steps: batches in an epoch of training.
    batches: (configuration, split, epoch) -> (x, labels); only "train" depends on epoch.
    loss: (y, labels) -> mean loss; y has axes T B ``*K``.
    scores: y -> one score a class, axes B K; the greatest wins.
    classes: names of the classes.
    """

    summary: str
    configs: Mapping[str, Callable[[], C]]
    build: Callable[[C], nn.Module]
    input_shape: Callable[[C], tuple[int, ...]]
    plan: Callable[[C], Plan]
    steps: Callable[[C], int]
    batches: Callable[[C, Split, int], Iterable[Batch]]
    loss: Callable[[Tensor, Tensor], Tensor]
    scores: Callable[[Tensor], Tensor]
    classes: Sequence[str]


def find(name: str) -> Task[Any]:
    """Return the task of that name."""
    task: Task[Any] = importlib.import_module(f"tasks.{one_of(name, NAMES, 'task')}").TASK
    return task


def split_name(full: str) -> tuple[str, str]:
    """Return (task, configuration) of "task:configuration"; without a colon, "tiny"."""
    task, _, config = full.partition(":")
    return task, config or "tiny"


def find_config(task: Task[Any], name: str) -> Callable[[], Any]:
    """Return the configuration function of that name."""
    return task.configs[one_of(name, tuple(task.configs), "configuration")]
