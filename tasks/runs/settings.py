"""Sets fields of a configuration from the command line: ``--set lr=0.001``.

A field of a nested configuration is named with a dot, as in ``source.scenes``.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, TypeVar, get_type_hints

from neuro.io.schema import SchemaError, convert
from tasks.runs.names import UnknownName

Config = TypeVar("Config")
MOST_SEEDS = 2**63  # every generator accepts seeds below this


def set_fields(config: Config, settings: Sequence[str]) -> Config:
    """Return a configuration whose fields are set by words of the form ``name=value``.

    A value is written as in JSON or in Python; text needs no quotes.

    Raises:
        UnknownName: there is no such field.
        ValueError: a word is not a setting, a field is set twice, or its value has another
            type.
    """
    changes = dict[str, Any]()  # made at once: one alone may contradict another field
    for name, value in split_settings(settings, "lr=0.001").items():
        path = name.split(".")
        now = changes.get(path[0], getattr(config, path[0], None))
        changes[path[0]] = _read_field(config, now, path, name, value)
    return replace(config, **changes)  # type: ignore[type-var]


def split_settings(settings: Sequence[str], example: str) -> dict[str, str]:
    """Return the text of each value by its name, from words of the form ``name=value``.

    Raises:
        ValueError: a word is not a setting, or a name is set twice.
    """
    for word in settings:
        if not re.match("[^=]+=", word):
            raise ValueError(f"--set takes name=value, got {word!r}; write --set {example}")
    pairs = [word.split("=", 1) for word in settings]
    names = [name for name, _ in pairs]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"--set: {', '.join(twice)} is set twice; leave one of them out")
    return dict(pairs)


def list_settings(config: Any, other: Any) -> list[str]:
    """Return the words that turn ``config`` into ``other``, which has the same type."""
    known = dict(list_fields(config))
    return [
        f"{name}={value if isinstance(value, str) else json.dumps(value, default=asdict)}"
        for name, value in list_fields(other)
        if name not in known or known[name] != value
    ]


def list_fields(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of every field; names of nested fields contain a dot."""
    for field in fields(config):
        name, value = f"{prefix}{field.name}", getattr(config, field.name)
        if is_dataclass(value):
            yield from list_fields(value, f"{name}.")
        else:
            yield name, value


def _read_field(config: Any, now: Any, path: Sequence[str], name: str, value: str) -> Any:
    """Return the new value of the field ``path[0]``, whose value is ``now``."""
    first, *rest = path
    hints = get_type_hints(type(config))
    known = [field.name for field in fields(config)]
    if first not in known:
        every = [own for own, _ in list_fields(config)]
        inside = [own for own in every if own.endswith(f".{first}") and not rest]
        near = inside or get_close_matches(first, known, 3)
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise UnknownName(f"--set: no field {name!r}; {hint}there are {', '.join(known)}")
    if not rest:
        return read_value(value, hints[first], name)
    if not is_dataclass(now):
        raise UnknownName(f"--set: no field {name!r}: {first} is {now!r}, without fields")
    inner = _read_field(now, getattr(now, rest[0], None), rest, name, value)
    return replace(now, **{rest[0]: inner})  # type: ignore[type-var]


def read_value(text: str, hint: Any, name: str) -> Any:
    """Parse a value of type ``hint``, written as in JSON or in Python.

    Raises:
        SchemaError: the value has another type.
    """
    readers: tuple[Callable[[str], Any], ...] = (json.loads, ast.literal_eval)
    refused, where = None, f"--set: {name}"
    for read in readers:
        try:
            value = read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        try:
            return convert(value, hint, where)
        except SchemaError as error:
            refused = error
    try:
        return convert(text, hint, where)
    except SchemaError:
        if text[:1] not in ("[", "(", "{"):
            raise
        if refused is not None:  # of the items of a list
            raise refused from None
        raise SchemaError(
            f"{where}: cannot read {text!r} as JSON or Python; write it like [0, 1.5], with "
            "finite numbers, and text in quotes"
        ) from None


def require_seed(seed: int) -> None:
    """Raise a ValueError unless every generator accepts the seed unchanged."""
    if not 0 <= seed < MOST_SEEDS:
        raise ValueError(f"--seed must be >= 0 and < 2^63, got {seed}; use 0, 1, 2, ...")
