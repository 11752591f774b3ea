"""Tensors of published checkpoints: how a file is read, and what does not fit a model."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from drivers.folders import found_in
from neuro.io.store import read_json

WHOLE = ("model.safetensors", "pytorch_model.bin")
# What read_tensor_file raises for files that are damaged or run code when they are read.
DAMAGE = (OSError, EOFError, KeyError, RuntimeError, pickle.UnpicklingError, SafetensorError)


def read_tensor_file(path: Path) -> Any:
    """Return what a ``.safetensors`` file, or a file of torch, holds; its values run no code.

    Raises:
        OSError and others: one of :data:`DAMAGE`.
    """
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, map_location="cpu", mmap=True, weights_only=True)


def list_misfits(
    model: nn.Module, tensors: Mapping[str, Tensor], names: Mapping[str, str] | None = None
) -> list[str]:
    """Return which tensors of a checkpoint are missing, unknown, misshapen or not finite.

    names: the checkpoint's name of each tensor of the model; None: the model's own.
    """
    state = model.state_dict()
    need = {names[n] if names else n: tuple(p.shape) for n, p in state.items()}
    shapes = {n: tuple(t.shape) for n, t in tensors.items()}
    wrong = [f"{n} is missing" for n in need if n not in shapes]
    wrong += [f"{n} is unknown" for n in shapes if n not in need]
    wrong += [f"{n} is {shapes[n]}, not {s}" for n, s in need.items() if shapes.get(n, s) != s]
    return wrong + [f"{n} is not finite" for n, t in tensors.items() if not t.isfinite().all()]


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder by name, from one file or from shards.

    Raises:
        ValueError: there is no file of tensors, a shard is missing or outside the folder, or a
            file is damaged or runs code when it is read.
    """
    for name in WHOLE:
        if (folder / name).is_file():
            return _read_file(folder / name)
        if (index := folder / f"{name}.index.json").is_file():
            return _read_shards(index)
    raise ValueError(
        f"{folder}: no {' or '.join(WHOLE)}, whole or with an index; found {found_in(folder)}; "
        "download the whole folder"
    )


def _read_shards(index: Path) -> dict[str, Tensor]:
    values = read_json(index)
    places = values.get("weight_map") if isinstance(values, Mapping) else None
    if not isinstance(places, Mapping) or not all(isinstance(x, str) for x in places.values()):
        raise ValueError(f'{index}: no "weight_map" of tensors to files; download it again')
    out: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        path = index.parent / name
        if Path(name).name != name or not path.is_file():
            raise ValueError(
                f"{index}: names {name!r}, which is no file beside it; download it"
            )
        out |= _read_file(path)
    if lost := sorted(set(places) - set(out)):
        raise ValueError(f"{index}: no file holds {lost[0]} and {len(lost) - 1} more tensors")
    return out


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        found = read_tensor_file(path)
    except DAMAGE as error:
        raise ValueError(f"{path}: cannot be read ({error}); download it again") from error
    if not isinstance(found, Mapping) or not all(isinstance(t, Tensor) for t in found.values()):
        raise ValueError(f"{path}: holds something else than tensors by name")
    return dict(found)
