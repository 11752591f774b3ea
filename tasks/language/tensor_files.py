"""Tensors of published checkpoints: how a file is read, and what does not fit a model."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

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
