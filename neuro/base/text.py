"""Values as a line of text, without defaults and with arrays as shapes; tables and lists."""

import re
from collections.abc import Sequence
from dataclasses import MISSING, fields
from enum import Enum
from typing import Any

import numpy as np

ALWAYS_SHOWN = ("tau", "leak", "threshold")  # parameters of a neuron, default or not


def format_model(model: object) -> str:
    """Return a frozen dataclass as a line: the fields that differ from their defaults.

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
    """Return a value in a few characters; an array or a tensor as its dtype and shape.

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
    r"""Return a text with escapes for characters that no terminal should get.

    >>> escape("\x1b[31mred") == r"\x1b[31mred"
    True
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def format_shape(shape: Sequence[int]) -> str:
    """Return a shape for human readers.

    >>> format_shape((2, 28, 28)), format_shape((64,)), format_shape(())
    ('2 x 28 x 28', '64', '1')
    """
    return " x ".join(map(str, shape)) or "1"


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines of aligned columns; numbers are aligned on the right.

    The first row is the head, with a line below it.
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
    """Return the first items and the number of the others, for messages.

    >>> shorten_list(["a", "b"], most=1), shorten_list(["a", "b"], most=2)
    (['a', 'and 1 more'], ['a', 'b'])
    """
    more = len(items) - most
    return [*items[:most], *([f"and {more:,} more"] if more > 0 else [])]
