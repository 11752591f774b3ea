"""The data of a training, its progress, and the error that ends it."""

import math
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn


class TrainError(RuntimeError):
    """A training cannot start or continue; the last good checkpoint remains."""


Batch = tuple[Tensor, Tensor]  # stimulus with axes T B ..., targets with axis B


@dataclass(kw_only=True)
class Progress:
    """How far a training has come.

    epoch: number of finished epochs.
    step: number of finished batches in the current epoch.
    best: validation score of the weights kept so far; infinitely bad before the first
        validation.
    history: one row per validation: the epoch (2.5 is the middle of the third), the mean
        train_loss since the previous row, the score, and the counters of the course.
    first_loss: loss of the first batch; None before that batch.
    silent: populations that sent no spike in the last validation.
    grown: description of the parameters that had grown by then, with the learning rate.
    """

    epoch: int = 0
    step: int = 0
    best: float = -math.inf
    history: list[dict[str, float | int]] = field(default_factory=list)
    first_loss: float | None = None
    silent: tuple[str, ...] = ()
    grown: str = ""

    @property
    def has_diverged(self) -> bool:
        """Whether the last loss lies above the first by more than the first one's size."""
        if self.first_loss is None or not self.history:
            return False
        return self.history[-1]["train_loss"] - self.first_loss > abs(self.first_loss)


@dataclass(frozen=True, kw_only=True)
class Course:
    """The data, loss and validation of a training.

    batches: epoch -> the whole batches of that epoch, the same at every call. A batch is any
        pytree of tensors. The iterable may be endless: the loop takes ``steps`` batches.
    loss: (model, batch, at) -> mean loss over the batch; at: share of the training done. Draws
        random numbers per sample with :func:`neuro.training.distributed.draw_shard`.
    validate: model -> score on the validation split, the same in every process. By default
        the loop keeps the weights with the best score.
    metric: name of the score. better: whether higher or lower scores are better.
    seed: determines, with epoch and step, every draw of these functions from torch's global
        generator.
    batch_axis: the axis of the samples in each tensor of a batch, as ``in_dims`` of torch.vmap:
        an integer or a pytree of integers; None marks tensors that every process gets whole.
        By default a batch is (x with axes T B ..., targets with axis B).
    sharded: whether a batch holds only the samples of this process, see
        :func:`neuro.training.distributed.list_own_samples`. Worthwhile where samples are
        expensive to read.
    batches_from: (epoch, step) -> the batches of that epoch from that step on, for resuming
        in the middle of an epoch; None: the loop skips the earlier batches.
    carry: how long the loop passes the state that a loss returns to the next batch, for
        continuous streams. With "epoch" or "training" the loss takes (model, batch, at, state)
        and returns (mean loss, state); the state is a pytree, None at the start. Gradients do
        not flow through it. The checkpoint holds the state of each process.
    carry_types: named tuples and frozen dataclasses in that state, besides neuron states.
    watched: whether a validation calls each population, so that the loop can report silent
        ones.
    tally: counters that the loss increments. Each row of the history holds the counts since
        the previous row, from the first process.
    run: digest of everything that determines the training; the loop refuses the checkpoint of
        another run or seed. "": unknown.
    """

    batches: Callable[[int], Iterable[Any]]
    steps: int
    loss: Callable[..., Any]
    validate: Callable[[nn.Module], float]
    metric: str = "score"
    better: Literal["higher", "lower"] = "higher"
    seed: int = 0
    batch_axis: Any = (1, 0)
    sharded: bool = False
    batches_from: Callable[[int, int], Iterable[Any]] | None = None
    carry: Literal["no", "epoch", "training"] = "no"
    carry_types: tuple[type, ...] = ()
    watched: bool = True
    tally: MutableMapping[str, int] = field(default_factory=dict)
    run: str = ""

    @property
    def worst(self) -> float:
        """The score that all other scores beat."""
        return -math.inf if self.better == "higher" else math.inf

    def is_better(self, score: float, other: float) -> bool:
        """Return whether ``score`` is better than ``other``."""
        return score > other if self.better == "higher" else score < other
