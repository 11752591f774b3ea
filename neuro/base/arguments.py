"""Argument checks whose errors name the value, the kind it must have, and the cure."""

import math
from numbers import Integral, Real
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor


def describe(value: object) -> str:
    """Describe a value in a few words, for a message.

    >>> describe(float), describe("1 ms"), describe(0.9), describe([1, 2])
    ('the class float', "'1 ms'", '0.9', 'a list')
    """
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if value is None or isinstance(value, str | Real):
        return repr(value)
    kind = type(value).__name__.replace("ndarray", "NumPy array")
    text = f"{'an' if kind[0] in 'AEIOaeio' else 'a'} {kind}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):  # an array or a tensor
        text += f" of shape {tuple(value.shape)}, {value.dtype}"
    return text


def make_type_error(what: str, wanted: str, value: object, cure: str) -> TypeError:
    """Return the error for an argument ``what`` that is not ``wanted``."""
    return TypeError(f"{what} must be {wanted}, got {describe(value)}; {cure}")


def is_real(value: object) -> TypeGuard[Real]:
    """Say whether a value is a real number; True and False are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: object) -> TypeGuard[int]:
    """Say whether a value is an integer of Python or NumPy; True and False are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def require_whole(what: str, value: object, cure: str) -> None:
    """Raise a TypeError unless a value is an integer."""
    if not is_whole(value):
        raise make_type_error(what, "a whole number", value, cure)


def as_numbers(what: str, value: Any) -> np.ndarray:
    """Return a number, a list of numbers, an array or a tensor as an array of real numbers.

    Raises:
        TypeError: the value holds anything but real numbers; the message names ``what``.
    """
    try:
        numbers = np.asarray(to_numpy(value) if isinstance(value, Tensor) else value)
    except ValueError:  # rows of unequal length
        numbers = np.asarray(None)
    if numbers.dtype.kind not in "fiub":
        cure = "give a number, or an array or tensor of floats"
        raise make_type_error(what, "real numbers", value, cure)
    return numbers


def to_numpy(tensor: Tensor) -> np.ndarray:
    """Return a tensor's values as an array; bfloat16 becomes float32, since NumPy lacks it."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def require_dt(what: str, value: object) -> None:
    """Raise a TypeError or ValueError unless a value is a time in seconds, > 0 and finite."""
    if not is_real(value):
        raise make_type_error(what, "a number of seconds", value, "1 ms is 1e-3")
    if not 0 < float(value) < math.inf:
        raise ValueError(f"{what} must be > 0 s and finite, got {value}; 1e-3 is usual")


def require_ticks(what: str, value: object, cure: str) -> None:
    """Raise a TypeError or ValueError unless a value is a whole number of ticks >= 1."""
    if require_whole_ticks(what, value) < 1:
        raise ValueError(f"{what} must be >= 1, got {value}; {cure}")


def require_whole_ticks(what: str, value: object) -> int:
    """Return a value as an int; raise a TypeError unless it is a whole number of ticks."""
    if not is_whole(value):
        convert = "neuro.ticks(seconds, dt) converts seconds"
        raise make_type_error(what, "a whole number of ticks", value, convert)
    return int(value)
