"""JSON values checked against Python types, so that a file with wrong contents is refused.

A dataclass takes exactly its fields, a NamedTuple exactly its parts. A TypedDict takes at least
its keys and keeps additional ones. A list becomes a tuple if the type is a tuple. ``float``
takes whole numbers too, and only ``bool`` takes a bool.
"""

import types
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from neuro.base.bounds import ADDED
from neuro.base.text import shorten_list

MOST_TOLD, LONGEST = 20, 400  # most problems in a message, and most characters of a problem
LARGEST = 2**1023  # whole numbers up to this one fit a float
NAMES: dict[Any, str] = {
    **{str: "text", int: "a whole number", float: "a number", bool: "true or false"},
    **{type(None): "null", None: "null"},
}


class SchemaError(ValueError):
    """A value has another type than expected; ``problems`` lists every place.

    The message shows the first :data:`MOST_TOLD` problems, each cut to :data:`LONGEST`
    characters, because a file of any size may be wrong everywhere.
    """

    def __init__(self, *problems: str) -> None:
        told = [p if len(p) <= LONGEST else f"{p[: LONGEST - 3]}..." for p in problems]
        super().__init__("; ".join(shorten_list(told, MOST_TOLD)))
        self.problems = problems


def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; raise a ValueError for a repeated key, whose last value json takes.

    For ``object_pairs_hook``.
    """
    result = dict(pairs)
    if len(result) < len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {key!r:.60} stands there twice; remove one of them")
    return result


def convert(value: Any, hint: Any, where: str = "") -> Any:
    """Convert a JSON value to a type: tuples, dataclasses, enumerations.

    Args:
        value: the contents of a JSON file. Dataclasses and arrays inside it stay as they are.
        hint: the type; types outside JSON are tested by ``isinstance``.
        where: name of the value, for messages.

    Raises:
        SchemaError: lists every part that is missing, unknown or of a wrong type.
    """
    problems: list[str] = []
    result = _convert(value, hint, where, problems)
    if problems:
        raise SchemaError(*problems)
    return result


def _convert(value: Any, hint: Any, where: str, problems: list[str]) -> Any:
    hint = getattr(hint, "__supertype__", hint)  # the type behind a NewType
    origin, args = get_origin(hint) or hint, get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(value, args, where, problems)
    if origin in (tuple, list, Sequence):
        return _convert_items(value, origin, args, where, problems)
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            return _refuse(value, "an object", where, problems)
        key, item = args or (Any, Any)
        return {
            _convert(k, key, f"{where}: the key {k!r}", problems): _convert(
                v, item, _join(where, k), problems
            )
            for k, v in value.items()
        }
    if is_typeddict(hint):
        return _convert_fields(value, hint, where, problems)
    named = isinstance(hint, type) and issubclass(hint, tuple)
    if (named or is_dataclass(hint)) and not isinstance(value, hint):
        if not named:
            return _convert_fields(value, hint, where, problems)
        parts, before = tuple(get_type_hints(hint).values()), len(problems)
        items = _convert_items(value, tuple, parts, where, problems)
        return hint(*items) if len(problems) == before else None
    return _convert_single(value, hint, origin, args, where, problems)


def _convert_single(
    value: Any, hint: Any, origin: Any, args: Any, where: str, problems: list[str]
) -> Any:
    if hint is float and type(value) is int and abs(value) <= LARGEST:
        return float(value)
    enum = isinstance(hint, type) and issubclass(hint, Enum)
    if enum or origin is Literal:
        words = [member.value for member in hint] if enum else list(args)
        if any(type(value) is type(word) and value == word for word in words):
            return hint(value) if enum else value
        expected = f"one of {', '.join(map(repr, words))}"
    elif hint in NAMES:
        if value is hint or type(value) is hint:
            return value
        expected = NAMES[hint]
    else:
        if hint is Any or not isinstance(origin, type) or isinstance(value, origin):
            return value
        expected = origin.__name__
    return _refuse(value, expected, where, problems)


def _convert_union(value: Any, args: Any, where: str, problems: list[str]) -> Any:
    real = [hint for hint in args if hint is not type(None)]
    if value is None and len(real) < len(args):
        return None
    for hint in real:
        refused: list[str] = []
        result = _convert(value, hint, where, refused)
        if not refused:
            return result
    if len(real) > 1:
        return _refuse(value, " or ".join(map(_name_type, real)), where, problems)
    problems += refused
    return None


def _name_type(hint: Any) -> str:
    if is_typeddict(hint) or is_dataclass(hint):
        return f"an object of {', '.join(get_type_hints(hint))}"
    words = get_args(hint) if get_origin(hint) is Literal else ()
    return " or ".join(map(repr, words)) or getattr(hint, "__name__", str(hint))


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
    """Return a dataclass (exactly its fields, or all but ADDED) or a TypedDict (its keys)."""
    exact, hints, before = is_dataclass(hint), get_type_hints(hint), len(problems)
    known = [f.name for f in fields(hint) if f.init] if exact else list(hints)
    if not isinstance(value, dict):
        return _refuse(value, _name_type(hint), where, problems)
    if exact:
        problems += [
            f"{_join(where, key)}: there is no such field; there are {', '.join(known)}"
            for key in value
            if key not in known
        ]
    added = {f.name for f in fields(hint) if f.metadata == ADDED} if exact else set[str]()
    required = [key for key in known if key not in added] if exact else hint.__required_keys__
    problems += [
        f"{_join(where, key)}: is missing"
        for key in known
        if key in required and key not in value
    ]
    parts = {
        key: _convert(value[key], hints[key], _join(where, key), problems)
        for key in known
        if key in value
    }
    if not exact:
        return {**value, **parts}
    if len(problems) > before:
        return None
    try:
        return hint(**parts)
    except (TypeError, ValueError) as error:  # from the dataclass's own check
        problems.append(f"{where or 'the file'}: {error}")
        return None


def _join(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)


def _refuse(value: Any, expected: str, where: str, problems: list[str]) -> None:
    shown = repr(value)
    shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
    problems.append(f"{where or 'the file'}: is {shown}, expected {expected}")
