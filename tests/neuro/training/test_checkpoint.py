"""A checkpoint holds all that a training needs to go on, or is refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from neuro.io.store import VERSIONS, StoreError, load_tensors, save_tensors
from neuro.training.checkpoint import (
    load_checkpoint,
    load_weights,
    read_curve,
    restore_best,
    save_checkpoint,
    save_weights,
)

BEST = {"epoch": 1, "score": 0.5, "run": "ab"}
STATE: dict[str, Any] = {
    "epoch": 1,
    "step": 2,
    "steps": 3,
    "history": [{"epoch": 1, "train_loss": 0.5}],
    "first_loss": 0.75,
    "silent": ["hidden"],
    "processes": 1,
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}},
    "schedule": {"last_epoch": 3},
    "losses": torch.zeros(1, 2),
    "carry": ({"tuple": []}, {"0": torch.ones(1)}),
    "tally": {"raised": 2},
    "seed": 7,
    "run": "ab",
}


def written(folder: Path, state: dict[str, Any] = STATE) -> Path:
    weights = {"w": torch.arange(6.0)}
    save_weights(folder / "best.safetensors", weights, BEST)
    save_checkpoint(folder, weights, BEST, state)
    return folder / "last.safetensors"


def test_a_checkpoint_comes_back_with_its_types(tmp_path: Path) -> None:
    assert read_curve(tmp_path) is None
    written(tmp_path)
    curve = read_curve(tmp_path)
    assert curve is not None
    assert (curve["history"], curve["run"]) == (STATE["history"], STATE["run"])
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found.best_meta == BEST
    assert type(found.best_meta["epoch"]) is int
    assert found.state["history"] == STATE["history"]
    assert type(found.state["history"][0]["epoch"]) is int
    assert found.state["optimizer"]["state"][0]["step"] == 3
    assert torch.equal(found.state["carry"][1]["0"], torch.ones(1))
    assert torch.equal(found.weights["w"], torch.arange(6.0))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda _: [], "expected an object"),
        (lambda m: {"state": m["state"]}, "best: is missing"),
        (lambda m: {**m, "more": 1}, "more: there is no such field"),
        (lambda m: {**m, "best": {"epoch": 1, "run": ""}}, "best.score: is missing"),
        (lambda m: {**m, "best": {"epoch": 1, "score": 0.5}}, "best.run: is missing"),
        (lambda m: {**m, "best": []}, r"best: is \[\], expected an object"),
        (lambda m: {**m, "state": []}, r"state: is \[\], expected an object"),
        (lambda m: {**m, "state": {"array": "99"}}, "'99'"),
        (lambda m: {**m, "state": {"type": "Progress", "parts": []}}, "'Progress'"),
    ],
)
def test_metadata_of_another_shape_is_refused(
    tmp_path: Path, change: Callable[[Any], Any], told: str
) -> None:
    path = written(tmp_path)
    tensors, meta = load_tensors(path, "checkpoint")
    save_tensors(path, "checkpoint", tensors, change(meta))
    with pytest.raises(StoreError, match=rf"last.safetensors: incomplete checkpoint .*{told}"):
        load_checkpoint(tmp_path)
    with pytest.raises(StoreError, match=r"last.safetensors: incomplete checkpoint .*restore"):
        read_curve(tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"epoch": None}, "state.epoch: is None, expected a whole number"),
        ({"epoch": -1}, "no step 2 of 3"),
        ({"step": 3}, "no step 3 of 3"),
        ({"step": -1}, "no step -1 of 3"),
        ({"losses": [0.5]}, r"state.losses: is \[0.5\], expected Tensor"),
        ({"history": [{"epoch": "1"}]}, r"state.history\[0\].epoch: is '1'"),
        ({"carry": ({}, {"0": 1.0})}, r"state.carry\[1\].0: is 1.0, expected Tensor"),
    ],
)
def test_a_state_of_another_shape_is_refused(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    written(tmp_path, {**STATE, **change})
    with pytest.raises(StoreError, match=rf"last.safetensors: incomplete checkpoint .*{told}"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("key", STATE)
def test_a_state_without_a_part_is_refused(tmp_path: Path, key: str) -> None:
    written(tmp_path, {k: v for k, v in STATE.items() if k != key})
    with pytest.raises(StoreError, match=rf"state.{key}: is missing"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("there", [None, BEST, {"epoch": 2, "score": 0.75, "run": "ab"}])
def test_the_best_weights_are_those_of_the_checkpoint(
    tmp_path: Path, there: dict[str, Any] | None
) -> None:
    """A process that was killed between the two files left newer ones, or none."""
    written(tmp_path)
    path = tmp_path / "best.safetensors"
    if there is None:
        path.unlink()
    elif there != BEST:
        save_weights(path, {"w": torch.zeros(6)}, there)
    restore_best(tmp_path, load_checkpoint(tmp_path))
    weights, meta = load_tensors(path, "weights")
    assert meta == BEST
    assert torch.equal(weights["w"], torch.arange(6.0))


def test_files_of_a_version_that_did_not_name_their_run_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setitem(VERSIONS, "weights", 1)
        before.setitem(VERSIONS, "checkpoint", 1)
        written(tmp_path, {k: v for k, v in STATE.items() if k not in ("seed", "run")})
    net = torch.nn.Linear(2, 1, bias=False)
    for name, read in (
        ("last", lambda: load_checkpoint(tmp_path)),
        ("best", lambda: load_weights(tmp_path / "best.safetensors", net, "ab")),
        ("best", lambda: load_weights(tmp_path / "best.safetensors", net)),
    ):
        told = rf"{name}.safetensors: written in format 1, this is format 2; delete it and run"
        with pytest.raises(StoreError, match=told):
            read()


@pytest.mark.parametrize("meta", [None, [], {}, {"run": 3}])
def test_weights_that_say_nonsense_of_their_run_are_refused(tmp_path: Path, meta: Any) -> None:
    path = tmp_path / "best.safetensors"
    save_tensors(path, "weights", {"weight": torch.ones(1, 2)}, meta)
    with pytest.raises(StoreError, match=r"best.safetensors: incomplete weights: .* is "):
        load_weights(path, torch.nn.Linear(2, 1, bias=False), "ab")
