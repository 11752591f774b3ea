"""One training loop, on Lightning Fabric: one CPU, a GPU, or many processes (DDP).

The order of the data depends on the epoch alone and a finished epoch is on disk, so that a
killed training resumes to the same end. Every process is given the same whole batch and takes
its slice, batch norms see the whole batch and dropouts draw for it, so that N processes follow
the loss curve of one.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from neuro.io.store import load, save
from neuro.seeds import seeded
from neuro.training.distributed import own, processes
from neuro.training.malloc import keep_freed_memory
from neuro.training.nonfinite import first_not_finite
from neuro.training.sync_batch import share_batch

Batch = tuple[Tensor, Tensor]  # stimulus with axes T B ..., targets with axis B


class TrainError(RuntimeError):
    """Training that cannot go on; the last good checkpoint is kept."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to train.

    epochs: passes over the data. lr: peak learning rate: it rises along a line in the first
    ``warm`` share of the training, and falls to 0 along a cosine over all of it.
    clip: largest norm of the gradient. decay: of weights (AdamW); parameters of less than two
    axes, biases, norms and those of neurons, are left out.
    """

    epochs: int
    lr: float
    clip: float = 1.0
    warm: float = 0.0
    decay: float = 0.0

    def lr_at(self, at: float) -> float:
        """Return the learning rate when a share ``at`` of the training is done."""
        rise = min(1.0, at / self.warm) if self.warm else 1.0
        return self.lr * rise * (1 + math.cos(math.pi * at)) / 2

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of a model's parameters."""
        wide = [p for p in model.parameters() if p.dim() >= 2]
        narrow = [p for p in model.parameters() if p.dim() < 2]
        groups: list[dict[str, Any]] = [
            {"params": some, "weight_decay": decay}
            for some, decay in ((wide, self.decay), (narrow, 0.0))
            if some
        ]
        return torch.optim.AdamW(groups, lr=self.lr)


@dataclass(kw_only=True)
class Progress:
    """How far a training is: finished epochs, their metrics, the best score so far."""

    epoch: int = 0
    best: float = -math.inf
    history: list[dict[str, float | int]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Course:
    """What a training is about.

    batches: epoch -> the whole batches of that epoch; ``steps`` of them.
    loss: (model, batch, at) -> mean loss over the batch; at: share of the training done.
        What it draws for each sample it draws by :func:`neuro.training.distributed.drawn`.
    score: model -> quality on the validation split, the same in every process; the best epoch's
        weights are kept. metric: its name.
    seed: with epoch and step, of all that ``loss`` draws from torch's global generator.
    """

    batches: Callable[[int], Iterable[Batch]]
    steps: int
    loss: Callable[[nn.Module, Batch, float], Tensor]
    score: Callable[[nn.Module], float]
    metric: str = "score"
    seed: int = 0


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
    called after every step. From here on the process keeps the memory that it frees.

    Of N processes each computes the loss of its slice of a batch. Their curve is that of one
    process, up to the order of sums, if the loss is a mean over samples and what it draws for
    each of them comes from :func:`neuro.training.distributed.drawn`. Batch norms and the
    dropouts of ``torch.nn`` are taken care of, see :mod:`neuro.training.sync_batch`.

    Raises:
        TrainError: the loss or a gradient is no longer finite.
        StoreError: the checkpoint is damaged.
    """
    keep_freed_memory()
    share_batch(model)
    adam = plan.optimizer(model)
    found = _read(folder, model)
    wrapped, optimizer = fabric.setup(model, adam)
    progress = _resume(found, adam)
    while progress.epoch < plan.epochs:
        losses = []
        for step, batch in enumerate(course.batches(progress.epoch)):
            at = (progress.epoch + step / course.steps) / plan.epochs
            for group in optimizer.param_groups:
                group["lr"] = plan.lr_at(at)
            share = _share(batch, fabric)
            with seeded(_seed(course.seed, progress.epoch, step)):
                loss = course.loss(wrapped, share, at)
            if not _step(fabric, wrapped, optimizer, loss, plan.clip):
                raise TrainError(_not_finite(model, partial(course.loss, wrapped, share, at)))
            losses.append(loss.detach())
            if tell is not None:
                tell(progress, step)
        mean = _mean(fabric, torch.stack(losses).mean())
        model.eval()
        score = course.score(model)
        model.train()
        progress.epoch += 1
        progress.history.append(
            {"epoch": progress.epoch, "train_loss": float(mean), f"val_{course.metric}": score}
        )
        if fabric.is_global_zero:
            _write(folder, model, optimizer, progress, score)
        progress.best = max(progress.best, score)
        fabric.barrier()
    return progress


def _share(batch: Batch, fabric: Fabric) -> Batch:
    """Return this process's slice of a whole batch."""
    x, y = batch
    if len(y) % fabric.world_size:
        raise TrainError(
            f"a batch of {len(y)} does not divide into {fabric.world_size} processes; "
            "choose a batch size that is a multiple of --devices"
        )
    return x[:, own()].to(fabric.device), y[own()].to(fabric.device)


def _seed(*where: int) -> int:
    """Return the seed of a step, the same in every process."""
    return int(np.random.SeedSequence((*where, 0)).generate_state(1)[0])


def _mean(fabric: Fabric, value: Tensor) -> Tensor:
    """Return the mean over all processes."""
    mean: Any = fabric.all_reduce(value.detach().clone(), reduce_op="mean")
    out: Tensor = mean
    return out


def _not_finite(model: nn.Module, again: Callable[[], Tensor]) -> str:
    """Return what to say of a step that cannot be made: where it began, and the cure."""
    bad = [n for n, p in model.named_parameters() if p.grad is not None and not _finite(p.grad)]
    what = f"the gradient of {', '.join(bad)}" if bad else "the loss"
    name = first_not_finite(model, again)
    here = " in this process" if processes()[1] > 1 else ""
    where = f"{name} is not finite" if name else f"every layer is finite{here}"
    return (
        f"{what} is not finite: {where}; the last good checkpoint is kept; lower the "
        "learning rate, or look for such numbers in the data, and train again"
    )


def _step(fabric: Fabric, model: Any, optimizer: Any, loss: Tensor, clip: float) -> bool:
    """Make a step down the gradient; say whether there was one."""
    optimizer.zero_grad()
    if not _finite(_mean(fabric, loss)):  # where one process cannot go on, none does
        return False
    fabric.backward(loss)
    if not _finite(nn.utils.clip_grad_norm_(model.parameters(), clip)):
        return False
    optimizer.step()
    return True


def _finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())


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
