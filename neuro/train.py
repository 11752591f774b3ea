"""One training loop, on Lightning Fabric: one CPU, a GPU, or many processes (DDP).

The order of the data depends on the epoch alone and a finished epoch is on disk, so that a
killed training resumes to the same end. Every process is given the same global batch and takes
its slice, so that N processes follow the loss curve of one.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from neuro.store import load, save

Batch = tuple[Tensor, Tensor]  # stimulus with axes T B ..., targets with axis B


class TrainError(RuntimeError):
    """Training that cannot go on; the last good checkpoint is kept."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to train.

    epochs: passes over the data. lr: peak learning rate, decayed to 0 along a cosine.
    clip: largest norm of the gradient.
    """

    epochs: int
    lr: float
    clip: float = 1.0


@dataclass(kw_only=True)
class Progress:
    """How far a training is: finished epochs, their metrics, the best score so far."""

    epoch: int = 0
    best: float = -math.inf
    history: list[dict[str, float | int]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Course:
    """What a training is about.

    batches: epoch -> the global batches of that epoch; ``steps`` of them.
    loss: (model, batch) -> mean loss over the batch.
    score: model -> quality on the validation split; the best epoch's weights are kept.
    """

    batches: Callable[[int], Iterable[Batch]]
    steps: int
    loss: Callable[[nn.Module, Batch], Tensor]
    score: Callable[[nn.Module], float]


def fit(
    model: nn.Module,
    course: Course,
    plan: Plan,
    fabric: Fabric,
    folder: Path,
    tell: Callable[[Progress, int], None] | None = None,
) -> Progress:
    """Train ``model`` in place, from where ``folder/checkpoint.npz`` left off if it exists.

    Writes ``checkpoint.npz`` after every epoch and ``weights.npz`` after the best. ``tell`` is
    called after every step.

    Raises:
        TrainError: the loss or a gradient is no longer finite.
        StoreError: the checkpoint is damaged.
    """
    adam = torch.optim.Adam(model.parameters(), lr=plan.lr)
    found = _read(folder, model)
    wrapped, optimizer = fabric.setup(model, adam)
    progress = _resume(found, adam)
    while progress.epoch < plan.epochs:
        losses = []
        for step, batch in enumerate(course.batches(progress.epoch)):
            at = (progress.epoch + step / course.steps) / plan.epochs
            for group in optimizer.param_groups:
                group["lr"] = plan.lr * (1 + math.cos(math.pi * at)) / 2
            loss = course.loss(wrapped, _share(batch, fabric))
            losses.append(_step(fabric, wrapped, optimizer, loss, plan.clip))
            if tell is not None:
                tell(progress, step)
        mean: Any = fabric.all_reduce(torch.stack(losses).mean(), reduce_op="mean")
        model.eval()
        score = course.score(model)
        model.train()
        progress.epoch += 1
        progress.history.append(
            {"epoch": progress.epoch, "train_loss": float(mean), "val_accuracy": score}
        )
        if fabric.is_global_zero:
            _write(folder, model, optimizer, progress, score)
        progress.best = max(progress.best, score)
        fabric.barrier()
    return progress


def _share(batch: Batch, fabric: Fabric) -> Batch:
    """Return this process's slice of a global batch."""
    x, y = batch
    if len(y) % fabric.world_size:
        raise TrainError(
            f"a batch of {len(y)} does not divide into {fabric.world_size} processes; "
            "choose a batch size that is a multiple of --devices"
        )
    mine = slice(fabric.global_rank, None, fabric.world_size)
    return x[:, mine].to(fabric.device), y[mine].to(fabric.device)


def _step(fabric: Fabric, model: Any, optimizer: Any, loss: Tensor, clip: float) -> Tensor:
    optimizer.zero_grad()
    if not torch.isfinite(loss):
        raise TrainError(f"the loss is {loss.item()}; lower the learning rate and train again")
    fabric.backward(loss)
    norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
    if not torch.isfinite(norm):
        bad = [n for n, p in model.named_parameters() if not _finite(p.grad)]
        raise TrainError(
            f"the gradient of {', '.join(bad)} is not finite; lower the learning rate"
        )
    optimizer.step()
    return loss.detach()


def _finite(grad: Tensor | None) -> bool:
    return grad is None or bool(torch.isfinite(grad).all())


def weights(model: nn.Module) -> dict[str, np.ndarray]:
    """Return parameters and buffers by name, as arrays."""
    return {k: v.detach().cpu().numpy() for k, v in model.state_dict().items()}


def load_weights(path: Path, model: nn.Module) -> None:
    """Read ``weights.npz`` into ``model``.

    Raises:
        StoreError: damaged, or of another network (which names differ is said).
    """
    arrays, _ = load(path, "weights")
    _put(path, model, arrays)


def _put(path: Path, model: nn.Module, arrays: dict[str, np.ndarray]) -> None:
    own = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    given = {k: v.shape for k, v in arrays.items()}
    if own != given:
        differ = sorted(k for k in own | given if own.get(k) != given.get(k))
        raise TrainError(
            f"{path}: weights of another network; {', '.join(differ)} differ in name or shape; "
            "use the configuration it was trained with"
        )
    model.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})


def _write(
    folder: Path, model: nn.Module, optimizer: Any, progress: Progress, score: float
) -> None:
    """Write the checkpoint, and the weights if they are the best so far."""
    now = weights(model)
    if score > progress.best:
        save(folder / "weights.npz", "weights", now, {"epoch": progress.epoch})
    best, _ = load(folder / "weights.npz", "weights")
    arrays = {f"model/{k}": v for k, v in now.items()}
    arrays |= {f"best/{k}": v for k, v in best.items()}
    for i, slots in optimizer.state_dict()["state"].items():
        arrays |= {f"optimizer/{i}/{k}": v.cpu().numpy() for k, v in slots.items()}
    meta = {
        "epoch": progress.epoch,
        "best": max(progress.best, score),
        "history": progress.history,
    }
    save(folder / "checkpoint.npz", "checkpoint", arrays, meta)


def _read(folder: Path, model: nn.Module) -> tuple[dict[str, np.ndarray], Any]:
    """Read the checkpoint, if any, into the model; bring back best weights that are gone."""
    path = folder / "checkpoint.npz"
    if not path.exists():
        return {}, {}
    arrays, meta = load(path, "checkpoint")
    _put(path, model, _part(arrays, "model/"))
    if not (folder / "weights.npz").exists():
        save(folder / "weights.npz", "weights", _part(arrays, "best/"), {})
    return _part(arrays, "optimizer/"), meta


def _part(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _resume(
    found: tuple[dict[str, np.ndarray], Any], optimizer: torch.optim.Optimizer
) -> Progress:
    """Put the optimizer where it was, on the device that its parameters are on by now."""
    arrays, meta = found
    if not meta:
        return Progress()
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in arrays.items():
        index, slot = key.split("/")
        state.setdefault(int(index), {})[slot] = torch.from_numpy(value)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return Progress(epoch=meta["epoch"], best=meta["best"], history=meta["history"])
