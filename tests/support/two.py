"""Trainings in two processes, as a script: two.py FOLDER CASE...

A case names a module and its function that returns a fresh model and its course. Behind it
" sharded" stands where the processes share the parameters; these cases come last.
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
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric import Fabric

from neuro.training import Plan, Progress, Stage, fit
from neuro.training.checkpoint import get_weights
from neuro.training.course import TrainError
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
    "shared_cases.staged": replace(PLAN, stages=STAGES, accumulate=2, validate_every=2),
    "shared_cases.streamed": replace(PLAN, checkpoint_every=1),
}
# Epoch and step after which a training is stopped and resumed.
STOPS = {"shared_cases.streamed": (1, 1), "shared_cases.language": (1, 1)}
SHARDED = " sharded"
Found = tuple[list[dict[str, float]], dict[str, Any]]  # history, weights at the end


def stop(epoch: int, step: int, progress: Progress, at: int) -> None:
    if (progress.epoch, at) == (epoch, step):
        raise KeyboardInterrupt


def plan(case: str) -> Plan:
    """Return how a case is trained."""
    if case != "shared_cases.driving":
        return PLANS.get(case, PLAN)
    from driving_windows import small_config

    from tasks.driving.task import plan as plan_driving

    return plan_driving(replace(small_config(), depth_loss=False))


def trained(case: str, fabric: Fabric, folder: Path) -> Found:
    """Train a case; Fabric is launched."""
    module, _, name = case.partition(".")
    make = getattr(importlib.import_module(module), name)
    net, course = make()
    if case in STOPS:
        with suppress(KeyboardInterrupt):
            fit(net, course, plan(case), fabric, folder / case, partial(stop, *STOPS[case]))
        net, course = make()
    history: Any = fit(net, course, plan(case), fabric, folder / case).history
    return history, {k: v.numpy() for k, v in get_weights(net).items()}


def alone(case: str, folder: Path) -> Found:
    """Train a case in this process."""
    return trained(case, Fabric(accelerator="cpu", devices=1), folder)


def in_two(cases: Sequence[str], folder: Path) -> dict[str, Found | list[str]]:
    """Train cases in two processes of one thread each; libraries are imported once for all.

    In place of what was found stands what each process said where it could not go on.

    Raises:
        RuntimeError: one fails otherwise or warns; holds what they said.
    """
    path = os.pathsep.join(map(str, (ROOT, SUPPORT)))
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), str(folder), *cases],
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
    out: dict[str, Found | list[str]] = {}
    for case in cases:
        told = sorted(folder.glob(f"{case}.rank?"))
        if told:
            out[case] = [path.read_text() for path in told]
            continue
        with np.load(folder / f"{case}.npz") as end:
            found = json.loads((folder / f"{case}.json").read_text())
            out[case] = found, dict(end)
    return out


def main() -> None:
    folder, *cases = sys.argv[1:]
    strategies: Any = {False: "ddp", True: make_sharding(2)}
    for sharded, some in groupby(cases, lambda case: case.endswith(SHARDED)):
        fabric = Fabric(accelerator="cpu", devices=2, strategy=strategies[sharded])
        fabric.launch()  # the first starts the other process
        for case in some:
            train_in_two(case, fabric, Path(folder))


def train_in_two(case: str, fabric: Fabric, folder: Path) -> None:
    own = folder / f"{case} files"
    try:
        history, end = trained(case.removesuffix(SHARDED), fabric, own)
    except TrainError as error:
        (folder / f"{case}.rank{fabric.global_rank}").write_text(str(error))
        return
    if fabric.is_global_zero:
        np.savez(folder / f"{case}.npz", **end)
        (folder / f"{case}.json").write_text(json.dumps(history))


if __name__ == "__main__":
    main()
