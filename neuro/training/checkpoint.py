"""Files of a training: ``last.safetensors`` and ``best.safetensors``.

``last`` holds the newest weights under their own names. Under names that start with
``training/`` it holds the state of the training: optimizer, schedule, position in the data,
carried state, and a copy of the best weights. ``best`` holds only weights. The state of the
random generator is not stored, because it follows from seed, epoch and step.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from torch import Tensor, nn

from neuro.io.pytree import flatten, unflatten
from neuro.io.schema import SchemaError, convert
from neuro.io.store import StoreError, load_meta, load_tensors, remove_stale, save_tensors
from neuro.training.course import TrainError
from neuro.training.distributed import gather

LAST, BEST = "last.safetensors", "best.safetensors"
STATE, BEST_COPY = "training/state/", "training/best/"
OLD = ("checkpoint.npz", "weights.npz")  # file names of versions before safetensors


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a training between two updates.

    weights: the model's parameters and buffers.
    best: the parameters and buffers of the best validation so far.
    best_meta: epoch, score and run of that validation; None before the first validation.
    state: everything else, built of the types that :func:`neuro.io.pytree.flatten` takes.
    """

    weights: dict[str, Tensor]
    best: dict[str, Tensor]
    best_meta: dict[str, Any] | None
    state: dict[str, Any]


class TrainingState(TypedDict):
    """Contents of ``training/state``; see also :class:`neuro.training.course.Progress`.

    steps: batches per epoch.
    processes: number of processes that wrote the state.
    losses: losses since the last validation.
    carry: (plain, arrays) of the carried state.
    tally, seed, run: as in :class:`neuro.training.course.Course`.
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


class Curve(TypedDict):
    """The part of a checkpoint that identifies its training, its position and its history."""

    history: list[dict[str, int | float]]
    run: str
    epoch: int
    step: int
    steps: int


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
    """Return the path of a run folder's best weights, which need not exist yet.

    Raises:
        StoreError: the folder holds files of an earlier version.
    """
    path = folder / BEST
    old = [name for name in OLD if (folder / name).exists()]
    if old and not path.exists() and not (folder / LAST).exists():
        raise StoreError(
            f"{folder}: {' and '.join(old)} come from an earlier version, which wrote npz "
            f"instead of {LAST} and {BEST}; train the run again in another folder (--out), or "
            "remove these files to train it again here"
        )
    return path


def has_checkpoint(folder: Path) -> bool:
    """Say whether a run folder has a checkpoint, from which its training continues."""
    return (folder / LAST).exists()


def get_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name: unsharded, detached, on the CPU."""
    return {k: gather(v.detach()).cpu() for k, v in model.state_dict().items()}


def save_weights(path: str | Path, weights: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write weights to a file. meta: epoch, score and run of their validation."""
    save_tensors(path, "weights", weights, meta)


def load_weights(path: str | Path, model: nn.Module, run: str = "") -> None:
    """Read the weights in ``best.safetensors`` into a model.

    Args:
        path: the file.
        model: the model that receives the weights.
        run: digest of the run that the weights must belong to; "": any run.

    Raises:
        StoreError: the file is missing, damaged or of an earlier version.
        TrainError: the weights belong to another network (the message lists the differing
            names) or another run.
    """
    path = Path(path)
    if path.name == BEST:
        get_best_weights_path(path.parent)
    weights, meta = load_tensors(path, "weights")
    try:
        origin: _Origin = convert(meta, _Origin)
    except SchemaError as error:
        raise StoreError(
            f"{path}: incomplete weights: {error}; restore it from a copy"
        ) from error
    if run and origin["run"] != run:
        owner = "of another task, configuration or seed" if origin["run"] else "without a run"
        raise TrainError(
            f"{path}: weights {owner}; restore those of this run, or continue its training: "
            f"{LAST} holds a copy of them"
        )
    put_weights(path, model, weights)


def put_weights(path: Path, model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy a file's weights into a model; raise a TrainError if they do not fit the model."""
    expected = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    shapes = {k: tuple(v.shape) for k, v in weights.items()}
    if expected != shapes:
        differ = sorted(k for k in expected | shapes if expected.get(k) != shapes.get(k))
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
    """Write ``last.safetensors`` atomically.

    Args:
        folder: the run folder.
        weights: the current parameters and buffers.
        best_meta: meta of the folder's ``best.safetensors``; None if there is no such file.
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
    """Read ``last.safetensors``; return None if no training has begun.

    Raises:
        StoreError: the file is damaged, or the folder holds a training of an earlier version.
    """
    path = folder / LAST
    if not path.exists():
        get_best_weights_path(folder)
        return None
    tensors, meta = load_tensors(path, "checkpoint")
    state, best = _take(tensors, STATE), _take(tensors, BEST_COPY)
    try:
        header: _Meta = convert(meta, _Meta)
        values: Any = convert(unflatten(header.state, state), TrainingState, "state")
        best_meta: Any = header.best
        if not 0 <= values["step"] < values["steps"] or values["epoch"] < 0:
            raise SchemaError(f"state: no step {values['step']} of {values['steps']}")
    except (SchemaError, KeyError) as error:
        raise StoreError(
            f"{path}: incomplete checkpoint ({error!r}); restore it from a copy, or train the "
            "run again in another folder (--out)"
        ) from error
    return Checkpoint(weights=tensors, best=best, best_meta=best_meta, state=values)


def read_curve(folder: Path) -> Curve | None:
    """Return the last checkpoint's history without reading its weights; None if there is none.

    Raises:
        StoreError: the checkpoint is damaged.
    """
    path = folder / LAST
    if not path.exists():
        return None
    meta = load_meta(path, "checkpoint")
    try:
        plain = convert(meta, _Meta).state
        curve: Curve = convert(unflatten(plain, defaultdict(lambda: None)), Curve, "state")
    except (SchemaError, KeyError) as error:
        raise StoreError(f"{path}: incomplete checkpoint ({error!r}); restore it") from error
    return curve


def require_same_run(path: Path, state: Mapping[str, Any], seed: int, run: str) -> None:
    """Raise a TrainError if a checkpoint belongs to another seed or run.

    path: the checkpoint's file, for the message.
    state: the checkpoint's state.
    run: digest of this run; "": unknown.
    """
    if state["seed"] != seed:
        problem = f"its seed is {state['seed']}, the seed of this training is {seed}"
    elif run and state["run"] != run:
        problem = "of another task or configuration" if state["run"] else "names no run"
    else:
        return
    raise TrainError(
        f"{path}: {problem}; restore the checkpoint of this run, or train again in another "
        "folder (--out)"
    )


def restore_best(folder: Path, checkpoint: Checkpoint | None) -> None:
    """Restore ``best.safetensors`` from a checkpoint; remove what a killed process left."""
    remove_stale(folder)
    path = folder / BEST
    if checkpoint is None or checkpoint.best_meta is None:
        return
    if not path.exists() or load_tensors(path, "weights")[1] != checkpoint.best_meta:
        save_weights(path, checkpoint.best, checkpoint.best_meta)


def _take(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Pop the tensors whose names start with a prefix; return them under shorter names."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}
