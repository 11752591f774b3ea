"""Bounds that stand at the fields of a configuration, and one check of them all.

``epochs: Annotated[int, Ge(1)]`` bounds a number, ``tuple[Count, ...]`` each item of a list; a
``Literal`` lists the choices. A float must be finite.
"""

import json
import operator
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from math import isfinite
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen

Count = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
# field(default=..., metadata=ADDED): files of earlier versions lack this field of a dataclass;
# its default is what those versions did.
ADDED: Mapping[str, bool] = {"added": True}
RELATIONS = {
    Ge: (">=", operator.ge, 0),  # sign, test, and how far the nearest whole number is
    Le: ("<=", operator.le, 0),
    Gt: (">", operator.gt, 1),
    Lt: ("<", operator.lt, -1),
}


def list_wrong_fields(config: Any, prefix: str = "") -> list[str]:
    """Return the name, value and bound of each field that is out of its bound, with a cure.

    A dot names a field of a configuration inside: ``encoder.ticks``. The types of values are
    checked elsewhere (:func:`neuro.io.run_folder.check_values`).
    """
    hints, problems = get_type_hints(type(config), include_extras=True), list[str]()
    for field in fields(config):
        name, value, default = f"{prefix}{field.name}", getattr(config, field.name), ""
        if field.default is not MISSING:
            text = field.default if isinstance(field.default, str) else _write(field.default)
            # --set takes a list as a whole, and no field of its items.
            default = f"Use {text if '[' in name else f'--set {name}={text}'}, the default."
        problems += _check(name, value, hints[field.name], default)
    return problems


def _write(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool | tuple) else str(value)


def _check(name: str, value: Any, hint: Any, default: str) -> Iterator[str]:
    """Yield the problems of a value; default: a sentence that sets the default of its field."""
    marks = list[Any]()
    while (origin := get_origin(hint)) in (Annotated, Union, types.UnionType):
        if origin is Annotated:
            marks += hint.__metadata__
        elif value is None:
            return
        hint = get_args(hint)[0]
    if is_dataclass(value):
        yield from list_wrong_fields(value, f"{name}.")
    elif isinstance(value, tuple):
        least = max((m.min_length for m in marks if isinstance(m, MinLen)), default=0)
        if len(value) < least:
            yield f"{name} is {value}; it must have {least} or more items. {default}".rstrip()
        kinds = get_args(hint) or (Any,)
        for k, item in enumerate(value):
            kind = kinds[0] if kinds[-1] is ... else kinds[min(k, len(kinds) - 1)]
            yield from _check(f"{name}[{k}]", item, kind, default)
    elif origin is Literal:
        if value not in get_args(hint):
            choices = ", ".join(map(str, get_args(hint)))
            cure = default or f"Use {get_args(hint)[0]}, for example."
            yield f"{name} is {value!r}; it must be one of {choices}. {cure}"
    else:
        yield from _check_number(
            name, value, [m for m in marks if type(m) in RELATIONS], default
        )


def _check_number(name: str, value: Any, bounds: list[Any], default: str) -> Iterator[str]:
    words, near, fits = list[str](), "", True
    for bound in bounds:
        sign, holds, step = RELATIONS[type(bound)]
        limit = getattr(bound, type(bound).__name__.lower())
        words.append(f"{sign} {limit}")
        fits = fits and holds(value, limit)
        near = near or str(limit + step)
    if isinstance(value, float) and not isfinite(value):
        words, fits = ["finite", *words], False
    if not fits:
        cure = default or f"Use {near or 0}, for example."
        yield f"{name} is {value}; it must be {' and '.join(words)}. {cure}"
