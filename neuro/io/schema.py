"""Values of JSON held against Python types, so that a file means what it says or is refused.

A dataclass takes exactly its fields, a NamedTuple exactly its parts; a TypedDict takes at
least its keys, and leaves others alone. A list becomes a tuple where the type says so.
``float`` takes whole numbers, and nothing takes a bool but ``bool``.
"""

import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import (
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

LARGEST = 2**1023  # of whole numbers that are a float, too
NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class SchemaError(ValueError):
    """A value of another type than it should be; lists every place."""


def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON, as ``object_pairs_hook``: plain ``json`` takes the last of two.

    Raises:
        ValueError: a key stands there twice.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands there twice; remove one of them")
        found[key] = value
    return found


def convert(value: Any, hint: Any, where: str = "") -> Any:
    """Return a value as a type says: tuples, dataclasses and enumerations made of JSON.

    Args:
        value: what a JSON file holds.
        hint: the type; one that JSON has no word for is tested by ``isinstance``.
        where: name of the value, for messages.

    Raises:
        SchemaError: lists every part that is missing, unknown or of another type.
    """
    problems: list[str] = []
    out = _convert(value, hint, where, problems)
    if problems:
        raise SchemaError("; ".join(problems))
    return out


def _convert(value: Any, hint: Any, where: str, problems: list[str]) -> Any:
    hint = getattr(hint, "__supertype__", hint)  # of a NewType
    origin, args = get_origin(hint) or hint, get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(value, args, where, problems)
    if origin is tuple or origin in (list, Sequence):
        return _convert_items(value, origin, args, where, problems)
    if origin in (dict, Mapping):
        if isinstance(value, dict):
            key, item = args or (Any, Any)
            names = [_convert(k, key, f"{where}: the key {k!r}", problems) for k in value]
            found = [_convert(v, item, _join(where, k), problems) for k, v in value.items()]
            return dict(zip(names, found, strict=True))
        return _refuse(value, "an object", where, problems)
    if _is_made(value, hint):
        return value
    if is_typeddict(hint) or is_dataclass(hint):
        return _convert_fields(value, hint, where, problems)
    if isinstance(hint, type) and issubclass(hint, tuple):  # a NamedTuple
        parts, before = tuple(get_type_hints(hint).values()), len(problems)
        items = _convert_items(value, tuple, parts, where, problems)
        return items if len(problems) > before else hint(*items)
    return _convert_single(value, hint, origin, args, where, problems)


def _is_made(value: Any, hint: Any) -> bool:
    """Say whether a value is already the dataclass or the NamedTuple that is asked for."""
    named = isinstance(hint, type) and issubclass(hint, tuple)
    return (named or is_dataclass(hint)) and isinstance(value, hint)


def _convert_single(
    value: Any, hint: Any, origin: Any, args: Any, where: str, problems: list[str]
) -> Any:
    if origin is Literal:
        names = ", ".join(map(repr, args))
        known = any(type(value) is type(a) and value == a for a in args)
        return value if known else _refuse(value, f"one of {names}", where, problems)
    if isinstance(hint, type) and issubclass(hint, Enum):
        names = ", ".join(repr(member.value) for member in hint)
        known = value in [member.value for member in hint]
        return hint(value) if known else _refuse(value, f"one of {names}", where, problems)
    if hint in NAMES:
        if hint is float and type(value) is int and abs(value) <= LARGEST:
            return float(value)
        fits = type(value) is hint
        return value if fits else _refuse(value, NAMES[hint], where, problems)
    if hint is None or hint is type(None):
        return value if value is None else _refuse(value, "null", where, problems)
    if hint is Any or not isinstance(origin, type) or isinstance(value, origin):
        return value
    return _refuse(value, origin.__name__, where, problems)


def _convert_union(value: Any, args: Any, where: str, problems: list[str]) -> Any:
    found: list[str] = []
    for hint in args:
        found = []
        out = _convert(value, hint, where, found)
        if not found:
            return out
    many = len([hint for hint in args if hint is not type(None)]) > 1
    if many:
        names = " or ".join(getattr(hint, "__name__", str(hint)) for hint in args)
        return _refuse(value, names, where, problems)
    real = next(hint for hint in args if hint is not type(None))
    return _convert(value, real, where, problems)  # what is wrong, in its own words


def _convert_items(value: Any, origin: Any, args: Any, where: str, problems: list[str]) -> Any:
    if not isinstance(value, list | tuple):
        return _refuse(value, "a list", where, problems)
    hints = list(args) or [Any]
    if origin is not tuple or args[-1:] == (...,):
        hints = hints[:1] * len(value)
    if len(hints) != len(value):
        return _refuse(value, f"a list of {len(hints)}", where, problems)
    items = [
        _convert(v, hint, f"{where}[{i}]", problems)
        for i, (v, hint) in enumerate(zip(value, hints, strict=True))
    ]
    return tuple(items) if origin is tuple else items


def _convert_fields(value: Any, hint: Any, where: str, problems: list[str]) -> Any:
    """Return a dataclass, which has exactly its fields, or a TypedDict, which has at least."""
    if not isinstance(value, dict):
        return _refuse(value, "an object", where, problems)
    hints, exact = get_type_hints(hint), is_dataclass(hint)
    known: Any = hints
    if exact:
        known = [f.name for f in fields(hint) if f.init]
        extra = [str(k) for k in value if k not in known]
        problems += [f"{_join(where, k)}: there is no such field" for k in extra]
    asked = [k for k in known if exact or k in hint.__required_keys__]
    problems += [f"{_join(where, k)}: is missing" for k in asked if k not in value]
    before = len(problems)
    found = {
        k: _convert(v, hints[k], _join(where, k), problems)
        for k, v in value.items()
        if k in known
    }
    if not exact:
        return {**value, **found}
    whole = len(problems) == before and set(found) == set(known)
    if not whole:
        return None
    try:
        return hint(**found)
    except ValueError as error:  # what its own check says
        problems.append(f"{where or 'the file'}: {error}")
        return None


def _join(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)


def _refuse(value: Any, expected: str, where: str, problems: list[str]) -> None:
    shown = repr(value)
    shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
    problems.append(f"{where or 'the file'}: is {shown}, expected {expected}")
