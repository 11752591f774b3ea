import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import batches, course, loss, model
from lightning_fabric import Fabric
from torch import nn

from neuro.layers import Stack
from neuro.store import StoreError
from neuro.train import Course, Plan, Progress, TrainError, fit, load_weights, weights

SUPPORT = Path(__file__).parents[1] / "support"


def cpu() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


class Killed(Exception):
    pass


def test_a_killed_training_resumes_to_the_same_end(tmp_path: Path) -> None:
    plan = Plan(epochs=4, lr=1e-2)
    whole = model()
    one = fit(whole, course(), plan, cpu(), tmp_path / "whole")

    def kill(progress: Progress, step: int) -> None:
        if (progress.epoch, step) == (2, 1):
            raise Killed

    with pytest.raises(Killed):
        fit(model(), course(), plan, cpu(), tmp_path / "killed", kill)
    resumed = model()
    other = fit(resumed, course(), plan, cpu(), tmp_path / "killed")
    assert other.history == one.history
    assert len(one.history) == 4
    for k, v in weights(whole).items():
        assert np.array_equal(v, weights(resumed)[k])


def test_a_finished_training_is_left_as_it_is(tmp_path: Path) -> None:
    plan = Plan(epochs=2, lr=1e-2)
    first = fit(model(), course(), plan, cpu(), tmp_path)
    before = (tmp_path / "checkpoint.npz").read_bytes()
    again = fit(model(), course(), plan, cpu(), tmp_path)
    assert again.history == first.history
    assert (tmp_path / "checkpoint.npz").read_bytes() == before


def test_the_weights_kept_are_those_of_the_best_epoch(tmp_path: Path) -> None:
    kept = []
    scores = iter([0.5, 0.9, 0.7])

    def score(net: nn.Module) -> float:
        kept.append({k: v.copy() for k, v in weights(net).items()})
        return next(scores)

    best = Course(batches=batches, steps=3, loss=loss, score=score)
    assert fit(model(), best, Plan(epochs=3, lr=1e-2), cpu(), tmp_path).best == 0.9
    back = model()
    load_weights(tmp_path / "weights.npz", back)
    assert all(np.array_equal(v, kept[1][k]) for k, v in weights(back).items())


def test_weights_that_are_gone_come_back_from_the_checkpoint(tmp_path: Path) -> None:
    plan = Plan(epochs=2, lr=1e-2)
    fit(model(), course(), plan, cpu(), tmp_path)
    kept = (tmp_path / "weights.npz").read_bytes()
    (tmp_path / "weights.npz").unlink()
    fit(model(), course(), plan, cpu(), tmp_path)
    before, after = model(), model()
    load_weights(tmp_path / "weights.npz", after)
    (tmp_path / "weights.npz").write_bytes(kept)
    load_weights(tmp_path / "weights.npz", before)
    assert all(np.array_equal(v, weights(after)[k]) for k, v in weights(before).items())


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    tmp_path: Path,
) -> None:
    plan = Plan(epochs=3, lr=1e-2)
    fit(model(), course(), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)
    before = (tmp_path / "checkpoint.npz").read_bytes()
    bad = Course(
        batches=batches, steps=3, loss=lambda n, b: loss(n, b) * torch.nan, score=lambda _: 0.0
    )
    with pytest.raises(TrainError, match="the loss is nan; lower the learning rate"):
        fit(model(), bad, plan, cpu(), tmp_path)
    assert (tmp_path / "checkpoint.npz").read_bytes() == before


def test_a_checkpoint_cut_short_is_named(tmp_path: Path) -> None:
    fit(model(), course(), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StoreError, match=r"checkpoint.npz: damaged or cut short"):
        fit(model(), course(), Plan(epochs=2, lr=1e-2), cpu(), tmp_path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    fit(model(), course(1.0), Plan(epochs=1, lr=1e-2), cpu(), tmp_path)
    with pytest.raises(TrainError, match=r"a.bias, a.weight differ in name or shape"):
        load_weights(tmp_path / "weights.npz", Stack(**dict(_other().named_children())))


def _other() -> nn.Module:
    other = model()
    other.a = nn.Linear(6, 9)
    other.b = nn.Linear(8, 3)
    return other


TWO = """
import json, sys
from pathlib import Path
from lightning_fabric import Fabric
from builders import course, model
from neuro.train import Plan, fit
fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
fabric.launch()
progress = fit(model(), course(), Plan(epochs=3, lr=1e-2), fabric, Path(sys.argv[1]))
if fabric.is_global_zero:
    Path(sys.argv[1], "curve.json").write_text(json.dumps(progress.history))
"""


def test_two_processes_follow_the_loss_curve_of_one(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    env = {"PYTHONPATH": str(SUPPORT), "PATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    two = json.loads((tmp_path / "curve.json").read_text())
    one = fit(model(), course(), Plan(epochs=3, lr=1e-2), cpu(), tmp_path / "one").history
    np.testing.assert_allclose(
        [row["train_loss"] for row in two], [row["train_loss"] for row in one], rtol=1e-5
    )
