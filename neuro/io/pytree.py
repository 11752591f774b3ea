"""Conversion of nested values (pytrees) to named arrays and JSON, and back.

A value is built of arrays or tensors, numbers, strings, None, tuples, lists, mappings, named
tuples and frozen dataclasses. Other types are refused, so that nothing is ever unpickled.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import numpy as np
from torch import Tensor

from neuro.io.schema import SchemaError, convert

Arrays = dict[str, Any]  # values are np.ndarray or Tensor


def flatten(value: Any) -> tuple[Any, Arrays]:
    """Return (a value that JSON can hold, the arrays and tensors it refers to by number).

    Raises:
        TypeError: a part has a type that no file should hold.
    """
    arrays: Arrays = {}
    return _plain(value, arrays), arrays


def _plain(value: Any, arrays: Arrays) -> Any:
    if isinstance(value, (np.ndarray, Tensor)):
        arrays[name := str(len(arrays))] = value
        return {"array": name}
    if isinstance(value, np.generic):
        return _plain(value.item(), arrays)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {"mapping": [[_plain(k, arrays), _plain(v, arrays)] for k, v in value.items()]}
    if isinstance(value, list):
        return {"list": [_plain(v, arrays) for v in value]}
    if isinstance(value, tuple):
        if not hasattr(value, "_fields"):
            return {"tuple": [_plain(v, arrays) for v in value]}
        return {"type": type(value).__name__, "parts": [_plain(v, arrays) for v in value]}
    if is_dataclass(value):
        parts = [_plain(getattr(value, f.name), arrays) for f in fields(value)]
        return {"type": type(value).__name__, "parts": parts}
    raise TypeError(f"a {type(value).__name__} cannot go into a file; give arrays and numbers")


def unflatten(plain: Any, arrays: Mapping[str, Any], types: Sequence[type] = ()) -> Any:
    """Rebuild the value from the parts that :func:`flatten` returned.

    Args:
        plain: its JSON part.
        arrays: its arrays, by number.
        types: the named tuples and dataclasses that may occur; their parts must have the types
            of their annotations.

    Raises:
        KeyError: an array or a type is missing.
        SchemaError: a part has a wrong type.
    """
    if not isinstance(plain, dict):
        return plain

    def items(name: str) -> list[Any]:
        return [unflatten(v, arrays, types) for v in convert(plain[name], list[Any], name)]

    if "array" in plain:
        return arrays[convert(plain["array"], str, "array")]
    if "mapping" in plain:
        pairs = convert(plain["mapping"], list[tuple[Any, Any]], "mapping")
        both = [(unflatten(k, arrays, types), unflatten(v, arrays, types)) for k, v in pairs]
        try:
            return dict(both)
        except TypeError as error:  # for example a key that holds a list
            raise SchemaError(f"mapping: {error}") from error
    if "list" in plain:
        return items("list")
    if "tuple" in plain:
        return tuple(items("tuple"))
    kind: Any = {t.__name__: t for t in types}[convert(plain.get("type"), str, "type")]
    parts, hints = items("parts"), get_type_hints(kind)
    names = getattr(kind, "_fields", None) or [f.name for f in fields(kind)]
    if len(parts) != len(names):
        raise SchemaError(f"{kind.__name__}: has {len(parts)} parts, expected {len(names)}")
    whole = {
        name: convert(part, hints[name], f"{kind.__name__}.{name}")
        for name, part in zip(names, parts, strict=True)
    }
    return kind(**whole)


def digest(value: Any) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a value's arrays and JSON part."""
    plain, arrays = flatten(value)
    sha = hashlib.sha256(json.dumps(plain).encode())
    for array in arrays.values():
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()[:16]
