"""Text for messages: values in one line, shapes, tables, and shortened lists."""

import re
from collections.abc import Sequence
from dataclasses import MISSING, fields
from enum import Enum
from typing import Any

import numpy as np

ALWAYS_SHOWN = ("tau", "leak", "threshold")  # neuron parameters shown even at their default


def format_model(model: object) -> str:
    """Return a frozen dataclass in one line, with the fields that differ from their defaults.

    >>> from neuro.neurons import LIF
    >>> format_model(LIF(tau=0.02, reset="hard"))
    "LIF(tau=0.02, threshold=1, reset='hard')"
    """
    shown = [
        f"{f.name}={format_value(value)}"
        for f in fields(model)  # type: ignore[arg-type]
        if f.init and not f.name.startswith("_")
        for value in [getattr(model, f.name)]
        if f.name in ALWAYS_SHOWN or not _is_same(value, f.default)
    ]
    return f"{type(model).__name__}({', '.join(shown)})"


def format_value(value: Any) -> str:
    """Return a value in a few characters; an array or tensor appears as its dtype and shape.

    >>> format_value(np.ones((2, 3))), format_value(0.1), format_value((1, 1))
    ('float64[2, 3]', '0.1', '(1, 1)')
    """
    if isinstance(value, Enum):
        return repr(value.value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        if value.shape:
            dtype = str(value.dtype).removeprefix("torch.")
            return f"{dtype}[{', '.join(map(str, value.shape))}]"
        value = float(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return getattr(value, "__name__", repr(value))


def escape(text: str) -> str:
    r"""Escape the characters of a text that would control a terminal.

    >>> escape("\x1b[31mred") == r"\x1b[31mred"
    True
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def format_shape(shape: Sequence[int]) -> str:
    """Return a shape as people write it.

    >>> format_shape((2, 28, 28)), format_shape((64,)), format_shape(())
    ('2 x 28 x 28', '64', '1')
    """
    return " x ".join(map(str, shape)) or "1"


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text as lines with aligned columns; columns of integers align right.

    The first row is the header; a rule separates it from the others.
    """
    head, *body = rows
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numbers = [
        all(re.fullmatch(r"[\d,]*", cell) for cell in column)
        for column in zip(*body, strict=True)
    ] or [False] * len(head)
    lines = [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numbers, strict=True)
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "─" * max(map(len, lines)), *lines[1:]])


def _is_same(value: Any, default: Any) -> bool:
    if default is MISSING or np.ndim(default) != np.ndim(value):
        return False
    return value is default or bool(np.all(value == default))


def shorten_list(items: Sequence[str], most: int = 8) -> list[str]:
    """Return the first ``most`` items and, for a message, how many more there are.

    >>> shorten_list(["a", "b"], most=1), shorten_list(["a", "b"], most=2)
    (['a', 'and 1 more'], ['a', 'b'])
    """
    more = len(items) - most
    return [*items[:most], *([f"and {more:,} more"] if more > 0 else [])]
