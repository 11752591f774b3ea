"""Decoding of programs from files, which store integers as arrays and other fields as JSON."""

from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from lava_export.program import LATER, as_int32, name_array
from neuro.io.schema import convert
from neuro.io.store import Arrays

T = TypeVar("T")


def decode_program(
    kind: type[T], arrays: Arrays, plain: dict[str, Any], *, int32: bool = True
) -> T:
    """Return a program of a kind from the result of :func:`lava_export.program.take_apart`.

    Args:
        kind: the class of the program.
        arrays: the arrays by name.
        plain: all other fields, as JSON values.
        int32: whether to convert all arrays to int32; else they keep their own types.

    Raises:
        SchemaError: lists the JSON fields that are missing, unknown or of the wrong type.
        KeyError: an array is missing.
    """
    values = dict(plain)
    for key, hint in get_type_hints(kind).items():
        if get_origin(hint) is tuple:
            part = get_args(hint)[0]
            values[key] = [
                _decode_part(part, f"{key[0]}{i}", item, arrays, int32)
                for i, item in enumerate(convert(values.get(key), list[dict[str, Any]], key))
            ]
    program: T = convert(values, kind)
    return program


def _decode_part(
    part: Any, where: str, plain: dict[str, Any], arrays: Arrays, int32: bool
) -> Any:
    """Return a population, a connection or a group from its fields and arrays."""
    hints = get_type_hints(part).items()
    held = {f: arrays[name_array(where, f)] for f, hint in hints if hint is np.ndarray}
    optional = {f: name_array(where, f) for f, hint in hints if hint == np.ndarray | None}
    held |= {f: arrays[name] for f, name in optional.items() if name in arrays}
    if int32:
        held = {field: as_int32(array) for field, array in held.items()}
    later = {f: value for f, value in LATER.items() if f in dict(hints)}
    return convert({**dict.fromkeys(optional), **later, **plain, **held}, part, where)
