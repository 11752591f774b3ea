"""What classifiers share: loss of the output, accuracy, confusion, the part for the chip.

Axes: T ticks, B batch, K classes.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from neuro.energy import macs
from neuro.io.run_folder import Run
from neuro.nn.layers import Spiking, Stack, steps_of
from neuro.nn.trace import trace
from neuro.training import Batch
from tasks.task import Answers, C, Split, Task

Batches = Callable[[C, Split, int], Iterable[Batch]]


def classifier(
    *,
    batches: Batches[C],
    loss: Callable[[C, Tensor, Tensor], Tensor],
    answers: Answers,
    encodes: Callable[[C], bool] = lambda _: False,
    compared: Callable[[C], int] = lambda _: 0,
    **parts: Any,
) -> Task[C]:
    """Return the task of a classifier: its model maps (x, state) to (y, state).

    Args:
        batches: as of a Task; the targets are labels.
        loss: (configuration, y, labels) -> mean loss; y has axes T B ``*K``.
        answers: classes and scores.
        encodes: whether the input is analog. The model is a Stack then, whose first population
            turns it into spikes: that far, and through a maximum of them, a host runs it, and a
            chip from there.
        compared: how many samples of a split other executors run; 0: all.
        parts: the other fields of a Task.
    """

    def quality(config: C, model: nn.Module) -> float:
        found = confusion(model, batches(config, "val", 0), answers)
        return float(found.trace() / found.sum())

    def evaluate(run: Run, model: nn.Module) -> dict[str, Any]:
        found = confusion(model, batches(run.config, "test", 0), answers)
        n, correct = int(found.sum()), int(found.trace())
        return {
            "accuracy": correct / n,
            "n": n,
            "correct": correct,
            "split": "test",
            "classes": list(answers.classes),
            "confusion": found.tolist(),
        }

    def stimuli(config: C, model: nn.Module, split: Split) -> Iterator[Batch]:
        left = compared(config) or sys.maxsize
        for x, labels in batches(config, split, 0):
            some, known = x[:, :left], labels[:left]
            yield _encoded(model, some) if encodes(config) else some, known
            left -= len(known)
            if left <= 0:
                return

    def host(config: C, model: nn.Module) -> dict[str, int]:
        if not encodes(config):
            return {}
        x, _ = next(iter(batches(config, "val", 0)))
        return macs(trace(_head(model), tuple(x.shape[2:])))

    return Task(
        batches=batches,
        loss=lambda config, model, batch, at: loss(config, model(batch[0])[0], batch[1]),  # noqa: ARG005
        quality=quality,
        metric="accuracy",
        evaluate=evaluate,
        chip=lambda config, model: _behind(model) if encodes(config) else model,
        stimuli=stimuli,
        host=host,
        answers=answers,
        **parts,
    )


@torch.no_grad()
def confusion(
    model: nn.Module, batches: Iterable[Batch], answers: Answers
) -> Int64[np.ndarray, "K K"]:
    """Return counts of answers: row = true class, column = answer."""
    k = len(answers.classes)
    counts = np.zeros((k, k), np.int64)
    device = next(model.parameters()).device
    for x, labels in batches:
        y, _ = model(x.to(device))
        np.add.at(counts, (labels.numpy(), answers.scores(y).argmax(1).cpu().numpy()), 1)
    return counts


@torch.no_grad()
def _encoded(model: nn.Module, x: Tensor) -> Tensor:
    """Return the spikes of the first population of a Stack."""
    y: Tensor = _head(model)(x)[0]
    return y


def _head(model: nn.Module) -> Stack:
    """Return a Stack up to its first population, for evaluation."""
    return Stack(**dict(steps_of(model)[: _encoder(model)])).eval()


def _behind(model: nn.Module) -> Stack:
    """Return what comes after the first population of a Stack."""
    return Stack(**dict(steps_of(model)[_encoder(model) :]))


def _encoder(model: nn.Module) -> int:
    """Return how many steps of a Stack it takes to make spikes, and maxima of them."""
    steps = [module for _, module in steps_of(model)]
    first = next(k for k, module in enumerate(steps) if isinstance(module, Spiking))
    pools = takewhile(lambda module: isinstance(module, nn.MaxPool2d), steps[first + 1 :])
    return first + 1 + len(list(pools))
