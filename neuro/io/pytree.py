"""Nested values as flat arrays and JSON, and back: what a file of them holds.

A value is built of arrays, numbers, strings, None, tuples, mappings, named tuples and frozen
dataclasses. Nothing else goes in, so that nothing is ever unpickled.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


def flatten(value: Any) -> tuple[Any, Arrays]:
    """Return (what JSON can hold, the arrays it refers to by number).

    Raises:
        TypeError: a part is of a kind that no file should hold.
    """
    arrays: Arrays = {}
    return _plain(value, arrays), arrays


def _plain(value: Any, arrays: Arrays) -> Any:
    if isinstance(value, np.ndarray):
        arrays[name := str(len(arrays))] = value
        return {"array": name}
    if isinstance(value, np.generic):
        return _plain(value.item(), arrays)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        pairs = [[_plain(k, arrays), _plain(v, arrays)] for k, v in value.items()]
        return {"mapping": pairs}
    if isinstance(value, tuple):
        if not hasattr(value, "_fields"):
            return {"tuple": [_plain(v, arrays) for v in value]}
        return {"type": type(value).__name__, "parts": [_plain(v, arrays) for v in value]}
    if is_dataclass(value):
        parts = [_plain(getattr(value, f.name), arrays) for f in fields(value)]
        return {"type": type(value).__name__, "parts": parts}
    raise TypeError(f"a {type(value).__name__} cannot go into a file; give arrays and numbers")


def rebuild(plain: Any, arrays: Mapping[str, np.ndarray], types: Sequence[type]) -> Any:
    """Return the value that :func:`flatten` took apart.

    types: the named tuples and dataclasses that may occur.

    Raises:
        KeyError: a part is missing, or of another type.
    """
    if not isinstance(plain, dict):
        return plain
    if "array" in plain:
        return arrays[plain["array"]]
    if "mapping" in plain:
        pairs = plain["mapping"]
        return {rebuild(k, arrays, types): rebuild(v, arrays, types) for k, v in pairs}
    if "tuple" in plain:
        return tuple(rebuild(v, arrays, types) for v in plain["tuple"])
    kind: Any = {t.__name__: t for t in types}[plain["type"]]
    parts = [rebuild(v, arrays, types) for v in plain["parts"]]
    if hasattr(kind, "_fields"):
        return kind(*parts)
    return kind(**dict(zip((f.name for f in fields(kind)), parts, strict=True)))


def digest(value: Any) -> str:
    """Return 16 hex digits that change with any bit of ``value``."""
    plain, arrays = flatten(value)
    sha = hashlib.sha256(json.dumps(plain).encode())
    for array in arrays.values():
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()[:16]
