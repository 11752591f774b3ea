"""Trainings in two processes, as a script: two.py FOLDER MODULE SHARDED CASE...

A case is the name of a function of MODULE that returns a fresh model and its course.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric import Fabric

from neuro.training import Plan, Progress, Stage, fit
from neuro.training.checkpoint import get_weights
from neuro.training.distributed import make_sharding

SUPPORT = Path(__file__).parent
ROOT = SUPPORT.parents[1]
PLAN = Plan(epochs=3, lr=1e-2)
STAGES = (
    Stage(name="readout", steps=2, frozen=("a.*", "alif.*")),
    Stage(name="body", epochs=1, frozen=("b.*",)),
    Stage(name="all", steps=4),
)
PLANS = {  # those of other cases
    "staged": replace(PLAN, stages=STAGES, accumulate=2, validate_every=2),
    "streamed": replace(PLAN, checkpoint_every=1),
}
# Epoch and step after which a training is stopped and resumed.
STOPS = {"streamed": (1, 1), "language": (1, 1)}
Found = tuple[list[dict[str, float]], dict[str, Any]]  # history, weights at the end


def stop(epoch: int, step: int, progress: Progress, at: int) -> None:
    if (progress.epoch, at) == (epoch, step):
        raise KeyboardInterrupt


def plan(case: str) -> Plan:
    """Return how a case is trained."""
    if case != "driving":
        return PLANS.get(case, PLAN)
    from driving_windows import small_config

    from tasks.driving.task import plan as plan_driving

    return plan_driving(replace(small_config(), depth_loss=False))


def trained(module: str, case: str, fabric: Fabric, folder: Path) -> Found:
    """Train a case; Fabric is launched."""
    net, course = getattr(importlib.import_module(module), case)()
    if case in STOPS:
        with suppress(KeyboardInterrupt):
            fit(net, course, plan(case), fabric, folder / case, partial(stop, *STOPS[case]))
        net, course = getattr(importlib.import_module(module), case)()
    history: Any = fit(net, course, plan(case), fabric, folder / case).history
    return history, {k: v.numpy() for k, v in get_weights(net).items()}


def alone(module: str, case: str, folder: Path) -> Found:
    """Train a case in this process."""
    return trained(module, case, Fabric(accelerator="cpu", devices=1), folder)


def in_two(
    module: str, cases: Sequence[str], folder: Path, sharded: bool = False
) -> dict[str, Found]:
    """Train cases in two processes of one thread each, of whole models or of sharded ones.

    Raises:
        RuntimeError: one fails or warns; holds what they said.
    """
    path = os.pathsep.join(map(str, (ROOT, SUPPORT)))
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), str(folder), module, str(sharded), *cases],
        # The rest as here: what torch draws depends on the instructions that it is told to use.
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if done.returncode or "Warning" in done.stderr:
        raise RuntimeError(done.stderr)
    out = {}
    for case in cases:
        with np.load(folder / f"{case}.npz") as end:
            found = json.loads((folder / f"{case}.json").read_text())
            out[case] = found, dict(end)
    return out


def main() -> None:
    folder, module, sharded, *cases = sys.argv[1:]
    strategy: Any = make_sharding(2) if sharded == "True" else "ddp"
    fabric = Fabric(accelerator="cpu", devices=2, strategy=strategy)
    fabric.launch()
    for case in cases:
        history, end = trained(module, case, fabric, Path(folder))
        if fabric.is_global_zero:
            np.savez(Path(folder, f"{case}.npz"), **end)
            Path(folder, f"{case}.json").write_text(json.dumps(history))


if __name__ == "__main__":
    main()
