"""Puts a LoihiProgram into one .npz file and back: json and integer arrays, never pickle."""

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from lava_export.program import Connection, LoihiProgram, Population, ProgramError, integers

VERSION = 1


def pack(program: LoihiProgram) -> dict[str, np.ndarray]:
    """Return the program as arrays: "meta" is json, the others are named p0.du, c0.weight..."""
    arrays: dict[str, np.ndarray] = {}
    meta: dict[str, Any] = {"version": VERSION, "populations": [], "connections": []}
    for key in ("populations", "connections"):
        held_by: tuple[Any, ...] = getattr(program, key)
        for i, part in enumerate(held_by):
            values = {f.name: getattr(part, f.name) for f in fields(part)}
            held = {k: v for k, v in values.items() if isinstance(v, np.ndarray)}
            arrays |= {f"{key[0]}{i}.{k}": v for k, v in held.items()}
            meta[key].append({k: v for k, v in values.items() if k not in held})
    return {"meta": np.array(json.dumps(meta)), **arrays}


def unpack(arrays: Mapping[str, np.ndarray]) -> LoihiProgram:
    """Return the program that :func:`pack` took apart."""
    meta = json.loads(str(arrays["meta"]))
    if meta["version"] != VERSION:
        raise ProgramError(
            f"the program has version {meta['version']}, this neuro reads {VERSION}; "
            "lower the graph again"
        )
    parts: dict[str, list[Any]] = {}
    kinds: dict[str, Any] = {"populations": Population, "connections": Connection}
    for key, kind in kinds.items():
        parts[key] = []
        for i, values in enumerate(meta[key]):
            prefix = f"{key[0]}{i}."
            held = {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}
            plain = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            parts[key].append(kind(**plain, **{k: integers(v) for k, v in held.items()}))
    return LoihiProgram(
        populations=tuple(parts["populations"]), connections=tuple(parts["connections"])
    )


def save(program: LoihiProgram, path: Path) -> None:
    """Write one .npz, first under a temporary name: a killed run leaves no half file."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        np.savez_compressed(file, **pack(program))
    os.replace(temporary, path)


def load(path: Path) -> LoihiProgram:
    """Read what :func:`save` wrote.

    Raises:
        ProgramError: the file is cut short, is no program, or has another version.
    """
    broken = (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, TypeError)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as npz:
            arrays = dict(npz)
            return unpack(arrays)
    except (FileNotFoundError, ProgramError):
        raise
    except (*broken, ValueError, AttributeError) as error:
        raise ProgramError(
            f"{path}: cut short, or not a LoihiProgram ({type(error).__name__}); "
            "write it again with `neuro export`"
        ) from error
