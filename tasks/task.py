"""What every task is: a value with its parts, and how to find one by name."""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from torch import Tensor, nn

from neuro.io.run_folder import Run
from neuro.training import Batch, Plan
from tasks.names import one_of

C = TypeVar("C")
Split = Literal["train", "val", "test"]

TASKS = {
    "mnist": "tasks.image_classification.mnist",
    "cifar10": "tasks.image_classification.cifar10",
    "yinyang": "tasks.yinyang",
    "image_generation": "tasks.image_generation",
}
NAMES = tuple(TASKS)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How a classifier answers.

    classes: names of the classes.
    scores: output, T B ``*K`` -> one score a class, axes B K; the greatest wins.
    """

    classes: Sequence[str]
    scores: Callable[[Tensor], Tensor]


def nothing(config: Any, model: nn.Module) -> dict[str, int]:  # noqa: ARG001
    """Return that a host does nothing."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Task(Generic[C]):
    """One experiment. Axes: T ticks, B batch.

    summary: one line for ``neuro tasks``.
    configs: complete configurations by name; "tiny" runs in seconds on a CPU, offline.
    build: a fresh model.
    plan: how to train. steps: batches in an epoch of training.
    batches: (configuration, split, epoch) -> (x, targets); only "train" depends on epoch.
    loss: (configuration, model, batch, at) -> mean loss; at: share of the training done. What
        it draws from torch's global generator depends on seed, epoch and step alone; what it
        draws for each sample comes from :func:`neuro.training.distributed.draw_shard`.
    quality: (configuration, model) -> figure on the validation split, the greater the better.
    metric: what that figure is.
    evaluate: (run, model) -> figures on the test split, for ``eval.json``. It may write
        pictures into the run folder; "sheets" lists them: file, title and caption of each.
        "notes" says of a figure what it depends on.
    chip: (configuration, model) -> the part of it that has a Graph.
    stimuli: (configuration, model, split) -> what drives that part: spikes T B ..., labels B.
    host: (configuration, model) -> multiply-accumulates per inference that a host does before
        or behind that part, by name.
    answers: how it answers, if it is a classifier.
    """

    summary: str
    configs: Mapping[str, Callable[[], C]]
    build: Callable[[C], nn.Module]
    plan: Callable[[C], Plan]
    steps: Callable[[C], int]
    batches: Callable[[C, Split, int], Iterable[Batch]]
    loss: Callable[[C, nn.Module, Batch, float], Tensor]
    quality: Callable[[C, nn.Module], float]
    metric: str
    evaluate: Callable[[Run, nn.Module], dict[str, Any]]
    chip: Callable[[C, nn.Module], nn.Module]
    stimuli: Callable[[C, nn.Module, Split], Iterable[Batch]]
    host: Callable[[C, nn.Module], Mapping[str, int]] = nothing
    answers: Answers | None = None


def find(name: str) -> Task[Any]:
    """Return the task of that name."""
    task: Task[Any] = importlib.import_module(TASKS[one_of(name, NAMES, "task")]).TASK
    return task


def split_name(full: str) -> tuple[str, str]:
    """Return (task, configuration) of "task:configuration"; without a colon, "tiny"."""
    task, _, config = full.partition(":")
    return task, config or "tiny"


def find_config(task: Task[Any], name: str) -> Callable[[], Any]:
    """Return the configuration function of that name."""
    return task.configs[one_of(name, tuple(task.configs), "configuration")]
