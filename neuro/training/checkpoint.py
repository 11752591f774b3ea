"""Files of a training: ``last.safetensors`` and ``best.safetensors``.

``last`` holds the newest weights under their own names and, under names that start with
``training/``, everything that training needs to go on: optimizer, schedule, position in the
data, what the loss carries, and a copy of the best weights. ``best`` holds weights alone. No
state of a random generator is kept: what a step draws follows from seed, epoch and step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from torch import Tensor, nn

from neuro.io.pytree import flatten, unflatten
from neuro.io.schema import SchemaError, convert
from neuro.io.store import StoreError, load_tensors, save_tensors
from neuro.io.temporary import remove_stale
from neuro.training.errors import TrainError
from neuro.training.sharded import gather

LAST, BEST = "last.safetensors", "best.safetensors"
STATE, BEST_COPY = "training/state/", "training/best/"
OLD = ("checkpoint.npz", "weights.npz")  # of versions before safetensors


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a training between two updates.

    weights: the model's parameters and buffers. best: those of the best validation so far, and
    best_meta: which that was; None before the first. state: everything else, built of what
    :func:`neuro.io.pytree.flatten` takes.
    """

    weights: dict[str, Tensor]
    best: dict[str, Tensor]
    best_meta: dict[str, Any] | None
    state: dict[str, Any]


class TrainingState(TypedDict):
    """What ``training/state`` holds: see :class:`neuro.training.loop.Progress` and its users.

    steps: batches in an epoch. processes: of the training that wrote it. losses: since the
    last validation. carry: (plain, arrays) of the state that the loss carries. tally, seed,
    run: of the :class:`neuro.training.loop.Course`.
    """

    epoch: int
    step: int
    steps: int
    history: list[dict[str, int | float]]
    first_loss: float | None
    silent: list[str]
    processes: int
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    losses: Tensor | None
    carry: tuple[Any, dict[str, Tensor]]
    tally: dict[str, int]
    seed: int
    run: str


class _Best(TypedDict):
    epoch: int | float
    score: float
    run: str


class _Origin(TypedDict):
    run: str


@dataclass(frozen=True)
class _Meta:
    state: Any
    best: _Best | None


def get_best_weights_path(folder: Path) -> Path:
    """Return where a run folder keeps its best weights, whether there are any yet or not.

    Raises:
        StoreError: the folder holds files of an earlier version.
    """
    path = folder / BEST
    old = [name for name in OLD if (folder / name).exists()]
    if old and not path.exists() and not (folder / LAST).exists():
        raise StoreError(
            f"{folder}: {' and '.join(old)} are of an earlier version, which wrote npz instead "
            f"of {LAST} and {BEST}; train the run again in another folder (--out), or remove "
            "them to train it again here"
        )
    return path


def get_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, whole, detached, on the CPU."""
    return {k: gather(v.detach()).cpu() for k, v in model.state_dict().items()}


def save_weights(path: str | Path, weights: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write weights; meta: about the validation that they were measured at."""
    save_tensors(path, "weights", weights, meta)


def load_weights(path: str | Path, model: nn.Module, run: str = "") -> None:
    """Read the weights in ``best.safetensors`` into a model.

    Args:
        path: the file.
        model: their network.
        run: digest of the run that they must be of; "": of any.

    Raises:
        StoreError: the file is missing, damaged or of an earlier version.
        TrainError: they are of another network (which names differ is said), or another run.
    """
    path = Path(path)
    if path.name == BEST:
        get_best_weights_path(path.parent)
    weights, meta = load_tensors(path, "weights")
    try:
        origin: _Origin = convert(meta, _Origin)
    except SchemaError as error:
        raise StoreError(
            f"{path}: no whole weights: {error}; restore it from a copy"
        ) from error
    if run and origin["run"] != run:
        other = "of another run: of another task, configuration or seed"
        raise TrainError(
            f"{path}: weights {other if origin['run'] else 'that name no run'}; put those of "
            f"this run back, or train it on: {LAST} holds a copy of them"
        )
    put_weights(path, model, weights)


def put_weights(path: Path, model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy weights into a model; path: where they come from, for the message.

    Raises:
        TrainError: they are of another network.
    """
    have = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    given = {k: tuple(v.shape) for k, v in weights.items()}
    if have != given:
        differ = sorted(k for k in have | given if have.get(k) != given.get(k))
        raise TrainError(
            f"{path}: weights of another network; {', '.join(differ)} differ in name or shape; "
            "use the configuration it was trained with"
        )
    model.load_state_dict(weights)


def save_checkpoint(
    folder: Path,
    weights: dict[str, Tensor],
    best_meta: dict[str, Any] | None,
    state: dict[str, Any],
) -> None:
    """Write ``last.safetensors`` in one step.

    Args:
        folder: of the run.
        weights: parameters and buffers now.
        best_meta: meta of the ``best.safetensors`` that lies there; None: there is none yet.
        state: everything else, as in :class:`Checkpoint`.
    """
    plain, tensors = flatten(state)
    best = {} if best_meta is None else load_tensors(folder / BEST, "weights")[0]
    everything = {
        **weights,
        **{STATE + k: v for k, v in tensors.items()},
        **{BEST_COPY + k: v for k, v in best.items()},
    }
    save_tensors(folder / LAST, "checkpoint", everything, {"state": plain, "best": best_meta})


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Read ``last.safetensors``; None where no training has begun.

    Raises:
        StoreError: it is damaged, or the folder holds a training of an earlier version.
    """
    path = folder / LAST
    if not path.exists():
        get_best_weights_path(folder)
        return None
    tensors, meta = load_tensors(path, "checkpoint")
    state, best = _take(tensors, STATE), _take(tensors, BEST_COPY)
    try:
        found: _Meta = convert(meta, _Meta)
        told: Any = convert(unflatten(found.state, state), TrainingState, "state")
        best_meta: Any = found.best
        if not 0 <= told["step"] < told["steps"] or told["epoch"] < 0:
            raise SchemaError(f"state: no step {told['step']} of {told['steps']}")
    except (SchemaError, KeyError) as error:
        raise StoreError(
            f"{path}: no whole checkpoint ({error!r}); restore it from a copy, or train the "
            "run again in another folder (--out)"
        ) from error
    return Checkpoint(weights=tensors, best=best, best_meta=best_meta, state=told)


def require_same_run(path: Path, state: Mapping[str, Any], seed: int, run: str) -> None:
    """Raise a TrainError where a checkpoint is of another seed or run.

    path: where it comes from, for the message. state: its own. run: a digest; "": not known.
    """
    if state["seed"] != seed:
        what = f"of seed {state['seed']}, and this training is of seed {seed}"
    elif run and state["run"] != run:
        what = "of another run: of another task or configuration"
        what = what if state["run"] else "of a training that names no run"
    else:
        return
    raise TrainError(
        f"{path}: {what}; put the checkpoint of this run back, or train again in another "
        "folder (--out)"
    )


def restore_best(folder: Path, checkpoint: Checkpoint | None) -> None:
    """Make ``best.safetensors`` that of the checkpoint; remove what a killed process left."""
    remove_stale(folder)
    path = folder / BEST
    if checkpoint is None or checkpoint.best_meta is None:
        return
    if not path.exists() or load_tensors(path, "weights")[1] != checkpoint.best_meta:
        save_weights(path, checkpoint.best, checkpoint.best_meta)


def _take(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Remove the tensors whose names start with a prefix; return them without it."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}
