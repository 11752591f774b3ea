"""Trainings killed (SIGKILL) at points between two file operations, as a script.

killed.py FOLDER STRIDE trains a whole run, and then, for each point in turn (every STRIDE-th),
one that dies there and is resumed; FOLDER/found.json names the points, and for how many of them
both ended with the same files. Each training runs in a process forked from this one.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import builders
import torch
from forks import in_a_fork
from lightning_fabric import Fabric
from torch import Tensor, nn

from neuro.training import Course, Plan, Stage, fit
from neuro.training.checkpoint import get_weights

PLAN = Plan(
    epochs=2,
    lr=1e-2,
    checkpoint_every=1,
    validate_every=2,
    stages=(Stage(name="head", steps=2, frozen=("a.*",)), Stage(name="all", steps=4, lr=0.5)),
)


def carried(net: nn.Module, batch: Any, at: float, state: Any) -> tuple[Tensor, Any]:
    total = 0.0 if state is None else state["total"][0]
    value = builders.loss(net, batch, at) + torch.rand(())
    return value + 0.1 * total, {"total": [value + total], "steps": at}


def validate(net: nn.Module) -> float:
    return -float(sum(v.sum() for v in get_weights(net).values()))


def train(folder: Path) -> None:
    course = Course(
        batches=builders.batches, steps=3, loss=carried, validate=validate, carry="training"
    )
    fit(builders.model(), course, PLAN, Fabric(accelerator="cpu", devices=1), folder)


def die_at(point: int) -> None:
    """Have this process die at a file operation, or between two."""
    left = [point]

    def count() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    write, replace = Path.write_bytes, Path.replace

    def torn(path: Path, data: bytes) -> None:
        write(path, data[: len(data) // 2])
        count()
        write(path, data)
        count()

    def renamed(path: Path, target: Path) -> None:
        replace(path, target)
        count()

    operations: Any = Path
    operations.write_bytes, operations.replace = torn, renamed


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def main() -> None:
    whole, equal, points, point = Path(sys.argv[1]) / "whole", 0, [], 1
    train(whole)  # here: what it compiles and loads, the forks have
    while True:
        folder = Path(sys.argv[1]) / f"killed{point}"

        def die(at: int = point, folder: Path = folder) -> None:
            die_at(at)
            train(folder)

        if in_a_fork(die) != -signal.SIGKILL:
            break
        in_a_fork(lambda folder=folder: train(folder))
        equal += files(folder) == files(whole)
        points.append(point)
        point += int(sys.argv[2])
    found = {"points": points, "equal": equal, "files": sorted(files(whole))}
    Path(sys.argv[1], "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
